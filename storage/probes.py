"""Mails of the doctor to ourselves that came back (DO-10)."""

from datetime import datetime

import sqlalchemy as sa

from storage.schema import probe
from storage.store import Tx
from storage.times import to_ms


def note_probe(tx: Tx, number: int, head: str, *, now: datetime) -> None:
    """It came in at the door, with this header; a second copy changes nothing."""
    statement = tx.insert(probe).values(number=number, head=head, at=to_ms(now))
    tx.execute(statement.on_conflict_do_nothing())


def head_of(tx: Tx, number: int) -> str | None:
    """The header with which it came; None if it did not."""
    found: str | None = tx.scalar(sa.select(probe.c.head).where(probe.c.number == number))
    return found


def forget_probes(tx: Tx, *, before: datetime) -> None:
    """Drop those that came earlier: nobody waits for them any more."""
    tx.execute(sa.delete(probe).where(probe.c.at < to_ms(before)))
