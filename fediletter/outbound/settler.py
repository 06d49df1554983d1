"""Gathers the reports of many lanes into one transaction.

Settling fifty lanes at a time costs a twentieth of settling them one by one: while one batch is
being written, the next gathers.
"""

import asyncio

from fediletter.clock import Clock
from storage.leases import Errand, Report, settle
from storage.store import Store

_AT_ONCE = 100  # Reports in one transaction.


class Settler:
    """One for each process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: list[tuple[Report, asyncio.Future[tuple[Errand, ...]]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def settle(self, report: Report) -> tuple[Errand, ...]:
        """Record a report durably; what is due next in its lane, if it goes on."""
        done: asyncio.Future[tuple[Errand, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append((report, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await done

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            try:
                more = await self._store.write(
                    settle, [report for report, _ in batch], now=self._clock.now()
                )
            except Exception as trouble:  # noqa: BLE001 (handed to those who wait)
                for _, done in batch:
                    if not done.done():
                        done.set_exception(trouble)
                continue
            for report, done in batch:
                if not done.done():
                    done.set_result(more.get(report.lane_id, ()))
