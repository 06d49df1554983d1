"""One reader, two channels: a subscriber says which follower they are, and proves it.

The proof is a private message to the account with a link: only its owner can press the button.
What is joined then rests is the mail of the one whose link began it, never anybody else's letters,
and only while the account follows. So nobody silences others: neither the owner of a claimed
account, who goes on receiving there, nor another subscriber, whose row is not touched. Whether an
account follows is not told (PR-7): the answer on the page is the same.

Sources: ActivityPub §6.2; federation.md 5 (mentions of private notes); security.md EM-10, PR-7.
"""

import html
import secrets
from datetime import datetime, timedelta

from federation.digests import sha256_base64
from federation.origins import host_of
from fediletter.errors import AppError
from fediletter.limits import DATA_LINK
from fediletter.links import Links
from fediletter.newsletter.agenda import voter_of
from fediletter.newsletter.own_data import look_up
from fediletter.newsletter.tokens import Tokens
from fediletter.rendering.activities import Document, encode
from fediletter.rendering.objects import AS, when
from fediletter.words import words
from storage import personal, polls, subscribers
from storage.activities import keep_activity
from storage.followers import FollowerAddress, find_follower
from storage.ids import ActorId
from storage.lanes import inbox_for, send_activity
from storage.newsletters import get_newsletter
from storage.store import Tx
from storage.subscribers import Event, Subscriber
from storage.throttles import hit

PURPOSE = "follows-as"
_ASKS_PER_ACCOUNT = (1, timedelta(days=1))
_ASKS_PER_PERSON = (5, timedelta(days=1))


def ask(
    tx: Tx,
    person: Subscriber,
    handle: str,
    actor_id: ActorId,
    links: Links,
    tokens: Tokens,
    *,
    now: datetime,
) -> None:
    """Send a private message to the account of a handle, if it follows us.

    Args:
        tx: The transaction.
        person: Whose mail would rest.
        handle: `@ana@social.example`, or the address of the profile.
        actor_id: Our actor that it must follow.
        links: Our addresses.
        tokens: Make the link.
        now: The time.
    """
    most, span = _ASKS_PER_PERSON
    if not hit(tx, f"handle:by:{person.id}", most=most, span=span, now=now):
        return
    found = find_follower(tx, actor_id, handle.strip())
    if found is None:
        return
    most, span = _ASKS_PER_ACCOUNT
    if not hit(
        tx, f"handle:of:{tokens.hash_secret(found.uri).hex()}", most=most, span=span, now=now
    ):
        return
    token = secrets.token_urlsafe(20)
    personal.add_link(
        tx,
        tokens.hash_secret(token),
        PURPOSE,
        person.id,
        detail=found.uri,
        expires_at=now + DATA_LINK,
        now=now,
    )
    _send(tx, found, actor_id, _message(tx, person, found, links, token, now), now)


def join(tx: Tx, token: str, tokens: Tokens, *, now: datetime) -> None:
    """The owner of the account pressed the button: the mail rests while the account follows.

    Raises:
        AppError: The link is none of ours, has served, or is older than a day (404).
    """
    opened = look_up(tx, token, tokens, now=now)
    if opened.purpose != PURPOSE:
        raise AppError(404, "This link does not work.")
    personal.use_link(tx, tokens.hash_secret(tokens.trimmed(token)), now=now)
    person = opened.person
    subscribers.change_subscriber(tx, person.id, follows_as=opened.detail)
    polls.rename_voter(tx, voter_of(person), opened.detail)
    topics = subscribers.topics_of(tx, person.id)
    subscribers.record_consent(
        tx, person.id, Event("follows instead", now, "message", person.language, topics, topics)
    )


def _message(
    tx: Tx, person: Subscriber, to: FollowerAddress, links: Links, token: str, now: datetime
) -> Document:
    gettext = words(person.language).gettext
    text = gettext(
        "Somebody who receives the letters of {title} by email says that this account is theirs. "
        "If it is you, open this page and press the button: the letters then come here only.",
        title=get_newsletter(tx).title,
    )
    page = links.page(f"/account/{token}")
    mention = (
        f'<a href="{html.escape(to.uri)}" class="u-url mention">@{html.escape(to.username)}</a>'
    )
    note_id = links.activity(secrets.token_urlsafe(16))
    note = {
        "id": note_id,
        "type": "Note",
        "attributedTo": links.actor(),
        "published": when(now),
        "to": [to.uri],
        "cc": [],
        "content": f'<p>{mention} {html.escape(text)}</p><p><a href="{page}">{page}</a></p>',
        "tag": [{"type": "Mention", "href": to.uri, "name": f"@{to.username}@{to.host}"}],
    }
    return {
        "@context": AS,
        "id": f"{note_id}/activity",
        "type": "Create",
        "actor": links.actor(),
        "published": note["published"],
        "to": [to.uri],
        "cc": [],
        "object": note,
    }


def _send(
    tx: Tx, to: FollowerAddress, actor_id: ActorId, document: Document, now: datetime
) -> None:
    body = encode(document)
    activity_id = keep_activity(
        tx,
        uri=document["id"],
        actor_id=actor_id,
        type="Create",
        object_uri=document["object"]["id"],
        body=body,
        digest=sha256_base64(body),
        listed=False,
        now=now,
    )
    inbox_id = inbox_for(tx, to.inbox_url, host=host_of(to.inbox_url), shared=False)
    send_activity(
        tx, activity_id, [inbox_id], object_uri=document["object"]["id"], urgent=True, now=now
    )


def part(tx: Tx, person: Subscriber, *, now: datetime) -> None:
    """They want their mail too, whether they follow or not."""
    subscribers.change_subscriber(tx, person.id, follows_as=None)
    topics = subscribers.topics_of(tx, person.id)
    subscribers.record_consent(
        tx, person.id, Event("mail again", now, "preferences", person.language, topics, topics)
    )
