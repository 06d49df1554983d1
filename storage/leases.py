"""Leases on lanes: taken by one statement, settled by a few, many lanes at a time.

A lease has no end in time, so no jump of a clock can end it: it ends when its worker gives the lane
back, or is found dead by others (`storage.workers`). Its term tells a late worker that somebody
else took over.

Sources: security.md RE-6, RE-7, RE-10, L-93; architecture page, section 7.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, TypeAlias

import sqlalchemy as sa

from storage.ids import ActivityId, DeliveryId, LaneId, WorkerId
from storage.lanes import BLOCKS_US, chunks
from storage.schema import IS_OPEN, TO_DO, activity, delivery, inbox, lane
from storage.store import Tx
from storage.times import to_ms
from storage.wakeup import LANES

_DRAIN = 20  # Deliveries of one lane taken at a time.
_FREED_TOO_OFTEN = 3  # Leases lost in a row: something here kills workers.
_SUSPECT = _FREED_TOO_OFTEN - 1
_DAY_MS = 86_400_000
# A paused mailing is not to do: its lane would be taken and given back without end.
_NOT_PAUSED = sa.text(
    "NOT EXISTS (SELECT 1 FROM mailing"
    " WHERE mailing.id = delivery.mailing_id AND mailing.paused_at IS NOT NULL)"
)
_EARLIER_OPEN = sa.text("earlier.state IN ('waiting', 'started', 'uncertain')")


@dataclass(frozen=True, slots=True)
class Errand:
    """One activity to bring to one inbox."""

    id: DeliveryId
    inbox_url: str
    activity_id: ActivityId
    attempts: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on a lane: valid while `term` is the lane's."""

    lane_id: LaneId
    term: int
    key: str
    scheme: str | None  # Signature scheme that this host took last, while it is remembered.
    failures: int = 0
    dormant: bool = False
    errands: tuple[Errand, ...] = ()
    suspect: bool = False  # It would be parked next; no other such is handed out beside it.


@dataclass(frozen=True, slots=True)
class Ended:
    """A delivery is over: `delivered`, `failed` or `cancelled`, and why."""

    id: DeliveryId
    state: str
    answer: str


@dataclass(frozen=True, slots=True)
class Again:
    """A delivery shall be tried again, not before `at`."""

    id: DeliveryId
    at: datetime
    answer: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Mail that may have arrived without our knowing; sent once more at `at` (RE-6)."""

    id: DeliveryId
    at: datetime
    answer: str


Result: TypeAlias = Ended | Again | InDoubt


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker did with a lane that it holds.

    `rest` set means that the host did not answer: the lane as a whole waits. `answered` says that
    it did, whatever it said; with `rest`: before it fell silent, so that its failures count anew.
    `blocks_us`: it answers, and rests though nothing waits in it yet.
    """

    lane_id: LaneId
    term: int
    results: Sequence[Result] = ()
    answered: bool = False
    rest: timedelta | None = None
    error: str | None = None
    scheme: str | None = None
    blocks_us: bool = False
    go_on: bool = False  # Keep the lease and hand out more.


def claim(
    tx: Tx, worker: WorkerId, *, kind: str, limit: int, now: datetime, scheme_since: datetime
) -> list[Claim]:
    """Lease up to `limit` lanes that have work, the urgent and the longest waiting first.

    Args:
        tx: The transaction.
        worker: Who takes them.
        kind: `activities`, with what is due in each, or `email`.
        limit: At most so many lanes.
        now: The time.
        scheme_since: A signature scheme remembered from before is forgotten.
    """
    due = sa.and_(
        lane.c.ready_at <= to_ms(now),
        lane.c.leased_by.is_(None),
        lane.c.parked_at.is_(None),
        lane.c.kind == kind,
    )
    # A lane that would be parked next is drained beside no other such: whoever dies then, dies of
    # what is in it, and those that were held when it killed the last worker prove their innocence.
    other = lane.alias("other")
    held = sa.exists().where(other.c.leased_by == worker, other.c.freed >= _SUSPECT)
    first = sa.select(sa.func.min(lane.c.id)).where(due, lane.c.freed >= _SUSPECT)
    clear = sa.or_(
        lane.c.freed < _SUSPECT,
        sa.and_(lane.c.id == first.correlate(None).scalar_subquery(), sa.not_(held)),
    )
    # In a CTE on purpose: as a plain sub-select PostgreSQL may run it more than once and lease
    # more than `limit`.
    ready = (
        sa.select(lane.c.id)
        .where(due, clear)
        .order_by(lane.c.urgent.desc(), lane.c.ready_at)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("ready")
    )
    rows = tx.rows(
        sa.update(lane)
        .where(lane.c.id.in_(sa.select(ready.c.id)))
        .values(leased_by=worker, term=lane.c.term + 1)
        .returning(
            lane.c.id,
            lane.c.term,
            lane.c.key,
            sa.case((lane.c.scheme_at >= to_ms(scheme_since), lane.c.scheme)),
            lane.c.failures,
            # As it is: SQLite 3.40 was seen to return `dormant_at IS NOT NULL` as true for NULL.
            lane.c.dormant_at,
            lane.c.freed,
        )
    )
    claims = [
        Claim(
            lane_id,
            term,
            key,
            scheme,
            failures,
            dormant_at is not None,
            suspect=freed >= _SUSPECT,
        )
        for lane_id, term, key, scheme, failures, dormant_at, freed in rows
    ]
    if kind != "activities" or not claims:
        return claims
    errands = errands_of(tx, [one.lane_id for one in claims], now=now)
    return [
        replace(one, errands=errands.get(one.lane_id, ())[: 1 if one.failures else _DRAIN])
        for one in claims
    ]


def errands_of(
    tx: Tx, lane_ids: Sequence[LaneId], *, now: datetime
) -> dict[LaneId, tuple[Errand, ...]]:
    """What is due in each lane, oldest first, at most a drain's worth."""
    earlier = delivery.alias("earlier")
    held_back = (
        sa.select(earlier.c.id)
        .where(
            earlier.c.lane_id == delivery.c.lane_id,
            _EARLIER_OPEN,
            earlier.c.state == "waiting",
            earlier.c.object_uri == delivery.c.object_uri,
            earlier.c.inbox_id == delivery.c.inbox_id,
            earlier.c.id < delivery.c.id,
            earlier.c.not_before > to_ms(now),
        )
        .exists()
    )
    place = sa.func.row_number().over(partition_by=delivery.c.lane_id, order_by=delivery.c.id)
    due = (
        sa.select(
            delivery.c.lane_id,
            delivery.c.id,
            delivery.c.inbox_id,
            delivery.c.activity_id,
            delivery.c.attempts,
            delivery.c.created_at,
            place.label("place"),
        )
        .where(
            delivery.c.lane_id.in_(lane_ids),
            IS_OPEN,
            delivery.c.state == "waiting",
            delivery.c.not_before <= to_ms(now),
            sa.not_(held_back),
        )
        .subquery()
    )
    rows = tx.rows(
        sa.select(
            due.c.lane_id,
            due.c.id,
            inbox.c.url,
            due.c.activity_id,
            due.c.attempts,
            due.c.created_at,
        )
        .join(inbox, inbox.c.id == due.c.inbox_id)
        .where(due.c.place <= _DRAIN)
        .order_by(due.c.lane_id, due.c.id)
    )
    return {
        LaneId(lane_id): tuple(Errand(*row[1:]) for row in group)
        for lane_id, group in groupby(rows, key=lambda row: row[0])
    }


def activity_parcels(
    tx: Tx, activity_ids: Iterable[ActivityId]
) -> dict[ActivityId, tuple[bytes, str, int]]:
    """Body, digest and sending actor of each activity."""
    found: dict[ActivityId, tuple[bytes, str, int]] = {}
    for chunk in chunks(sorted(set(activity_ids))):
        rows = tx.rows(
            sa.select(activity.c.id, activity.c.body, activity.c.digest, activity.c.actor_id).where(
                activity.c.id.in_(chunk)
            )
        )
        found |= {ActivityId(row[0]): (bytes(row[1]), row[2], row[3]) for row in rows}
    return found


def settle(tx: Tx, reports: Sequence[Report], *, now: datetime) -> dict[LaneId, tuple[Errand, ...]]:
    """Record what happened in lanes that the worker still holds, and give them back.

    A report whose term is not the lane's any more records nothing: somebody else took over.

    Returns:
        For lanes that go on: what is due next. A lane that has nothing more is given back.
    """
    held = _held(tx, reports)
    mine = [report for report in reports if held.get(report.lane_id) == report.term]
    record(tx, [result for report in mine for result in report.results], now)
    going = [report.lane_id for report in mine if report.go_on and report.rest is None]
    if going:
        # They get on: what was freed before was not freed because of what is in it.
        tx.execute(sa.update(lane).where(lane.c.id.in_(going), lane.c.freed > 0).values(freed=0))
    more = errands_of(tx, going, now=now) if going else {}
    _give_back(tx, [report for report in mine if report.lane_id not in more], now)
    return more


def _held(tx: Tx, reports: Sequence[Report]) -> dict[LaneId, int]:
    held: dict[LaneId, int] = {}
    for chunk in chunks(sorted({report.lane_id for report in reports})):
        rows = tx.rows(
            sa.select(lane.c.id, lane.c.term)
            .where(lane.c.id.in_(chunk), lane.c.leased_by.is_not(None))
            .order_by(lane.c.id)
            .with_for_update(key_share=True)
        )
        held |= {LaneId(lane_id): term for lane_id, term in rows}
    return held


def record(tx: Tx, results: Sequence[Result], now: datetime) -> None:
    """Write outcomes of deliveries in lanes that the caller has locked and holds."""
    ended = [one for one in results if isinstance(one, Ended)]
    again = [one for one in results if not isinstance(one, Ended)]
    if ended:
        tx.execute(
            sa.update(delivery)
            .where(delivery.c.id == sa.bindparam("of"), IS_OPEN)
            .values(
                state=sa.bindparam("now_is"),
                answer=sa.bindparam("said"),
                attempts=delivery.c.attempts + 1,
                ended_at=to_ms(now),
            ),
            [{"of": one.id, "now_is": one.state, "said": one.answer} for one in ended],
        )
    if again:
        tx.execute(
            sa.update(delivery)
            .where(delivery.c.id == sa.bindparam("of"), IS_OPEN)
            .values(
                state=sa.bindparam("now_is"),
                answer=sa.bindparam("said"),
                attempts=delivery.c.attempts + 1,
                not_before=sa.bindparam("at"),
                # Only what may have arrived keeps its Date; a later attempt is of its time (HD-1).
                dated_at=sa.case((sa.bindparam("now_is") == "uncertain", delivery.c.dated_at)),
            ),
            [
                {
                    "of": one.id,
                    "now_is": "uncertain" if isinstance(one, InDoubt) else "waiting",
                    "said": one.answer,
                    "at": to_ms(one.at),
                }
                for one in again
            ],
        )


def _give_back(tx: Tx, reports: Sequence[Report], now: datetime) -> None:
    if not reports:
        return
    moment = to_ms(now)
    next_due = (
        sa.select(sa.func.min(delivery.c.not_before))
        .where(delivery.c.lane_id == lane.c.id, TO_DO, _NOT_PAUSED)
        .scalar_subquery()
    )
    # Never in the past: a lane that has more goes to the end of the line.
    due_now = sa.case((next_due < moment, moment), else_=next_due)
    well = [report for report in reports if report.rest is None]
    if well:
        tx.execute(
            sa.update(lane)
            .where(lane.c.id == sa.bindparam("of"))
            .values(
                leased_by=None,
                urgent=lane.c.key.startswith("notice:"),
                freed=0,
                ready_at=due_now,
                failures=sa.case((sa.bindparam("answered"), 0), else_=lane.c.failures),
                failing_since=sa.case((sa.bindparam("answered"), None), else_=lane.c.failing_since),
                failing_days=sa.case((sa.bindparam("answered"), 0), else_=lane.c.failing_days),
                dormant_at=sa.case((sa.bindparam("answered"), None), else_=lane.c.dormant_at),
                last_error=sa.case(
                    (sa.bindparam("answered"), sa.bindparam("error")), else_=lane.c.last_error
                ),
                scheme=sa.func.coalesce(sa.bindparam("scheme_now"), lane.c.scheme),
                scheme_at=sa.case(
                    (sa.bindparam("scheme_now", type_=sa.Text).is_not(None), moment),
                    else_=lane.c.scheme_at,
                ),
            ),
            [
                {
                    "of": report.lane_id,
                    "answered": report.answered,
                    "error": report.error,
                    "scheme_now": report.scheme,
                }
                for report in well
            ],
        )
    for report in reports:
        if report.rest is not None:
            _rest(tx, report, next_due, moment)


def _rest(tx: Tx, report: Report, next_due: Any, moment: int) -> None:
    assert report.rest is not None  # noqa: S101 (the caller asked)
    if report.blocks_us:
        tx.execute(
            sa.update(lane)
            .where(lane.c.id == report.lane_id)
            .values(
                leased_by=None,
                freed=0,
                failures=lane.c.failures + 1,
                last_error=BLOCKS_US,
                ready_at=moment + report.rest // timedelta(milliseconds=1),
            )
        )
        return
    day = moment // _DAY_MS
    pause = moment + report.rest // timedelta(milliseconds=1)
    new_day = sa.or_(lane.c.last_failing_day.is_(None), lane.c.last_failing_day != day)
    days: Any = lane.c.failing_days + sa.case((new_day, 1), else_=0)
    failures: Any = lane.c.failures + 1
    since: Any = sa.func.coalesce(lane.c.failing_since, moment)
    if report.answered:
        days, failures, since = sa.literal(1), 1, moment
    dormant = sa.case((days >= 7, sa.func.coalesce(lane.c.dormant_at, moment)))
    tx.execute(
        sa.update(lane)
        .where(lane.c.id == report.lane_id)
        .values(
            leased_by=None,
            freed=0,
            failures=failures,
            failing_since=since,
            failing_days=days,
            last_failing_day=day,
            dormant_at=dormant,
            last_error=report.error,
            ready_at=sa.case(
                (next_due.is_(None), None),
                (days >= 7, moment + _DAY_MS),
                (next_due > pause, next_due),
                else_=pause,
            ),
        )
    )


def free_lanes_of(tx: Tx, worker: WorkerId, *, uncertain_at: datetime, now: datetime) -> int:
    """A worker is dead or hangs: its leases end, and mail in mid-air becomes uncertain (RE-6).

    Args:
        tx: The transaction.
        worker: Who is gone.
        uncertain_at: When mail that may have arrived is sent once more.
        now: The time.

    Returns:
        How many lanes were freed.
    """
    rows = tx.rows(
        sa.select(lane.c.id)
        .where(lane.c.leased_by == worker)
        .order_by(lane.c.id)
        .with_for_update(key_share=True)
    )
    lanes = [LaneId(row[0]) for row in rows]
    _free(tx, lanes, uncertain_at=uncertain_at, ready_at=now, now=now, lost=1)
    return len(lanes)


def let_go(
    tx: Tx,
    claims: Sequence[Claim],
    *,
    uncertain_at: datetime,
    now: datetime,
    rest: timedelta = timedelta(),
) -> Sequence[LaneId]:
    """What happened in these lanes is not recorded (the database was away): begin anew.

    Lanes that somebody else holds by now are left alone. Mail in mid-air becomes uncertain.

    Args:
        tx: The transaction.
        claims: The lanes.
        uncertain_at: When mail that may have arrived is sent once more.
        now: The time.
        rest: Begin after this.
    """
    held = _held(tx, [Report(one.lane_id, one.term) for one in claims])
    mine = [one.lane_id for one in claims if held.get(one.lane_id) == one.term]
    _free(tx, mine, uncertain_at=uncertain_at, ready_at=now + rest, now=now, lost=0)
    return mine


def _free(
    tx: Tx,
    lanes: Sequence[LaneId],
    *,
    uncertain_at: datetime,
    ready_at: datetime,
    now: datetime,
    lost: int,
) -> None:
    _doubt(tx, lanes, uncertain_at)
    for chunk in chunks(lanes):
        tx.execute(
            sa.update(lane)
            .where(lane.c.id.in_(chunk))
            .values(
                leased_by=None,
                term=lane.c.term + 1,
                freed=lane.c.freed + lost,
                ready_at=to_ms(ready_at),
                parked_at=sa.case((lane.c.freed + lost >= _FREED_TOO_OFTEN, to_ms(now))),
            )
        )
    if lanes:
        tx.wake(LANES)


def _doubt(tx: Tx, lanes: Sequence[LaneId], uncertain_at: datetime) -> None:
    for chunk in chunks(lanes):
        tx.execute(
            sa.update(delivery)
            .where(delivery.c.lane_id.in_(chunk), delivery.c.state == "started")
            .values(
                state="uncertain",
                answer="stopped between the last byte and the answer",
                not_before=to_ms(uncertain_at),
            )
        )


def hand_back(tx: Tx, worker: WorkerId, *, uncertain_at: datetime, now: datetime) -> None:
    """The worker ends in good order: what it holds but did not touch is free at once (RE-14).

    Mail whose answer did not come before the end is in doubt, and sent once more at `uncertain_at`.
    """
    held = sa.select(lane.c.id).where(lane.c.leased_by == worker)
    lanes = [
        LaneId(row[0]) for row in tx.rows(held.order_by(lane.c.id).with_for_update(key_share=True))
    ]
    _doubt(tx, lanes, uncertain_at)
    tx.execute(
        sa.update(lane)
        .where(lane.c.leased_by == worker)
        .values(leased_by=None, term=lane.c.term + 1, ready_at=to_ms(now))
    )
    tx.wake(LANES)
