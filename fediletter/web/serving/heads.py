"""How long a connection may take to say what it wants, and how much: uvicorn asks for neither.

A head that is not complete in time, or of which more came than could ever be answered, ends its
connection: there is nobody to whom a status could be said. What is complete and too large the guard
answers.

Sources: security.md L-3 (header deadline), L-4, IN-17.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fediletter.limits import HEAD_BYTES, HEAD_SECONDS

_MOST = 4 * HEAD_BYTES  # Up to here the guard says why; beyond, nothing is remembered.


class PatientHttp(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with a deadline for each head."""

    _deadline: asyncio.TimerHandle | None = None
    _came = 0  # Octets of a head that is not complete.

    def connection_made(self, transport: Any) -> None:
        """Somebody is there: the first head is waited for."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Hand on what came, unless the head never ends."""
        super().data_received(data)
        if self._deadline is None:
            return
        self._came += len(data)
        if self._came > _MOST:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """The next head of a kept connection has begun."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """It is there."""
        self._forget()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._forget()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._deadline is None:
            self._came = 0
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
