"""The far side: a relay that answers from a script, and a fediverse of loopback addresses.

Both log every stage with the time of the bench, count what came whole, and run in the bench's own
loop, so that what they saw is exact.
"""

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

TYPE = "application/activity+json"


class HangUp(Exception):
    """The script wants the connection closed now."""


@dataclass
class Talk:
    """One connection to the relay."""

    number: int
    writer: asyncio.StreamWriter
    recipient: str = ""


@dataclass
class MailSink:
    """A relay. `script(stage, talk)` may return an answer instead of the good one, or hang up.

    Stages: greeting, ehlo, auth, mail, rcpt, data, body (after the first line of a message), dot
    (the message has come whole, nothing is answered), taken (it counts as arrived; the answer is
    still to be written).
    """

    script: Callable[[str, Talk], Awaitable[str | None]] | None = None
    extensions: tuple[str, ...] = ("PIPELINING",)
    log: list[tuple[float, int, str, str]] = field(default_factory=list)
    messages: dict[str, list[str]] = field(default_factory=dict)  # By recipient: Message-IDs, bare.
    taken_at: list[float] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    letters: bool = False  # Keep whole messages as well.
    kept: dict[str, list[bytes]] = field(default_factory=dict)

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        return int(self.server.sockets[0].getsockname()[1])

    def counts(self) -> Counter[str]:
        return Counter({one: len(ids) for one, ids in self.messages.items()})

    @property
    def total(self) -> int:
        return len(self.taken_at)

    async def _answer(self, stage: str, talk: Talk, good: str) -> str:
        self.log.append((time.monotonic(), talk.number, stage, talk.recipient))
        if self.script is not None:
            said = await self.script(stage, talk)
            if said is not None:
                return said
        return good

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(len(self.log), writer)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with contextlib.suppress(HangUp, ConnectionError, asyncio.IncompleteReadError):
                await self._talk(talk, reader, writer)
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _talk(
        self, talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def say(stage: str, good: str) -> bool:
            answer = await self._answer(stage, talk, good)
            writer.write(answer.encode() + b"\r\n")
            await writer.drain()
            if answer.startswith("421"):
                raise HangUp
            return answer.startswith(good[0])

        await say("greeting", "220 sink")
        lines = ["sink", *self.extensions]
        hello = "\r\n".join(
            f"250{'-' if n < len(lines) - 1 else ' '}{x}" for n, x in enumerate(lines)
        )
        has_mail = has_recipient = False
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"EHLO":
                await say("ehlo", hello)
            elif word == b"AUTH":
                await say("auth", "235 welcome")
            elif word == b"MAIL":
                has_mail = await say("mail", "250 ok")
                has_recipient = False
            elif word == b"RCPT":
                talk.recipient = line.decode().partition("<")[2].partition(">")[0]
                has_recipient = await say("rcpt", "250 ok") and has_mail
            elif word == b"DATA":
                if not has_recipient:
                    writer.write(b"554 no recipient\r\n")
                elif await say("data", "354 go on"):
                    if refusal := await self._data(talk, reader):
                        writer.write(refusal.encode() + b"\r\n")
                    else:
                        await say("taken", "250 taken")
            elif word == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"250 ok\r\n")

    async def _data(self, talk: Talk, reader: asyncio.StreamReader) -> str:
        """Take a message; what the script says instead of taking it, or nothing."""
        raw: list[bytes] = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                raise HangUp
            raw.append(line)
            if len(raw) == 1:
                await self._answer("body", talk, "")
        refusal = await self._answer("dot", talk, "")
        if refusal:
            return refusal
        message = b"".join(raw)
        found = re.search(rb"(?im)^message-id:\s*(\S+)", message)
        assert found is not None, "a message without Message-ID"
        self.messages.setdefault(talk.recipient, []).append(found[1].decode().strip("<>"))
        if self.letters:
            self.kept.setdefault(talk.recipient, []).append(message)
        self.taken_at.append(time.monotonic())
        return ""


@dataclass(frozen=True)
class Ask:
    """One request to a host of the fediverse."""

    method: str
    host: str  # `127.0.3.7:4321`
    path: str
    body: bytes


@dataclass
class Fediverse:
    """Every address of 127.0.0.0/8 on one port is a host. `script(ask)` may answer otherwise.

    A script returns raw octets to write (empty: hang up), or None for the good answer.
    """

    script: Callable[[Ask], Awaitable[bytes | None]] | None = None
    documents: dict[str, dict] = field(default_factory=dict)  # By `host/path`.
    arrived: dict[str, Counter[str]] = field(default_factory=dict)  # Inbox: activity ids.
    order: dict[str, list[str]] = field(default_factory=dict)  # Inbox: types in order of arrival.
    asked: list[tuple[float, Ask]] = field(default_factory=list)
    arrived_at: list[float] = field(default_factory=list)
    port: int = 0

    async def start(self) -> int:
        self.server = await asyncio.start_server(
            self._serve,
            "0.0.0.0",  # noqa: S104 (every address of 127/8 is a host)
            0,
            limit=1 << 20,
            backlog=1000,
        )
        self.port = int(self.server.sockets[0].getsockname()[1])
        return self.port

    def host(self, number: int) -> str:
        return f"127.0.{1 + number // 250}.{1 + number % 250}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled: at the end of its process, which would tell of each connection.
        ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends):
            while await self._one(reader, writer):
                await writer.drain()
        writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        length = re.search(r"(?i)\ncontent-length: (\d+)", head)
        host = re.search(r"(?i)\nhost: (\S+)", head)
        assert host is not None
        body = await reader.readexactly(int(length[1]) if length else 0)
        ask = Ask(method, host[1], path, body)
        self.asked.append((time.monotonic(), ask))
        answer = None if self.script is None else await self.script(ask)
        if answer is not None:
            if not answer:
                return False
            writer.write(answer)
            return not answer.startswith(b"close")
        if method == "GET":
            writer.write(self._document(f"{host[1]}{path}"))
            return True
        activity = json.loads(body)
        inbox = f"{host[1]}{path}"
        if activity["type"] != "Update":  # It says anew what has arrived.
            self.arrived.setdefault(inbox, Counter())[activity["id"]] += 1
        self.order.setdefault(inbox, []).append(activity["type"])
        self.arrived_at.append(time.monotonic())
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        return True

    def _document(self, key: str) -> bytes:
        document = self.documents.get(key)
        if document is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


def status(code: int, *headers: str) -> bytes:
    """A whole answer without a body."""
    lines = [f"HTTP/1.1 {code} X", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()
