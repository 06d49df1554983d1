"""The delivery queue: lanes, each drained in order by one worker at a time over one connection.

A lane stands for a peer's host, or for one of the few connections to the mail relay. Deliveries
about one object keep their order within it, and a host that does not answer rests as a whole.
This module adds work, wakes, cancels; `storage.leases` takes and settles.

One rule keeps both right: whoever adds to a lane or settles it first locks the lane rows, in id
order, in a statement of its own, and only then looks at deliveries.

Sources: security.md RE-4 to RE-10, L-94; architecture page, section 7.
"""

import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.ids import ActivityId, InboxId, LaneId, MailingId, SubscriberId
from storage.schema import IS_OPEN, TO_DO, delivery, inbox, lane, mailing
from storage.store import Tx
from storage.times import to_ms
from storage.wakeup import LANES

MAIL_LANES = 4  # L-94: one for each connection to the relay.
BLOCKS_US = "blocks us: it refused several letters, one after another"
_CHUNK = 500  # Bound values in one statement.


def lane_for(tx: Tx, key: str, *, kind: str, urgent: bool = False) -> LaneId:
    """The lane of this key, made if it is new."""
    query = sa.select(lane.c.id).where(lane.c.key == key)
    found = tx.scalar(query)
    if found is None:
        tx.execute(
            tx.insert(lane).values(key=key, kind=kind, urgent=urgent).on_conflict_do_nothing()
        )
        found = tx.scalar(query)
    return LaneId(found)


def inbox_for(tx: Tx, url: str, *, host: str, shared: bool) -> InboxId:
    """The inbox of this URL for who asked to be written to: opened again if it was closed.

    Args:
        tx: The transaction.
        url: Checked already (FE-8).
        host: Host of the URL, with its port where it has one; names the lane.
        shared: Whether it takes for all actors of its host.
    """
    inbox_id = inbox_at(tx, url, host=host, shared=shared)
    open_inbox(tx, url)
    return inbox_id


def inbox_at(tx: Tx, url: str, *, host: str, shared: bool) -> InboxId:
    """The inbox of this URL, made if it is new, in the lane of its host; closed if it was."""
    query = sa.select(inbox.c.id).where(inbox.c.url == url)
    row = tx.row(query)
    if row is None:
        lane_id = lane_for(tx, f"ap:{host}", kind="activities")
        tx.execute(
            tx.insert(inbox)
            .values(url=url, lane_id=lane_id, shared=shared)
            .on_conflict_do_nothing()
        )
        row = tx.row(query)
        assert row is not None  # noqa: S101 (inserted just now, or by somebody else)
    return InboxId(row[0])


def open_inbox(tx: Tx, url: str) -> bool:
    """Let deliveries go to an inbox again. False if it was not closed."""
    closed = sa.and_(inbox.c.url == url, inbox.c.gone_at.is_not(None))
    return tx.execute(sa.update(inbox).where(closed).values(gone_at=None)).rowcount > 0


def close_personal_inbox(tx: Tx, url: str, *, now: datetime) -> None:
    """Whoever blocks us gets nothing at their own inbox any more; a shared one stays open."""
    query = sa.select(inbox.c.id).where(inbox.c.url == url, sa.not_(inbox.c.shared))
    close_inboxes(tx, [InboxId(row[0]) for row in tx.rows(query)], now=now)


def send_activity(
    tx: Tx,
    activity_id: ActivityId,
    inbox_ids: Sequence[InboxId],
    *,
    object_uri: str,
    urgent: bool,
    now: datetime,
) -> int:
    """Add one delivery for each inbox that has none of this activity yet.

    Returns:
        How many were added.
    """
    added = 0
    for chunk in chunks(list(dict.fromkeys(inbox_ids))):
        rows = tx.rows(
            sa.select(inbox.c.id, inbox.c.lane_id).where(
                inbox.c.id.in_(chunk), inbox.c.gone_at.is_(None)
            )
        )
        lanes = _locked(tx, (lane_id for _, lane_id in rows))
        if not rows:
            continue
        values = [
            {
                "lane_id": lane_id,
                "activity_id": activity_id,
                "inbox_id": inbox_id,
                "object_uri": object_uri,
                "state": "waiting",
                "not_before": to_ms(now),
                "created_at": to_ms(now),
            }
            for inbox_id, lane_id in rows
        ]
        added += _insert(tx, values)
        _ready(tx, lanes, now=now, urgent=urgent)
    tx.wake(LANES)
    return added


def add_mail(tx: Tx, rows: Sequence[dict[str, Any]], *, urgent: bool, now: datetime) -> int:
    """Add deliveries of mail; each row names its lane and what is sent to whom."""
    lanes = _locked(tx, (row["lane_id"] for row in rows))
    moment = to_ms(now)
    values = [
        {"state": "waiting", "not_before": moment, "created_at": moment, **row} for row in rows
    ]
    added = _insert(tx, values)
    _ready(tx, lanes, now=now, urgent=urgent)
    tx.wake(LANES)
    return added


def wake_mail(tx: Tx, lane_id: LaneId, *, at: datetime, now: datetime) -> None:
    """A delivery in this lane is due at `at` although it was over: the lane must look then."""
    moment = max(to_ms(at), to_ms(now))
    _locked(tx, [lane_id])
    tx.execute(
        sa.update(lane)
        .where(lane.c.id == lane_id, sa.or_(lane.c.ready_at.is_(None), lane.c.ready_at > moment))
        .values(ready_at=moment)
    )
    tx.wake(LANES)


def mail_lanes(tx: Tx) -> list[LaneId]:
    """The lanes of letters, by the number that `mail_lane_of` gives."""
    return [lane_for(tx, f"mail:{number}", kind="email") for number in range(MAIL_LANES)]


def mail_lane_of(identity: str) -> int:
    """The number of the lane that an address's letters take.

    A recipient domain always falls into the same two lanes (L-94).

    Args:
        identity: Lower-cased address.
    """
    local, _, domain = identity.rpartition("@")
    first = zlib.crc32(domain.encode())
    return (first + zlib.crc32(local.encode()) % 2) % MAIL_LANES


def _insert(tx: Tx, values: list[dict[str, Any]]) -> int:
    # Parameter sets of one statement: it is compiled once, not for each number of rows.
    statement = tx.insert(delivery).on_conflict_do_nothing().returning(delivery.c.id)
    return len(tx.execute(statement, values).all()) if values else 0


def _ready(tx: Tx, lanes: Sequence[LaneId], *, now: datetime, urgent: bool) -> None:
    # A resting host is not woken by new work: it would cost one attempt for each activity.
    moment = sa.case(
        (sa.and_(lane.c.failures > 0, lane.c.ready_at.is_not(None)), lane.c.ready_at),
        else_=to_ms(now),
    )
    values: dict[Any, Any] = {"ready_at": moment}
    if urgent:
        values["urgent"] = True
    for chunk in chunks(lanes):
        tx.execute(sa.update(lane).where(lane.c.id.in_(chunk)).values(values))


def refused_lately(tx: Tx, lane_id: LaneId, answer: str) -> set[ActivityId]:
    """Activities that a host refused with this answer since it last took one."""
    taken = (
        sa.select(sa.func.coalesce(sa.func.max(delivery.c.ended_at), 0))
        .where(delivery.c.lane_id == lane_id, delivery.c.state == "delivered")
        .scalar_subquery()
    )
    rows = tx.rows(
        sa.select(delivery.c.activity_id)
        .distinct()
        .where(
            delivery.c.lane_id == lane_id,
            delivery.c.state == "failed",
            delivery.c.answer == answer,
            delivery.c.ended_at > taken,
        )
        .limit(20)
    )
    return {ActivityId(row[0]) for row in rows}


def wake_hosts(tx: Tx, hosts: Collection[str], *, now: datetime) -> None:
    """Verified requests came from these hosts: they live, so their lanes need not rest any longer.

    One that blocks us rests all the same: that it speaks says nothing of what it takes.
    """
    for chunk in chunks([f"ap:{host}" for host in hosts]):
        resting = (
            sa.select(lane.c.id)
            .where(
                lane.c.key.in_(chunk),
                lane.c.failures > 0,
                lane.c.last_error.is_distinct_from(BLOCKS_US),
            )
            .order_by(lane.c.id)
            .with_for_update(key_share=True)
        )
        woken = [row[0] for row in tx.rows(resting)]
        if woken:
            tx.execute(
                sa.update(lane)
                .where(lane.c.id.in_(woken))
                .values(
                    failures=0,
                    failing_since=None,
                    failing_days=0,
                    dormant_at=None,
                    ready_at=sa.case((lane.c.ready_at.is_not(None), to_ms(now))),
                )
            )
            tx.wake(LANES)


def cancel_for_subscriber(tx: Tx, subscriber_id: SubscriberId, *, now: datetime) -> int:
    """A reader has left: nothing of theirs that has not begun will be sent (EM-15)."""
    theirs = sa.and_(delivery.c.subscriber_id == subscriber_id, delivery.c.mailing_id.is_not(None))
    return _cancel(tx, theirs, "the reader has left", now)


def cancel_for_activity(tx: Tx, activity_ids: Sequence[ActivityId], *, now: datetime) -> int:
    """What waits of these activities shall not leave."""
    return _cancel(tx, delivery.c.activity_id.in_(activity_ids), "stopped", now)


def cancel_for_mailing(tx: Tx, mailing_ids: Sequence[MailingId], *, now: datetime) -> int:
    """What waits of these mailings shall not leave."""
    return _cancel(tx, delivery.c.mailing_id.in_(mailing_ids), "stopped", now)


def close_inboxes(tx: Tx, inbox_ids: Sequence[InboxId], *, now: datetime) -> None:
    """Nothing goes to these inboxes any more, until somebody follows from there again."""
    for chunk in chunks(inbox_ids):
        _cancel(tx, delivery.c.inbox_id.in_(chunk), "blocked", now)
        tx.execute(sa.update(inbox).where(inbox.c.id.in_(chunk)).values(gone_at=to_ms(now)))


def _cancel(tx: Tx, condition: sa.ColumnElement[bool], answer: str, now: datetime) -> int:
    cancelled = tx.execute(
        sa.update(delivery)
        .where(condition, TO_DO)
        .values(state="cancelled", answer=answer, ended_at=to_ms(now))
    )
    return cancelled.rowcount


def mend_after_a_jump(tx: Tx, *, now: datetime) -> int:
    """The wall clock was set back: what was never tried would wait for a time that is far off.

    Deliveries are made due at once, so an untried one that lies ahead was made under another clock
    (RE-12). Pauses after attempts are left alone: a peer may have asked for them.

    Returns:
        How many lanes were woken.
    """
    moment = to_ms(now)
    ahead = sa.and_(
        IS_OPEN,
        delivery.c.state == "waiting",
        delivery.c.attempts == 0,
        delivery.c.not_before > moment,
    )
    lanes = _locked(tx, (row[0] for row in tx.rows(sa.select(delivery.c.lane_id).where(ahead))))
    for chunk in chunks(lanes):
        tx.execute(
            sa.update(delivery)
            .where(delivery.c.lane_id.in_(chunk), ahead)
            .values(not_before=moment)
        )
        tx.execute(
            sa.update(lane)
            .where(lane.c.id.in_(chunk), lane.c.failures == 0, lane.c.ready_at > moment)
            .values(ready_at=moment)
        )
    if lanes:
        tx.wake(LANES)
    return len(lanes)


def sweep(tx: Tx, *, now: datetime) -> list[str]:
    """Wake lanes that have work but no time to do it; there should be none.

    Returns:
        The keys of the lanes found: each is an error in the log.
    """
    paused = sa.select(mailing.c.id).where(mailing.c.paused_at.is_not(None))
    forgotten = (
        sa.select(delivery.c.id)
        .where(
            delivery.c.lane_id == lane.c.id,
            TO_DO,
            sa.or_(delivery.c.mailing_id.is_(None), delivery.c.mailing_id.not_in(paused)),
        )
        .exists()
    )
    rows = tx.rows(
        sa.update(lane)
        .where(
            lane.c.ready_at.is_(None),
            lane.c.leased_by.is_(None),
            lane.c.parked_at.is_(None),
            forgotten,
        )
        .values(ready_at=to_ms(now))
        .returning(lane.c.key)
    )
    if rows:
        tx.wake(LANES)
    return [row[0] for row in rows]


def _locked(tx: Tx, lane_ids: Iterable[int]) -> list[LaneId]:
    # Not their keys: whoever made an inbox in a lane holds its key until the end, and two of these
    # would wait for each other.
    wanted = sorted(set(lane_ids))
    for chunk in chunks(wanted):
        tx.rows(
            sa.select(lane.c.id)
            .where(lane.c.id.in_(chunk))
            .order_by(lane.c.id)
            .with_for_update(key_share=True)
        )
    return [LaneId(one) for one in wanted]


def chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """As many at a time as one statement takes."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
