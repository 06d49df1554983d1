"""The whole database as text: what a refused request must leave as it was."""

import sqlalchemy as sa

from storage.schema import ask, delivery, lane, metadata
from tests.shop import until

# Counters of limits move with every request; that is what they are for.
_MOVING = {"throttle", "worker"}


def dump(tx) -> list[str]:
    return [
        f"{table.name}: {tuple(row)}"
        for table in metadata.sorted_tables
        if table.name not in _MOVING
        for row in tx.rows(sa.select(table).order_by(*table.primary_key.columns))
    ]


async def settled(shop) -> None:
    """Wait until nothing is on its way and no lane is held: what moves then, a request moved."""

    def is_quiet(tx) -> bool:
        busy = sa.select(delivery.c.id).where(delivery.c.state.in_(("waiting", "started")))
        held = sa.select(lane.c.id).where(lane.c.leased_by.is_not(None))
        return not (tx.rows(busy) or tx.rows(held) or tx.rows(sa.select(ask.c.id)))

    await until(lambda: shop.services.store.read(is_quiet))
