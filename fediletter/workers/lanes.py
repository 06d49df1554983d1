"""Claims lanes that are ready and lets each be drained by a task of its own, within the slots."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from sqlalchemy.exc import DBAPIError

from fediletter.outbound.backoff import uncertain_again
from fediletter.services import Services
from fediletter.workers.loop import wait_for_either
from storage import leases
from storage.ids import LaneId, WorkerId
from storage.leases import Claim
from storage.wakeup import LANES

_SCHEME_KEPT = timedelta(days=7)  # federation.md 7.5
_CLAIMED_AT_ONCE = 50
_log = logging.getLogger("fediletter.workers")


class Lanes:
    """This process's share of the lanes of one kind.

    Args:
        services: The toolbox.
        worker_id: Who claims: it changes when others took this process for dead.
        kind: `activities` or `email`.
        slots: Lanes drained at once, at most.
        drain: Drains one lane and gives it back; raises nothing but cancellation.
        claiming: Held while lanes of any kind are claimed: two suspects at once would be parked
            together, and a transaction does not see what another one takes.
        awaits_answer: Whether something left in a lane that may have arrived: to cut it makes a
            second copy.
    """

    def __init__(
        self,
        services: Services,
        worker_id: Callable[[], WorkerId],
        *,
        kind: str,
        slots: int,
        drain: Callable[[Claim], Awaitable[None]],
        claiming: asyncio.Lock,
        awaits_answer: Callable[[LaneId], bool] = lambda _: False,
    ) -> None:
        self._services = services
        self._worker_id = worker_id
        self._kind = kind
        self._slots = slots
        self._drain = drain
        self._claiming = claiming
        self._awaits_answer = awaits_answer
        self._unrecorded: list[Claim] = []  # The database refused what happened in them.
        self._running: dict[LaneId, asyncio.Task[None]] = {}
        self._slot_free = asyncio.Event()

    async def look(self) -> bool:
        """Claim what is ready for the free slots. True while there may be more."""
        await self._let_go()
        free = self._slots - len(self._running)
        if free <= 0:
            self._slot_free.clear()
            await wait_for_either(self._slot_free, self._slot_free, 1.0, self._services.clock)
            return True
        now = self._services.clock.now()
        async with self._claiming:
            claims = await self._services.store.write(
                leases.claim,
                self._worker_id(),
                kind=self._kind,
                limit=min(free, _CLAIMED_AT_ONCE),
                now=now,
                scheme_since=now - _SCHEME_KEPT,
            )
        for claim in claims:
            task = asyncio.ensure_future(self._drain(claim))
            self._running[claim.lane_id] = task
            task.add_done_callback(partial(self._ended, claim))
        return bool(claims)

    def _ended(self, claim: Claim, task: "asyncio.Future[None]") -> None:
        del self._running[claim.lane_id]
        self._slot_free.set()
        if claim.suspect:  # The next one may be handed out now.
            self._services.store.wakeups.fire((LANES,))
        if not task.cancelled() and (trouble := task.exception()) is not None:
            _log.error("a lane was not given back", exc_info=trouble, extra={"lane": claim.key})
            self._unrecorded.append(claim)

    async def _let_go(self) -> None:
        """Give back the lanes whose reports the database refused, now that it may answer again."""
        if not self._unrecorded:
            return
        now = self._services.clock.now()
        again = uncertain_again(now, hold=self._services.settings.hold_uncertain)
        claims, self._unrecorded = self._unrecorded, []
        try:
            await self._services.store.write(leases.let_go, claims, uncertain_at=again, now=now)
        except DBAPIError:
            self._unrecorded += claims
            raise
        _log.warning("lanes begin anew", extra={"count": len(claims)})

    async def finish(self, seconds: float, *, answers_seconds: float) -> None:
        """Let what is in flight end, at most so long; then cut it (RE-14, TR-23).

        Args:
            seconds: For all of it.
            answers_seconds: For answers to what may have arrived.
        """
        await self._ends(seconds)
        for lane_id, task in self._running.items():
            if not self._awaits_answer(lane_id):
                task.cancel()
        await self._ends(answers_seconds)
        for task in self._running.values():
            task.cancel()
        await self._ends(2.0)

    async def _ends(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=seconds)
