"""Publishing: one transaction, constant in the number of readers; everything else follows from it.

While a founder may have second thoughts the letter is only planned: no page, no feed, no peer and
no mailbox has anything of it, so that stopping it leaves nothing behind anywhere.

What costs time (rendering, composing, encoding) is prepared before the transaction and thrown away
if the post has changed meanwhile. "Published" is said after the commit.

Sources: security.md RE-1, RE-3, RE-11; federation.md R6, 5.7, 5.8; architecture page, section 4.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fediletter.errors import AppError
from fediletter.keyring import OwnActor
from fediletter.links import Links
from fediletter.newsletter.alerts import Alert, House, tell_founders
from fediletter.newsletter.conversations import around
from fediletter.newsletter.rhythm import hold_to_promise, too_near
from fediletter.newsletter.slugs import slug_of
from fediletter.outbound.mailing import compose_letter, images_shown
from fediletter.outbound.say import later_than, say
from fediletter.outbound.topics import Announcers, announce_changes, announcers, unannounce
from fediletter.rendering import activities
from fediletter.rendering.activities import Outgoing
from fediletter.rendering.documents import Around, document_of
from fediletter.room import no_room, room_in
from fediletter.services import Services, house_of
from fediletter.settings import LANGUAGES, Settings
from fediletter.words import words
from storage import audit, fan_outs, mailings, posts
from storage.activities import unlist
from storage.errors import Conflict, NotThere
from storage.ids import FounderId, PostId, TopicId
from storage.media import Media
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Draft, Post
from storage.store import Tx
from storage.topics import set_topics

_log = logging.getLogger("fediletter.outbound")


@dataclass(frozen=True, slots=True)
class Published:
    """What is true once the transaction has committed."""

    url: str
    object_id: str
    leaves_at: datetime  # From then on it is to be seen: on its page, and everywhere.


@dataclass(frozen=True, slots=True)
class _Prepared:
    post: Post
    create: Outgoing | None
    templates: dict[str, tuple[str, bytes]]


async def publish(
    services: Services,
    post_id: PostId,
    *,
    version: int,
    founder_id: FounderId | None = None,
    reason: str = "",
) -> Published:
    """Publish a draft: now, or after its time for second thoughts.

    Args:
        services: The toolbox.
        post_id: A draft, or one that is planned for later.
        version: The version that the founder saw.
        founder_id: Who does it; None for the clock and the command line.
        reason: Why the promise of the rhythm is broken; kept only if it is.

    Raises:
        PromiseBroken: It comes sooner than promised, without a reason.
        AppError: It cannot be sent as it is; or somebody changed it meanwhile.
    """
    if not room_in(services.settings.data).has_place_for():
        raise no_room()
    now = services.clock.now()
    prepared = await _prepare(services, post_id, now.replace(microsecond=0), reason)
    if prepared.post.version != version:
        raise changed_meanwhile()
    leaves_at = now + second_thoughts(services.settings, prepared.post)
    if leaves_at > now:
        await _hold(services, prepared.post, leaves_at, founder_id=founder_id, now=now)
    else:
        await _send_out(services, prepared, founder_id=founder_id, now=now)
    post = prepared.post
    return Published(
        services.links.letter(post.slug),
        services.links.post_object(post.kind, post.public_id),
        leaves_at,
    )


async def _send_out(
    services: Services, prepared: _Prepared, *, founder_id: FounderId | None, now: datetime
) -> None:
    own = await services.keyring.newsletter()
    by_topic = await announcers(services)
    try:
        await services.store.write(
            _commit, prepared, own, by_topic, services.links, founder_id=founder_id, now=now
        )
    except Conflict as late:
        raise changed_meanwhile() from late


async def _hold(
    services: Services,
    post: Post,
    leaves_at: datetime,
    *,
    founder_id: FounderId | None,
    now: datetime,
) -> None:
    def work(tx: Tx) -> None:
        hold_to_promise(tx, post.id, leaves_at, post.rhythm_reason)
        posts.schedule(tx, post.id, at=leaves_at, version=post.version, slug=post.slug)
        audit.write(tx, "publish", subject=str(post.id), founder_id=founder_id, now=now)

    try:
        await services.store.write(work)
    except Conflict as late:
        raise changed_meanwhile() from late


async def publish_due(services: Services) -> None:
    """Publish what was scheduled and is due; a second process that tries does nothing (RE-11).

    While there is no room it stays planned (L-56), and leaves once there is.
    """
    due = await services.store.read(posts.due_posts, now=services.clock.now())
    if due and not room_in(services.settings.data).has_place_for():
        _log.warning("no room left: planned letters wait", extra={"count": len(due)})
        return
    for post_id in due:
        try:
            post = await services.store.read(posts.get_post, post_id)
            now = services.clock.now()
            moment = now.replace(microsecond=0)
            prepared = await _prepare(services, post_id, moment, post.rhythm_reason)
            await _send_out(services, prepared, founder_id=None, now=now)
        except AppError as wrong:
            _log.error("a scheduled letter could not be published", extra={"reason": wrong.words})
            await services.store.write(
                _set_back, post_id, wrong, house_of(services), now=services.clock.now()
            )
        except NotThere:
            continue


async def schedule(
    services: Services,
    post_id: PostId,
    *,
    at: datetime,
    version: int,
    founder_id: FounderId | None = None,
    reason: str = "",
) -> None:
    """Let a draft be published later. Raises as `publish` does."""
    now = services.clock.now()
    if at <= now:
        raise AppError(422, "This time has passed.", "Choose a later one, or publish now.")
    await _prepare(services, post_id, now.replace(microsecond=0), reason)

    def work(tx: Tx) -> None:
        hold_to_promise(tx, post_id, at, reason)
        posts.schedule(tx, post_id, at=at, version=version)
        audit.write(tx, "schedule", subject=str(post_id), founder_id=founder_id, now=now)

    try:
        await services.store.write(work)
    except Conflict as late:
        raise changed_meanwhile() from late


async def revise(
    services: Services,
    post_id: PostId,
    draft: Draft,
    topic_ids: list[TopicId],
    *,
    version: int,
    founder_id: FounderId | None = None,
) -> None:
    """Edit a published post: pages and peers get the new text, mail is not sent again.

    Raises:
        AppError: Somebody else saved meanwhile, or the post is not published.
    """
    now = services.clock.now()
    own = await services.keyring.newsletter()
    by_topic = await announcers(services)

    def work(tx: Tx) -> None:
        before = posts.get_post(tx, post_id)
        # Who got it before keeps the right to it.
        kept = replace(draft, audience=before.audience)
        posts.save_draft(tx, post_id, kept, version=version, now=now, founder_id=founder_id)
        set_topics(tx, post_id, topic_ids)
        updated_at = later_than(before, now)
        posts.mark_edited(tx, post_id, version=version + 1, updated_at=updated_at)
        audit.write(tx, "edit", subject=str(post_id), founder_id=founder_id, now=now)
        post = posts.get_post(tx, post_id)
        if not post.to_fediverse:
            return
        document = document_of(post, services.links, around(tx, post))
        outgoing = activities.update(document, services.links, token=secrets.token_urlsafe(16))
        say(tx, outgoing, own, post, audience="holders", start_at=now, now=now)
        announce_changes(tx, by_topic, post, services.links, start_at=now, now=now)

    try:
        await services.store.write(work)
    except Conflict as late:
        raise changed_meanwhile() from late


async def withdraw(
    services: Services, post_id: PostId, *, founder_id: FounderId | None = None
) -> None:
    """Take a published post back: pages and peers forget it, its id is burnt.

    Mail that has not left stays; what has left cannot be called back.
    """
    now = services.clock.now()
    own = await services.keyring.newsletter()
    by_topic = await announcers(services)

    def work(tx: Tx) -> None:
        post = posts.get_post(tx, post_id)
        posts.mark_withdrawn(tx, post_id, now=now)
        fan_outs.stop_post(tx, post_id, now=now)
        audit.write(tx, "withdraw", subject=str(post_id), founder_id=founder_id, now=now)
        if not post.to_fediverse:
            return
        unannounce(tx, by_topic, post, services.links, now=now)
        document = document_of(post, services.links, around(tx, post))
        token = secrets.token_urlsafe(16)
        outgoing = activities.delete(post, document, services.links, token=token, now=now)
        unlist(tx, outgoing.object_uri)
        say(tx, outgoing, own, post, audience="holders", start_at=now, now=now)

    try:
        await services.store.write(work)
    except Conflict as late:
        raise changed_meanwhile() from late


async def stop(services: Services, post_id: PostId, *, founder_id: FounderId | None = None) -> bool:
    """Second thoughts: stop every channel of a post that was just published.

    Returns:
        True if nothing had left: it is a draft again. False if something had: what remains is
        stopped, the post stays published.
    """
    now = services.clock.now()

    def work(tx: Tx) -> bool:
        if posts.get_post(tx, post_id).state == "scheduled":
            posts.unschedule(tx, post_id)
            audit.write(tx, "stop", subject=str(post_id), founder_id=founder_id, now=now)
            return True
        untouched = fan_outs.stop_post(tx, post_id, now=now)
        if untouched:
            post = posts.get_post(tx, post_id)
            unlist(tx, services.links.post_object(post.kind, post.public_id))
            posts.back_to_draft(tx, post_id, public_id=new_public_id())
        audit.write(tx, "stop", subject=str(post_id), founder_id=founder_id, now=now)
        return untouched

    try:
        return await services.store.write(work)
    except Conflict as late:
        raise changed_meanwhile() from late


def second_thoughts(settings: Settings, post: Post) -> timedelta:
    """How long a post is held back after a founder published it."""
    if post.second_thoughts_ms is None:
        return settings.second_thoughts
    return timedelta(milliseconds=post.second_thoughts_ms)


def new_public_id() -> str:
    """An opaque, permanent id: no slug and no sequence."""
    return secrets.token_hex(10)


def changed_meanwhile() -> AppError:
    """Somebody else was faster."""
    return AppError(
        409,
        "This letter was changed meanwhile.",
        "Look at the newer text before you go on.",
    )


# --- preparing -------------------------------------------------------------------------------


async def _prepare(services: Services, post_id: PostId, moment: datetime, reason: str) -> _Prepared:
    def look(tx: Tx) -> tuple[Post, Newsletter, str, dict[str, Media]]:
        broken = too_near(tx, post_id, moment) is not None
        post = replace(posts.get_post(tx, post_id), rhythm_reason=reason if broken else "")
        slug = post.slug if post.revision else _final_slug(tx, post)
        return post, get_newsletter(tx), slug, images_shown(tx, post)

    try:
        post, letter, slug, images = await services.store.read(look)
    except NotThere as gone:
        raise AppError(404, "There is no such letter.") from gone
    if not post.title.strip() or not post.body_markdown.strip():
        raise AppError(422, "A letter needs a title and a text.", "Write them first.")
    post = replace(post, slug=slug, published_at=moment, state="published")
    return await asyncio.to_thread(_render, post, letter, services.links, services.settings, images)


def _final_slug(tx: Tx, post: Post) -> str:
    wanted = slug_of(post.title)
    fits = re.fullmatch(rf"{re.escape(wanted)}(-\d+)?", post.slug)
    return post.slug if fits else posts.free_slug(tx, wanted)


def _render(
    post: Post,
    letter: Newsletter,
    links: Links,
    settings: Settings,
    images: Mapping[str, Media],
) -> _Prepared:
    create = None
    if post.to_fediverse:
        create = activities.create(document_of(post, links, Around()))
    templates = {}
    if post.to_email:
        for language in LANGUAGES:
            templates[language] = compose_letter(post, letter, links, settings, language, images)
    return _Prepared(post, create, templates)


# --- committing ------------------------------------------------------------------------------


def _commit(
    tx: Tx,
    prepared: _Prepared,
    own: OwnActor,
    by_topic: Announcers,
    links: Links,
    *,
    founder_id: FounderId | None,
    now: datetime,
) -> None:
    post = prepared.post
    assert post.published_at is not None  # noqa: S101 (prepared with it)
    hold_to_promise(tx, post.id, post.published_at, post.rhythm_reason)
    posts.mark_published(
        tx, post.id, version=post.version, slug=post.slug, published_at=post.published_at
    )
    if prepared.create is not None:
        say(tx, prepared.create, own, post, audience="followers", start_at=now, now=now)
        announce_changes(tx, by_topic, post, links, start_at=now, now=now)
    if prepared.templates:
        mailing_id = mailings.create_mailing(tx, post.id, prepared.templates, now=now)
        fan_outs.fan_out_mailing(tx, mailing_id, start_at=now, now=now)
    audit.write(tx, "publish", subject=str(post.id), founder_id=founder_id, now=now)


def _set_back(tx: Tx, post_id: PostId, wrong: AppError, house: House, *, now: datetime) -> None:
    """It is a draft again, and the founders hear of it: they took it for published."""
    try:
        posts.unschedule(tx, post_id)
    except Conflict:
        return
    letter = get_newsletter(tx)
    reason = words(letter.language).gettext(wrong.words, **wrong.fields)
    fields: dict[str, object] = {
        "title": posts.get_post(tx, post_id).title,
        "reason": reason,
    }
    alert = Alert(
        f"not published:{post_id}",
        "A letter could not leave",
        "“{title}” is a draft again: {reason}",
        fields,
    )
    tell_founders(tx, alert, house, now=now)
