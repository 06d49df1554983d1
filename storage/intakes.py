"""Lists that come in: what is known of each, so that it survives the process that reads it.

Nothing here knows what stands in a list. `wish` and `report` are the importer's own words as JSON.

Sources: email.md IM-5; issue 4.8.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import FounderId
from storage.schema import intake
from storage.store import Tx
from storage.times import from_ms, to_ms
from storage.wakeup import IMPORTS

UNDER_WAY = ("reading", "writing")


@dataclass(frozen=True, slots=True)
class Intake:
    """One list; `done` of `total` are octets while it is read, people while it is written."""

    token: str
    name: str
    state: str  # reading, looked, writing, done, failed
    founder_id: FounderId | None
    wish: dict[str, Any]
    report: dict[str, Any]
    problem: dict[str, Any] | None
    done: int
    total: int
    cursor: int
    at: datetime


_SELECT = sa.select(
    intake.c.token,
    intake.c.name,
    intake.c.state,
    intake.c.founder_id,
    intake.c.wish_json,
    intake.c.report_json,
    intake.c.problem_json,
    intake.c.done,
    intake.c.total,
    intake.c.cursor,
    intake.c.at,
)


def _read(row: tuple[Any, ...]) -> Intake:
    return Intake(
        token=row[0],
        name=row[1],
        state=row[2],
        founder_id=row[3],
        wish=json.loads(row[4]),
        report=json.loads(row[5]),
        problem=None if row[6] is None else json.loads(row[6]),
        done=row[7],
        total=row[8],
        cursor=row[9],
        at=from_ms(row[10]),
    )


def add_intake(
    tx: Tx,
    token: str,
    *,
    name: str,
    wish: dict[str, Any],
    total: int,
    founder_id: FounderId | None,
    now: datetime,
) -> None:
    """A list whose file is there to be read."""
    tx.execute(
        sa.insert(intake).values(
            token=token,
            name=name,
            state="reading",
            founder_id=founder_id,
            wish_json=json.dumps(wish),
            total=total,
            at=to_ms(now),
        )
    )
    tx.wake(IMPORTS)


def find_intake(tx: Tx, token: str) -> Intake:
    """One list. Raises NotThere."""
    row = tx.row(_SELECT.where(intake.c.token == token))
    if row is None:
        raise NotThere(token)
    return _read(row)


def under_way(tx: Tx) -> Sequence[Intake]:
    """Lists that are read or written, or would be if their process lived; the oldest first."""
    rows = tx.rows(_SELECT.where(intake.c.state.in_(UNDER_WAY)).order_by(intake.c.id))
    return [_read(row) for row in rows]


def newest_intakes(tx: Tx, *, limit: int) -> Sequence[Intake]:
    """The last lists, the newest first."""
    return [_read(row) for row in tx.rows(_SELECT.order_by(intake.c.id.desc()).limit(limit))]


def move_intake(tx: Tx, token: str, **values: Any) -> None:
    """Set columns; `wish`, `report` and `problem` as objects."""
    plain = {
        (f"{name}_json" if name in ("wish", "report", "problem") else name): (
            json.dumps(value) if name in ("wish", "report", "problem") else value
        )
        for name, value in values.items()
    }
    tx.execute(sa.update(intake).where(intake.c.token == token).values(plain))
    if values.get("state") in UNDER_WAY:
        tx.wake(IMPORTS)


def forget_intakes(tx: Tx, *, states: Sequence[str], before: datetime) -> None:
    """Drop lists of these states from before."""
    tx.execute(
        sa.delete(intake).where(intake.c.at < to_ms(before), intake.c.state.in_(list(states)))
    )


def all_tokens(tx: Tx) -> frozenset[str]:
    """Of all lists."""
    return frozenset(row[0] for row in tx.rows(sa.select(intake.c.token)))


def forget_intake(tx: Tx, token: str) -> None:
    """Drop one list that is not under way. Raises NotThere."""
    gone = tx.execute(
        sa.delete(intake).where(intake.c.token == token, intake.c.state.not_in(UNDER_WAY))
    )
    if gone.rowcount == 0:
        raise NotThere(token)
