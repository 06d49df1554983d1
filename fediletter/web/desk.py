"""The founders' desk: write, look, publish.

Everything works as plain forms; a small script only spares pressing a button.

Sources: issue 2.6; security.md WE-7, WE-10; interface.md section 4.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.mail.compose import PREFERENCES_HERE, UNSUBSCRIBE_HERE
from fediletter.mail.letter import render_letter
from fediletter.newsletter import posts as rules
from fediletter.newsletter.html import from_markdown
from fediletter.outbound import publish as publishing
from fediletter.rendering.mastodon import mastodon_view
from fediletter.rendering.objects import article_of, image_of, teaser_of
from fediletter.web.context import page, services_of
from fediletter.web.drafts import Typed, post_id_of, read_typed, typed_from
from fediletter.web.forms import one, read_form
from fediletter.web.login import at_desk, session_at
from fediletter.words import words
from storage import conversations, followers, media, posts, progress, topics
from storage.errors import Conflict
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Post
from storage.store import Tx
from storage.topics import Topic


def desk_page(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """A page of the desk, with the session's token for its forms."""
    session = session_at(request)
    return page(
        request,
        f"desk/{template}",
        status=status,
        csrf=session.csrf,
        founder=session.founder,
        **context,
    )


@at_desk
async def home(request: Request) -> Response:
    """Drafts, what is planned, what is out; how many read."""
    services = services_of(request)
    now = services.clock.now()
    own = await services.keyring.newsletter()

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "drafts": posts.posts_in_state(tx, "draft", limit=50),
            "scheduled": posts.posts_in_state(tx, "scheduled", limit=50),
            "published": posts.published_issues(
                tx, limit=20, audiences=("public", "unlisted", "followers")
            ),
            "subscribers": progress.audience_sizes(tx, now=now)[0],
            "followers": followers.count_followers(tx, own.id),
            "pending": conversations.count_pending(tx),
        }

    return desk_page(request, "home.html", **await services.store.read(look))


# --- writing ---------------------------------------------------------------------------------


@at_desk
async def new_letter(request: Request) -> Response:
    """An empty form."""
    services = services_of(request)
    letter = await services.store.read(get_newsletter)
    draft = posts.Draft("", "", "", letter.language)
    return await _form(request, Typed(draft, [], 0, "", {}), None)


@at_desk
async def create_letter(request: Request) -> Response:
    """Save a new draft."""
    services = services_of(request)
    typed = await read_typed(request)
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
    target = f"/desk/letters/{post_id}"
    return RedirectResponse(f"{target}/publish" if typed.action == "publish" else target, 303)


@at_desk
async def edit_letter(request: Request) -> Response:
    """The form with what is stored."""
    post = await services_of(request).store.read(posts.get_post, post_id_of(request))
    return await _form(request, typed_from(post), post)


@at_desk
async def save_letter(request: Request) -> Response:
    """Save on top of the version that was seen; a conflict shows both texts."""
    services = services_of(request)
    post = await services.store.read(posts.get_post, post_id_of(request))
    typed = await read_typed(request)
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
    target = f"/desk/letters/{post.id}"
    suffix = "/publish" if typed.action == "publish" else "?saved=1"
    return RedirectResponse(target + suffix, 303)


async def _form(
    request: Request,
    typed: Typed,
    post: Post | None,
    *,
    status: int = 200,
    conflict: Post | None = None,
) -> Response:
    services = services_of(request)

    def look(tx: Tx) -> tuple[Newsletter, list[Topic], media.Media | None]:
        cover_id = typed.draft.cover_media_id
        cover = None if cover_id is None else media.get_media(tx, cover_id)
        return get_newsletter(tx), topics.all_topics(tx), cover

    newsletter, found, cover = await services.store.read(look)
    return desk_page(
        request,
        "letter.html",
        status=status,
        newsletter=newsletter,
        topics=found,
        typed=typed,
        draft=typed.draft,
        problems=typed.problems,
        post=post,
        cover=None if cover is None else cover.renditions[-1],
        conflict=conflict,
        saved=request.query_params.get("saved") == "1",
    )


@at_desk
async def delete_letter(request: Request) -> Response:
    """Throw a draft away."""
    services = services_of(request)
    try:
        await services.store.write(posts.delete_draft, post_id_of(request))
    except Conflict as late:
        raise publishing.changed_meanwhile() from late
    return RedirectResponse("/desk", 303)


# --- publishing ------------------------------------------------------------------------------


@at_desk
async def publish_sheet(request: Request) -> Response:
    """When, to whom, and what each channel will show."""
    services = services_of(request)
    post = await services.store.read(posts.get_post, post_id_of(request))
    if post.state == "published":
        return RedirectResponse(f"/desk/letters/{post.id}/delivery", 303)
    return await _sheet(request, post, {})


async def _sheet(
    request: Request, post: Post, problems: dict[str, str], *, status: int = 200
) -> Response:
    services = services_of(request)
    now = services.clock.now()
    own = await services.keyring.newsletter()

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "audience": progress.audience_sizes(tx, now=now),
            "by_topic": topics.readers_by_topic(tx),
            "followers": followers.count_followers(tx, own.id),
        }

    found = await services.store.read(look)
    shown = replace(post, published_at=now.replace(microsecond=0))
    newsletter: Newsletter = found["newsletter"]
    article = article_of(shown, services.links, newsletter)
    _, text = _mail_preview(request, shown, newsletter)
    return desk_page(
        request,
        "publish.html",
        status=status,
        post=post,
        problems=problems | rules.check_draft(typed_from(post).draft, publishing=True),
        mastodon=mastodon_view(article, card_description=post.summary or teaser_of(post)),
        account=f"@{services.settings.account_user}@{services.settings.account_host}",
        mail_text=text,
        window=publishing.second_thoughts(services.settings, post),
        **found,
    )


@at_desk
async def publish_letter(request: Request) -> Response:
    """Publish now, or at a time."""
    services = services_of(request)
    post = await services.store.read(posts.get_post, post_id_of(request))
    form = await read_form(request)
    founder_id = session_at(request).founder.id
    version = one(form, "version")
    seen = int(version) if version.isdigit() else 0
    if one(form, "when") == "later":
        at = _moment(one(form, "at"))
        if at is None:
            problem = {"at": "Choose a day and an hour."}
            return await _sheet(request, post, problem, status=422)
        try:
            await publishing.schedule(services, post.id, at=at, version=seen, founder_id=founder_id)
        except AppError as wrong:
            if wrong.status != 422:
                raise
            return await _sheet(request, post, {"at": wrong.words}, status=422)
        return RedirectResponse("/desk", 303)
    await publishing.publish(services, post.id, version=seen, founder_id=founder_id)
    return RedirectResponse(f"/desk/letters/{post.id}/delivery", 303)


def _moment(text: str) -> datetime | None:
    """A time of a form, in UTC; the sheet says so."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@at_desk
async def unschedule(request: Request) -> Response:
    """Back to a draft."""
    services = services_of(request)
    try:
        await services.store.write(posts.unschedule, post_id_of(request))
    except Conflict as late:
        raise publishing.changed_meanwhile() from late
    return RedirectResponse(f"/desk/letters/{post_id_of(request)}", 303)


@at_desk
async def stop_letter(request: Request) -> Response:
    """Second thoughts: every channel stops."""
    services = services_of(request)
    post_id = post_id_of(request)
    untouched = await publishing.stop(services, post_id, founder_id=session_at(request).founder.id)
    target = f"/desk/letters/{post_id}"
    return RedirectResponse(target if untouched else f"{target}/delivery", 303)


@at_desk
async def withdraw_letter(request: Request) -> Response:
    """Take a published letter back."""
    await publishing.withdraw(
        services_of(request),
        post_id_of(request),
        founder_id=session_at(request).founder.id,
    )
    return RedirectResponse("/desk", 303)


# --- frames: what channels show, with no power over the desk ------------------------------------


@at_desk
async def frame(request: Request) -> Response:
    """The page's text or the mail, in a frame that may do nothing (HT-10)."""
    services = services_of(request)

    def look(tx: Tx) -> tuple[Newsletter, Post]:
        return get_newsletter(tx), posts.get_post(tx, post_id_of(request))

    newsletter, post = await services.store.read(look)
    shown = replace(post, published_at=post.published_at or services.clock.now())
    if request.path_params["kind"] == "mail":
        html, _ = _mail_preview(request, shown, newsletter)
        response = HTMLResponse(html)
    else:
        body = from_markdown(
            post.body_markdown,
            profile="web",
            language=post.language,
            base_url=services.links.base,
        )
        response = page(
            request,
            "desk/frame.html",
            post=shown,
            body=body,
            cover=image_of(post, services.links),
        )
    response.headers["Cache-Control"] = "no-store"
    return response


def _mail_preview(request: Request, post: Post, newsletter: Newsletter) -> tuple[str, str]:
    services = services_of(request)
    content = publishing.letter_content(post, newsletter, services.links, services.settings)
    html, text = render_letter(content, words(post.language).gettext)
    for place in (UNSUBSCRIBE_HERE, PREFERENCES_HERE):
        html = html.replace(place, "#")
        text = text.replace(place, services.links.page("/…"))
    return html, text
