"""Whoever asks us something comes before what we send.

Requests and deliveries share one loop. When the answers of hundreds of lanes come together, each
signs its next delivery at once, and a request waits for all of them, several times over. While
requests are being answered, a pass of the loop signs for a millisecond; otherwise, as
much as there is.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

_PASS_SECONDS = 0.001


class Turns:
    """One for each process."""

    def __init__(self) -> None:
        self._asking = 0
        self._pass_ends: float | None = None

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Somebody waits for our answer."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def give_way(self) -> None:
        """Before a piece of work that computes: wait until this or a later pass has room for it."""
        while self._asking:
            now = time.monotonic()  # Not the loop's: that one stands during a pass.
            if self._pass_ends is None:
                self._pass_ends = now + _PASS_SECONDS
                asyncio.get_running_loop().call_soon(self._next_pass)
            if now < self._pass_ends:
                return
            await asyncio.sleep(0)  # noqa: TID251 (gives way, waits for nothing)

    def _next_pass(self) -> None:
        self._pass_ends = None
