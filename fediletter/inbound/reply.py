"""Create: an answer to a letter of ours, or to an answer below one, or what only mentions us.

A mention answers nothing of ours: the founders see it and can answer, no page of ours shows it.

Sources: federation.md 9.2, 9.5; security.md IN-19, IN-20, IN-32, IN-33, HT-5, L-25, L-26,
L-29.
"""

import asyncio
import logging
from datetime import datetime
from typing import Any

from federation.fetch import Fetcher
from federation.inbox import VerifiedActivity
from federation.origins import same_origin
from federation.reading import (
    date_of,
    first,
    id_of,
    ids_of,
    many,
    only,
    recipients_of,
    text_of,
    types_of,
    url_of,
    visibility_of,
)
from fediletter.inbound.facts import Apply, actor_now, actor_row, ignore, our_post
from fediletter.inbound.reasons import TOO_MANY_ANSWERS
from fediletter.inbound.vote import apply_ballot, ballot_of
from fediletter.limits import (
    REMOTE_HTML_BYTES,
    REPLIES_PER_ACTOR_HOUR,
    REPLIES_PER_ISSUE,
    REPLY_DEPTH,
    SANITISER_SECONDS,
    TAGS,
)
from fediletter.newsletter.html import (
    SafeHtml,
    from_remote,
    paragraphs_of,
    plain_name,
    without_tags,
)
from fediletter.services import Services
from storage.conversations import (
    SHOWN,
    NewReply,
    answered_reply,
    depth_of,
    edit_reply,
    keep_reply,
    reply_by_uri,
    stored_of,
)
from storage.correspondence import newest_letter
from storage.ids import PostId, ReplyId
from storage.newsletters import get_newsletter
from storage.peers import find_actor
from storage.posts import foyer
from storage.received import is_buried
from storage.store import Tx

_KINDS = frozenset({"Note", "Article", "Page", "Question", "Image", "Video", "Audio"})
_log = logging.getLogger("fediletter.inbound")


async def create(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """Count a vote, or keep an answer, which is shown when a founder approves it, or a mention."""
    ballot = ballot_of(activity, services.links)
    if ballot is not None:
        return apply_ballot(services, activity, ballot)
    note = only(activity.document.get("object"))
    wrong = _why_not(note, activity.actor)
    if wrong is not None:
        return ignore(wrong)
    assert isinstance(note, dict)  # noqa: S101 (just looked at)
    fetched = await actor_now(services, activity.actor, fetcher)
    now = services.clock.now()
    content = await content_of(note)
    named = await _names_us(services, note)

    def apply(tx: Tx) -> str | None:
        uri = id_of(note)
        assert uri is not None  # noqa: S101 (just looked at)
        place = _place(tx, services, note)
        if place is None and not named:
            return "answers nothing of ours"
        if is_buried(tx, uri, activity.actor):
            return "was deleted before it came"
        row = actor_row(tx, activity.actor, fetched, now=now)
        if row is None or row.deleted_at is not None:
            return "the actor is gone"
        post_id, parent_id, mention = place or (_foyer(tx, now), None, True)
        below, lately = stored_of(tx, post_id, row.id, mention=mention, now=now)
        if below >= REPLIES_PER_ISSUE or lately >= REPLIES_PER_ACTOR_HOUR:
            return TOO_MANY_ANSWERS
        visibility = visibility_of(note, row.followers_uri)
        trusted = row.approved and get_newsletter(tx).approve_known
        new = NewReply(
            post_id=post_id,
            parent_id=parent_id,
            channel="fediverse",
            uri=uri,
            content_html=content,
            visibility=visibility,
            published_at=published_of(note, now),
            remote_actor_id=row.id,
            author_name=plain_name(row.name or row.username, 200),
            url=url_of(note.get("url")),
            context=id_of(note.get("context")) or id_of(note.get("conversation")),
            mention=mention,
            updated_at=date_of(note.get("updated")),
        )
        shown = trusted and visibility in SHOWN and not mention
        state = "approved" if shown else "pending"
        return None if keep_reply(tx, new, state=state, now=now) else "is here already"

    return apply


def _why_not(note: object, actor: str) -> str | None:
    if not isinstance(note, dict) or not _KINDS & set(types_of(note)):
        return "is nothing that we read"
    uri = id_of(note)
    if uri is None or not same_origin(uri, actor):
        return "the object is not at the actor's own host"
    if id_of(first(note.get("attributedTo"))) != actor:
        return "is not attributed to its actor"
    return None


async def _names_us(services: Services, note: dict[str, Any]) -> bool:
    """Whether it mentions or addresses the newsletter, or one of its topics."""
    tags = [one for one in many(note.get("tag"))[:TAGS] if "Mention" in types_of(one)]
    to, cc = recipients_of(note)
    named = to | cc | {href for one in tags if (href := id_of(one.get("href"))) is not None}
    ours = [uri for uri in named if uri.startswith(f"{services.links.base}/ap/")]
    for uri in ours[:5]:
        own = await services.keyring.by_uri(uri)
        if own is not None and own.row.kind != "instance":
            return True
    return False


def _foyer(tx: Tx, now: datetime) -> PostId:
    """Where a mention stands: with the newest letter, as mail does that answers none."""
    return newest_letter(tx) or foyer(tx, language=get_newsletter(tx).language, now=now)


def _place(
    tx: Tx, services: Services, note: dict[str, Any]
) -> tuple[PostId, ReplyId | None, bool] | None:
    """Below what of ours it stands, and whether that is a mention itself."""
    for uri in ids_of(note.get("inReplyTo"))[:5]:
        post = our_post(tx, services.links, uri)
        if post is not None and post.kind == "note":
            # Below an answer of ours: in the conversation of its letter.
            answered = answered_reply(tx, post.id)
            return answered.post_id, answered.id, answered.mention
        if post is not None:
            return post.id, None, False
        parent = reply_by_uri(tx, uri)
        if parent is not None and depth_of(tx, parent.id, most=REPLY_DEPTH) < REPLY_DEPTH:
            return parent.post_id, parent.id, parent.mention
    return None


async def content_of(note: dict[str, Any]) -> SafeHtml:
    """What the note says, sanitised beside the event loop; as plain text if that takes too long.

    Whatever the sanitiser does with it: what somebody wrote is neither lost nor waited for (HT-5).
    """
    markup = text_of(note, "content", longest=2 * REMOTE_HTML_BYTES)
    markup = markup or text_of(note, "name", longest=500)
    try:
        async with asyncio.timeout(SANITISER_SECONDS):
            return await asyncio.to_thread(from_remote, markup)
    except Exception as trouble:  # noqa: BLE001 (logged; the words are kept)
        _log.warning("an answer is shown as plain text", extra={"kind": type(trouble).__name__})
        return paragraphs_of(without_tags(markup[:REMOTE_HTML_BYTES]))


def published_of(note: dict[str, Any], now: datetime) -> datetime:
    """When it was written; never in our future."""
    return min(date_of(note.get("published")) or now, now)


async def edit(
    services: Services, activity: VerifiedActivity, fetcher: Fetcher, note: dict[str, Any]
) -> Apply:
    """An Update of a kept answer by its author; of an unknown one it is a Create."""
    wrong = _why_not(note, activity.actor)
    if wrong is not None:
        return ignore(wrong)
    uri = id_of(note)
    now = services.clock.now()
    content = await content_of(note)
    as_new = await create(services, activity, fetcher)

    def apply(tx: Tx) -> str | None:
        found = reply_by_uri(tx, uri or "")
        if found is None:
            return as_new(tx)
        if found.actor_uri != activity.actor:
            return "is of another author"
        # Whoever says nothing of whom it is for leaves that as it was; whoever narrows it does.
        named = any(recipients_of(note))
        author = find_actor(tx, activity.actor)
        followers = None if author is None else author.followers_uri
        newer = edit_reply(
            tx,
            found.id,
            content_html=content,
            visibility=visibility_of(note, followers) if named else found.visibility,
            updated_at=date_of(note.get("updated")) or now,
        )
        return None if newer else "is not newer than what is here"

    return apply
