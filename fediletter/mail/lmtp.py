"""LMTP: takes mail from the mail server in front, and answers for each recipient after the dot.

Our own, because the library that we looked at gives one answer for all recipients when a message is
too large, and writes addresses into the log (PR-3). It speaks to a mail server on this machine or
next to it: no TLS, no login, no relaying, no queue.

Sources: RFC 2033 (LMTP), 2920 (PIPELINING), 1870 (SIZE), 3463 (codes); email.md 9.1; L-92.
"""

import asyncio
import contextlib
import logging
import os
import re
import stat
from collections.abc import Awaitable, Callable, Sequence

from fediletter.limits import LMTP_BYTES, LMTP_MESSAGES

_LINE_BYTES = 4096
_RECIPIENTS = 100  # Of one message.
_CONNECTIONS = 20
_IDLE_SECONDS = 300.0
_CHUNK = 64 << 10
_PATH = re.compile(r"(?i)(FROM|TO):[ ]?<([^<>\s]*)>(?:[ ].*)?")
_log = logging.getLogger("fediletter.mail")

Take = Callable[[str, list[str], bytes], Awaitable[Sequence[str]]]


class LmtpServer:
    """Listens at `host:port` or at the path of a socket.

    Args:
        address: Where.
        is_ours: Whether mail to an address is for us.
        take: Commits a message, from sender, recipients and octets; an answer for each recipient.
        name: Of this server, in its greeting.
    """

    def __init__(
        self, address: str, *, is_ours: Callable[[str], bool], take: Take, name: str
    ) -> None:
        self._address = address
        self._is_ours = is_ours
        self._take = take
        self._name = name
        self._server: asyncio.Server | None = None
        self._talks: dict[asyncio.Task[None], _Talk] = {}
        self.port = 0

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: Somebody else listens there, or the place cannot be used.
        """
        if self._address.startswith("/"):
            await _clear_stale(self._address)
            self._server = await asyncio.start_unix_server(self._greet, self._address)
            # As open as a port of this machine is; close the directory to keep others out.
            os.chmod(self._address, 0o666)  # noqa: S103
        else:
            host, _, port = self._address.rpartition(":")
            self._server = await asyncio.start_server(self._greet, host.strip("[]"), int(port))
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self, seconds: float) -> None:
        """Listen no more; let what is being taken end, at most so long."""
        if self._server is None:
            return
        self._server.close()
        for talk in self._talks.values():
            talk.end()
        if self._talks:
            _, late = await asyncio.wait(list(self._talks), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._address.startswith("/"):
            with contextlib.suppress(OSError):
                os.unlink(self._address)

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = _Talk(reader, writer, self._is_ours, self._take, self._name)
        if len(self._talks) >= _CONNECTIONS:
            writer.write(b"421 4.3.2 too many connections\r\n")
            writer.close()
            return
        task = asyncio.ensure_future(talk.run())
        self._talks[task] = talk
        task.add_done_callback(self._talks.pop)


async def _clear_stale(path: str) -> None:
    """Remove a socket that nobody listens at any more.

    Raises:
        OSError: Somebody does, or something else lies there.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(f"{path} is no socket")
    except FileNotFoundError:
        return
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except ConnectionRefusedError:
        os.unlink(path)
        return
    writer.close()
    raise OSError(f"somebody listens at {path}")


class _Gone(Exception):
    """The mail server hung up, or says nothing any more."""


class _Talk:
    """One connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_ours: Callable[[str], bool],
        take: Take,
        name: str,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._is_ours = is_ours
        self._take = take
        self._name = name
        self._buffer = bytearray()
        self._greeted = False
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._messages = 0
        self._ending = False
        self._waiting = False  # For a command: nothing is in our hands.

    def end(self) -> None:
        """Say goodbye at the next point where nothing is in our hands."""
        self._ending = True
        if self._waiting:
            self._writer.write(b"421 4.3.2 closing\r\n")
            self._reader.feed_eof()

    async def run(self) -> None:
        """Talk until somebody hangs up."""
        try:
            await self._say(f"220 {self._name} LMTP")
            while not self._ending:
                line = await self._line()
                if not await self._obey(line):
                    break
            if self._ending:
                await self._say("421 4.3.2 closing")
        except (_Gone, OSError, TimeoutError):
            pass  # What was not answered is still the mail server's.
        finally:
            with contextlib.suppress(OSError):
                self._writer.close()

    async def _obey(self, line: bytes | None) -> bool:
        """One command. False when the connection ends."""
        if line is None:
            await self._say("500 5.5.2 line too long")
            return True
        verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
        verb = verb.upper()
        if verb == "QUIT":
            await self._say("221 2.0.0 bye")
            return False
        simple = {
            "LHLO": self._hello,
            "RSET": self._reset,
            "NOOP": self._nothing,
            "VRFY": self._vrfy,
        }.get(verb)
        if simple is not None:
            await simple(rest)
        elif verb in ("MAIL", "RCPT", "DATA"):
            return await self._transaction(verb, rest)
        else:
            await self._say("500 5.5.1 not known here")
        return True

    async def _hello(self, _rest: str) -> None:
        self._greeted = True
        self._forget()
        offers = ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8")
        lines = [self._name, *offers]
        text = "".join(f"250-{line}\r\n" for line in lines)
        await self._say(f"{text}250 SIZE {LMTP_BYTES}")

    async def _reset(self, _rest: str) -> None:
        self._forget()
        await self._say("250 2.0.0 forgotten")

    async def _nothing(self, _rest: str) -> None:
        await self._say("250 2.0.0 yes")

    async def _vrfy(self, _rest: str) -> None:
        await self._say("252 2.5.0 send, and see")

    def _forget(self) -> None:
        self._sender, self._recipients = None, []

    async def _transaction(self, verb: str, rest: str) -> bool:
        if not self._greeted:
            await self._say("503 5.5.1 LHLO first")
        elif verb == "MAIL":
            if self._messages >= LMTP_MESSAGES:
                await self._say("421 4.7.0 enough on this connection")
                return False
            await self._mail(rest)
        elif verb == "RCPT":
            await self._rcpt(rest)
        else:
            await self._data()
        return True

    async def _mail(self, rest: str) -> None:
        found = _PATH.fullmatch(rest)
        size = re.search(r"(?i)\bSIZE=(\d{1,12})\b", rest)
        if found is None or found[1].upper() != "FROM":
            await self._say("501 5.5.4 MAIL FROM:<…>".replace("…", "address"))
        elif self._sender is not None:
            await self._say("503 5.5.1 one at a time")
        elif size is not None and int(size[1]) > LMTP_BYTES:
            await self._say("552 5.3.4 too large")
        else:
            self._sender = found[2]
            await self._say("250 2.1.0 go on")

    async def _rcpt(self, rest: str) -> None:
        found = _PATH.fullmatch(rest)
        if self._sender is None:
            await self._say("503 5.5.1 MAIL first")
        elif found is None or found[1].upper() != "TO":
            await self._say("501 5.5.4 RCPT TO:<address>")
        elif not self._is_ours(found[2]):
            await self._say("550 5.1.1 not an address of ours")
        elif len(self._recipients) >= _RECIPIENTS:
            await self._say("452 4.5.3 too many recipients")
        else:
            self._recipients.append(found[2])
            await self._say("250 2.1.5 go on")

    async def _data(self) -> None:
        if self._sender is None or not self._recipients:
            await self._say("503 5.5.1 RCPT first")  # RFC 2033 §4.2
            return
        await self._say("354 go on")
        content = await self._content()
        recipients, sender = self._recipients, self._sender
        self._messages += 1
        self._forget()
        if content is None:
            answers: Sequence[str] = ["552 5.3.4 too large"] * len(recipients)
        else:
            answers = await self._take(sender, recipients, content)
        await self._say("\r\n".join(answers))

    async def _content(self) -> bytes | None:
        """The octets of a message without its final dot; None if they are too many.

        Only CR LF, dot, CR LF ends it (EM-4).
        """
        kept, too_large = bytearray(b"\r\n"), False
        at = 0
        while True:
            kept += self._buffer
            self._buffer.clear()
            end = kept.find(b"\r\n.\r\n", at)
            if end >= 0:
                self._buffer += kept[end + 5 :]
                if too_large or end > LMTP_BYTES + 2:
                    return None
                return bytes(kept[2 : end + 2]).replace(b"\r\n..", b"\r\n.").removeprefix(b".")
            if len(kept) > LMTP_BYTES + _CHUNK:
                too_large = True
                del kept[:-4]
            at = max(0, len(kept) - 4)
            await self._fill()

    async def _line(self) -> bytes | None:
        """One command line; None if it is too long."""
        too_long = False
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                return None if too_long or len(line) > _LINE_BYTES else line
            if len(self._buffer) > _LINE_BYTES:
                too_long = True
                self._buffer.clear()
            self._waiting = not self._recipients
            await self._fill()
            self._waiting = False

    async def _fill(self) -> None:
        async with asyncio.timeout(_IDLE_SECONDS):
            octets = await self._reader.read(_CHUNK)
        if not octets:
            raise _Gone
        self._buffer += octets

    async def _say(self, line: str) -> None:
        self._writer.write(line.encode("ascii", "replace") + b"\r\n")
        async with asyncio.timeout(_IDLE_SECONDS):
            await self._writer.drain()
