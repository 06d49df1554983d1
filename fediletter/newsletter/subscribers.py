"""Choosing and leaving: what readers do with their links, as plain functions over a transaction.

A GET never comes here: leaving is an act of a person (EM-8).

Sources: email.md section 7; security.md EM-8, EM-11, EM-15.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from fediletter.limits import UNDO_LEAVE
from fediletter.newsletter.joining import RHYTHMS, left_already
from fediletter.newsletter.tokens import Tokens
from storage import lanes, subscribers
from storage.store import Tx
from storage.subscribers import Event, Subscriber

PAUSES = {"30": 30, "90": 90, "0": 0}  # Days by what the form says; anything else: as it is.


def leave(tx: Tx, key: bytes, tokens: Tokens, *, channel: str, now: datetime) -> None:
    """All letters to this person end, also those that wait to leave (EM-15). Idempotent.

    An address that is dead or full stays known as such: leaving does not lift that (BO-9).
    """
    person = subscribers.subscriber_by_key(tx, key)
    if person is None or person.state == "left":
        return
    before = subscribers.topics_of(tx, person.id)
    subscribers.change_subscriber(
        tx,
        person.id,
        state="left",
        left_at=now,
        left_topics_json=json.dumps({"state": person.state, "topics": before, "by": channel}),
    )
    lanes.cancel_for_subscriber(tx, person.id, now=now)
    address_hash = tokens.hash_address(person.identity)
    if subscribers.suppression_of(tx, address_hash) is None:
        subscribers.suppress(tx, address_hash, "left", now=now)
    subscribers.record_consent(
        tx, person.id, Event("left", now, channel, person.language, topics_before=before)
    )


def may_undo(tx: Tx, person: Subscriber, tokens: Tokens, *, now: datetime) -> bool:
    """Whether a leave can still be taken back: within a day, by who got letters (UN-7)."""
    if person.state != "left" or person.left_at is None or now - person.left_at > UNDO_LEAVE:
        return False
    # A complaint is lifted by a founder, after hearing from the person (BO-9).
    reason = subscribers.suppression_of(tx, tokens.hash_address(person.identity))
    return reason in (None, "left") and _former(person).get("state") == "active"


def undo_leave(tx: Tx, key: bytes, tokens: Tokens, *, channel: str, now: datetime) -> bool:
    """Take a leave back. False if that cannot be."""
    person = subscribers.subscriber_by_key(tx, key)
    if person is None or not may_undo(tx, person, tokens, now=now):
        return person is not None and person.state == "active"
    subscribers.change_subscriber(
        tx, person.id, state="active", left_at=None, left_topics_json=None
    )
    subscribers.lift_suppression(tx, tokens.hash_address(person.identity))
    topics = tuple(_former(person)["topics"])
    subscribers.record_consent(
        tx, person.id, Event("undone", now, channel, person.language, topics_after=topics)
    )
    return True


def left_by(person: Subscriber) -> str:
    """Through which door somebody left; empty if they are here."""
    return str(_former(person).get("by", ""))


def _former(person: Subscriber) -> dict[str, Any]:
    """What somebody who left had before."""
    former: dict[str, Any] = json.loads(person.left_topics_json or "{}")
    return former


def choose(
    tx: Tx,
    key: bytes,
    tokens: Tokens,
    *,
    topics: tuple[str, ...],
    rhythm: str,
    language: str,
    pause: str,
    epoch: int,
    now: datetime,
) -> Subscriber:
    """A reader sets their topics, rhythm, language and pause.

    Who left within a day, and keeps some letters after all, takes that back by it (UN-5).

    Args:
        tx: The transaction.
        key: Whose link it is.
        tokens: Hash addresses.
        topics: Slugs of the topics they want; none: every letter.
        rhythm: `every` or `monthly`.
        language: `fr` or `en`.
        pause: Of `PAUSES`; what comes out meanwhile is not sent later.
        epoch: Of the link; a newer one ends the links before it.
        now: The time.

    Raises:
        AppError: The person is gone.
    """
    undo_leave(tx, key, tokens, channel="preferences", now=now)
    person = subscribers.subscriber_by_key(tx, key)
    if person is None or person.state not in ("active", "pending"):
        raise left_already()
    before = subscribers.topics_of(tx, person.id)
    after = subscribers.choose_topics(tx, person.id, topics, now=now)
    subscribers.change_subscriber(
        tx,
        person.id,
        rhythm=rhythm if rhythm in RHYTHMS else "every",
        language=language,
        epoch=max(epoch, person.epoch),
    )
    if pause in PAUSES:
        days = PAUSES[pause]
        subscribers.change_subscriber(
            tx, person.id, paused_until=now + timedelta(days=days) if days else None
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
