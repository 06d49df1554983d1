"""Subscribers: people with an address, their topics, and the record of their consent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import SubscriberId, TopicId
from storage.lanes import mail_lane_of
from storage.schema import (
    confirmation,
    consent,
    consent_text,
    subscriber,
    subscription,
    suppression,
    topic,
)
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One subscriber."""

    id: SubscriberId
    key: bytes
    email: str
    identity: str
    state: str
    language: str
    rhythm: str
    all_topics: bool
    epoch: int
    source: str
    left_topics_json: str | None
    requested_at: datetime
    confirmed_at: datetime | None
    left_at: datetime | None
    paused_until: datetime | None
    held_until: datetime | None  # Bounced: no mail for a while.
    follows_as: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the consent record."""

    kind: str
    at: datetime
    channel: str
    language: str
    topics_before: tuple[str, ...] = ()
    topics_after: tuple[str, ...] = ()
    text_version: str | None = None
    message_id: str | None = None
    proof: str | None = None


_TIMES = ("requested_at", "confirmed_at", "left_at", "paused_until", "held_until")
EVENT = (
    consent.c.kind,
    consent.c.at,
    consent.c.channel,
    consent.c.language,
    consent.c.topics_before_json,
    consent.c.topics_after_json,
    consent.c.text_version,
    consent.c.message_id,
    consent.c.proof,
)
_NAMES = list(Subscriber.__dataclass_fields__)
_SELECT = sa.select(*(subscriber.c[name] for name in _NAMES))


def _read(row: tuple[Any, ...] | None) -> Subscriber | None:
    if row is None:
        return None
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    values |= {name: from_ms(values[name]) for name in _TIMES}
    return Subscriber(**values | {"key": bytes(values["key"])})


def any_beyond_ascii(tx: Tx) -> bool:
    """Whether somebody who gets letters has an address with more than ASCII in it."""
    octets = sa.func.length(sa.cast(subscriber.c.email, sa.LargeBinary))
    query = sa.select(subscriber.c.id).where(
        subscriber.c.state == "active", octets > sa.func.length(subscriber.c.email)
    )
    return tx.scalar(query.limit(1)) is not None


def find_subscriber(tx: Tx, identity: str) -> Subscriber | None:
    """The subscriber of an address, in whatever state."""
    return _read(tx.row(_SELECT.where(subscriber.c.identity == identity)))


def subscriber_by_key(tx: Tx, key: bytes) -> Subscriber | None:
    """The subscriber whom a token stands for."""
    return _read(tx.row(_SELECT.where(subscriber.c.key == key)))


def get_subscriber(tx: Tx, subscriber_id: SubscriberId) -> Subscriber:
    """One subscriber. Raises NotThere."""
    found = _read(tx.row(_SELECT.where(subscriber.c.id == subscriber_id)))
    if found is None:
        raise NotThere(str(subscriber_id))
    return found


def key_of(tx: Tx, subscriber_id: SubscriberId) -> bytes | None:
    """The key that stands for a subscriber in links; None if they are gone."""
    found = tx.scalar(sa.select(subscriber.c.key).where(subscriber.c.id == subscriber_id))
    return None if found is None else bytes(found)


def add_subscriber(
    tx: Tx,
    *,
    key: bytes,
    email: str,
    identity: str,
    state: str,
    language: str,
    source: str,
    now: datetime,
    rhythm: str = "every",
    confirmed_at: datetime | None = None,
) -> SubscriberId:
    """A new subscriber; the address must be free."""
    found = tx.execute(
        sa.insert(subscriber)
        .values(
            key=key,
            email=email,
            identity=identity,
            state=state,
            language=language,
            rhythm=rhythm,
            mail_lane=mail_lane_of(identity),
            source=source,
            requested_at=to_ms(now),
            confirmed_at=None if confirmed_at is None else to_ms(confirmed_at),
        )
        .returning(subscriber.c.id)
    ).scalar_one()
    return SubscriberId(found)


def change_subscriber(tx: Tx, subscriber_id: SubscriberId, **values: Any) -> None:
    """Set columns; moments as aware datetimes."""
    plain = {
        name: to_ms(value) if isinstance(value, datetime) else value
        for name, value in values.items()
    }
    tx.execute(sa.update(subscriber).where(subscriber.c.id == subscriber_id).values(plain))


def topics_of(tx: Tx, subscriber_id: SubscriberId) -> tuple[str, ...]:
    """Slugs of the topics that a subscriber chose; empty: every letter."""
    rows = tx.rows(
        sa.select(topic.c.slug)
        .join(subscription, subscription.c.topic_id == topic.c.id)
        .where(subscription.c.subscriber_id == subscriber_id)
        .order_by(topic.c.position, topic.c.name)
    )
    return tuple(row[0] for row in rows)


def choose_topics(
    tx: Tx, subscriber_id: SubscriberId, slugs: Sequence[str], *, now: datetime
) -> tuple[str, ...]:
    """Replace the public topics of a subscriber; unknown and hidden slugs are passed over (EM-12).

    Hidden topics that founders gave them stay.

    Returns:
        The slugs that were taken.
    """
    public = sa.select(topic.c.id).where(topic.c.public)
    tx.execute(
        sa.delete(subscription).where(
            subscription.c.subscriber_id == subscriber_id, subscription.c.topic_id.in_(public)
        )
    )
    rows = tx.rows(
        sa.select(topic.c.id, topic.c.slug)
        .where(topic.c.slug.in_(list(slugs)), topic.c.public)
        .order_by(topic.c.position, topic.c.name)
    )
    if rows:
        tx.execute(
            sa.insert(subscription),
            [
                {"subscriber_id": subscriber_id, "topic_id": TopicId(row[0]), "since": to_ms(now)}
                for row in rows
            ],
        )
    change_subscriber(tx, subscriber_id, all_topics=not rows)
    return tuple(row[1] for row in rows)


def add_confirmation(
    tx: Tx,
    token_hash: bytes,
    subscriber_id: SubscriberId,
    wish: dict[str, Any],
    *,
    expires_at: datetime,
    now: datetime,
) -> None:
    """Keep what a link will confirm; earlier links of the same person go on working."""
    tx.execute(
        sa.insert(confirmation).values(
            token_hash=token_hash,
            subscriber_id=subscriber_id,
            wish_json=json.dumps(wish),
            created_at=to_ms(now),
            expires_at=to_ms(expires_at),
        )
    )


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a link stands for."""

    subscriber_id: SubscriberId
    wish: dict[str, Any]
    expires_at: datetime
    used_at: datetime | None


def renew_confirmation(tx: Tx, subscriber_id: SubscriberId, *, expires_at: datetime) -> None:
    """The newest link that a person has not used lives longer."""
    newest = (
        sa.select(confirmation.c.token_hash)
        .where(confirmation.c.subscriber_id == subscriber_id, confirmation.c.used_at.is_(None))
        .order_by(confirmation.c.created_at.desc())
        .limit(1)
    )
    tx.execute(
        sa.update(confirmation)
        .where(confirmation.c.token_hash == newest.scalar_subquery())
        .values(expires_at=to_ms(expires_at))
    )


def find_confirmation(tx: Tx, token_hash: bytes) -> Confirmation | None:
    """The wish behind a link."""
    row = tx.row(
        sa.select(
            confirmation.c.subscriber_id,
            confirmation.c.wish_json,
            confirmation.c.expires_at,
            confirmation.c.used_at,
        ).where(confirmation.c.token_hash == token_hash)
    )
    if row is None:
        return None
    return Confirmation(SubscriberId(row[0]), json.loads(row[1]), from_ms(row[2]), from_ms(row[3]))


def drop_confirmations(tx: Tx, subscriber_id: SubscriberId) -> None:
    """Links that were sent to an address serve no other one (EM-7)."""
    tx.execute(sa.delete(confirmation).where(confirmation.c.subscriber_id == subscriber_id))


def use_confirmation(tx: Tx, token_hash: bytes, *, now: datetime) -> None:
    """A link has served."""
    tx.execute(
        sa.update(confirmation)
        .where(confirmation.c.token_hash == token_hash)
        .values(used_at=to_ms(now))
    )


def record_consent(tx: Tx, subscriber_id: SubscriberId, event: Event) -> None:
    """Add to the consent record (OP-5)."""
    tx.execute(
        sa.insert(consent).values(
            subscriber_id=subscriber_id,
            kind=event.kind,
            at=to_ms(event.at),
            channel=event.channel,
            language=event.language,
            topics_before_json=json.dumps(event.topics_before),
            topics_after_json=json.dumps(event.topics_after),
            text_version=event.text_version,
            message_id=event.message_id,
            proof=event.proof,
        )
    )


def keep_consent_text(tx: Tx, version: str, language: str, text: str, *, now: datetime) -> None:
    """Keep the wording that people agree to, once for each version."""
    tx.execute(
        tx.insert(consent_text)
        .values(version=version, language=language, text=text, created_at=to_ms(now))
        .on_conflict_do_nothing()
    )


def consent_of(tx: Tx, subscriber_id: SubscriberId) -> list[Event]:
    """The consent record of a person, the oldest first."""
    rows = tx.rows(
        sa.select(*EVENT).where(consent.c.subscriber_id == subscriber_id).order_by(consent.c.id)
    )
    return [event_of(row) for row in rows]


def event_of(row: tuple[Any, ...]) -> Event:
    """From the columns `EVENT`."""
    before, after = (tuple(json.loads(one)) for one in row[4:6])
    return Event(row[0], from_ms(row[1]), row[2], row[3], before, after, *row[6:])


def suppress(tx: Tx, address_hash: bytes, reason: str, *, now: datetime) -> None:
    """Remember that this address wants or can have no mail."""
    values = {"reason": reason, "at": to_ms(now)}
    tx.execute(
        tx.insert(suppression)
        .values(address_hash=address_hash, **values)
        .on_conflict_do_update(index_elements=["address_hash"], set_=values)
    )


def suppression_of(tx: Tx, address_hash: bytes) -> str | None:
    """Why an address gets no mail; None if it may."""
    found = tx.scalar(
        sa.select(suppression.c.reason).where(suppression.c.address_hash == address_hash)
    )
    return None if found is None else str(found)


def suppressed_since(tx: Tx, address_hash: bytes) -> datetime | None:
    """Since when an address gets no mail; None if it may."""
    row = tx.row(sa.select(suppression.c.at).where(suppression.c.address_hash == address_hash))
    return None if row is None else from_ms(int(row[0]))


def lift_suppression(tx: Tx, address_hash: bytes) -> None:
    """The person asked again."""
    tx.execute(sa.delete(suppression).where(suppression.c.address_hash == address_hash))


def count_at_domain(tx: Tx, domain: str) -> tuple[int, int]:
    """Active subscribers at a domain, and all active ones."""
    here = sa.func.count().filter(subscriber.c.identity.like(f"%@{domain}"))
    row = tx.row(sa.select(here, sa.func.count()).where(subscriber.c.state == "active"))
    assert row is not None  # noqa: S101 (an aggregate has one row)
    return int(row[0]), int(row[1])


def count_by_state(tx: Tx) -> dict[str, int]:
    """Subscribers by state."""
    rows = tx.rows(sa.select(subscriber.c.state, sa.func.count()).group_by(subscriber.c.state))
    return dict(rows)


def list_subscribers(
    tx: Tx, *, limit: int, after: int = 0, state: str | None = None, search: str = ""
) -> list[Subscriber]:
    """Subscribers in the order in which they came, beyond the id `after`."""
    query = _SELECT.where(subscriber.c.id > after).order_by(subscriber.c.id).limit(limit)
    if state is not None:
        query = query.where(subscriber.c.state == state)
    if search:
        query = query.where(subscriber.c.identity.contains(search.lower(), autoescape=True))
    return [found for row in tx.rows(query) if (found := _read(row)) is not None]


def newest_subscribers(
    tx: Tx, *, limit: int, before: int | None = None, state: str | None = None, search: str = ""
) -> list[Subscriber]:
    """Subscribers, the newest first, beyond the id `before`; `search` matches any part."""
    query = _SELECT.order_by(subscriber.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(subscriber.c.id < before)
    if state is not None:
        query = query.where(subscriber.c.state == state)
    if search:
        query = query.where(subscriber.c.identity.contains(search.lower(), autoescape=True))
    return [found for row in tx.rows(query) if (found := _read(row)) is not None]
