"""Starts and stops the loops, moves the beat, and drains on SIGTERM (RE-14)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from federation.limits import REQUESTS_AT_ONCE
from fediletter.limits import (
    MAIL_CONNECTIONS,
    SMTP_DOT_SECONDS,
    TERMINATION_SECONDS,
)
from fediletter.outbound.send_activities import ActivitySender
from fediletter.outbound.send_mail import MailSender
from fediletter.services import Services
from fediletter.workers.door import keep_door
from fediletter.workers.lanes import Lanes
from fediletter.workers.loop import look_again_and_again, wait_for_either
from fediletter.workers.pickup import pick_up
from fediletter.workers.pulse import Pulse
from fediletter.workers.steps import answer_asks, apply_received, step_fan_outs
from fediletter.workers.timetable import Timetable
from storage import wakeup
from storage.ids import LaneId
from storage.leases import Claim

ACTIVITIES, EMAIL = "activities", "email"
_log = logging.getLogger("fediletter.workers")


class Supervisor:
    """All the work of one process.

    Args:
        services: The toolbox.
        kinds: What this process sends; steps and timetable run in any case.
    """

    def __init__(self, services: Services, kinds: frozenset[str] = frozenset((ACTIVITIES, EMAIL))):
        self._services = services
        self._kinds = kinds
        self._pulse = Pulse(
            services.store, services.clock, hold_uncertain=services.settings.hold_uncertain
        )
        self._timetable = Timetable(services, lambda: self._pulse.may_work)
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._heart: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._lanes: list[Lanes] = []
        self._claiming = asyncio.Lock()

    async def start(self) -> None:
        """Register, take over from the dead, begin to look."""
        await self._pulse.begin()
        if ACTIVITIES in self._kinds:
            self._add_lanes(ACTIVITIES, REQUESTS_AT_ONCE, ActivitySender(self._services).drain)
        if EMAIL in self._kinds:
            sender = MailSender(self._services, self._stopping)
            # One more than the connections for letters: a confirmation need not wait for them.
            self._add_lanes(
                EMAIL, MAIL_CONNECTIONS + 1, sender.drain, awaits_answer=sender.awaits_answer
            )
        self._add_loop("fan-outs", wakeup.STEPS, lambda: step_fan_outs(self._services))
        self._add_loop("received", wakeup.RECEIVED, lambda: apply_received(self._services))
        self._add_loop("asks", wakeup.ASKS, lambda: answer_asks(self._services))
        if EMAIL in self._kinds and self._services.settings.lmtp is not None:
            door = keep_door(self._services, self._services.settings.lmtp, self._stopping)
            self._tasks.append(asyncio.create_task(door, name="lmtp"))
        if EMAIL in self._kinds and self._services.settings.imap is not None:
            visits = pick_up(
                self._services,
                self._services.settings.imap,
                lambda: self._pulse.may_work,
                self._stopping,
            )
            self._tasks.append(asyncio.create_task(visits, name="imap"))
        self._heart = asyncio.create_task(self._beat())
        self._timetable.start()

    async def stop(self) -> None:
        """Take no more work, finish what is in flight, hand back the rest.

        The heart beats on meanwhile: nobody shall take our lanes for those of a dead process.
        """
        self._timetable.stop()
        self._stopping.set()
        await asyncio.gather(
            *(
                lanes.finish(TERMINATION_SECONDS, answers_seconds=SMTP_DOT_SECONDS)
                for lanes in self._lanes
            )
        )
        self._stopped.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._heart is not None:
            await self._heart
        await self._pulse.end()

    def _add_lanes(
        self,
        kind: str,
        slots: int,
        drain: Callable[[Claim], Awaitable[None]],
        *,
        awaits_answer: Callable[[LaneId], bool] = lambda _: False,
    ) -> None:
        lanes = Lanes(
            self._services,
            lambda: self._pulse.worker_id,
            kind=kind,
            slots=slots,
            drain=drain,
            claiming=self._claiming,
            awaits_answer=awaits_answer,
        )
        self._lanes.append(lanes)
        self._add_loop(kind, wakeup.LANES, lanes.look)

    def _add_loop(self, name: str, channel: str, look: Callable[[], Awaitable[bool]]) -> None:
        async def look_if_allowed() -> bool:
            return self._pulse.may_work and await look()

        bell = self._services.store.listen(channel)
        self._tasks.append(
            asyncio.create_task(
                look_again_and_again(
                    name, look_if_allowed, bell, self._stopping, self._services.clock
                ),
                name=name,
            )
        )

    async def _beat(self) -> None:
        while not self._stopped.is_set():
            await wait_for_either(
                self._stopped, self._stopped, self._pulse.pause_seconds, self._services.clock
            )
            try:
                await self._pulse.look_around()
            except Exception:  # noqa: BLE001 (a database away must not end the watch)
                _log.exception("the beat failed")
            self._timetable.mind_the_clock()
