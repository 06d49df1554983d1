"""The letter's form: what it holds, how it is read, what it says when something is wrong."""

from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request

from fediletter.errors import AppError, FormError
from fediletter.media.uploads import Upload, store_image, store_sound
from fediletter.newsletter.posts import (
    AUDIENCES,
    FOR_FOLLOWERS,
    check_draft,
    figure,
    hashtags_from,
)
from fediletter.web.context import services_of
from fediletter.web.desk.login import session_at
from fediletter.web.forms import file, one, read_form, some
from storage.ids import MediaId, PostId, TopicId
from storage.media import Media, get_media
from storage.posts import Draft, Post

_INSERTED_WIDTH = 1000  # Pixels: what a text needs of an image, on a sharp screen too.


@dataclass(frozen=True, slots=True)
class Typed:
    """What the form held when it was sent."""

    draft: Draft
    topic_ids: list[TopicId]
    version: int
    action: str
    problems: dict[str, str]


async def read_typed(request: Request, post: Post | None) -> Typed:
    """Read the form, store its files; problems are returned, nothing typed is lost.

    Args:
        request: With the form.
        post: What it changes; choices that stand on the publish sheet stay as they are.
    """
    form = await read_form(request)
    problems: dict[str, str] = {}
    language = services_of(request).settings.language
    before = typed_from(post).draft if post is not None else Draft("", "", "", language)
    draft = replace(
        before,
        title=one(form, "title").strip(),
        summary=" ".join(one(form, "summary").split()),
        body_markdown=one(form, "body").replace("\r\n", "\n"),
        language=one(form, "language") or language,
        cover_media_id=await _cover(request, form, problems),
        cover_alt=one(form, "cover_alt").strip(),
        audio_media_id=await _audio(request, form, problems),
    )
    if "hashtags" in form:
        draft = replace(draft, hashtags=hashtags_from(one(form, "hashtags")))
    if "fediverse_teaser" in form:
        draft = replace(draft, **for_followers(form))
    draft = _for_audience(draft, one(form, "audience"))
    action = one(form, "action") or "save"
    if action == "insert":
        draft = replace(draft, body_markdown=await _with_figure(request, form, draft, problems))
    problems = check_draft(draft, publishing=action == "publish") | problems
    return Typed(draft, topics_in(form), version_in(form), action, problems)


def _for_audience(draft: Draft, audience: str) -> Draft:
    """Who may read it; what is for followers alone has neither page nor mail."""
    if audience not in AUDIENCES or audience == draft.audience:
        return draft
    alone = audience == "followers"
    was_alone = draft.audience == "followers"
    return replace(
        draft,
        audience=audience,
        to_web=not alone and (was_alone or draft.to_web),
        to_fediverse=alone or draft.to_fediverse,
        to_email=not alone and (was_alone or draft.to_email),
    )


def for_followers(form: FormData) -> dict[str, Any]:
    """Teaser and card of the fediverse; empty ones follow the letter."""
    return {name: " ".join(one(form, name).split()) for name in FOR_FOLLOWERS}


def topics_in(form: FormData) -> list[TopicId]:
    """The topics that are ticked."""
    return [TopicId(int(text)) for text in some(form, "topics") if text.isdigit()]


def version_in(form: FormData) -> int:
    """The version that the founder saw; 0 if none is said."""
    version = one(form, "version")
    return int(version) if version.isdigit() else 0


async def store_upload(request: Request, form: FormData, field: str, *, alt: str = "") -> MediaId:
    """Keep the image of a form's field.

    Raises:
        FormError: It cannot be taken; says why.
        AppError: There is no room.
    """
    services = services_of(request)
    upload = file(form, field)
    if upload is None:
        raise FormError({field: "Choose a file."})
    sound = field == "audio"
    keep = store_sound if sound else store_image
    found = Upload(await upload.read(), upload.filename or "", upload.content_type or "")
    extra = {} if sound else {"alt": alt}
    return await keep(
        services.store,
        services.settings.media,
        found,
        now=services.clock.now(),
        field=field,
        founder_id=session_at(request).founder.id,
        **extra,
    )


def markdown_of(found: Media, base: str) -> str:
    """A stored image as it stands in a text: not wider than a text needs."""
    files = found.renditions
    fitting = [one for one in files if one.width <= _INSERTED_WIDTH]
    chosen = fitting[0] if fitting else files[-1]
    address = f"{base}/media/{chosen.name}"
    return figure(address, alt=found.alt, caption=found.caption, credit=found.credit)


async def _cover(request: Request, form: FormData, problems: dict[str, str]) -> MediaId | None:
    return await _kept_file(
        request, form, problems, "cover", alt=" ".join(one(form, "cover_alt").split())
    )


async def _audio(request: Request, form: FormData, problems: dict[str, str]) -> MediaId | None:
    return await _kept_file(request, form, problems, "audio")


async def _kept_file(
    request: Request, form: FormData, problems: dict[str, str], field: str, *, alt: str = ""
) -> MediaId | None:
    """A file that was sent now, or before, or is taken out."""
    kept = one(form, f"{field}_id")
    former = MediaId(int(kept)) if kept.isdigit() else None
    if file(form, field) is None:
        return None if one(form, f"{field}_remove") == "yes" else former
    try:
        return await store_upload(request, form, field, alt=alt)
    except AppError as wrong:
        _note(problems, field, wrong)
    return former


async def _with_figure(
    request: Request, form: FormData, draft: Draft, problems: dict[str, str]
) -> str:
    """The text with one more image at its end, for those whose browser runs no script."""
    alt = " ".join(one(form, "figure_alt").split())
    if not alt:
        problems["figure_alt"] = "Describe the image in a few words, for those who cannot see it."
        return draft.body_markdown
    try:
        media_id = await store_upload(request, form, "figure", alt=alt)
    except AppError as wrong:
        _note(problems, "figure", wrong)
        return draft.body_markdown
    services = services_of(request)
    found = await services.store.read(get_media, media_id)
    found = replace(found, caption=one(form, "figure_caption"), credit=one(form, "figure_credit"))
    image = markdown_of(found, services.links.base)
    return f"{draft.body_markdown.rstrip()}\n\n{image}\n".lstrip("\n")


def _note(problems: dict[str, str], field: str, wrong: AppError) -> None:
    if isinstance(wrong, FormError):
        problems |= wrong.problems
    else:
        problems[field] = wrong.words


def typed_from(post: Post) -> Typed:
    """A stored post as the form shows it."""
    draft = Draft(
        **{
            name: getattr(post, name)
            for name in Draft.__dataclass_fields__
            if name != "cover_media_id"
        },
        cover_media_id=post.cover.id if post.cover is not None else None,
    )
    return Typed(draft, [topic.id for topic in post.topics], post.version, "", {})


def post_id_of(request: Request) -> PostId:
    """The post that a path names."""
    return PostId(int(request.path_params["post_id"]))
