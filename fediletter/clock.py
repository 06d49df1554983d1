"""Time, asked for at the edges only; everything below takes `now`.

`Clock` reads the wall clock and waits on the monotonic one (RE-12). Tests give a clock of
their own, whose waits end when the test moves it.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the edges ask."""

    def now(self) -> datetime:
        """The time of day, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that only ever grow, for measuring waits."""

    async def sleep(self, seconds: float) -> None:
        """Wait, at least 0 seconds."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
