"""The publish sheet: when, to whom, what each channel will show; a test, publishing, stopping.

Sources: issue 6.2; security.md HT-10; federation.md R14; email.md HT-17.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.mail.compose import PREFERENCES_HERE, UNSUBSCRIBE_HERE
from fediletter.mail.letter import render_letter
from fediletter.newsletter import posts as rules
from fediletter.newsletter.html import from_markdown
from fediletter.newsletter.rhythm import PromiseBroken, reason_in, too_near
from fediletter.outbound import mailing
from fediletter.outbound import publish as publishing
from fediletter.outbound.preflight import dead_links, preflight
from fediletter.rendering.feed import content_of
from fediletter.rendering.mastodon import mastodon_view
from fediletter.rendering.objects import article_of, image_of
from fediletter.rendering.structured import structured_of
from fediletter.web.context import page, services_of, words_of
from fediletter.web.desk.census import census_of
from fediletter.web.desk.drafts import for_followers, post_id_of, topics_in, typed_from, version_in
from fediletter.web.desk.login import at_desk, editors_too, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import one, read_form
from fediletter.words import words
from storage import audit, posts, topics
from storage.audiences import count_mail_readers
from storage.errors import Conflict
from storage.media import Media
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Draft, Post
from storage.store import Tx

_ON_SHEET = (
    "to_web",
    "to_fediverse",
    "to_email",
    "embeds_images",
    "article_form",
    "second_thoughts_ms",
)
WINDOWS = (0, 5, 10, 30, 60, 180, 720, 1440)  # Minutes of second thoughts, up to a day.


@at_desk
async def publish_sheet(request: Request) -> Response:
    """When, to whom, and what each channel will show."""
    services = services_of(request)
    post = await services.store.read(posts.get_post, post_id_of(request))
    if post.state in ("published", "withdrawn"):
        return RedirectResponse(f"/desk/letters/{post.id}/delivery", 303)
    return await _sheet(request, post, {})


async def _sheet(
    request: Request,
    post: Post,
    problems: dict[str, str],
    form: FormData | None = None,
    *,
    status: int = 200,
    tested: bool = False,
    untested: AppError | None = None,
    unsent: AppError | None = None,
) -> Response:
    """The sheet, with what was typed into `form` and is not part of the draft."""
    services = services_of(request)
    now = services.clock.now()
    planned = post.scheduled_at if post.state == "scheduled" else None
    counted = await census_of(request)

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "mail_readers": count_mail_readers(tx, post.id, now=now),
            "by_topic": topics.readers_by_topic(tx),
            "topics": topics.all_topics(tx),
            "too_near": too_near(tx, post.id, planned or now),
            "images": mailing.images_shown(tx, post),
        }

    found = await services.store.read(look)
    zone = words_of(request).zone
    shown = replace(post, published_at=now.replace(microsecond=0))
    newsletter: Newsletter = found["newsletter"]
    article = article_of(shown, services.links)
    account = f"@{services.settings.account_user}@{services.settings.account_host}"
    html, text = _mail_preview(request, shown, newsletter, found.pop("images"))
    return desk_page(
        request,
        "publish.html",
        status=status,
        post=post,
        problems=rules.check_draft(typed_from(post).draft, publishing=True) | problems,
        mastodon=mastodon_view(
            article,
            None
            if shown.audience == "followers"
            else structured_of(shown, newsletter, services.links),
            credit=account,
        ),
        account=account,
        mail_text=text,
        embedding=await asyncio.to_thread(
            mailing.embedding_of, html, services.links, services.settings
        ),
        window=publishing.second_thoughts(services.settings, post),
        windows=WINDOWS,
        followers=counted.followers,
        picked=[topic.id for topic in post.topics] if form is None else topics_in(form),
        at=one(form, "at")
        if form is not None
        else f"{planned.astimezone(zone):%Y-%m-%dT%H:%M}"
        if planned
        else "",
        later=planned is not None if form is None else one(form, "when") == "later",
        reason=post.rhythm_reason if form is None else one(form, "rhythm_reason"),
        findings=await preflight(services, post),
        dead_links=await dead_links(services, post) if "links" in request.query_params else None,
        tested=tested,
        untested=untested,
        unsent=unsent,
        **found,
    )


@at_desk
async def publish_letter(request: Request) -> Response:
    """Keep what was chosen on the sheet; then look again, publish now, or at a time."""
    services = services_of(request)
    post = await services.store.read(posts.get_post, post_id_of(request))
    form = await read_form(request)
    founder_id = session_at(request).founder.id
    seen = version_in(form)
    if one(form, "channels") == "chosen":
        draft, problems = _chosen(form, post)
        problems |= await _embedding_problems(request, post, draft)
        if problems:
            shown = replace(post, **_of_sheet(draft))
            return await _sheet(request, shown, problems, form, status=422)
        try:
            seen = await _keep(request, post, draft, form, seen)
        except AppError as late:
            newest = await services.store.read(posts.get_post, post.id)
            if newest.state in ("published", "withdrawn"):
                raise
            shown = replace(newest, **_of_sheet(draft))
            return await _sheet(request, shown, {"": late.words}, form, status=late.status)
    if one(form, "action") == "look":
        return RedirectResponse(f"/desk/letters/{post.id}/publish#previews", 303)
    if one(form, "action") == "test":
        return await _send_test(request, post, form)
    if one(form, "when") == "later":
        return await _plan(request, post, form, seen)
    reason = reason_in(one(form, "rhythm_reason"))
    try:
        await publishing.publish(
            services, post.id, version=seen, founder_id=founder_id, reason=reason
        )
    except AppError as wrong:
        return await _not_published(request, post, wrong, form)
    return RedirectResponse(f"/desk/letters/{post.id}/delivery", 303)


async def _not_published(request: Request, post: Post, wrong: AppError, form: FormData) -> Response:
    """The sheet with its choices and the reason: at its field, or beside the button."""
    post = await services_of(request).store.read(posts.get_post, post.id)
    if isinstance(wrong, PromiseBroken):
        return await _sheet(request, post, {"rhythm_reason": wrong.hint}, form, status=422)
    if post.state in ("published", "withdrawn"):
        raise wrong
    return await _sheet(request, post, {}, form, status=wrong.status, unsent=wrong)


async def _send_test(request: Request, post: Post, form: FormData) -> Response:
    """The letter as it is on the sheet, to whoever asks (HD-23)."""
    services = services_of(request)
    post = await services.store.read(posts.get_post, post.id)
    try:
        await mailing.send_test(services, post.id, session_at(request).founder)
    except AppError as wrong:
        return await _sheet(request, post, {}, form, status=wrong.status, untested=wrong)
    return await _sheet(request, post, {}, form, tested=True)


async def _embedding_problems(request: Request, post: Post, draft: Draft) -> dict[str, str]:
    """Why the images cannot travel inside the mail as it was wanted."""
    if not (draft.embeds_images and draft.to_email):
        return {}
    services = services_of(request)
    newsletter, images = await services.store.read(
        lambda tx: (get_newsletter(tx), mailing.images_shown(tx, post))
    )
    html, _ = _mail_preview(request, post, newsletter, images)
    _, problem = await asyncio.to_thread(
        mailing.embedding_of, html, services.links, services.settings
    )
    return {"embeds_images": problem} if problem else {}


def _chosen(form: FormData, post: Post) -> tuple[Draft, dict[str, str]]:
    """The draft with what stands on the sheet, and what is wrong with it."""
    minutes = one(form, "window")
    web, fediverse, email = _channels(form, post)
    draft = replace(
        typed_from(post).draft,
        to_web=web,
        to_fediverse=fediverse,
        to_email=email,
        **for_followers(form),
        embeds_images=one(form, "embeds_images") == "yes",
        article_form="title" if one(form, "article_form") == "title" else "",
        second_thoughts_ms=(
            int(timedelta(minutes=int(minutes)).total_seconds() * 1000)
            if minutes.isdigit() and int(minutes) in WINDOWS
            else None
        ),
    )
    problems = {}
    if not (draft.to_web or draft.to_fediverse or draft.to_email):
        problems["channels"] = "Choose at least one way for this letter."
    elif draft.to_fediverse and not draft.to_web and post.audience != "followers":
        problems["channels"] = "The fediverse links to the web page: it needs the page too."
    wrong = rules.check_draft(draft, publishing=False)
    return draft, problems | {name: wrong[name] for name in rules.FOR_FOLLOWERS if name in wrong}


def _channels(form: FormData, post: Post) -> tuple[bool, bool, bool]:
    """Whether it goes to the web, the fediverse and by mail; followers alone have one way."""
    if post.audience == "followers":
        return False, True, False
    return (
        one(form, "to_web") == "yes",
        one(form, "to_fediverse") == "yes",
        one(form, "to_email") == "yes",
    )


def _of_sheet(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in (*_ON_SHEET, *rules.FOR_FOLLOWERS)}


async def _keep(request: Request, post: Post, draft: Draft, form: FormData, seen: int) -> int:
    """Save the sheet's choices if they differ; the version to publish."""
    chosen = topics_in(form)
    before = typed_from(post)
    if draft == before.draft and sorted(chosen) == sorted(before.topic_ids):
        return seen
    services = services_of(request)
    try:
        return await services.store.write(
            rules.save,
            post.id,
            draft,
            chosen,
            version=seen,
            now=services.clock.now(),
            founder_id=session_at(request).founder.id,
        )
    except Conflict as late:
        raise publishing.changed_meanwhile() from late


async def _plan(request: Request, post: Post, form: FormData, version: int) -> Response:
    services = services_of(request)
    at = _moment(one(form, "at"), words_of(request).zone)
    post = await services.store.read(posts.get_post, post.id)
    if at is None or at <= services.clock.now():
        problem = {"at": "Choose a day and an hour." if at is None else "This time has passed."}
        return await _sheet(request, post, problem, form, status=422)
    reason = reason_in(one(form, "rhythm_reason"))
    try:
        await publishing.schedule(
            services,
            post.id,
            at=at,
            version=version,
            founder_id=session_at(request).founder.id,
            reason=reason,
        )
    except AppError as wrong:
        return await _not_published(request, post, wrong, form)
    return RedirectResponse("/desk", 303)


def _moment(text: str, zone: ZoneInfo) -> datetime | None:
    """A time of a form, in the hours of who looks at the sheet; which ones, the sheet says."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


@at_desk
async def unschedule(request: Request) -> Response:
    """Back to a draft."""
    services, post_id = services_of(request), post_id_of(request)

    def work(tx: Tx) -> None:
        posts.unschedule(tx, post_id)
        founder_id, now = session_at(request).founder.id, services.clock.now()
        audit.write(tx, "unschedule", subject=str(post_id), founder_id=founder_id, now=now)

    try:
        await services.store.write(work)
    except Conflict as late:
        raise publishing.changed_meanwhile() from late
    return RedirectResponse(f"/desk/letters/{post_id}", 303)


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


@editors_too
async def frame(request: Request) -> Response:
    """The page's text, the mail or the feed's entry, in a frame that may do nothing (HT-10)."""
    services = services_of(request)

    def look(tx: Tx) -> tuple[Newsletter, Post, dict[str, Media]]:
        post = posts.get_post(tx, post_id_of(request))
        return get_newsletter(tx), post, mailing.images_shown(tx, post)

    newsletter, post, images = await services.store.read(look)
    shown = replace(post, published_at=post.published_at or services.clock.now())
    kind = request.path_params["kind"]
    if kind == "mail":
        html, _ = _mail_preview(request, shown, newsletter, images)
        response = HTMLResponse(html)
    elif kind == "feed":
        response = HTMLResponse(
            f'<!DOCTYPE html><html lang="{escape(post.language)}"><head><meta charset="utf-8">'
            f"<title>{escape(post.title)}</title></head><body><h1>{escape(post.title)}</h1>"
            f"{content_of(shown, services.links)}</body></html>"
        )
    else:
        body = from_markdown(
            post.body_markdown,
            profile="web",
            language=post.language,
            base_url=services.links.base,
            page_url=services.links.letter(post.slug),
        )
        response = page(
            request, "desk/frame.html", post=shown, body=body, cover=image_of(post, services.links)
        )
    response.headers["Cache-Control"] = "no-store"
    return response


def _mail_preview(
    request: Request, post: Post, newsletter: Newsletter, images: Mapping[str, Media]
) -> tuple[str, str]:
    services = services_of(request)
    content = mailing.letter_content(post, newsletter, services.links, post.language, images)
    html, text = render_letter(content, words(post.language).gettext)
    for place in (UNSUBSCRIBE_HERE, PREFERENCES_HERE):
        html = html.replace(place, "#")
        text = text.replace(place, services.links.page("/…"))
    return html, text
