"""A relay by script: it answers as told, step by step, and remembers what happened."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from fediletter.mail.courier import Envelope, Result
from fediletter.mail.relay import Relay

_GOOD = {
    "EHLO": "250 sink.test",
    "MAIL": "250 2.1.0 sender",
    "RCPT": "250 2.1.5 reader",
    "DATA": "354 go on",
    "DOT": "250 2.0.0 queued",
    "RSET": "250 2.0.0 forgotten",
    "AUTH": "235 2.7.0 come in",
    "QUIT": "221 2.0.0 bye",
}
CLOSE = "close"  # Instead of an answer.
HOLD = "hold"  # Answer only when the next command has arrived.
WAIT = "wait"  # Answer only when the test sets `go_on`.


@dataclass
class Sink:
    """What the relay does and what it saw.

    `script` maps a step and its number (from 1, over all connections) to an answer, or to CLOSE,
    HOLD or WAIT. Steps are the verbs, `BODY` (the first line of a message) and `DOT`.
    """

    script: Mapping[tuple[str, int], str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("PIPELINING",)
    a_reply_per_octet: bool = False
    greeting: str = "220 sink.test"
    tls: ssl.SSLContext | None = None
    implicit: bool = False  # TLS from the first octet.
    port: int = 0
    events: list[tuple[str, int]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    messages: list[tuple[str, bytes]] = field(default_factory=list)  # Recipient and content.
    discarded: list[bytes] = field(default_factory=list)
    connections: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: Counter[str] = field(default_factory=Counter)
    _talks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def recipients(self) -> list[str]:
        return [recipient for recipient, _ in self.messages]

    def relay(self, *, tls="none", user=None, password=None) -> Relay:
        return Relay("127.0.0.1", self.port, tls, user, password, "shop.test")

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["Sink"]:
        context = self.tls if self.implicit else None
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)
            for writer in self._writers:  # A talk cancelled before its first step closed nothing.
                writer.transport.abort()
            self._writers.clear()
            await asyncio.sleep(0)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        talk = asyncio.create_task(self._talk(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Talk(self, reader, writer).run()
        except ConnectionError:
            pass  # The client has gone; what it left is in `discarded`.
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    def count(self, step: str) -> int:
        self._seen[step] += 1
        return self._seen[step]


class _Talk:
    def __init__(
        self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._sink = sink
        self._reader = reader
        self._writer = writer
        self._ahead = b""
        self._sender = False
        self._recipient = ""

    async def run(self) -> None:
        await self._say(self._sink.greeting)
        while line := await self._line():
            command = line.decode("utf-8").rstrip("\r\n")
            self._sink.commands.append(command)
            verb = command.split(" ")[0].split(":")[0].upper()
            if not await self._obey(verb, command):
                return

    async def _obey(self, verb: str, command: str) -> bool:
        if verb == "STARTTLS":
            return await self._secure()
        answer = await self._answer(verb, self._usual(verb))
        if answer is None:
            return False
        if verb in ("MAIL", "RSET"):
            self._sender, self._recipient = verb == "MAIL" and answer[0] == "2", ""
        elif verb == "RCPT" and answer[0] == "2":
            self._recipient = command.partition("<")[2].partition(">")[0]
        elif verb == "DATA" and answer.startswith("354"):
            return await self._data()
        return not answer.startswith(("421", "221"))

    def _usual(self, verb: str) -> str:
        if verb == "EHLO" and self._sink.extensions:
            names = [*self._sink.extensions]
            last = names.pop()
            return "\r\n".join(["250-sink.test", *(f"250-{name}" for name in names), f"250 {last}"])
        if (verb == "RCPT" and not self._sender) or (verb == "DATA" and not self._recipient):
            return "503 5.5.1 out of order"
        return _GOOD.get(verb, "500 5.5.2 what")

    async def _answer(self, step: str, usual: str) -> str | None:
        number = self._sink.count(step)
        answer = self._sink.script.get((step, number), usual)
        if answer == HOLD:
            self._ahead = await self._reader.readline()
            answer = usual
        elif answer == WAIT:
            self._sink.events.append((WAIT, number))
            await self._sink.go_on.wait()
            answer = usual
        self._sink.events.append((step, number))
        if answer == CLOSE:
            return None
        await self._say(answer)
        return answer

    async def _data(self) -> bool:
        content = b""
        while line := await self._line():
            if not content and line != b".\r\n":
                number = self._sink.count("BODY")
                self._sink.events.append(("BODY", number))
                if self._sink.script.get(("BODY", number)) == CLOSE:
                    return False
            if line == b".\r\n":
                answer = await self._answer("DOT", _GOOD["DOT"])
                if answer is None or answer[0] == "2":
                    self._sink.messages.append((self._recipient, content))
                self._sender, self._recipient = False, ""
                return answer is not None and not answer.startswith("421")
            content += line
        self._sink.discarded.append(content)
        return False

    async def _secure(self) -> bool:
        answer = self._sink.script.get(("STARTTLS", 1), "220 2.0.0 ready")
        await self._say(answer)
        if self._sink.tls is None:
            return True
        try:
            await self._writer.start_tls(self._sink.tls)
        except (ssl.SSLError, ConnectionError):
            return False
        return True

    async def _line(self) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead or await self._reader.readline()

    async def _say(self, text: str) -> None:
        octets = f"{text}\r\n".encode("ascii")
        pieces = [octets]
        if self._sink.a_reply_per_octet:
            pieces = [octets[at : at + 1] for at in range(len(octets))]
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)


class ListCourier:
    """Sends a list of messages, and notes what it commits where.

    Args:
        sink: Shares its list of events, so that the order of both can be judged.
        recipients: Who gets a message, in this order.
        left: Who has left by the time a message would begin.
    """

    def __init__(self, sink: Sink, recipients: list[str], *, left: tuple[str, ...] = ()) -> None:
        self._sink = sink
        self._left = left
        self._waiting = [
            Envelope(
                number, "bounce+tag@shop.test", to, f"Subject: {to}\r\n\r\nBonjour\r\n".encode()
            )
            for number, to in enumerate(recipients, start=1)
        ]
        self._offered: Envelope | None = None
        self.started: list[str] = []
        self.results: list[tuple[str, Result]] = []
        self.commits = 0
        self.slowed = 0

    async def following(self) -> Envelope | None:
        if self._offered is None and self._waiting:
            self._offered = self._waiting.pop(0)
        return self._offered

    async def advance(self, ended: tuple[Envelope, Result] | None, start: Envelope | None) -> bool:
        if ended is None and start is None:
            return False
        self.commits += 1
        if ended is not None:
            self.results.append((ended[0].recipient, ended[1]))
            self._sink.events.append(("ended", ended[0].id))
            if self._offered is ended[0]:
                self._offered = None
        if start is None:
            return False
        self._offered = None
        if start.recipient in self._left:
            return False
        self.started.append(start.recipient)
        self._sink.events.append(("started", start.id))
        return True

    def slow_down(self) -> None:
        self.slowed += 1

    def result(self, recipient: str) -> Result:
        """The one result of a reader."""
        (found,) = [result for one, result in self.results if one == recipient]
        return found
