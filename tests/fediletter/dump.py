"""The whole database as text: what a refused request must leave as it was."""

from datetime import UTC, datetime

import sqlalchemy as sa

from fediletter.outbound.polls import tell_tallies
from storage.schema import ask, delivery, fan_out, lane, metadata, received
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
    """Wait until nothing is on its way and no lane is held: what moves then, a request moved.

    What is told of votes every few seconds is told now.
    """

    def is_quiet(tx) -> bool:
        now = int(datetime.now(UTC).timestamp() * 1000)
        under_way = (
            sa.select(received.c.id).where(
                received.c.state == "waiting", received.c.not_before <= now
            ),
            sa.select(delivery.c.id).where(delivery.c.state.in_(("waiting", "started"))),
            sa.select(lane.c.id).where(lane.c.leased_by.is_not(None)),
            sa.select(fan_out.c.id).where(fan_out.c.done_at.is_(None)),
            sa.select(ask.c.id),
        )
        return not any(tx.row(query.limit(1)) for query in under_way)

    await until(lambda: shop.services.store.read(is_quiet))
    await tell_tallies(shop.services)
    await until(lambda: shop.services.store.read(is_quiet))
