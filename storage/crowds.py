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
from storage.schema import consent, consent_text, subscriber, subscription, suppression, topic
from storage.store import Tx
from storage.subscribers import Event
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
    topics: tuple[TopicId, ...]
    all_topics: bool  # Every letter.
    event: Event


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
    record_all(tx, {ids[one.identity]: one.event for one in people})


def record_all(tx: Tx, events: Mapping[SubscriberId, Event]) -> None:
    """An entry in the consent record of each."""
    if not events:
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
            for subscriber_id, event in events.items()
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
    """What of a person's consent goes out with them."""

    public: tuple[str, ...]  # Slugs.
    hidden: tuple[str, ...]
    version: str  # Of the wording agreed to; empty: none is kept.
    text: str
    proof: str


def records_of(tx: Tx, ids: Sequence[SubscriberId]) -> dict[SubscriberId, Record]:
    """Topics, wording and proof of each of these people."""
    public: dict[int, list[str]] = {}
    hidden: dict[int, list[str]] = {}
    wordings: dict[int, str] = {}
    proofs: dict[int, str] = {}
    for chunk in chunks(ids):
        for whose, slug, is_public in tx.rows(
            sa.select(subscription.c.subscriber_id, topic.c.slug, topic.c.public)
            .join(topic, topic.c.id == subscription.c.topic_id)
            .where(subscription.c.subscriber_id.in_(chunk))
            .order_by(topic.c.position, topic.c.name)
        ):
            (public if is_public else hidden).setdefault(whose, []).append(slug)
        for whose, version, proof in tx.rows(
            sa.select(consent.c.subscriber_id, consent.c.text_version, consent.c.proof)
            .where(
                consent.c.subscriber_id.in_(chunk),
                sa.or_(consent.c.text_version.is_not(None), consent.c.proof.is_not(None)),
            )
            .order_by(consent.c.id)
        ):
            if version:
                wordings[whose] = version
            if proof:
                proofs[whose] = proof
    versions = sorted(set(wordings.values()))
    texts = {
        row[0]: row[1]
        for chunk in chunks(versions)
        for row in tx.rows(
            sa.select(consent_text.c.version, consent_text.c.text).where(
                consent_text.c.version.in_(chunk)
            )
        )
    }
    return {
        one: Record(
            tuple(public.get(one, ())),
            tuple(hidden.get(one, ())),
            wordings.get(one, ""),
            texts.get(wordings.get(one, ""), ""),
            proofs.get(one, ""),
        )
        for one in ids
    }


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
