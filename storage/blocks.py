"""Blocks of actors and domains, decided by founders."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.schema import block
from storage.store import Tx
from storage.times import to_ms


@dataclass(frozen=True, slots=True)
class Block:
    """One block: `kind` is `actor` (value: its id) or `domain`."""

    kind: str
    value: str
    note: str


def is_blocked(tx: Tx, actor_uri: str, host: str) -> bool:
    """Whether an actor, its host or a parent domain of it is blocked."""
    labels = host.partition(":")[0].split(".")
    domains = [".".join(labels[start:]) for start in range(len(labels))] + [host]
    return (
        tx.row(
            sa.select(block.c.id)
            .where(
                sa.or_(
                    sa.and_(block.c.kind == "actor", block.c.value == actor_uri),
                    sa.and_(block.c.kind == "domain", block.c.value.in_(domains)),
                )
            )
            .limit(1)
        )
        is not None
    )


def add_block(tx: Tx, kind: str, value: str, *, note: str, now: datetime) -> bool:
    """Block an actor or a domain. False if it was blocked already."""
    statement = (
        tx.insert(block)
        .values(kind=kind, value=value, note=note, at=to_ms(now))
        .on_conflict_do_nothing()
        .returning(block.c.id)
    )
    return tx.row(statement) is not None


def remove_block(tx: Tx, value: str) -> bool:
    """Lift a block. False if there was none."""
    return tx.execute(sa.delete(block).where(block.c.value == value)).rowcount > 0


def all_blocks(tx: Tx) -> list[Block]:
    """Every block, the oldest first."""
    rows = tx.rows(sa.select(block.c.kind, block.c.value, block.c.note).order_by(block.c.id))
    return [Block(*row) for row in rows]
