"""Readers who get no mail because of what came back, for the desk: held, suppressed, lifted.

An address stays suppressed as a keyed hash after its person is forgotten (PR-5, PR-6).

Sources: email.md BO-9; security.md L-81, PR-5, PR-6.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage import audit
from storage.ids import DeliveryId, MailingId, PostId, SubscriberId
from storage.mailings import IN_DOUBT
from storage.schema import (
    IS_OPEN,
    TO_DO,
    bounce,
    delivery,
    lane,
    mailing,
    notice,
    post,
    subscriber,
)
from storage.store import Tx
from storage.times import from_ms, to_ms
from storage.wakeup import LANES

_LEFT_AT_MOST = 200  # Messages that founders left in doubt, the newest: so many are looked at.


@dataclass(frozen=True, slots=True)
class Silent:
    """A reader to whom no letter goes."""

    id: SubscriberId
    email: str
    state: str  # suppressed, or active and held
    held_until: datetime | None
    reports: int
    class_: str | None  # Of the newest report.
    excerpt: str | None
    at: datetime | None


def silent_readers(tx: Tx, *, limit: int, after: int = 0, now: datetime) -> list[Silent]:
    """Suppressed and held readers, beyond the id `after`."""
    newest = (
        sa.select(
            bounce.c.subscriber_id,
            sa.func.max(bounce.c.id).label("id"),
            sa.func.count().label("reports"),
        )
        .group_by(bounce.c.subscriber_id)
        .subquery()
    )
    rows = tx.rows(
        sa.select(
            subscriber.c.id,
            subscriber.c.email,
            subscriber.c.state,
            subscriber.c.held_until,
            newest.c.reports,
            bounce.c.class_,
            bounce.c.excerpt,
            bounce.c.at,
        )
        .select_from(
            subscriber.outerjoin(newest, newest.c.subscriber_id == subscriber.c.id).outerjoin(
                bounce, bounce.c.id == newest.c.id
            )
        )
        .where(
            subscriber.c.id > after,
            sa.or_(
                subscriber.c.state == "suppressed",
                sa.and_(subscriber.c.state == "active", subscriber.c.held_until > to_ms(now)),
            ),
        )
        .order_by(subscriber.c.id)
        .limit(limit)
    )
    return [
        Silent(*(*row[:3], from_ms(row[3]), row[4] or 0, *row[5:7], from_ms(row[7])))
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Paused:
    """A mailing that waits for a founder."""

    id: MailingId
    post_id: PostId
    title: str
    reason: str
    at: datetime
    waiting: int


def paused_mailings(tx: Tx) -> list[Paused]:
    """Mailings that pause, the newest first."""
    waiting = (
        sa.select(sa.func.count())
        .where(
            delivery.c.mailing_id == mailing.c.id,
            TO_DO,
        )
        .scalar_subquery()
    )
    rows = tx.rows(
        sa.select(
            mailing.c.id,
            mailing.c.post_id,
            post.c.title,
            mailing.c.pause_reason,
            mailing.c.paused_at,
            waiting,
        )
        .join(post, post.c.id == mailing.c.post_id)
        .where(mailing.c.paused_at.is_not(None))
        .order_by(mailing.c.paused_at.desc())
    )
    return [Paused(*(*row[:4], from_ms(row[4]), row[5])) for row in rows]


def resume_mailing(tx: Tx, mailing_id: MailingId, *, now: datetime) -> None:
    """A founder lets it go on."""
    tx.execute(
        sa.update(mailing).where(mailing.c.id == mailing_id).values(paused_at=None, pause_reason="")
    )
    _wake_lanes(tx, delivery.c.mailing_id == mailing_id, now)


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A message that may have arrived without our knowing."""

    id: DeliveryId
    email: str
    title: str  # Of its letter; empty for a service mail.
    answer: str
    again_at: datetime | None  # None: a founder left it as it is, and may still think better of it.


def doubtful(tx: Tx, *, limit: int) -> list[Doubtful]:
    """Messages in doubt, those that are left so last, the oldest first."""
    waiting = _doubtful(tx, sa.and_(IS_OPEN, delivery.c.state == "uncertain"), limit)
    # Found by what the founders did: nothing else tells them from all that was ever cancelled.
    left = [int(one) for one in audit.subjects(tx, "mail leave", limit=_LEFT_AT_MOST)]
    return waiting + _doubtful(
        tx,
        sa.and_(delivery.c.id.in_(left), delivery.c.state == "cancelled", IN_DOUBT),
        limit - len(waiting),
    )


def _doubtful(tx: Tx, condition: sa.ColumnElement[bool], limit: int) -> list[Doubtful]:
    rows = tx.rows(
        sa.select(
            delivery.c.id,
            sa.func.coalesce(subscriber.c.email, notice.c.recipient),
            sa.func.coalesce(post.c.title, ""),
            sa.func.coalesce(delivery.c.answer, ""),
            sa.case((delivery.c.state == "uncertain", delivery.c.not_before)),
        )
        .select_from(
            delivery.outerjoin(subscriber, subscriber.c.id == delivery.c.subscriber_id)
            .outerjoin(notice, notice.c.id == delivery.c.notice_id)
            .outerjoin(mailing, mailing.c.id == delivery.c.mailing_id)
            .outerjoin(post, post.c.id == mailing.c.post_id)
        )
        .where(condition)
        .order_by(delivery.c.id + 0)  # Not in the order of all ids there are: hence the sum.
        .limit(limit)
    )
    return [Doubtful(*(*row[:-1], from_ms(row[-1]))) for row in rows]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Letters to one domain that wait because it refuses them by policy."""

    domain: str
    waiting: int
    until: datetime


def stopped_domains(tx: Tx, *, now: datetime) -> list[Stopped]:
    """Domains whose letters were put off because of what came back, the most waiting first."""
    refused = sa.select(bounce.c.subscriber_id).where(bounce.c.class_ == "policy")
    rows = tx.rows(sa.select(subscriber.c.identity).where(subscriber.c.id.in_(refused)).distinct())
    found = []
    for domain in sorted({row[0].rpartition("@")[2] for row in rows}):
        row = tx.row(
            sa.select(sa.func.count(), sa.func.min(delivery.c.not_before))
            .select_from(delivery.join(subscriber, subscriber.c.id == delivery.c.subscriber_id))
            .where(
                IS_OPEN,
                delivery.c.state == "waiting",
                delivery.c.mailing_id.is_not(None),
                delivery.c.not_before > to_ms(now),
                subscriber.c.identity.endswith(f"@{domain}", autoescape=True),
            )
        )
        if row is not None and row[0]:
            found.append(Stopped(domain, row[0], from_ms(row[1])))
    return sorted(found, key=lambda one: -one.waiting)


def try_domain(tx: Tx, domain: str, *, now: datetime) -> None:
    """A founder lets letters to a domain go on."""
    readers = sa.select(subscriber.c.id).where(
        subscriber.c.identity.endswith(f"@{domain}", autoescape=True)
    )
    of_domain = sa.and_(
        IS_OPEN,
        delivery.c.state == "waiting",
        delivery.c.mailing_id.is_not(None),
        delivery.c.subscriber_id.in_(readers),
    )
    tx.execute(sa.update(delivery).where(of_domain).values(not_before=to_ms(now)))
    _wake_lanes(tx, of_domain, now)


def _wake_lanes(tx: Tx, condition: sa.ColumnElement[bool], now: datetime) -> None:
    lanes = sorted({row[0] for row in tx.rows(sa.select(delivery.c.lane_id).where(condition))})
    tx.execute(sa.update(lane).where(lane.c.id.in_(lanes)).values(ready_at=to_ms(now)))
    tx.wake(LANES)
