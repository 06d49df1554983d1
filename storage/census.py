"""How many read, and since when: counts over all readers, for people.

A count looks at every reader, so nobody asks for it on every page: the desk keeps the answer for
a while.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.ids import ActorId
from storage.schema import follower, subscriber
from storage.store import Tx
from storage.times import from_ms

_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Census:
    """Readers now, and how they came: one point for each day on which something changed."""

    subscribers: dict[str, int]  # By state.
    followers: int
    by_mail: tuple[tuple[datetime, int], ...]  # Readers at the end of that day, the oldest first.
    by_fediverse: tuple[tuple[datetime, int], ...]


def take_census(tx: Tx, actor_id: ActorId) -> Census:
    """Count everybody. Followers who left leave no trace, so their line shows who stayed."""
    states = tx.rows(sa.select(subscriber.c.state, sa.func.count()).group_by(subscriber.c.state))
    accepted = sa.and_(follower.c.actor_id == actor_id, follower.c.state == "accepted")
    came = _by_day(tx, subscriber.c.confirmed_at, subscriber.c.confirmed_at.is_not(None))
    left = _by_day(
        tx,
        subscriber.c.left_at,
        sa.and_(subscriber.c.confirmed_at.is_not(None), subscriber.c.left_at.is_not(None)),
    )
    follows = _by_day(tx, follower.c.at, accepted)
    return Census(
        dict(states),
        sum(follows.values()),
        _line(came, left),
        _line(follows, {}),
    )


def _by_day(
    tx: Tx, moment: sa.ColumnElement[int], condition: sa.ColumnElement[bool]
) -> dict[int, int]:
    day = moment // _DAY
    return dict(tx.rows(sa.select(day, sa.func.count()).where(condition).group_by(day)))


def _line(came: dict[int, int], left: dict[int, int]) -> tuple[tuple[datetime, int], ...]:
    total, points = 0, []
    for day in sorted(came.keys() | left.keys()):
        total += came.get(day, 0) - left.get(day, 0)
        points.append((from_ms(day * _DAY), total))
    return tuple(points)
