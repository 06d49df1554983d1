"""What came back of mail that was sent, and the counts by which readers are held or suppressed.

One row for each report that was believed. `class_` holds the judge's words; `held` marks a `gone`
that the guard against mass failure did not believe yet (BO-8).

Sources: email.md BO-2, BO-7, BO-8 and the table in 9.4; EM-13.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.ids import DeliveryId, MailingId, PostId, SubscriberId
from storage.lanes import wake_mail
from storage.schema import IS_OPEN, bounce, delivery, mailing, notice, post, subscriber
from storage.store import Tx
from storage.times import from_ms, to_ms

HELD = "held"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of ours about which somebody says something."""

    id: DeliveryId
    state: str
    answer: str
    mailing_id: MailingId | None
    notice_kind: str | None
    subscriber_id: SubscriberId | None
    identity: str | None
    subscriber_state: str | None
    ended_at: datetime | None
    started_at: datetime | None


_SENT = (
    sa.select(
        delivery.c.id,
        delivery.c.state,
        sa.func.coalesce(delivery.c.answer, ""),
        delivery.c.mailing_id,
        notice.c.kind,
        delivery.c.subscriber_id,
        subscriber.c.identity,
        subscriber.c.state,
        delivery.c.ended_at,
        delivery.c.started_at,
    )
    .select_from(
        delivery.outerjoin(subscriber, subscriber.c.id == delivery.c.subscriber_id).outerjoin(
            notice, notice.c.id == delivery.c.notice_id
        )
    )
    .where(delivery.c.activity_id.is_(None))
)


def _sent(tx: Tx, query: sa.Select[Any]) -> Sent | None:
    row = tx.row(query)
    return None if row is None else Sent(*(*row[:-2], from_ms(row[-2]), from_ms(row[-1])))


def sent_by_id(tx: Tx, delivery_id: int) -> Sent | None:
    """The message of this delivery, if it is mail."""
    return _sent(tx, _SENT.where(delivery.c.id == delivery_id))


def sent_by_message_id(tx: Tx, message_id: str) -> Sent | None:
    """The message of this Message-ID, without its angle brackets: a letter's or a notice's."""
    found = _sent(tx, _SENT.where(delivery.c.message_id == message_id))
    if found is None:
        found = _sent(tx, _SENT.where(notice.c.message_id == message_id))
    return found


def add_bounce(
    tx: Tx,
    sent: Sent,
    class_: str,
    *,
    status: str | None,
    excerpt: str,
    counted: bool,
    now: datetime,
) -> None:
    """Keep what was reported of a message."""
    tx.execute(
        sa.insert(bounce).values(
            subscriber_id=sent.subscriber_id,
            delivery_id=sent.id,
            class_=class_,
            status=status,
            excerpt=excerpt,
            counted=counted,
            at=to_ms(now),
        )
    )


def has_bounced(tx: Tx, delivery_id: DeliveryId, *classes: str) -> bool:
    """Whether a report of this message was kept; one `held` by the guard is not meant (BO-7)."""
    which = bounce.c.class_.in_(classes) if classes else bounce.c.class_ != HELD
    return (
        tx.row(sa.select(bounce.c.id).where(bounce.c.delivery_id == delivery_id, which)) is not None
    )


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier report about the same reader."""

    class_: str
    counted: bool
    at: datetime
    mailing_id: MailingId | None


def past_of(tx: Tx, subscriber_id: SubscriberId, *, since: datetime) -> list[Past]:
    """Reports about a reader, the oldest first; only those after the newest letter that arrived.

    A letter counts as arrived when it was accepted a week ago and nobody reported it.
    """
    rows = tx.rows(
        sa.select(bounce.c.class_, bounce.c.counted, bounce.c.at, delivery.c.mailing_id)
        .outerjoin(delivery, delivery.c.id == bounce.c.delivery_id)
        .where(bounce.c.subscriber_id == subscriber_id, bounce.c.at >= to_ms(since))
        .order_by(bounce.c.at, bounce.c.id)
    )
    return [Past(row[0], bool(row[1]), from_ms(row[2]), row[3]) for row in rows]


def newest_arrival(tx: Tx, subscriber_id: SubscriberId, *, before: datetime) -> datetime | None:
    """When the newest letter was accepted of which nothing came back."""
    reported = sa.select(bounce.c.id).where(bounce.c.delivery_id == delivery.c.id).exists()
    newest: datetime | None = from_ms(
        tx.scalar(
            sa.select(sa.func.max(delivery.c.ended_at)).where(
                delivery.c.subscriber_id == subscriber_id,
                delivery.c.mailing_id.is_not(None),
                delivery.c.state == "delivered",
                delivery.c.ended_at <= to_ms(before),
                sa.not_(reported),
            )
        )
    )
    return newest


# --- by mailing and by the domains of one operator --------------------------------------------


def _at(patterns: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.or_(*(subscriber.c.identity.like(pattern) for pattern in patterns))


def count_sent(tx: Tx, mailing_id: MailingId, patterns: Sequence[str] = ("%",)) -> int:
    """Letters of a mailing to addresses of these patterns (`%@example.org`)."""
    return int(
        tx.scalar(
            sa.select(sa.func.count())
            .select_from(delivery.join(subscriber, subscriber.c.id == delivery.c.subscriber_id))
            .where(delivery.c.mailing_id == mailing_id, _at(patterns))
        )
    )


def count_accepted(tx: Tx, mailing_id: MailingId) -> int:
    """Letters of a mailing that were taken."""
    return int(
        tx.scalar(
            sa.select(sa.func.count()).where(
                delivery.c.mailing_id == mailing_id, delivery.c.state == "delivered"
            )
        )
    )


@dataclass(frozen=True, slots=True)
class Returned:
    """A letter of a mailing that came back."""

    delivery_id: DeliveryId
    subscriber_id: SubscriberId
    identity: str
    subscriber_state: str
    class_: str
    counted: bool
    at: datetime


def returned(
    tx: Tx,
    classes: Sequence[str],
    *,
    mailing_id: MailingId | None = None,
    patterns: Sequence[str] = ("%",),
    since: datetime | None = None,
) -> list[Returned]:
    """What came back as one of these classes, the oldest first."""
    query = (
        sa.select(
            delivery.c.id,
            subscriber.c.id,
            subscriber.c.identity,
            subscriber.c.state,
            bounce.c.class_,
            bounce.c.counted,
            bounce.c.at,
        )
        .select_from(
            bounce.join(delivery, delivery.c.id == bounce.c.delivery_id).join(
                subscriber, subscriber.c.id == delivery.c.subscriber_id
            )
        )
        .where(bounce.c.class_.in_(list(classes)), _at(patterns))
        .order_by(bounce.c.at, bounce.c.id)
    )
    if mailing_id is not None:
        query = query.where(delivery.c.mailing_id == mailing_id)
    if since is not None:
        query = query.where(bounce.c.at >= to_ms(since))
    return [Returned(*(*row[:5], bool(row[5]), from_ms(row[6]))) for row in tx.rows(query)]


def hold_for_retry(tx: Tx, delivery_id: DeliveryId, *, at: datetime, now: datetime) -> None:
    """Nobody believes this failure yet: the same letter once more, later (BO-8)."""
    row = tx.row(
        sa.update(delivery)
        .where(delivery.c.id == delivery_id)
        .values(state="waiting", not_before=to_ms(at), ended_at=None)
        .returning(delivery.c.lane_id, delivery.c.mailing_id)
    )
    tx.execute(
        sa.update(bounce)
        .where(bounce.c.delivery_id == delivery_id, bounce.c.class_ == "gone")
        .values(class_=HELD, counted=False)
    )
    if row is not None:
        tx.execute(sa.update(mailing).where(mailing.c.id == row[1]).values(finished_at=None))
        wake_mail(tx, row[0], at=at, now=now)


def put_off(tx: Tx, patterns: Sequence[str], *, until: datetime) -> int:
    """Letters to these addresses that wait go on waiting; how many that were."""
    readers = sa.select(subscriber.c.id).where(_at(patterns))
    moved = tx.execute(
        sa.update(delivery)
        .where(
            IS_OPEN,
            delivery.c.state == "waiting",
            delivery.c.mailing_id.is_not(None),
            delivery.c.not_before < to_ms(until),
            delivery.c.subscriber_id.in_(readers),
        )
        .values(not_before=to_ms(until))
    )
    return moved.rowcount


def settle_doubt(
    tx: Tx, delivery_id: DeliveryId, state: str, answer: str, *, now: datetime
) -> None:
    """What was uncertain is known now: a report or an answer tells (TR-22)."""
    tx.execute(
        sa.update(delivery)
        .where(delivery.c.id == delivery_id, delivery.c.state == "uncertain")
        .values(state=state, answer=answer[:200], ended_at=to_ms(now))
    )


def title_of(tx: Tx, mailing_id: MailingId) -> tuple[PostId, str]:
    """Whose mailing it is, for people."""
    row = tx.row(
        sa.select(post.c.id, post.c.title)
        .join(mailing, mailing.c.post_id == post.c.id)
        .where(mailing.c.id == mailing_id)
    )
    assert row is not None  # noqa: S101 (a foreign key)
    return PostId(row[0]), row[1]


def forget_excerpts(tx: Tx, *, before: datetime) -> None:
    """What servers said is kept for a month (email.md 9.2)."""
    tx.execute(
        sa.update(bounce)
        .where(bounce.c.at < to_ms(before), bounce.c.excerpt.is_not(None))
        .values(excerpt=None)
    )
