"""How far things are, for people: a post's deliveries, and the queue as a whole."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from functools import reduce
from operator import add

import sqlalchemy as sa

from storage.ids import PostId
from storage.nudges import domain_of, of_post
from storage.schema import (
    IS_OPEN,
    activity,
    bounce,
    delivery,
    fan_out,
    lane,
    mailing,
    received,
    subscriber,
    tally,
    worker,
)
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Counts:
    """Deliveries by state; `waiting` includes those begun."""

    waiting: int = 0
    delivered: int = 0
    failed: int = 0
    cancelled: int = 0
    uncertain: int = 0

    @property
    def total(self) -> int:
        return self.waiting + self.delivered + self.failed + self.cancelled + self.uncertain


@dataclass(frozen=True, slots=True)
class WaitingHost:
    """A lane that still has deliveries of the post."""

    key: str  # `ap:peer.example`, `mail:0`
    waiting: int
    last_error: str | None
    ready_at: datetime | None
    parked: bool


@dataclass(frozen=True, slots=True)
class WaitingDomain:
    """A mail domain whose readers still wait for the post after a first attempt."""

    domain: str
    waiting: int
    answer: str  # What the relay said about one of them.
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class UncertainLetter:
    """A letter that may have arrived (RE-6)."""

    id: int  # Of its delivery.
    email: str
    answer: str
    again_at: datetime | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why deliveries failed, and how many."""

    answer: str
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A published post on its way."""

    start_at: datetime | None  # When the first message leaves; None when nothing is to be sent.
    stepping: bool  # Readers are still being turned into deliveries.
    mail: Counts
    fediverse: Counts
    waiting_hosts: tuple[WaitingHost, ...]
    waiting_domains: tuple[WaitingDomain, ...]
    uncertain: tuple[UncertainLetter, ...]
    refusals: tuple[Refusal, ...]
    paused: str | None  # Why the mailing pauses, in words of the log.

    @property
    def finished(self) -> bool:
        return not self.stepping and not (self.mail.waiting or self.fediverse.waiting)


@dataclass(frozen=True, slots=True)
class MailRest:
    """The relay takes nothing: mail waits, and goes on by itself."""

    reason: str  # In words of the log.
    since: datetime
    next_at: datetime | None
    waiting: int


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The queue as a whole, for `fediletter status`."""

    mail: Counts
    notices: Counts  # Of that mail: confirmations, warnings, links; the rest are letters.
    fediverse: Counts
    bounces: tuple[tuple[str, int], ...]  # By class, as far back as they are kept.
    received_waiting: int
    workers: int  # Processes that send and apply, as far as they are known to live.
    stepping: int  # Fan-outs whose readers are still being turned into deliveries.
    mail_rest: MailRest | None
    resting: tuple[WaitingHost, ...]  # Hosts of the fediverse.
    parked: tuple[WaitingHost, ...]
    resting_lanes: int
    parked_lanes: int
    dormant: int
    oldest_seconds: float  # How long the oldest that is due has waited for its first attempt.
    uncertain_letters: tuple[tuple[int, str], ...]  # Delivery id and what is known.


_NAMES = {"waiting": "waiting", "started": "waiting"}


def progress_of(tx: Tx, post_id: PostId) -> Progress:
    """How far a post is: its newest activity and all its mailings."""
    mailings = sa.select(mailing.c.id).where(
        mailing.c.post_id == post_id, mailing.c.kind != "digest"
    )
    activities = sa.select(activity.c.id).where(activity.c.post_id == post_id)
    of_this = of_post(post_id)
    opened = tx.row(
        sa.select(sa.func.min(fan_out.c.start_at), sa.func.count()).where(
            sa.or_(fan_out.c.mailing_id.in_(mailings), fan_out.c.activity_id.in_(activities)),
            fan_out.c.done_at.is_(None),
            fan_out.c.cancelled_at.is_(None),
        )
    )
    assert opened is not None  # noqa: S101 (an aggregate has one row)
    paused = tx.scalar(
        sa.select(mailing.c.pause_reason).where(
            mailing.c.id.in_(mailings), mailing.c.paused_at.is_not(None)
        )
    )
    return Progress(
        start_at=from_ms(opened[0]),
        stepping=opened[1] > 0,
        mail=_counts(tx, delivery.c.mailing_id.in_(mailings)),
        fediverse=_counts(tx, delivery.c.activity_id.in_(activities)),
        waiting_hosts=_hosts(tx, of_this, limit=50),
        waiting_domains=_domains(tx, of_this, limit=50),
        uncertain=_uncertain(tx, of_this, limit=50),
        refusals=_refusals(tx, of_this),
        paused=paused,
    )


def queue_status(tx: Tx, *, now: datetime, ended: bool = False) -> QueueStatus:
    """What is queued, sending, resting, parked and dormant.

    Args:
        tx: The transaction.
        now: The time.
        ended: Count what is over as well, for which every delivery ever made is read. Otherwise
            these counts are 0, and it costs what waits.
    """
    found = _by_class(tx, sa.true() if ended else IS_OPEN)
    return QueueStatus(
        mail=_sum(found["letter"], found["notice"]),
        notices=found["notice"],
        fediverse=found["fediverse"],
        bounces=tuple(
            (row[0], int(row[1]))
            for row in tx.rows(
                sa.select(bounce.c.class_, sa.func.count())
                .group_by(bounce.c.class_)
                .order_by(bounce.c.class_)
            )
        ),
        received_waiting=int(
            tx.scalar(sa.select(sa.func.count()).where(received.c.state == "waiting"))
        ),
        workers=int(tx.scalar(sa.select(sa.func.count()).select_from(worker))),
        stepping=int(
            tx.scalar(
                sa.select(sa.func.count()).where(
                    fan_out.c.done_at.is_(None),
                    fan_out.c.cancelled_at.is_(None),
                    fan_out.c.start_at <= to_ms(now),
                )
            )
        ),
        mail_rest=mail_rest(tx),
        resting=_hosts(tx, sa.and_(lane.c.failures > 0, lane.c.kind != "email"), limit=50),
        parked=_hosts(tx, lane.c.parked_at.is_not(None), limit=50),
        uncertain_letters=_in_doubt(tx),
        resting_lanes=_lanes(tx, lane.c.failures > 0, lane.c.ready_at.is_not(None)),
        parked_lanes=_lanes(tx, lane.c.parked_at.is_not(None)),
        dormant=_lanes(tx, lane.c.dormant_at.is_not(None)),
        oldest_seconds=_oldest(tx, now),
    )


def mail_rest(tx: Tx) -> MailRest | None:
    """Why mail rests, over all its lanes; None while the relay takes it."""
    resting = sa.and_(lane.c.kind == "email", lane.c.failures > 0, lane.c.ready_at.is_not(None))
    row = tx.row(
        sa.select(lane.c.last_error, lane.c.failing_since)
        .where(resting)
        .order_by(lane.c.failing_since, lane.c.id)
        .limit(1)
    )
    if row is None:
        return None
    next_at = tx.scalar(sa.select(sa.func.min(lane.c.ready_at)).where(resting))
    waiting = tx.scalar(
        sa.select(sa.func.count())
        .select_from(delivery.join(lane, lane.c.id == delivery.c.lane_id))
        .where(lane.c.kind == "email", IS_OPEN, delivery.c.state == "waiting")
    )
    return MailRest(row[0] or "", from_ms(row[1]), from_ms(next_at), int(waiting))


def reached(tx: Tx, post_id: PostId) -> tuple[int, int]:
    """Readers who got the letter by mail, and servers of the fediverse that took it.

    Corrections and edits reach the same again: each is counted once. Readers who were forgotten
    since are still counted.
    """
    letters = sa.select(mailing.c.id).where(mailing.c.post_id == post_id, mailing.c.kind == "issue")
    readers = sa.select(sa.func.count(delivery.c.subscriber_id.distinct())).where(
        delivery.c.mailing_id.in_(letters), delivery.c.state == "delivered"
    )
    forgotten = sa.select(sa.func.coalesce(sa.func.sum(tally.c.delivered), 0)).where(
        tally.c.mailing_id.in_(letters)
    )
    servers = (
        sa.select(sa.func.count(delivery.c.lane_id.distinct()))
        .join(activity, activity.c.id == delivery.c.activity_id)
        .where(activity.c.post_id == post_id, delivery.c.state == "delivered")
    )
    return int(tx.scalar(readers)) + int(tx.scalar(forgotten)), int(tx.scalar(servers))


def _in_doubt(tx: Tx) -> tuple[tuple[int, str], ...]:
    rows = tx.rows(
        sa.select(delivery.c.id, delivery.c.answer)
        .where(IS_OPEN, delivery.c.state == "uncertain")
        .order_by(delivery.c.lane_id, delivery.c.id)  # As the index has them.
        .limit(100)
    )
    return tuple((row[0], row[1] or "") for row in rows)


def _lanes(tx: Tx, *conditions: sa.ColumnElement[bool]) -> int:
    return int(tx.scalar(sa.select(sa.func.count()).select_from(lane).where(*conditions)))


def _oldest(tx: Tx, now: datetime) -> float:
    since = tx.scalar(
        sa.select(sa.func.min(delivery.c.not_before)).where(
            IS_OPEN, delivery.c.state == "waiting", delivery.c.attempts == 0
        )
    )
    return 0.0 if since is None else max(0.0, (to_ms(now) - since) / 1000)


def _counts(tx: Tx, condition: sa.ColumnElement[bool]) -> Counts:
    rows = tx.rows(
        sa.select(delivery.c.state, sa.func.count()).where(condition).group_by(delivery.c.state)
    )
    parts = (Counts(**{_NAMES.get(state, state): count}) for state, count in rows)
    return reduce(_sum, parts, Counts())


def _by_class(tx: Tx, condition: sa.ColumnElement[bool] | sa.TextClause) -> dict[str, Counts]:
    found = {"letter": Counts(), "notice": Counts(), "fediverse": Counts()}
    kind = sa.case(
        (delivery.c.activity_id.is_not(None), "fediverse"),
        (delivery.c.notice_id.is_not(None), "notice"),
        else_="letter",
    )
    rows = tx.rows(
        sa.select(kind, delivery.c.state, sa.func.count())
        .where(condition)
        .group_by(kind, delivery.c.state)
    )
    for name, state, count in rows:
        found[name] = _sum(found[name], Counts(**{_NAMES.get(state, state): count}))
    return found


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(*map(add, astuple(one), astuple(other)))


def _hosts(tx: Tx, condition: sa.ColumnElement[bool], *, limit: int) -> tuple[WaitingHost, ...]:
    rows = tx.rows(
        sa.select(
            lane.c.key,
            sa.func.count(),
            lane.c.last_error,
            lane.c.ready_at,
            lane.c.parked_at.is_not(None),
        )
        .join(delivery, delivery.c.lane_id == lane.c.id)
        .where(condition, IS_OPEN)
        .group_by(lane.c.id, lane.c.key, lane.c.last_error, lane.c.ready_at, lane.c.parked_at)
        .order_by(sa.func.count().desc(), lane.c.key)
        .limit(limit)
    )
    return tuple(
        WaitingHost(key, count, error, from_ms(ready_at), bool(parked))
        for key, count, error, ready_at, parked in rows
    )


def _domains(tx: Tx, condition: sa.ColumnElement[bool], *, limit: int) -> tuple[WaitingDomain, ...]:
    domain = domain_of(tx)
    rows = tx.rows(
        sa.select(
            domain,
            sa.func.count(),
            sa.func.max(delivery.c.answer),
            sa.func.min(delivery.c.not_before),
        )
        .select_from(delivery.join(subscriber, subscriber.c.id == delivery.c.subscriber_id))
        .where(condition, IS_OPEN, delivery.c.state == "waiting", delivery.c.attempts > 0)
        .group_by(domain)
        .order_by(sa.func.count().desc(), domain)
        .limit(limit)
    )
    return tuple(
        WaitingDomain(name, count, answer or "", from_ms(at)) for name, count, answer, at in rows
    )


def _uncertain(
    tx: Tx, condition: sa.ColumnElement[bool], *, limit: int
) -> tuple[UncertainLetter, ...]:
    rows = tx.rows(
        sa.select(delivery.c.id, subscriber.c.email, delivery.c.answer, delivery.c.not_before)
        .select_from(delivery.join(subscriber, subscriber.c.id == delivery.c.subscriber_id))
        .where(condition, IS_OPEN, delivery.c.state == "uncertain")
        .order_by(delivery.c.id)
        .limit(limit)
    )
    return tuple(
        UncertainLetter(number, email, answer or "", from_ms(at))
        for number, email, answer, at in rows
    )


def _refusals(tx: Tx, condition: sa.ColumnElement[bool]) -> tuple[Refusal, ...]:
    rows: Sequence[tuple[str | None, int]] = [
        (row[0], row[1])
        for row in tx.rows(
            sa.select(delivery.c.answer, sa.func.count())
            .where(condition, delivery.c.state == "failed")
            .group_by(delivery.c.answer)
            .order_by(sa.func.count().desc())
            .limit(20)
        )
    ]
    return tuple(Refusal(answer or "", count) for answer, count in rows)
