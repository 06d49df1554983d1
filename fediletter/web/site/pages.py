"""Pages for readers: front page, letter, topic, privacy.

No cookie, no script, nothing from elsewhere. What a page shows is rendered once for each revision
and language, and answered from memory until something changes.

Sources: federation.md 3.4, 5.4; security.md 6.1; interface.md section 4; performance.md §4.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response

from fediletter.links import Links
from fediletter.newsletter.html import PAGE_SIZES, SafeHtml, from_markdown, images_in
from fediletter.rendering.actor import is_link, profile_fields
from fediletter.rendering.objects import image_of, when
from fediletter.rendering.structured import card_description, card_title, in_script, structured_of
from fediletter.settings import LANGUAGES
from fediletter.web.context import STATIC, page, services_of
from fediletter.web.forms import cursor
from fediletter.web.serving.kept import kept
from fediletter.web.wanted import wants_activity
from storage import conversations, posts
from storage.errors import NotThere
from storage.ids import PostId, ReplyId
from storage.media import Media, get_media, media_named
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Post
from storage.store import Tx
from storage.topics import Topic, all_topics, get_topic, topic_by_slug, topic_names

SECURITY_TXT = "/.well-known/security.txt"
_SECURITY_TXT_GOOD_FOR = timedelta(days=180)  # Less than a year (RFC 9116 §2.5.5).
_ARCHIVE_PAGE = 20
_REPLIES_PAGE = 25  # Light enough for a phone on a train (30 kB a page).


@kept
async def front(request: Request) -> Response:
    """The newsletter and its archive, newest first."""
    return await _front(request)


async def _front(request: Request) -> Response:
    services = services_of(request)
    before = _cursor(request)

    def look(tx: Tx) -> tuple[Newsletter, list[Post], list[Topic]]:
        return (
            get_newsletter(tx),
            posts.published_issues(tx, limit=_ARCHIVE_PAGE + 1, before=before),
            all_topics(tx, public_only=True),
        )

    letter, found, topics = await services.store.read(look)
    return page(
        request,
        "site/front.html",
        newsletter=letter,
        posts=found[:_ARCHIVE_PAGE],
        older=_older(found),
        topics=topics,
        profile=[(name, value, is_link(value)) for name, value in profile_fields(letter)],
        first_page=before is None,
        covers={post.id: image_of(post, services.links) for post in found},
    )


@kept
async def profile(request: Request) -> Response:
    """The account's page for people: the front page. For servers the way to the actor."""
    services = services_of(request)
    if request.path_params["user"].lower() != services.settings.account_user.lower():
        return await _topic_profile(request)
    if wants_activity(request):
        response = RedirectResponse(services.links.actor(), 302)
        response.headers["Vary"] = "Accept"
        return response
    shown = await _front(request)
    shown.headers["Vary"] = "Accept, Accept-Language"
    return shown


async def _topic_profile(request: Request) -> Response:
    """`/@lin`: the page of the topic that this name announces."""
    services = services_of(request)
    own = await services.keyring.by_name(request.path_params["user"])
    if own is None or own.row.topic_id is None:
        raise NotThere("profile")
    topic = await services.store.read(get_topic, own.row.topic_id)
    response = RedirectResponse(
        own.uri if wants_activity(request) else services.links.topic(topic.slug), 302
    )
    response.headers["Vary"] = "Accept"
    return response


@kept
async def topic_page(request: Request) -> Response:
    """The letters of one topic."""
    services = services_of(request)
    before = _cursor(request)

    def look(tx: Tx) -> tuple[Newsletter, Topic, list[Post], str | None]:
        topic = topic_by_slug(tx, request.path_params["slug"])
        if not topic.public:
            raise NotThere("topic")
        found = posts.published_issues(
            tx, limit=_ARCHIVE_PAGE + 1, before=before, topic_id=topic.id
        )
        return get_newsletter(tx), topic, found, topic_names(tx).get(topic.id)

    letter, topic, found, name = await services.store.read(look)
    return page(
        request,
        "site/topic.html",
        newsletter=letter,
        topic=topic,
        handle=f"@{name}@{services.settings.account_host}" if name else None,
        actor_id=services.links.actor(name) if name else None,
        posts=found[:_ARCHIVE_PAGE],
        older=_older(found),
        covers={post.id: image_of(post, services.links) for post in found},
    )


@kept
async def letter(request: Request) -> Response:
    """One letter and its conversation; for servers a way to its object."""
    services = services_of(request)
    post = await services.store.read(posts.post_by_slug, request.path_params["slug"])
    if post.state == "withdrawn" and post.to_web:
        return page(request, "site/withdrawn.html", status=410)
    if post.state != "published" or not post.to_web or post.audience == "followers":
        raise NotThere("letter")
    if wants_activity(request) and post.to_fediverse:
        target = services.links.post_object(post.kind, post.public_id)
        response = RedirectResponse(target, 302)
        response.headers["Vary"] = "Accept"
        return response
    if post.slug != request.path_params["slug"]:
        return RedirectResponse(services.links.letter(post.slug), 301)
    return await _letter(request)


async def _letter(request: Request) -> Response:
    services = services_of(request)
    after = cursor(request, "after") or 0

    def look(
        tx: Tx,
    ) -> tuple[
        Newsletter,
        Post,
        list[conversations.Reply],
        list[conversations.Answer],
        dict[str, int],
        Media | None,
        dict[str, Media],
    ]:
        post = posts.post_by_slug(tx, request.path_params["slug"])
        return (
            get_newsletter(tx),
            post,
            conversations.approved_replies(tx, post.id, limit=_REPLIES_PAGE + 1, after=after),
            conversations.answers_below(tx, post.id, shown_only=True),
            conversations.reactions_of(tx, post.id),
            get_media(tx, post.audio_media_id) if post.audio_media_id else None,
            media_named(tx, images_in(post.body_markdown)),
        )

    newsletter, post, replies, answers, reactions, sound, images = await services.store.read(look)
    links = services.links
    shown = replies[:_REPLIES_PAGE]
    ids = {reply.id for reply in shown}
    body = from_markdown(
        post.body_markdown,
        profile="web",
        language=post.language,
        base_url=links.base,
        page_url=links.letter(post.slug),
        images=images,
    )
    object_id = links.post_object(post.kind, post.public_id)
    response = page(
        request,
        "site/letter.html",
        newsletter=newsletter,
        post=post,
        body=body,
        cover=image_of(post, links),
        cover_set=_source_set(post, request),
        image_sizes=PAGE_SIZES,
        sound=sound,
        replies=shown,
        more=shown[-1].id if len(replies) > len(shown) else None,
        after=after,
        answers=by_reply([one for one in answers if one.reply_id in ids], links),
        likes=reactions.get("like", 0),
        boosts=reactions.get("announce", 0),
        object_id=object_id if post.to_fediverse else None,
        handle=f"@{services.settings.account_user}@{services.settings.account_host}",
        card_title=card_title(post),
        card_description=card_description(post),
        headline=in_script(structured_of(post, newsletter, links)),
        published=when(post.published_at or post.saved_at),
    )
    if post.to_fediverse:
        response.headers["Link"] = (
            f'<{object_id}>; rel="alternate"; type="application/activity+json"'
        )
    response.headers["Vary"] = "Accept, Accept-Language"
    return response


def by_reply(
    answers: Sequence[conversations.Answer], links: Links
) -> dict[ReplyId, list[tuple[conversations.Answer, SafeHtml]]]:
    """The founders' answers, rendered, under the replies that they answer."""
    found: dict[ReplyId, list[tuple[conversations.Answer, SafeHtml]]] = {}
    for one in answers:
        body = from_markdown(
            one.body_markdown, profile="web", language=one.language, base_url=links.base
        )
        found.setdefault(one.reply_id, []).append((one, body))
    return found


@kept
async def privacy(request: Request) -> Response:
    """What is kept, in plain words."""
    newsletter = await services_of(request).store.read(get_newsletter)
    return page(request, "site/privacy.html", newsletter=newsletter)


async def robots(_request: Request) -> Response:
    """Everybody may read; the desk and people's links are nobody's business."""
    lines = ["User-agent: *", "Disallow: /desk", "Disallow: /confirm/", "Disallow: /preferences/"]
    return PlainTextResponse("\n".join([*lines, "Disallow: /unsubscribe/", ""]))


async def security_txt(request: Request) -> Response:
    """Where to report a hole (RFC 9116): where the founders read what readers answer.

    Whoever gets it reads it today, so its date is always half a year ahead.
    """
    services = services_of(request)
    newsletter = await services.store.read(get_newsletter)
    expires = (services.clock.now() + _SECURITY_TXT_GOOD_FOR).replace(microsecond=0)
    lines = [
        f"Contact: mailto:{quote(newsletter.reply_to or services.settings.mail_from, safe='@')}",
        f"Expires: {expires.isoformat().replace('+00:00', 'Z')}",
        f"Preferred-Languages: {', '.join(LANGUAGES)}",
        f"Canonical: {services.links.page(SECURITY_TXT)}",
    ]
    return PlainTextResponse("\n".join([*lines, ""]))


async def favicon(_request: Request) -> Response:
    """A small mark of our own, unless the founders chose one."""
    return FileResponse(STATIC / "favicon.svg", media_type="image/svg+xml")


def _cursor(request: Request) -> tuple[datetime, PostId] | None:
    text = request.query_params.get("before", "")
    moment, _, number = text.rpartition("~")
    try:
        parsed = datetime.fromisoformat(moment)
        return (parsed, PostId(int(number))) if parsed.tzinfo is not None else None
    except ValueError:
        return None


def _older(found: list[Post]) -> str | None:
    if len(found) <= _ARCHIVE_PAGE:
        return None
    last = found[_ARCHIVE_PAGE - 1]
    assert last.published_at is not None  # noqa: S101 (published)
    return f"{last.published_at.isoformat().replace('+00:00', 'Z')}~{last.id}"


def _source_set(post: Post, request: Request) -> str:
    if post.cover is None:
        return ""
    links = services_of(request).links
    return ", ".join(
        f"{links.media(one['name'])} {one['width']}w"
        for one in json.loads(post.cover.renditions_json)
    )
