"""Carries lists on that came in at the desk, and those whose process died."""

import asyncio

from fediletter import importing
from fediletter.services import Services, desk_of
from fediletter.workers.loop import look_again_and_again
from storage import intakes, wakeup


async def carry_on_lists(services: Services, stopping: asyncio.Event) -> None:
    """Until `stopping`: read and write what is under way, one list after the other."""
    bell = services.store.listen(wakeup.IMPORTS)

    async def look() -> bool:
        for found in await services.store.read(intakes.under_way):
            await asyncio.to_thread(
                importing.carry_on,
                desk_of(services),
                found.token,
                importing.Look(services.clock.now, is_over=stopping.is_set),
            )
        return False

    await look_again_and_again("imports", look, bell, stopping, services.clock)
