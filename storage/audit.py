"""Who did what: append only (CL-5)."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.ids import FounderId
from storage.schema import audit
from storage.store import Tx
from storage.times import from_ms, to_ms

_ID_DIGITS = 19  # Less than what an id of the database has room for.


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit list."""

    id: int
    at: datetime
    founder_id: FounderId | None
    channel: str
    action: str
    subject: str
    detail: dict[str, Any]


def write(
    tx: Tx,
    action: str,
    *,
    now: datetime,
    subject: str = "",
    founder_id: FounderId | None = None,
    channel: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a line.

    Args:
        tx: The transaction of what is done.
        action: A verb: `publish`, `login`, `block` …
        now: The time.
        subject: What it is about: ids, never addresses of people.
        founder_id: Who does it; None for the clock, the command line, or somebody unknown.
        channel: `web`, `cli` or `clock`; by default from whether there is a founder.
        detail: A few facts more.
    """
    tx.execute(
        sa.insert(audit).values(
            at=to_ms(now),
            founder_id=founder_id,
            channel=channel or ("web" if founder_id is not None else "clock"),
            action=action,
            subject=subject,
            detail_json=json.dumps(detail or {}),
        )
    )


def newest(tx: Tx, *, limit: int, before: int | None = None) -> list[Entry]:
    """The last lines, the newest first; those before an id."""
    rows = tx.rows(
        sa.select(
            audit.c.id,
            audit.c.at,
            audit.c.founder_id,
            audit.c.channel,
            audit.c.action,
            audit.c.subject,
            audit.c.detail_json,
        )
        .where(audit.c.id < before if before is not None else sa.true())
        .order_by(audit.c.id.desc())
        .limit(limit)
    )
    return [
        Entry(row[0], from_ms(row[1]), row[2], row[3], row[4], row[5], json.loads(row[6]))
        for row in rows
    ]


def subjects(tx: Tx, action: str, *, limit: int) -> list[str]:
    """What an action was done to, where that is an id: the newest lines."""
    rows = tx.rows(
        sa.select(audit.c.subject)
        .where(audit.c.action == action)
        .order_by(audit.c.id.desc())
        .limit(limit)
    )
    return [row[0] for row in rows if row[0].isdecimal() and len(row[0]) < _ID_DIGITS]
