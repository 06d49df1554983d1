"""Counters of how often something happened lately; kept, so that a restart forgets none."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.schema import throttle
from storage.store import Tx
from storage.times import from_ms, to_ms


def hit(tx: Tx, key: str, *, most: int, span: timedelta, now: datetime) -> bool:
    """Count one; False if that is more than `most` within `span`.

    Args:
        tx: The transaction.
        key: What is counted: no address of a person, only a hash of one.
        most: The limit.
        span: Since the first of them.
        now: The time.
    """
    moment = to_ms(now)
    fresh = {"hits": 1, "since": moment, "until": moment + span // timedelta(milliseconds=1)}
    more = {"hits": throttle.c.hits + 1, "since": throttle.c.since, "until": throttle.c.until}
    is_over = throttle.c.until <= moment
    row = tx.row(  # One statement: many who come at once are counted one by one.
        tx.insert(throttle)
        .values(key=key, **fresh)
        .on_conflict_do_update(
            index_elements=["key"],
            set_={name: sa.case((is_over, fresh[name]), else_=more[name]) for name in fresh},
        )
        .returning(throttle.c.hits)
    )
    assert row is not None  # noqa: S101 (inserted or updated)
    return int(row[0]) <= most


def counted_since(tx: Tx, key: str) -> datetime | None:
    """When the first of those that are counted happened; None if none is."""
    found: datetime | None = from_ms(
        tx.scalar(sa.select(throttle.c.since).where(throttle.c.key == key))
    )
    return found


def clear(tx: Tx, key: str) -> None:
    """Begin to count anew."""
    tx.execute(sa.delete(throttle).where(throttle.c.key == key))


def is_free(tx: Tx, key: str, *, most: int, now: datetime) -> bool:
    """Whether one more would be within the limit; counts nothing."""
    return free_at(tx, key, most=most, now=now) is None


def free_at(tx: Tx, key: str, *, most: int, now: datetime) -> datetime | None:
    """When one more will be within the limit; None if it is already. Counts nothing."""
    row = tx.row(sa.select(throttle.c.hits, throttle.c.until).where(throttle.c.key == key))
    if row is None or row[1] <= to_ms(now) or row[0] < most:
        return None
    end: datetime | None = from_ms(row[1])
    return end


def forget(tx: Tx, *, now: datetime) -> None:
    """Drop what is over."""
    tx.execute(sa.delete(throttle).where(throttle.c.until <= to_ms(now)))
