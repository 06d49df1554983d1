"""Gathers what many ask for at the same time into one transaction.

Fifty at a time cost a twentieth of fifty one by one: while one batch is being written, the next
gathers. Nobody waits for others to come.

Source: performance.md §3, §5.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from storage.store import Store, Tx

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 100  # In one transaction.


class Gathering(Generic[T, R]):
    """One for each kind of work of a process.

    Args:
        store: Where it is written.
        work: Writes a batch; returns a result for each, in their order. What it raises, all of the
            batch are told.
    """

    def __init__(self, store: Store, work: Callable[[Tx, Sequence[T]], Sequence[R]]) -> None:
        self._store = store
        self._work = work
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, one: T) -> R:
        """Write one, durably, with whatever else waits."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await done

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            try:
                results = await self._store.write(self._work, [one for one, _ in batch])
            except Exception as trouble:  # noqa: BLE001 (handed to those who wait)
                for _, done in batch:
                    if not done.done():
                        done.set_exception(trouble)
                continue
            for (_, done), result in zip(batch, results, strict=True):
                if not done.done():
                    done.set_result(result)
