"""How fast mail is handed over: what the relay allows, and slower when it says so.

A provider's cap by the hour or the day is counted in the database, over all processes and
restarts: when it is reached mail rests until the span is over, and nothing has failed. A pace by
the second, and how a relay's own limits slow us down, are each process's own.

Sources: email.md TR-5, TR-18; L-94.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from fediletter.clock import Clock
from fediletter.limits import MAIL_CONNECTIONS
from fediletter.settings import MailRate
from storage.store import Tx
from storage.throttles import free_at, hit

_SLOWEST = 2  # Steps: four connections, two, one.
_GAP_SECONDS = 0.02  # Between two messages of a connection, doubled with each step.
_RECOVERS = 100  # Accepted messages for each step back.


class Pace:
    """One for each process.

    Args:
        clock: Measures and waits.
        rates: What the relay allows; empty: as much as it takes.
    """

    def __init__(self, clock: Clock, rates: tuple[MailRate, ...]) -> None:
        self._clock = clock
        self._caps = [rate for rate in rates if rate.span > timedelta(seconds=1)]
        self._second = next((r.most for r in rates if r.span == timedelta(seconds=1)), None)
        self._next_at = 0.0  # On the monotonic clock.
        self._step = 0
        self._good = 0
        self._carrying = 0
        self._freed = asyncio.Condition()

    # The caps, in the transaction that begins a message ----------------------------------------
    def rests_until(self, tx: Tx, *, now: datetime) -> datetime | None:
        """Until when the relay may be given nothing; None if one more message may begin."""
        ends = [free_at(tx, _key(rate), most=rate.most, now=now) for rate in self._caps]
        return max((one for one in ends if one is not None), default=None)

    def begun(self, tx: Tx, *, now: datetime) -> None:
        """Count a message that begins."""
        for rate in self._caps:
            hit(tx, _key(rate), most=rate.most, span=rate.span, now=now)

    # Connections and gaps ----------------------------------------------------------------------
    @property
    def connections(self) -> int:
        """How many may be open to the relay now."""
        return max(1, MAIL_CONNECTIONS >> self._step) if self._step else MAIL_CONNECTIONS + 1

    @property
    def gap_seconds(self) -> float:
        """Between two messages of one connection."""
        return _GAP_SECONDS * (1 << self._step) if self._step else 0.0

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        """Wait until one more connection may be open."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._carrying < self.connections)
            self._carrying += 1
        try:
            yield
        finally:
            async with self._freed:
                self._carrying -= 1
                self._freed.notify_all()

    async def turn(self) -> None:
        """Wait until the next message may leave."""
        wait = self.gap_seconds
        if self._second is not None:
            at = self._clock.monotonic()
            due = max(at, self._next_at)
            self._next_at = due + (1 << self._step) / self._second
            wait = max(wait, due - at)
        if wait > 0:
            await self._clock.sleep(wait)

    def met_limit(self) -> None:
        """The relay asked us to come later: half the connections, twice the gaps."""
        self._step, self._good = min(self._step + 1, _SLOWEST), 0

    def accepted(self) -> None:
        """The relay took a message."""
        self._good += 1
        if self._step and self._good >= _RECOVERS:
            self._step, self._good = self._step - 1, 0


def _key(rate: MailRate) -> str:
    return f"relay:{rate.span // timedelta(seconds=1)}"
