"""When to look: APScheduler rings, the database says what is due (RE-11).

Each job is a claim of what is due: running it twice, late or in two processes does nothing more.
The scheduler reads the wall clock, so a jump of it makes every job look at once (RE-12).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.exc import DBAPIError

from fediletter import importing
from fediletter.checks.probe import PROBE_WITHIN
from fediletter.limits import (
    DORMANT_KEPT,
    DUPLICATES_KEPT,
    REPORTS_KEPT,
    SESSION_ABSOLUTE,
    SESSION_IDLE,
)
from fediletter.media import uploads
from fediletter.newsletter import retention
from fediletter.outbound.asks import mailroom_of
from fediletter.outbound.digest import digest_due
from fediletter.outbound.polls import tell_tallies
from fediletter.outbound.publish import publish_due
from fediletter.outbound.topics import give_actors
from fediletter.services import Services, desk_of
from storage import bounces, factors, founders, lanes, mailings, nudges, probes, received, throttles
from storage.store import Tx

_JUMP = timedelta(seconds=30)
_log = logging.getLogger("fediletter.timetable")


class Timetable:
    """The jobs of one process that works."""

    def __init__(self, services: Services, may_work: Callable[[], bool]) -> None:
        self._services = services
        self._may_work = may_work
        self._scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        jobs = (
            (self._publish, 2),
            (self._finish, 5),
            (self._tell_tallies, 5),
            (self._give_actors, 10),
            (self._digest, 60),
            (self._sweep, 180),
            (self._tidy, 3600),
            (self._ask_the_imported, 300),
            (self._mind_the_silent, 21_600),
        )
        for job, seconds in jobs:
            self._scheduler.add_job(self._guarded(job), "interval", seconds=seconds)
        self._drift = self._offset()

    def start(self) -> None:
        """Begin to ring."""
        self._scheduler.start()

    def stop(self) -> None:
        """Ring no more; a job that waits for something ends there, the next start looks again."""
        self._scheduler.shutdown(wait=False)

    def mind_the_clock(self) -> None:
        """Called with each beat: after a jump of the wall clock every job looks at once.

        Two jumps that cancel out between beats leave no drift, but jobs that were set for a time
        which is far off now.
        """
        now, drift = self._services.clock.now(), self._offset()
        jobs = self._scheduler.get_jobs()
        stranded = any(job.next_run_time - now > job.trigger.interval + _JUMP for job in jobs)
        if stranded or abs(drift - self._drift) > _JUMP.total_seconds():
            _log.warning("the clock jumped", extra={"seconds": round(drift - self._drift)})
            for job in jobs:
                job.modify(next_run_time=now)
        self._drift = drift

    def _offset(self) -> float:
        clock = self._services.clock
        return clock.now().timestamp() - clock.monotonic()

    def _guarded(self, job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            if not self._may_work():
                return
            try:
                await job()
            except DBAPIError as trouble:
                _log.error("the database refuses", extra={"kind": type(trouble.orig).__name__})
            except asyncio.CancelledError:
                return  # By `stop`: the library would log it as a failure.

        return run

    async def _publish(self) -> None:
        await publish_due(self._services)

    async def _tell_tallies(self) -> None:
        await tell_tallies(self._services)

    async def _give_actors(self) -> None:
        await give_actors(self._services)

    async def _digest(self) -> None:
        await digest_due(self._services)

    async def _finish(self) -> None:
        await self._services.store.write(mailings.finish_mailings, now=self._services.clock.now())

    async def _tidy(self) -> None:
        """Forget what need not be kept any longer."""
        now = self._services.clock.now()

        def work(tx: Tx) -> None:
            retention.purge(tx, self._services.tokens, now=now)
            received.forget_before(tx, now - DUPLICATES_KEPT)
            throttles.forget(tx, now=now)
            probes.forget_probes(tx, before=now - PROBE_WITHIN)
            bounces.forget_excerpts(tx, before=now - REPORTS_KEPT)
            nudges.forget_dormant(tx, before=now - DORMANT_KEPT, now=now)
            founders.forget_sessions(tx, now=now, idle=SESSION_IDLE, absolute=SESSION_ABSOLUTE)
            factors.forget_attempts(tx, now=now)

        await self._services.store.write(work)
        await asyncio.to_thread(importing.tidy, desk_of(self._services), now=now)
        await asyncio.to_thread(self._services.store.shed_past)
        await asyncio.to_thread(uploads.tidy, self._services.settings.media, now=now)

    async def _ask_the_imported(self) -> None:
        """Imported people get their one confirmation, as many as the limits allow (OP-8, L-72)."""
        now = self._services.clock.now()

        def work(tx: Tx) -> int:
            return retention.ask_the_imported(
                tx, mailroom_of(tx, self._services), self._services.tokens, now=now
            )

        await self._services.store.write(work)

    async def _mind_the_silent(self) -> None:
        """Who gave no sign for nearly three years is asked, and in the end let go (OP-6)."""
        now = self._services.clock.now()

        def work(tx: Tx) -> None:
            mailroom, tokens = mailroom_of(tx, self._services), self._services.tokens
            retention.part_with_the_silent(tx, tokens, now=now)
            retention.ask_the_silent(tx, mailroom, tokens, now=now)

        await self._services.store.write(work)

    async def _sweep(self) -> None:
        def work(tx: Tx) -> list[str]:
            lanes.mend_after_a_jump(tx, now=self._services.clock.now())
            return lanes.sweep(tx, now=self._services.clock.now())

        for key in await self._services.store.write(work):
            _log.error("a lane was forgotten", extra={"lane": key})
