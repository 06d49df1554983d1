"""Subscribers by the thousand: looked up, added and changed in a few statements a batch.

What `subscribers` does for one person, for lists that come in or go out.

Sources: email.md IM-4, IM-5, OP-5; performance.md (batches, not rows).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.ids import SubscriberId, TopicId
from storage.lanes import chunks, mail_lane_of
from storage.schema import (
    bounce,
    consent,
    consent_text,
    subscriber,
    subscription,
    suppression,
    topic,
)
from storage.store import Tx
from storage.subscribers import EVENT, Event, event_of
from storage.times import from_ms, to_ms

# Consent events that are an act of the person.
_OWN_ACTS = ("confirmed", "topics changed", "undone", "stayed")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of somebody already."""

    id: SubscriberId
    key: bytes
    state: str
    acted_at: datetime | None  # The last thing that they did here themselves.


@dataclass(frozen=True, slots=True)
class Reported:
    """What came back of a letter to somebody."""

    class_: str
    status: str | None
    counted: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody to be added."""

    key: bytes
    email: str
    identity: str
    state: str
    language: str
    rhythm: str
    source: str
    requested_at: datetime
    confirmed_at: datetime | None
    left_at: datetime | None
    paused_until: datetime | None
    held_until: datetime | None
    follows_as: str | None
    topics: tuple[TopicId, ...]
    all_topics: bool  # Every letter.
    events: tuple[Event, ...]  # The oldest first.
    reports: tuple[Reported, ...]


def known_among(tx: Tx, identities: Sequence[str]) -> dict[str, Known]:
    """Those of these addresses whom we know, by identity."""
    acted = (
        sa.select(sa.func.max(consent.c.at))
        .where(consent.c.subscriber_id == subscriber.c.id, consent.c.kind.in_(_OWN_ACTS))
        .scalar_subquery()
    )
    query = sa.select(
        subscriber.c.identity, subscriber.c.id, subscriber.c.key, subscriber.c.state, acted
    )
    return {
        row[0]: Known(SubscriberId(row[1]), bytes(row[2]), row[3], from_ms(row[4]))
        for chunk in chunks(identities)
        for row in tx.rows(query.where(subscriber.c.identity.in_(chunk)))
    }


def suppressions_among(tx: Tx, hashes: Sequence[bytes]) -> dict[bytes, str]:
    """Why some of these addresses get no mail."""
    query = sa.select(suppression.c.address_hash, suppression.c.reason)
    return {
        bytes(row[0]): row[1]
        for chunk in chunks(hashes)
        for row in tx.rows(query.where(suppression.c.address_hash.in_(chunk)))
    }


def add_all(tx: Tx, people: Sequence[Newcomer], *, now: datetime) -> None:
    """New subscribers with their topics and the entry of the consent record."""
    if not people:
        return
    found = tx.execute(
        sa.insert(subscriber).returning(subscriber.c.id, subscriber.c.identity),
        [
            {
                "key": one.key,
                "email": one.email,
                "identity": one.identity,
                "state": one.state,
                "language": one.language,
                "rhythm": one.rhythm,
                "all_topics": one.all_topics,
                "mail_lane": mail_lane_of(one.identity),
                "source": one.source,
                "requested_at": to_ms(one.requested_at),
                "confirmed_at": _ms(one.confirmed_at),
                "left_at": _ms(one.left_at),
                "paused_until": _ms(one.paused_until),
                "held_until": _ms(one.held_until),
                "follows_as": one.follows_as,
            }
            for one in people
        ],
    )
    ids = {row.identity: SubscriberId(row.id) for row in found}
    chosen = [
        {"subscriber_id": ids[one.identity], "topic_id": topic_id, "since": to_ms(now)}
        for one in people
        for topic_id in one.topics
    ]
    if chosen:
        tx.execute(sa.insert(subscription), chosen)
    record_all(tx, {ids[one.identity]: one.events for one in people})
    reported = [
        {
            "subscriber_id": ids[one.identity],
            "class_": report.class_,
            "status": report.status,
            "counted": report.counted,
            "at": to_ms(report.at),
        }
        for one in people
        for report in one.reports
    ]
    if reported:
        tx.execute(sa.insert(bounce), reported)


def record_all(tx: Tx, records: Mapping[SubscriberId, Sequence[Event]]) -> None:
    """Entries in the consent record of each, the oldest first."""
    if not any(records.values()):
        return
    tx.execute(
        sa.insert(consent),
        [
            {
                "subscriber_id": subscriber_id,
                "kind": event.kind,
                "at": to_ms(event.at),
                "channel": event.channel,
                "language": event.language,
                "topics_before_json": json.dumps(event.topics_before),
                "topics_after_json": json.dumps(event.topics_after),
                "text_version": event.text_version,
                "message_id": event.message_id,
                "proof": event.proof,
            }
            for subscriber_id, events in records.items()
            for event in events
        ],
    )


def activate_all(tx: Tx, confirmed: Mapping[SubscriberId, datetime]) -> None:
    """People who waited are subscribed, since the moment that stands beside each."""
    if confirmed:
        tx.execute(
            sa.update(subscriber)
            .where(subscriber.c.id == sa.bindparam("whose"))
            .values(state="active", confirmed_at=sa.bindparam("since")),
            [{"whose": one, "since": to_ms(moment)} for one, moment in confirmed.items()],
        )


def suppress_all(tx: Tx, reasons: Mapping[bytes, tuple[str, datetime]]) -> None:
    """Remember that these addresses want or can have no mail: why, and since when."""
    if not reasons:
        return
    statement = tx.insert(suppression)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["address_hash"], set_={"reason": statement.excluded.reason}
        ),
        [
            {"address_hash": address_hash, "reason": reason, "at": to_ms(at)}
            for address_hash, (reason, at) in reasons.items()
        ],
    )


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a person beside their own row."""

    public: dict[str, str]  # Topics: names by slug.
    hidden: dict[str, str]
    events: tuple[Event, ...]  # The oldest first.
    reports: tuple[Reported, ...]


def records_of(
    tx: Tx, ids: Sequence[SubscriberId], *, reported_since: datetime
) -> dict[SubscriberId, Record]:
    """Topics, record of consent and late reports of each of these people."""
    events: dict[SubscriberId, list[Event]] = {one: [] for one in ids}
    reports: dict[SubscriberId, list[Reported]] = {one: [] for one in ids}
    topics: dict[tuple[SubscriberId, bool], dict[str, str]] = {}
    for chunk in chunks(ids):
        for whose, slug, name, is_public in tx.rows(
            sa.select(subscription.c.subscriber_id, topic.c.slug, topic.c.name, topic.c.public)
            .join(topic, topic.c.id == subscription.c.topic_id)
            .where(subscription.c.subscriber_id.in_(chunk))
            .order_by(topic.c.position, topic.c.name)
        ):
            topics.setdefault((whose, bool(is_public)), {})[slug] = name
        for whose, *row in tx.rows(
            sa.select(consent.c.subscriber_id, *EVENT)
            .where(consent.c.subscriber_id.in_(chunk))
            .order_by(consent.c.id)
        ):
            events[whose].append(event_of(tuple(row)))
        for whose, class_, status, counted, at in tx.rows(
            sa.select(
                bounce.c.subscriber_id, bounce.c.class_, bounce.c.status, bounce.c.counted,
                bounce.c.at,
            )
            .where(bounce.c.subscriber_id.in_(chunk), bounce.c.at >= to_ms(reported_since))
            .order_by(bounce.c.at, bounce.c.id)
        ):  # fmt: skip
            reports[whose].append(Reported(class_, status, bool(counted), from_ms(at)))
    return {
        one: Record(
            topics.get((one, True), {}),
            topics.get((one, False), {}),
            tuple(events[one]),
            tuple(reports[one]),
        )
        for one in ids
    }


def wordings(tx: Tx, versions: Sequence[str]) -> dict[str, str]:
    """What people agreed to, by version."""
    query = sa.select(consent_text.c.version, consent_text.c.text)
    return {
        row[0]: row[1]
        for chunk in chunks(versions)
        for row in tx.rows(query.where(consent_text.c.version.in_(chunk)))
    }


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
