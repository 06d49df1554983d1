"""Joining, choosing, leaving: the rules of the list, as plain functions over a transaction.

The answer to a request is the same for everybody; what follows depends on who they are (EM-10). A
GET never comes here: confirming and leaving are acts of a person (EM-7, EM-8).

Sources: email.md sections 7 and 8; security.md EM-6 to EM-12, EM-15, PR-1, L-70 to L-76.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from fediletter.errors import AppError
from fediletter.limits import (
    CONFIRMATION,
    CONFIRMATIONS_PER_DAY,
    CONFIRMATIONS_PER_DOMAIN,
    CONFIRMATIONS_PER_MONTH,
    CONFIRMATIONS_PER_SITE,
    UNDO_LEAVE,
)
from fediletter.mail.addresses import Address, canonical_for_limits
from fediletter.newsletter.mailroom import Mailroom, Note
from fediletter.newsletter.tokens import Tokens
from storage import lanes, subscribers
from storage.notices import send_notice
from storage.store import Tx
from storage.subscribers import Event, Subscriber
from storage.throttles import hit
from storage.topics import all_topics

RHYTHMS = ("every", "monthly")
_KEY_BYTES = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for in the form."""

    address: Address
    topics: tuple[str, ...]  # Slugs; empty: every letter.
    rhythm: str
    language: str
    text: str  # The wording of the form, for the consent record.


def request(tx: Tx, wish: Wish, mailroom: Mailroom, tokens: Tokens, *, now: datetime) -> None:
    """Somebody asks for letters to an address: a mail to it says how to go on.

    Nothing depends on it for whoever asked: known or not, suppressed or over a limit.
    """
    found = subscribers.find_subscriber(tx, wish.address.identity)
    reason = subscribers.suppression_of(tx, tokens.hash_address(wish.address.identity))
    if reason == "complaint" or not _may_mail(tx, wish.address, tokens, now):
        return
    if found is not None and found.state == "active":
        token = tokens.preferences(found.key, found.epoch)
        note = mailroom.already_subscribed(found.email, token, language=found.language, now=now)
        _send(tx, "service", found.email, note, found, None, now)
        return
    person = found or _add(tx, wish, now)
    version = _text_version(tx, wish, now)
    token = secrets.token_urlsafe(16)
    names = {topic.slug: topic.name for topic in all_topics(tx, public_only=True)}
    chosen = tuple(names[slug] for slug in wish.topics if slug in names)
    note = mailroom.confirmation(str(wish.address), token, chosen, language=wish.language, now=now)
    subscribers.add_confirmation(
        tx,
        tokens.hash_secret(token),
        person.id,
        {"topics": wish.topics, "rhythm": wish.rhythm, "language": wish.language},
        expires_at=now + CONFIRMATION,
        now=now,
    )
    subscribers.record_consent(
        tx,
        person.id,
        Event(
            "requested",
            now,
            "form",
            wish.language,
            topics_after=wish.topics,
            text_version=version,
            message_id=note.message_id,
        ),
    )
    _send(tx, "confirm", str(wish.address), note, person, now + CONFIRMATION, now)


def look_up_confirmation(
    tx: Tx, token: str, tokens: Tokens, *, now: datetime
) -> tuple[Subscriber, subscribers.Confirmation]:
    """What a confirmation link stands for; changes nothing.

    Raises:
        AppError: The link is none of ours (404) or has expired (410).
    """
    found = subscribers.find_confirmation(tx, tokens.hash_secret(token))
    if found is None:
        raise AppError(
            404,
            "This link does not work.",
            "It may have been cut on its way. Enter your address and we will send a new one.",
        )
    if found.used_at is None and found.expires_at < now:
        raise AppError(
            410,
            "This link has expired.",
            "Links work for three days. Enter your address and we will send a new one.",
        )
    return subscribers.get_subscriber(tx, found.subscriber_id), found


def confirm(tx: Tx, token: str, tokens: Tokens, *, now: datetime) -> Subscriber:
    """The owner of the address says yes. Twice is as good as once.

    Raises:
        AppError: As `look_up_confirmation`.
    """
    person, wish = look_up_confirmation(tx, token, tokens, now=now)
    if wish.used_at is not None:
        return person
    before = subscribers.topics_of(tx, person.id)
    after = subscribers.choose_topics(tx, person.id, wish.wish["topics"], now=now)
    subscribers.change_subscriber(
        tx,
        person.id,
        state="active",
        language=wish.wish["language"],
        rhythm=wish.wish["rhythm"],
        confirmed_at=now,
        left_at=None,
        left_topics_json=None,
    )
    subscribers.use_confirmation(tx, tokens.hash_secret(token), now=now)
    subscribers.lift_suppression(tx, tokens.hash_address(person.identity))
    subscribers.record_consent(
        tx,
        person.id,
        Event(
            "confirmed",
            now,
            "link",
            wish.wish["language"],
            topics_before=before,
            topics_after=after,
        ),
    )
    return subscribers.get_subscriber(tx, person.id)


def leave(tx: Tx, key: bytes, tokens: Tokens, *, channel: str, now: datetime) -> None:
    """All letters to this person end, also those that wait to leave (EM-15). Idempotent."""
    person = subscribers.subscriber_by_key(tx, key)
    if person is None or person.state == "left":
        return
    before = subscribers.topics_of(tx, person.id)
    subscribers.change_subscriber(
        tx,
        person.id,
        state="left",
        left_at=now,
        left_topics_json=json.dumps({"state": person.state, "topics": before}),
    )
    lanes.cancel_for_subscriber(tx, person.id, now=now)
    subscribers.suppress(tx, tokens.hash_address(person.identity), "left", now=now)
    subscribers.record_consent(
        tx, person.id, Event("left", now, channel, person.language, topics_before=before)
    )


def undo_leave(tx: Tx, key: bytes, tokens: Tokens, *, now: datetime) -> bool:
    """Take a leave back within a day (UN-7). False if that is too long ago."""
    person = subscribers.subscriber_by_key(tx, key)
    if person is None or person.state != "left" or person.left_at is None:
        return person is not None and person.state == "active"
    former = json.loads(person.left_topics_json or "{}")
    if now - person.left_at > UNDO_LEAVE or former.get("state") != "active":
        return False
    subscribers.change_subscriber(
        tx, person.id, state="active", left_at=None, left_topics_json=None
    )
    subscribers.lift_suppression(tx, tokens.hash_address(person.identity))
    subscribers.record_consent(
        tx,
        person.id,
        Event("undone", now, "link", person.language, topics_after=tuple(former["topics"])),
    )
    return True


def choose(
    tx: Tx,
    key: bytes,
    *,
    topics: tuple[str, ...],
    rhythm: str,
    language: str,
    pause_days: int,
    now: datetime,
) -> Subscriber:
    """A reader sets their topics, rhythm, language and pause.

    Raises:
        AppError: The person is gone.
    """
    person = subscribers.subscriber_by_key(tx, key)
    if person is None or person.state not in ("active", "pending"):
        raise AppError(
            410, "You have left these letters.", "Enter your address if you want them again."
        )
    before = subscribers.topics_of(tx, person.id)
    after = subscribers.choose_topics(tx, person.id, topics, now=now)
    subscribers.change_subscriber(
        tx,
        person.id,
        rhythm=rhythm if rhythm in RHYTHMS else "every",
        language=language,
        paused_until=now + timedelta(days=pause_days) if pause_days else None,
    )
    subscribers.record_consent(
        tx,
        person.id,
        Event(
            "topics changed",
            now,
            "preferences",
            language,
            topics_before=before,
            topics_after=after,
        ),
    )
    return subscribers.get_subscriber(tx, person.id)


def _add(tx: Tx, wish: Wish, now: datetime) -> Subscriber:
    subscriber_id = subscribers.add_subscriber(
        tx,
        key=secrets.token_bytes(_KEY_BYTES),
        email=str(wish.address),
        identity=wish.address.identity,
        state="pending",
        language=wish.language,
        source="form",
        now=now,
    )
    return subscribers.get_subscriber(tx, subscriber_id)


def _may_mail(tx: Tx, address: Address, tokens: Tokens, now: datetime) -> bool:
    person = tokens.hash_address(canonical_for_limits(address)).hex()
    domain = tokens.hash_address(address.domain).hex()
    limits = (
        (f"mail:day:{person}", CONFIRMATIONS_PER_DAY),
        (f"mail:month:{person}", CONFIRMATIONS_PER_MONTH),
        (f"mail:domain:{domain}", CONFIRMATIONS_PER_DOMAIN),
        ("mail:site", CONFIRMATIONS_PER_SITE),
    )
    return all(hit(tx, key, most=most, span=span, now=now) for key, (most, span) in limits)


def _text_version(tx: Tx, wish: Wish, now: datetime) -> str:
    version = sha256(f"{wish.language}\n{wish.text}".encode()).hexdigest()[:16]
    subscribers.keep_consent_text(tx, version, wish.language, wish.text, now=now)
    return version


def _send(
    tx: Tx,
    kind: str,
    to: str,
    note: Note,
    person: Subscriber,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    send_notice(
        tx,
        kind=kind,
        recipient=to,
        message_id=note.message_id,
        body=note.body,
        subscriber_id=person.id,
        expires_at=expires_at,
        now=now,
    )
