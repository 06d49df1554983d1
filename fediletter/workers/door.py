"""The LMTP door of this process: opened when it can be, handed over when another one ends."""

import asyncio
import logging

from fediletter.inbound.arrivals import Arrivals
from fediletter.limits import TERMINATION_SECONDS
from fediletter.mail.lmtp import LmtpServer
from fediletter.services import Services
from fediletter.workers.loop import wait_for_either

_AGAIN_SECONDS = 15.0
_log = logging.getLogger("fediletter.workers")


async def keep_door(services: Services, address: str, stopping: asyncio.Event) -> None:
    """Listen at `address` until `stopping`.

    Several processes may be told the same address: one listens, the others wait for it to end.
    """
    arrivals = Arrivals(services)
    server = LmtpServer(
        address,
        is_ours=arrivals.is_ours,
        take=arrivals.take,
        name=services.settings.host.partition(":")[0],
    )
    told = False
    while not stopping.is_set():
        try:
            await server.start()
        except OSError as wrong:
            if not told:
                _log.warning("no mail is taken in here", extra={"reason": wrong.strerror or "used"})
                told = True
            await wait_for_either(stopping, stopping, _AGAIN_SECONDS, services.clock)
            continue
        _log.info("mail is taken in")
        await stopping.wait()
    await server.stop(TERMINATION_SECONDS)
