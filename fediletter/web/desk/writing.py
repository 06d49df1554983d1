"""The desk: what is planned, out and in hand; writing a letter and its versions.

Everything works as plain forms; a small script only spares pressing a button.

Sources: issue 2.6; security.md WE-7, WE-10; interface.md section 4.
"""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.newsletter import posts as rules
from fediletter.newsletter.rhythm import planned_too_near
from fediletter.outbound import publish as publishing
from fediletter.outbound.relay_watch import kind_of
from fediletter.web.context import services_of, words_of
from fediletter.web.desk.census import census_of
from fediletter.web.desk.drafts import Typed, post_id_of, read_typed, typed_from
from fediletter.web.desk.login import editors_too, is_founder, only_founders, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import cursor
from storage import audit, conversations, media, posts, topics
from storage.errors import Conflict
from storage.newsletters import get_newsletter
from storage.posts import Post
from storage.progress import mail_rest
from storage.store import Tx

_VERSIONS = 20


@editors_too
async def home(request: Request) -> Response:
    """Drafts, what is planned, what is out; how many read."""
    services = services_of(request)
    counted = await census_of(request)

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "drafts": posts.posts_in_state(tx, "draft", limit=50),
            "too_soon": planned_too_near(tx),
            "scheduled": posts.posts_in_state(tx, "scheduled", limit=50),
            "published": posts.published_issues(
                tx, limit=20, audiences=("public", "unlisted", "followers")
            ),
            "pending": conversations.count_pending(tx),
            "mail_rest": mail_rest(tx),
        }

    found = await services.store.read(look)
    return desk_page(request, "home.html", counted=counted, kind_of=kind_of, **found)


@editors_too
async def token(request: Request) -> Response:
    """The session's token, for a form whose session ended and began again meanwhile."""
    return JSONResponse({"csrf": session_at(request).csrf})


# --- writing ---------------------------------------------------------------------------------


@editors_too
async def new_letter(request: Request) -> Response:
    """An empty form."""
    services = services_of(request)
    letter = await services.store.read(get_newsletter)
    draft = posts.Draft("", "", "", letter.language)
    return await _form(request, Typed(draft, [], 0, "", {}), None)


@editors_too
async def create_letter(request: Request) -> Response:
    """Save a new draft."""
    services = services_of(request)
    typed = await read_typed(request, None)
    if typed.problems:
        return await _form(request, typed, None, status=422)
    post_id = await services.store.write(
        rules.create,
        typed.draft,
        typed.topic_ids,
        public_id=publishing.new_public_id(),
        now=services.clock.now(),
        founder_id=session_at(request).founder.id,
    )
    return _next(post_id, typed.action)


@editors_too
async def edit_letter(request: Request) -> Response:
    """The form with what is stored."""
    post = await services_of(request).store.read(posts.get_post, post_id_of(request))
    return await _form(request, typed_from(post), post)


@editors_too
async def save_letter(request: Request) -> Response:
    """Save on top of the version that was seen; a conflict shows both texts."""
    services = services_of(request)
    post = await _changeable(request)
    typed = await read_typed(request, post)
    if typed.problems:
        return await _form(request, typed, post, status=422)
    founder_id = session_at(request).founder.id
    try:
        if post.state == "published":
            await publishing.revise(
                services,
                post.id,
                typed.draft,
                typed.topic_ids,
                version=typed.version,
                founder_id=founder_id,
            )
            return RedirectResponse(f"/desk/letters/{post.id}/delivery", 303)
        await services.store.write(
            rules.save,
            post.id,
            typed.draft,
            typed.topic_ids,
            version=typed.version,
            now=services.clock.now(),
            founder_id=founder_id,
        )
    except (Conflict, AppError) as wrong:
        if isinstance(wrong, AppError) and wrong.status != 409:
            raise
        newer = await services.store.read(posts.get_post, post.id)
        typed = replace(typed, version=newer.version)
        return await _form(request, typed, newer, status=409, conflict=newer)
    return _next(post.id, typed.action)


async def _changeable(request: Request) -> Post:
    """The post that a path names; what has left drafts is for founders alone to change."""
    post = await services_of(request).store.read(posts.get_post, post_id_of(request))
    if post.state != "draft" and not is_founder(request):
        raise only_founders()
    return post


def _next(post_id: int, action: str) -> Response:
    suffix = {"publish": "/publish", "insert": "?saved=1#body"}.get(action, "?saved=1")
    return RedirectResponse(f"/desk/letters/{post_id}{suffix}", 303)


@editors_too
async def autosave(request: Request) -> Response:
    """Save what is being typed, for the script: a new draft, or on top of the version seen.

    Answers with `version` and `path`; 409 when somebody else saved meanwhile, 422 with problems.
    A published letter is never changed like this.
    """
    services = services_of(request)
    post_id = request.path_params.get("post_id")
    post = None if post_id is None else await _changeable(request)
    typed = await read_typed(request, post)
    _ = words_of(request).gettext
    serious = {name: _(text) for name, text in typed.problems.items() if name != "cover_alt"}
    if serious:
        return JSONResponse({"problems": serious}, 422)
    now, founder_id = services.clock.now(), session_at(request).founder.id
    try:
        if post is None:
            post_id, version = (
                await services.store.write(
                    rules.create,
                    typed.draft,
                    typed.topic_ids,
                    public_id=publishing.new_public_id(),
                    now=now,
                    founder_id=founder_id,
                ),
                1,
            )
        else:
            version = await services.store.write(
                rules.autosave,
                post.id,
                typed.draft,
                typed.topic_ids,
                version=typed.version,
                now=now,
                founder_id=founder_id,
            )
    except Conflict:
        return JSONResponse({"conflict": f"/desk/letters/{post_id}"}, 409)
    return JSONResponse({"version": version, "path": f"/desk/letters/{post_id}"})


@editors_too
async def versions(request: Request) -> Response:
    """What the form held before, the newest first."""
    services = services_of(request)
    before = cursor(request, "before")

    def look(tx: Tx) -> dict[str, Any]:
        post = posts.get_post(tx, post_id_of(request))
        return {
            "newsletter": get_newsletter(tx),
            "post": post,
            "versions": posts.versions(tx, post.id, limit=_VERSIONS, before=before),
        }

    found = await services.store.read(look)
    return desk_page(request, "versions.html", size=_VERSIONS, **found)


async def _form(
    request: Request,
    typed: Typed,
    post: Post | None,
    *,
    status: int = 200,
    conflict: Post | None = None,
) -> Response:
    services = services_of(request)

    def look(tx: Tx) -> dict[str, Any]:
        draft = typed.draft
        cover = None if draft.cover_media_id is None else media.get_media(tx, draft.cover_media_id)
        audio = None if draft.audio_media_id is None else media.get_media(tx, draft.audio_media_id)
        return {
            "newsletter": get_newsletter(tx),
            "topics": topics.all_topics(tx),
            "cover": None if cover is None else cover.renditions[-1],
            "audio": audio,
        }

    return desk_page(
        request,
        "letter.html",
        status=status,
        typed=typed,
        draft=typed.draft,
        problems=typed.problems,
        post=post,
        conflict=conflict,
        saved=request.query_params.get("saved") == "1",
        **await services.store.read(look),
    )


@editors_too
async def delete_letter(request: Request) -> Response:
    """Throw a draft away."""
    services, post_id = services_of(request), post_id_of(request)

    def work(tx: Tx) -> None:
        title = posts.get_post(tx, post_id).title
        posts.delete_draft(tx, post_id)
        audit.write(
            tx,
            "delete draft",
            subject=str(post_id),
            founder_id=session_at(request).founder.id,
            now=services.clock.now(),
            detail={"title": title},
        )

    try:
        await services.store.write(work)
    except Conflict as late:
        raise publishing.changed_meanwhile() from late
    return RedirectResponse("/desk", 303)
