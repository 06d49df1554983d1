"""What came through an open form and is done after its reply, alike for everybody (EM-10)."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.schema import ask
from storage.store import Tx
from storage.times import from_ms, to_ms
from storage.wakeup import ASKS


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody wants something for an address."""

    id: int
    kind: str  # subscribe, link, vote
    email: str
    wish: dict[str, Any]
    attempts: int
    at: datetime


def add_ask(tx: Tx, kind: str, email: str, wish: dict[str, Any], *, now: datetime) -> None:
    """Keep it; nothing is looked up, so that it costs the same for every address."""
    tx.execute(
        sa.insert(ask).values(
            kind=kind, email=email, wish_json=json.dumps(wish), not_before=to_ms(now), at=to_ms(now)
        )
    )
    tx.wake(ASKS)


def due_asks(tx: Tx, *, now: datetime, limit: int) -> list[Ask]:
    """What can be done now, the oldest first."""
    rows = tx.rows(
        sa.select(ask.c.id, ask.c.kind, ask.c.email, ask.c.wish_json, ask.c.attempts, ask.c.at)
        .where(ask.c.not_before <= to_ms(now))
        .order_by(ask.c.id)
        .limit(limit)
    )
    return [
        Ask(row[0], row[1], row[2], json.loads(row[3]), row[4], from_ms(row[5])) for row in rows
    ]


def take_ask(tx: Tx, ask_id: int) -> bool:
    """Take it off the list in the transaction that does it; False if another process did."""
    return tx.execute(sa.delete(ask).where(ask.c.id == ask_id)).rowcount == 1


def postpone_ask(tx: Tx, ask_id: int, *, until: datetime) -> None:
    """It could not be done; once more later."""
    tx.execute(
        sa.update(ask)
        .where(ask.c.id == ask_id)
        .values(attempts=ask.c.attempts + 1, not_before=to_ms(until))
    )


def forget_asks_of(tx: Tx, identity: str) -> None:
    """Drop what waits for an address (lower-cased)."""
    tx.execute(sa.delete(ask).where(sa.func.lower(ask.c.email) == identity))
