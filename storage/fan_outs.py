"""Fan-outs: one activity or mailing becoming deliveries, a bounded step at a time.

Publishing writes one row for each audience, whatever its size. Each step turns the next readers
beyond the cursor into deliveries and moves the cursor, in one transaction: a crash repeats nothing
and loses nothing (RE-3). `upto` is the newest reader at publish: nobody gets a letter from before
they came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.audiences import had_letter, may_get_mail, wants_letter
from storage.digests import variant_for
from storage.ids import ActivityId, ActorId, FanOutId, InboxId, MailingId, PostId
from storage.lanes import (
    add_mail,
    cancel_for_activity,
    cancel_for_mailing,
    mail_lanes,
    send_activity,
)
from storage.schema import (
    activity,
    delivery,
    fan_out,
    follower,
    inbox,
    mailing,
    subscriber,
)
from storage.store import Tx
from storage.times import to_ms
from storage.wakeup import STEPS

STEP = 500  # Readers turned into deliveries in one transaction.


@dataclass(frozen=True, slots=True)
class FanOut:
    """An open fan-out."""

    id: FanOutId
    activity_id: ActivityId | None
    mailing_id: MailingId | None
    audience: str
    cursor: int
    upto: int


_COLUMNS = [fan_out.c[name] for name in FanOut.__dataclass_fields__]
_OPEN = sa.and_(fan_out.c.done_at.is_(None), fan_out.c.cancelled_at.is_(None))


def fan_out_activity(
    tx: Tx, activity_id: ActivityId, *, audience: str, start_at: datetime, now: datetime
) -> None:
    """Let an activity go to an audience.

    Args:
        tx: The transaction that also keeps the activity.
        activity_id: What goes out.
        audience: `followers` of its actor, or `holders`: they and whoever got its object before.
        start_at: Not before this (second thoughts).
        now: The time.
    """
    newest = tx.scalar(sa.select(sa.func.max(follower.c.id))) or 0
    _add(tx, {"activity_id": activity_id, "audience": audience, "upto": newest}, start_at, now)


def fan_out_mailing(tx: Tx, mailing_id: MailingId, *, start_at: datetime, now: datetime) -> None:
    """Let a mailing go to the subscribers of its topics."""
    newest = tx.scalar(sa.select(sa.func.max(subscriber.c.id))) or 0
    _add(tx, {"mailing_id": mailing_id, "audience": "subscribers", "upto": newest}, start_at, now)


def _add(tx: Tx, values: dict[str, Any], start_at: datetime, now: datetime) -> None:
    tx.execute(sa.insert(fan_out).values(start_at=to_ms(start_at), created_at=to_ms(now), **values))
    tx.wake(STEPS)


def due_fan_outs(tx: Tx, *, now: datetime, limit: int = 10) -> list[FanOutId]:
    """Open fan-outs whose time has come, the earliest first."""
    rows = tx.rows(
        sa.select(fan_out.c.id)
        .where(_OPEN, fan_out.c.start_at <= to_ms(now))
        .order_by(fan_out.c.start_at, fan_out.c.id)
        .limit(limit)
    )
    return [FanOutId(row[0]) for row in rows]


def step(tx: Tx, fan_out_id: FanOutId, *, now: datetime) -> bool:
    """Take one step. True while more may follow."""
    row = tx.row(sa.select(*_COLUMNS).where(fan_out.c.id == fan_out_id, _OPEN).with_for_update())
    if row is None:
        return False
    one = FanOut(*row)
    cursor = (
        _step_activity(tx, one, now) if one.activity_id is not None else _step_mail(tx, one, now)
    )
    done = cursor is None
    values = {"done_at": to_ms(now)} if done else {"cursor": cursor}
    tx.execute(sa.update(fan_out).where(fan_out.c.id == fan_out_id).values(values))
    return not done


def _step_activity(tx: Tx, one: FanOut, now: datetime) -> int | None:
    assert one.activity_id is not None  # noqa: S101 (the caller looked)
    found = tx.row(
        sa.select(activity.c.actor_id, activity.c.object_uri).where(
            activity.c.id == one.activity_id
        )
    )
    assert found is not None  # noqa: S101 (a foreign key)
    actor_id, object_uri = found
    inboxes = _inboxes_after(tx, one, ActorId(actor_id), object_uri)
    if not inboxes:
        return None
    send_activity(tx, one.activity_id, inboxes, object_uri=object_uri, urgent=False, now=now)
    return inboxes[-1]


def _inboxes_after(tx: Tx, one: FanOut, actor_id: ActorId, object_uri: str) -> Sequence[InboxId]:
    followers = sa.select(follower.c.inbox_id.label("id")).where(
        follower.c.actor_id == actor_id,
        follower.c.state == "accepted",
        follower.c.id <= one.upto,
        follower.c.inbox_id > one.cursor,
    )
    holders = (
        sa.select(delivery.c.inbox_id.label("id"))
        .join(activity, activity.c.id == delivery.c.activity_id)
        .where(
            activity.c.object_uri == object_uri,
            delivery.c.state != "cancelled",
            delivery.c.inbox_id > one.cursor,
        )
    )
    wanted = sa.union(followers, holders) if one.audience == "holders" else followers.distinct()
    chosen = wanted.subquery()
    rows = tx.rows(
        sa.select(chosen.c.id)
        .join(inbox, inbox.c.id == chosen.c.id)
        .where(inbox.c.gone_at.is_(None))
        .order_by(chosen.c.id)
        .limit(STEP)
    )
    return [InboxId(row[0]) for row in rows]


def _step_mail(tx: Tx, one: FanOut, now: datetime) -> int | None:
    assert one.mailing_id is not None  # noqa: S101 (the caller looked)
    about = tx.row(
        sa.select(mailing.c.kind, mailing.c.post_id, mailing.c.posts_json).where(
            mailing.c.id == one.mailing_id
        )
    )
    assert about is not None  # noqa: S101 (a foreign key)
    kind, post_id, posts_json = about
    variant: sa.ColumnElement[Any] = sa.null()
    if kind == "digest":
        variant = variant_for(posts_json)
        wanted = sa.and_(subscriber.c.rhythm == "monthly", variant > 0)
    else:
        wanted = had_letter(post_id) if kind == "correction" else wants_letter(post_id)
    rows = tx.rows(
        sa.select(subscriber.c.id, subscriber.c.mail_lane, variant)
        .where(
            subscriber.c.id > one.cursor,
            subscriber.c.id <= one.upto,
            may_get_mail(now),
            wanted,
        )
        .order_by(subscriber.c.id)
        .limit(STEP)
    )
    if not rows:
        return None
    lanes = mail_lanes(tx)
    add_mail(
        tx,
        [
            {
                "lane_id": lanes[number % len(lanes)],
                "mailing_id": one.mailing_id,
                "subscriber_id": subscriber_id,
                "variant": variant,
            }
            for subscriber_id, number, variant in rows
        ],
        urgent=False,
        now=now,
    )
    return int(rows[-1][0])


def stop_post(tx: Tx, post_id: PostId, *, now: datetime) -> bool:
    """Stop every channel of a post: what has not left shall not leave.

    Returns:
        True if nothing had left or begun yet.
    """
    activities = [
        ActivityId(row[0])
        for row in tx.rows(sa.select(activity.c.id).where(activity.c.post_id == post_id))
    ]
    mailings = [
        MailingId(row[0])
        for row in tx.rows(
            # A digest that lists it among others goes on.
            sa.select(mailing.c.id).where(mailing.c.post_id == post_id, mailing.c.kind != "digest")
        )
    ]
    of_this = sa.or_(fan_out.c.activity_id.in_(activities), fan_out.c.mailing_id.in_(mailings))
    tx.execute(sa.update(fan_out).where(of_this, _OPEN).values(cancelled_at=to_ms(now)))
    cancel_for_activity(tx, activities, now=now)
    cancel_for_mailing(tx, mailings, now=now)
    # A worker may hold what still says `waiting` in its hands: any delivery counts as begun.
    begun = sa.select(delivery.c.id).where(
        sa.or_(delivery.c.activity_id.in_(activities), delivery.c.mailing_id.in_(mailings))
    )
    return tx.row(begun.limit(1)) is None
