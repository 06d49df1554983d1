"""Look now: a hint that work became ready. The poll is the truth; this only hurries it.

Within a process an event per channel; between processes on PostgreSQL one LISTEN connection,
whose notices fire the same events. Losing every hint costs seconds, never work.
"""

import asyncio
import contextlib
from collections.abc import Iterable

# The channels, each named after what became ready.
LANES = "lanes"
STEPS = "steps"
RECEIVED = "received"
ASKS = "asks"


class Wakeups:
    """Events by channel, fired from any thread, waited for in the loop that made the waiter."""

    def __init__(self) -> None:
        self._waiters: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    def listen(self, channel: str) -> asyncio.Event:
        """An event that is set each time `channel` fires; the waiter clears it."""
        bell = asyncio.Event()
        self._waiters.setdefault(channel, []).append((asyncio.get_running_loop(), bell))
        return bell

    def fire(self, channels: Iterable[str]) -> None:
        """Set the events of `channels`; safe from any thread."""
        for channel in channels:
            for loop, bell in self._waiters.get(channel, ()):
                with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits.
                    loop.call_soon_threadsafe(bell.set)
