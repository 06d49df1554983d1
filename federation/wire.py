"""One HTTP/1.1 connection: a request in one write, an answer read strictly.

Only what a client of peers needs: identity encoding, no upgrade, no pipelining; bounded head and
body; limits on the gap between reads and on the whole. An asyncio protocol rather than streams,
because deliveries to many hosts are what this program spends its time on.

Sources: RFC 9112 §4 to §7, §9; security.md FE-11 to FE-13, L-41, L-42.
"""

import asyncio
from dataclasses import dataclass
from typing import cast

from federation.limits import ANSWER_BYTES, ANSWER_HEAD_BYTES, GAP_SECONDS, TOTAL_SECONDS


class WireError(Exception):
    """The connection is of no more use; `unused` if nothing of an answer had come."""

    def __init__(self, words: str, *, unused: bool = False) -> None:
        super().__init__(words)
        self.unused = unused


class WireTimeout(WireError):
    """The peer was too slow."""


@dataclass(slots=True)
class Answer:
    """What a peer answered; header names as sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Wire(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser: _Parser | None = None
        self._gap: asyncio.TimerHandle | None = None
        self._total: asyncio.TimerHandle | None = None
        self.is_open = False

    # asyncio ---------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it.
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.close()  # Nobody asked.
            return
        try:
            answer = self._parser.feed(data)
        except WireError as wrong:
            self._fail(wrong)
            return
        if answer is not None:
            self._succeed(answer)
        elif self._gap is not None:
            self._gap.cancel()
            self._gap = self._loop.call_later(GAP_SECONDS, self._fail_late)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._parser is not None:
            answer = self._parser.at_end()
            if answer is not None:
                self._succeed(answer)
            else:
                unused = self._parser.is_unused
                self._fail(WireError("the connection was closed", unused=unused))

    # Requests --------------------------------------------------------------------------------
    async def ask(
        self, request: bytes, *, is_head: bool = False, seconds: float = TOTAL_SECONDS
    ) -> Answer:
        """Send a request, read its answer.

        Args:
            request: Its octets.
            is_head: Its answer has no body.
            seconds: What is left of the whole time (L-41).

        Raises:
            WireError: No usable answer came; the connection is closed.
        """
        if self._transport is None or not self.is_open or self._transport.is_closing():
            raise WireError("the connection was closed", unused=True)
        self._parser = _Parser(is_head)
        self._answer = self._loop.create_future()
        self._gap = self._loop.call_later(GAP_SECONDS, self._fail_late)
        self._total = self._loop.call_later(seconds, self._fail_late)
        self._transport.write(request)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Let the connection go."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def tls(self) -> object:
        """The TLS object of the connection, if it has one."""
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def _succeed(self, answer: Answer) -> None:
        keep = self._parser is not None and self._parser.keeps_alive
        self._end()
        if not keep:
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, wrong: WireError) -> None:
        self._end()
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(wrong)

    def _fail_late(self) -> None:
        self._fail(WireTimeout("no answer in time"))

    def _end(self) -> None:
        self._parser = None
        for timer in (self._gap, self._total):
            if timer is not None:
                timer.cancel()
        self._gap = self._total = None


class _Parser:
    """Reads one answer from octets as they come."""

    def __init__(self, is_head: bool) -> None:
        self._is_head = is_head
        self._buffer = bytearray()
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_body = False
        self._length: int | None = None  # None: until the connection ends
        self._chunked = False
        self._body = bytearray()
        self.keeps_alive = True
        self.is_unused = True

    def feed(self, data: bytes) -> Answer | None:
        self.is_unused = False
        self._buffer += data
        while not self._in_body:
            end = self._buffer.find(b"\r\n\r\n")
            if (len(self._buffer) if end < 0 else end) > ANSWER_HEAD_BYTES:
                raise WireError("the head is too long")
            if end < 0:
                return None
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._read_head(head)
        return self._read_body()

    def at_end(self) -> Answer | None:
        """The answer whose end is the end of the connection."""
        if self._in_body and self._length is None and not self._chunked:
            self.keeps_alive = False
            return Answer(self._status, self._headers, bytes(self._body))
        return None

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        code = rest[:3]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not code.isdigit() or len(code) != 3:
            raise WireError("not HTTP")
        self._status = int(code)
        if self._status < 200:
            if self._status == 101:
                raise WireError("an upgrade nobody asked for")
            return  # An interim answer; the real one follows.
        self.keeps_alive = version == b"HTTP/1.1"
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or name.strip() != name:
                raise WireError("a malformed header")
            self._headers.append((name, value.strip()))
        self._in_body = True
        self._frame()

    def _frame(self) -> None:
        fields = [(name.lower(), value) for name, value in self._headers]
        lengths = {value for name, value in fields if name == b"content-length"}
        encodings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        if any(name == b"connection" and b"close" in value.lower() for name, value in fields):
            self.keeps_alive = False
        if self._is_head or self._status in (204, 304):
            self._length = 0
        elif encodings:
            if encodings != [b"chunked"] or lengths:
                raise WireError("a transfer encoding that is not accepted")
            self._chunked = True
        elif lengths:
            self._length = _length(lengths)

    def _read_body(self) -> Answer | None:
        done = self._read_chunks() if self._chunked else self._read_plain()
        if len(self._body) > ANSWER_BYTES:
            raise WireError("the answer is too large")
        if not done:
            return None
        if self._buffer:
            self.keeps_alive = False  # More than was announced: not to be trusted again.
        return Answer(self._status, self._headers, bytes(self._body))

    def _read_plain(self) -> bool:
        if self._length is None:
            self._body += self._buffer
            self._buffer.clear()
            return False
        missing = self._length - len(self._body)
        self._body += self._buffer[:missing]
        del self._buffer[:missing]
        return len(self._body) == self._length

    def _read_chunks(self) -> bool:
        while True:
            line = self._buffer.find(b"\r\n")
            if line < 0:
                if len(self._buffer) > 1024:
                    raise WireError("a malformed chunk")
                return False
            digits = bytes(self._buffer[:line]).split(b";")[0].strip()
            try:
                size = int(digits, 16) if 0 < len(digits) <= 8 else -1
            except ValueError:
                size = -1
            if size < 0 or len(self._body) + size > ANSWER_BYTES:
                raise WireError("a malformed or too large chunk")
            if size == 0:
                return self._read_trailer(line)
            if len(self._buffer) < line + 2 + size + 2:
                return False
            start = line + 2
            if self._buffer[start + size : start + size + 2] != b"\r\n":
                raise WireError("a malformed chunk")
            self._body += self._buffer[start : start + size]
            del self._buffer[: start + size + 2]

    def _read_trailer(self, line: int) -> bool:
        if self._buffer[line : line + 4] == b"\r\n\r\n":
            del self._buffer[: line + 4]
            return True
        end = self._buffer.find(b"\r\n\r\n", line)
        if end >= 0:
            del self._buffer[: end + 4]
            return True
        if len(self._buffer) > ANSWER_HEAD_BYTES:
            raise WireError("the trailer is too long")
        return False


def _length(values: set[bytes]) -> int:
    text = values.pop()
    if values or not text.isdigit() or len(text) > 12:
        raise WireError("a malformed length")
    if int(text) > ANSWER_BYTES:
        raise WireError("the answer is too large")
    return int(text)
