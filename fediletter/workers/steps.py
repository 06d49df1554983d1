"""Takes steps: readers become deliveries, what was received is applied, asks are answered."""

import asyncio

from fediletter.inbound.dispatch import process
from fediletter.outbound.asks import answer_ask
from fediletter.services import Services
from storage import asks, fan_outs, received

_AT_ONCE = 16  # Received activities applied side by side: most wait for a document of a peer.


async def step_fan_outs(services: Services) -> bool:
    """Take one step of each fan-out that is due. True while there may be more."""
    now = services.clock.now()
    due = await services.store.read(fan_outs.due_fan_outs, now=now)
    for fan_out_id in due:
        await services.store.write_behind(fan_outs.step, fan_out_id, now=now)
    return bool(due)


async def apply_received(services: Services) -> bool:
    """Apply the activities that wait, the oldest first. True while there may be more."""
    due = await services.store.read(received.due, now=services.clock.now(), limit=_AT_ONCE)
    await asyncio.gather(*(process(services, received_id) for received_id in due))
    return bool(due)


async def answer_asks(services: Services) -> bool:
    """Do what open forms asked for, side by side. True while there may be more."""
    due = await services.store.read(asks.due_asks, now=services.clock.now(), limit=_AT_ONCE)
    await asyncio.gather(*(answer_ask(services, ask) for ask in due))
    return bool(due)
