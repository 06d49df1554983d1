"""Counters of how often something happened lately; kept, so that a restart forgets none."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.schema import throttle
from storage.store import Tx
from storage.times import to_ms


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
    row = tx.row(sa.select(throttle.c.hits, throttle.c.until).where(throttle.c.key == key))
    if row is None or row[1] <= moment:
        values = {"hits": 1, "since": moment, "until": moment + span // timedelta(milliseconds=1)}
        tx.execute(
            tx.insert(throttle)
            .values(key=key, **values)
            .on_conflict_do_update(index_elements=["key"], set_=values)
        )
        return most >= 1
    tx.execute(sa.update(throttle).where(throttle.c.key == key).values(hits=throttle.c.hits + 1))
    return int(row[0]) < most


def is_free(tx: Tx, key: str, *, most: int, now: datetime) -> bool:
    """Whether one more would be within the limit; counts nothing."""
    row = tx.row(sa.select(throttle.c.hits, throttle.c.until).where(throttle.c.key == key))
    return row is None or row[1] <= to_ms(now) or row[0] < most


def forget(tx: Tx, *, now: datetime) -> None:
    """Drop what is over."""
    tx.execute(sa.delete(throttle).where(throttle.c.until <= to_ms(now)))
