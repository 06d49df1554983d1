"""The letter's form: what it holds, how it is read, what it says when something is wrong."""

from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request

from fediletter.errors import AppError, FormError
from fediletter.media.uploads import store_image
from fediletter.newsletter.posts import AUDIENCES, check_draft, hashtags_from
from fediletter.web.context import services_of
from fediletter.web.forms import file, one, read_form, some
from fediletter.web.login import session_at
from storage.ids import MediaId, PostId, TopicId
from storage.posts import Draft, Post


@dataclass(frozen=True, slots=True)
class Typed:
    """What the form held when it was sent."""

    draft: Draft
    topic_ids: list[TopicId]
    version: int
    action: str
    problems: dict[str, str]


async def read_typed(request: Request) -> Typed:
    """Read the form, store its image; problems are returned, nothing typed is lost."""
    form = await read_form(request)
    problems: dict[str, str] = {}
    cover = await _cover(request, form, problems)
    audience = one(form, "audience")
    followers_only = audience == "followers"  # Then it has neither page nor mail.
    draft = Draft(
        title=one(form, "title").strip(),
        summary=" ".join(one(form, "summary").split()),
        body_markdown=one(form, "body").replace("\r\n", "\n"),
        language=one(form, "language") or services_of(request).settings.language,
        cover_media_id=cover,
        cover_alt=one(form, "cover_alt").strip(),
        fediverse_teaser=" ".join(one(form, "fediverse_teaser").split()),
        article_form="title" if one(form, "article_form") == "title" else "",
        to_web=not followers_only,
        to_fediverse=followers_only or one(form, "to_fediverse") != "no",
        to_email=not followers_only and one(form, "to_email") != "no",
        hashtags=hashtags_from(one(form, "hashtags")),
        audience=audience if audience in AUDIENCES else "public",
    )
    action = one(form, "action") or "save"
    problems = check_draft(draft, publishing=action == "publish") | problems
    version = one(form, "version")
    return Typed(
        draft,
        [TopicId(int(text)) for text in some(form, "topics") if text.isdigit()],
        int(version) if version.isdigit() else 0,
        action,
        problems,
    )


async def _cover(request: Request, form: FormData, problems: dict[str, str]) -> MediaId | None:
    services = services_of(request)
    upload = file(form, "cover")
    kept = one(form, "cover_id")
    if upload is None:
        if one(form, "cover_remove") == "yes" or not kept.isdigit():
            return None
        return MediaId(int(kept))
    try:
        return await store_image(
            services.store,
            services.settings.media,
            await upload.read(),
            upload.filename or "",
            now=services.clock.now(),
            founder_id=session_at(request).founder.id,
        )
    except FormError as wrong:
        problems |= wrong.problems
    except AppError as wrong:
        problems["cover"] = wrong.words
    return MediaId(int(kept)) if kept.isdigit() else None


def typed_from(post: Post) -> Typed:
    """A stored post as the form shows it."""
    draft = Draft(
        post.title,
        post.summary,
        post.body_markdown,
        post.language,
        post.cover.id if post.cover is not None else None,
        post.cover_alt,
        post.fediverse_teaser,
        post.article_form,
        post.to_web,
        post.to_fediverse,
        post.to_email,
        hashtags=post.hashtags,
        audience=post.audience,
    )
    return Typed(draft, [topic.id for topic in post.topics], post.version, "", {})


def post_id_of(request: Request) -> PostId:
    """The post that a path names."""
    return PostId(int(request.path_params["post_id"]))
