"""The whole database as text: what a refused request must leave as it was."""

import sqlalchemy as sa

from storage.schema import metadata

# Counters of limits move with every request; that is what they are for.
_MOVING = {"throttle", "worker"}


def dump(tx) -> list[str]:
    return [
        f"{table.name}: {tuple(row)}"
        for table in metadata.sorted_tables
        if table.name not in _MOVING
        for row in tx.rows(sa.select(table).order_by(*table.primary_key.columns))
    ]
