"""The beat of this process, and the watch over the others' (L-93, RE-10)."""

import asyncio
import logging
import os
import socket

from fediletter.clock import Clock
from fediletter.limits import BEAT_SECONDS, LEASE_SECONDS
from fediletter.outbound.backoff import uncertain_again
from storage import workers
from storage.ids import WorkerId
from storage.leases import free_lanes_of, hand_back
from storage.store import Store, Tx

_log = logging.getLogger("fediletter.workers")


class Pulse:
    """Shows that this process lives, and frees the lanes of those that do not.

    On SQLite one process at a time sends (RE-2): the longest registered that lives.
    """

    def __init__(self, store: Store, clock: Clock, *, hold_uncertain: bool = False) -> None:
        self._store = store
        self._clock = clock
        self._hold = hold_uncertain
        self._alone = store.engine.dialect.name == "sqlite"
        self._locks = workers.locks_for(store.engine)
        self._seen: dict[WorkerId, tuple[int, float]] = {}
        self.worker_id = WorkerId(0)
        self.may_work = False

    async def begin(self) -> None:
        """Register, and clear up after those who died."""
        await self._register()
        await self.look_around()

    @property
    def pause_seconds(self) -> float:
        """Until the next beat; short while another process must be replaced."""
        return float(BEAT_SECONDS) if self.may_work else 1.0

    async def end(self) -> None:
        """Give back what is held; forget this worker."""

        def leave(tx: Tx) -> None:
            now = self._clock.now()
            again = uncertain_again(now, hold=self._hold)
            hand_back(tx, self.worker_id, uncertain_at=again, now=now)
            workers.remove(tx, self.worker_id)

        self.may_work = False
        await self._store.write(leave)
        self._locks.release()

    async def look_around(self) -> None:
        """One beat: move our counter, watch the others'."""
        if not await self._store.write(workers.beat, self.worker_id):
            # Others took us for dead while we hung. Our leases are theirs; begin anew.
            _log.warning("this worker was declared dead; it registers again")
            self._locks.release()
            await self._register()
        beats = await self._store.read(workers.beats)
        for other, count in beats.items():
            if other != self.worker_id and await self._is_dead(other, count):
                await self._store.write(self._bury, other)
                self._seen.pop(other, None)
                _log.info("freed the lanes of a worker that ended", extra={"worker": other})
        alive = await self._store.read(workers.beats)
        self.may_work = not self._alone or next(iter(alive), None) == self.worker_id

    async def _register(self) -> None:
        label = f"{socket.gethostname()}:{os.getpid()}"
        self.worker_id = await self._store.write(workers.register, label, now=self._clock.now())
        await asyncio.to_thread(self._locks.hold, self.worker_id)

    async def _is_dead(self, other: WorkerId, count: int) -> bool:
        moment = self._clock.monotonic()
        before, since = self._seen.setdefault(other, (count, moment))
        if before != count:
            self._seen[other] = (count, moment)
            return False
        if await asyncio.to_thread(self._locks.is_free, other):
            # Before its first beat it may not hold its lock yet.
            return count > 0 or moment - since >= 1.0
        return moment - since > LEASE_SECONDS

    def _bury(self, tx: Tx, other: WorkerId) -> None:
        now = self._clock.now()
        if workers.remove(tx, other):
            free_lanes_of(tx, other, uncertain_at=uncertain_again(now, hold=self._hold), now=now)
