"""A loop that looks for work when it is told to, and every few seconds in any case."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import DBAPIError

from fediletter.clock import Clock

_POLL_SECONDS = 3.0  # The truth; a wake-up only hurries it.
_TROUBLE_SECONDS = 2.0  # After the database refused: no spin (RE-13).
_log = logging.getLogger("fediletter.workers")


async def look_again_and_again(
    name: str,
    look: Callable[[], Awaitable[bool]],
    bell: asyncio.Event,
    stopping: asyncio.Event,
    clock: Clock,
) -> None:
    """Call `look` until it finds nothing, then wait for the bell or the next poll.

    Args:
        name: For the log.
        look: One look; True while there may be more.
        bell: Set by whoever made work ready.
        stopping: Ends the loop after the present look.
        clock: Waits.
    """
    while not stopping.is_set():
        bell.clear()
        try:
            more = await look()
        except DBAPIError as trouble:
            _log.error(
                "%s: the database refuses", name, extra={"kind": type(trouble.orig).__name__}
            )
            await wait_for_either(stopping, bell, _TROUBLE_SECONDS, clock)
            continue
        except Exception:  # noqa: BLE001 (logged, and the loop goes on)
            _log.exception("%s: unexpected", name)
            await wait_for_either(stopping, stopping, _TROUBLE_SECONDS, clock)
            continue
        if not more:
            await wait_for_either(stopping, bell, _POLL_SECONDS, clock)


async def wait_for_either(
    first: asyncio.Event, second: asyncio.Event, seconds: float, clock: Clock
) -> None:
    """Wait until one of the events is set or the time is over."""
    waits = [
        asyncio.ensure_future(first.wait()),
        asyncio.ensure_future(second.wait()),
        asyncio.ensure_future(clock.sleep(seconds)),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
