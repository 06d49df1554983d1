"""SMTP: one session, many messages.

With PIPELINING the next envelope travels in the same write as the final dot, so that a message
costs one round trip. The caller commits between 354 and the first octet of a body, and each answer
together with the next start: a kill leaves at most one message in doubt.

Sources: RFC 5321, 2920, 3207, 4954; email.md section 11 (TR-1 to TR-14, TR-20 to TR-23); EM-3 to
EM-5; L-92.
"""

import asyncio
import contextlib
import re
import secrets
import ssl
from dataclasses import dataclass

from fediletter.limits import (
    SMTP_BLOCK_SECONDS,
    SMTP_COMMAND_SECONDS,
    SMTP_DATA_SECONDS,
    SMTP_DOT_SECONDS,
    SMTP_GREETING_SECONDS,
)
from fediletter.mail.courier import (
    Accepted,
    Courier,
    Envelope,
    Failed,
    Halt,
    InDoubt,
    Later,
    Result,
)
from fediletter.mail.login import REFUSED, NoLogin, login
from fediletter.mail.relay import Relay
from fediletter.mail.reports import FULL, INACTIVE, judge_answer

_LINE_BYTES = 8 << 10
_REPLY_BYTES = 64 << 10
_PER_CONNECTION = 100  # Messages, unless the relay is on this machine.
_ENVELOPE_SECONDS = (SMTP_COMMAND_SECONDS, SMTP_COMMAND_SECONDS, SMTP_DATA_SECONDS)
# Said of a reader, without blame: no bounce follows from it (RFC 6531 §3.5: never downgraded).
NO_SMTPUTF8 = "the relay takes no letters beyond ASCII before the @ (SMTPUTF8)"
_SAFE = re.compile(r"[!-~\u00a1-\U0010ffff]+@[!-~]+")


class Trouble(Exception):
    """The session is of no more use."""


class Unreachable(Trouble):
    """There is no session: nothing answers."""


class _Barely(Halt):
    """A parameter was refused: the same once more without any (email.md 11.3)."""


class _Silence(Halt):
    """The connection broke over an envelope: that message is later, others are not (11.3)."""


class _NewSession(Halt):
    """This connection has carried enough for the relay's taste (TR-4)."""


class LoginRefused(Trouble):
    """The relay does not know us by this name and password."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the relay."""

    code: int
    text: str

    @property
    def is_good(self) -> bool:
        return 200 <= self.code < 300

    def __str__(self) -> str:
        return f"{self.code} {self.text}"[:200]


class SmtpMailer:
    """Hands over to one relay, over as many sessions as it takes.

    Args:
        relay: Where mail goes.
        second: Used while the first cannot be connected to, never after a refusal (TR-19).
    """

    def __init__(self, relay: Relay, second: Relay | None = None) -> None:
        self._relay = relay
        self._second = second
        self._ended_after: dict[Relay, int] = {}  # Messages; then it wanted a new session.
        self._most: dict[Relay, int] = {}  # In one session, as the relay has shown.

    async def run(self, courier: Courier) -> Halt | None:
        """Send until the courier has nothing more."""
        while await courier.following() is not None:
            try:
                session = await self._open()
            except LoginRefused as wrong:
                return Halt(str(wrong), login_refused=True)
            except (Trouble, OSError, TimeoutError) as wrong:
                return Halt(_words(wrong))
            try:
                again = await session.carry(courier, most=self._most.get(session.relay))
            finally:
                await session.close()
            self._learn(session)
            if again is not None:
                return again
        return None

    def _learn(self, session: "Session") -> None:
        """Two sessions in a row that were ended after as many messages show a limit (TR-4).

        One alone shows nothing: the relay may have been stopped just then.
        """
        ended_after = session.ended_after
        if ended_after and ended_after == self._ended_after.get(session.relay):
            self._most[session.relay] = ended_after
        if ended_after:
            self._ended_after[session.relay] = ended_after

    async def _open(self) -> "Session":
        if self._second is None:
            return await Session.open(self._relay)
        try:
            return await Session.open(self._relay)
        except Unreachable:
            return await Session.open(self._second)


class Session:
    """One connection to a relay."""

    def __init__(
        self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.relay = relay
        self.ended_after = 0  # Messages that it carried when the relay wanted a new session.
        self._reader = reader
        self._writer = writer
        self._extensions: dict[str, str] = {}
        self._carried = 0  # Messages that went over this connection.
        self._bare = False  # The relay refused a parameter that it offers.
        self._in_data = False  # Whatever is written now is text of a message.

    @classmethod
    async def open(cls, relay: Relay, *, address: str | None = None) -> "Session":
        """Connect, greet, secure, log in.

        Args:
            relay: Whose certificate and login it is.
            address: Where that host is, if that is known already.

        Raises:
            Trouble: The relay refuses, or would be spoken to in clear.
            Unreachable: Nothing answers there.
            OSError: The connection broke.
        """
        context = ssl.create_default_context() if relay.tls != "none" else None
        if context is not None:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            async with asyncio.timeout(SMTP_GREETING_SECONDS):
                reader, writer = await asyncio.open_connection(
                    address or relay.host,
                    relay.port,
                    limit=_LINE_BYTES,
                    ssl=context if relay.tls == "implicit" else None,
                    server_hostname=relay.host if relay.tls == "implicit" else None,
                )
        except ssl.SSLError as wrong:
            raise Trouble(f"no secure connection to the relay: {_words(wrong)}") from wrong
        except (OSError, TimeoutError) as wrong:
            raise Unreachable(f"the relay does not answer: {_words(wrong)}") from wrong
        session = cls(relay, reader, writer)
        try:
            await session._begin(context)
        except (Trouble, OSError, TimeoutError):
            writer.transport.abort()
            raise
        return session

    @property
    def extensions(self) -> frozenset[str]:
        """Keywords that the relay offers."""
        return frozenset(self._extensions)

    async def takes(self, recipient: str) -> bool:
        """Whether a mail host would take mail for an address; none is sent."""
        reply = await self._command("MAIL FROM:<>")
        if reply.is_good:
            reply = await self._command(f"RCPT TO:<{recipient}>")
        await self._reset()
        return reply.code < 500

    async def _begin(self, context: ssl.SSLContext | None) -> None:
        greeting = await self._reply(SMTP_GREETING_SECONDS)
        if greeting.code != 220:
            raise Trouble(f"the relay greets with {greeting}")
        await self._hello()
        if self.relay.tls == "starttls" and context is not None:
            if "STARTTLS" not in self._extensions:
                raise Trouble("the relay offers no STARTTLS: nothing is sent in clear")
            reply = await self._command("STARTTLS")
            # Octets that came before the handshake were not protected by it (EM-5).
            if reply.code != 220 or self._reader._buffer:  # type: ignore[attr-defined]
                raise Trouble(f"STARTTLS failed: {reply}")
            try:
                await self._writer.start_tls(context, server_hostname=self.relay.host)
            except ssl.SSLError as wrong:
                raise Trouble(f"no secure connection to the relay: {_words(wrong)}") from wrong
            await self._hello()
        if self.relay.user is not None:
            await self._log_in()

    async def _hello(self) -> None:
        reply = await self._command(f"EHLO {self.relay.ehlo_name}")
        if reply.code != 250:
            raise Trouble(f"EHLO failed: {reply}")
        self._extensions = {}
        for line in reply.text.splitlines()[1:]:
            name, _, value = line.partition(" ")
            self._extensions[name.upper()] = value

    async def _log_in(self) -> None:
        if self.relay.tls == "none" and not self.relay.is_loopback:
            raise Trouble("no login in clear")
        offered = self._extensions.get("AUTH", "").upper().split()
        user, password = self.relay.user or "", self.relay.password or ""
        try:
            exchange = login(offered, user, password, secrets.token_urlsafe(18))
            reply = await self._command(next(exchange))
            with contextlib.suppress(StopIteration):
                while True:
                    reply = await self._command(exchange.send((reply.code, reply.text)))
        except NoLogin as wrong:
            raise Trouble(str(wrong)) from wrong
        if reply.code in REFUSED:
            raise LoginRefused(f"the relay refuses the login: {reply.code}")
        if reply.code != 235:
            raise Trouble(f"the login failed: {reply.code}")

    # Messages -----------------------------------------------------------------------------------
    async def carry(self, courier: Courier, *, most: int | None = None) -> Halt | None:
        """Hand over message after message.

        Args:
            courier: Has the messages.
            most: How many the relay takes in one session, if it has shown that.

        Returns:
            Why the lane should rest; None when the courier has no more, or a new session may go on.
        """
        left = most or (10**9 if self.relay.is_loopback else _PER_CONNECTION)
        ended: tuple[Envelope, Result] | None = None
        try:
            current = await self._begin_next(courier, after_refusal=False)
            while current is not None:
                refusal = await self._begun(current)
                if isinstance(refusal, Halt):
                    finished, ended = ended, None
                    return await self._halted(courier, finished, current, refusal)
                if refusal is not None:
                    # Recorded before anything else is asked for: the caller would offer it again.
                    await courier.advance(ended, None)
                    await courier.advance((current, refusal), None)
                    ended = None
                    current = await self._begin_next(courier, after_refusal=True)
                    continue
                finished, ended = ended, None
                if not await courier.advance(finished, current):
                    return None  # Closed without a dot: the relay must discard it (TR-12).
                left -= 1
                self._carried += 1
                following = await self._next(courier) if self._pipelines and left else None
                ended = await self._body(current, following)
                if isinstance(ended[1], InDoubt):
                    return Halt(ended[1].answer)
                current = following
                if current is None and left and not self._pipelines:
                    await courier.advance(ended, None)
                    ended = None
                    current = await self._begin_next(courier, after_refusal=False)
        except (Trouble, OSError, asyncio.IncompleteReadError) as wrong:
            return Halt(f"the session broke: {_words(wrong)}")
        finally:
            if ended is not None:
                await courier.advance(ended, None)
        return None

    async def _halted(
        self, courier: Courier, ended: tuple[Envelope, Result] | None, at: Envelope, halt: Halt
    ) -> Halt | None:
        """The session is over at this envelope; None if another may be opened at once."""
        await courier.advance(ended, None)
        if isinstance(halt, _Silence):
            await courier.advance((at, Later(halt.reason, is_silence=True)), None)
            return None if self._carried else halt
        if isinstance(halt, _NewSession):
            self.ended_after = self._carried
            courier.slow_down()
            return None
        return halt

    @property
    def _pipelines(self) -> bool:
        return "PIPELINING" in self._extensions

    async def _begin_next(self, courier: Courier, *, after_refusal: bool) -> Envelope | None:
        following = await self._next(courier)
        if following is not None:
            if after_refusal:
                await self._reset()
            self._offer(following)
        return following

    async def _reset(self) -> None:
        reply = await self._command("RSET")
        if not reply.is_good:
            raise Trouble(f"RSET failed: {reply}")

    def _offer(self, envelope: Envelope) -> None:
        """Write an envelope, if that may travel ahead of the answers (TR-7)."""
        if self._pipelines:
            self._write(b"".join(self._lines(envelope)))

    async def _begun(self, envelope: Envelope) -> Result | Halt | None:
        """The answers to an envelope that was offered; asked once more without parameters."""
        try:
            refusal = await self._offered(envelope)
            if isinstance(refusal, _Barely):
                self._bare = True
                await self._reset()
                self._offer(envelope)
                refusal = await self._offered(envelope)
        except (Trouble, OSError, asyncio.IncompleteReadError) as wrong:
            return _Silence(f"the session broke: {_words(wrong)}")
        return refusal

    async def _offered(self, envelope: Envelope) -> Result | Halt | None:
        """Read the answers to MAIL, RCPT and DATA; None means: go on with the body."""
        replies: list[Reply] = []
        for command, seconds in zip(self._lines(envelope), _ENVELOPE_SECONDS, strict=True):
            if not self._pipelines:
                if replies and not replies[-1].is_good:
                    replies.append(replies[-1])
                    continue
                self._write(command)
            replies.append(await self._reply(seconds))
            if replies[-1].code == 421:  # It hangs up: no other answer will come.
                # After good work it wants another connection; at once, it wants to be left alone.
                return (_NewSession if self._carried else Halt)(str(replies[-1]))
        mail, rcpt, data = replies
        if mail.is_good and rcpt.is_good and data.code == 354:
            self._in_data = True
            return None
        if data.code == 354:  # TR-11: in data mode without a recipient: only the dot.
            self._write(b".\r\n")
            await self._reply(SMTP_DOT_SECONDS)
        return self._refusal(mail, rcpt, data)

    def _refusal(self, mail: Reply, rcpt: Reply, data: Reply) -> Result | Halt:
        refused = mail if not mail.is_good else rcpt
        if not self._bare and (refused.code == 555 or refused.text.startswith("5.5.4")):
            return _Barely(str(refused))
        if not mail.is_good:
            return Halt(str(mail)) if mail.code < 500 else Failed(str(mail), is_ours=True)
        if rcpt.code == 452 and rcpt.text.startswith("4.5.3") and self._carried:
            return _NewSession(str(rcpt))
        if not rcpt.is_good:
            is_later = rcpt.code < 500 or rcpt.code == 552
            return Later(str(rcpt)) if is_later else Failed(str(rcpt), at_rcpt=True)
        if data.code < 500:
            return Later(str(data))
        said = judge_answer(str(data), at_rcpt=False)  # By a code: the words are mostly of us.
        return Failed(str(data), is_ours=not (said.certain or said.kind in (INACTIVE, FULL)))

    def _lines(self, envelope: Envelope) -> tuple[bytes, bytes, bytes]:
        """MAIL, RCPT and DATA, with the parameters that the relay offers (BO-11, TR-25)."""
        if not _SAFE.fullmatch(envelope.recipient) or not _SAFE.fullmatch(envelope.sender):
            raise Trouble("an address that is none")  # EM-3: never reached with a parsed one.
        mail = f"MAIL FROM:<{envelope.sender}>"
        rcpt = f"RCPT TO:<{envelope.recipient}>"
        if not self._bare:
            if "SIZE" in self._extensions:
                mail += f" SIZE={len(envelope.content)}"
            if "DSN" in self._extensions:
                tag = envelope.sender.partition("@")[0].rpartition("+")[2]
                mail += f" RET=HDRS ENVID={_xtext(tag)}"
                rcpt += " NOTIFY=FAILURE"
                if envelope.recipient.isascii():
                    rcpt += f" ORCPT=rfc822;{_xtext(envelope.recipient)}"
        if not envelope.recipient.isascii():
            mail += " BODY=8BITMIME SMTPUTF8"
        return f"{mail}\r\n".encode("ascii"), f"{rcpt}\r\n".encode(), b"DATA\r\n"

    async def _next(self, courier: Courier) -> Envelope | None:
        """What is next, without those whom this relay cannot address (TR-25)."""
        while (found := await courier.following()) is not None:
            if found.recipient.isascii() or "SMTPUTF8" in self._extensions:
                return found
            refused = Failed(NO_SMTPUTF8, at_rcpt=True)
            await courier.advance((found, refused), None)
        return None

    async def _body(
        self, envelope: Envelope, following: Envelope | None
    ) -> tuple[Envelope, Result]:
        after = b"" if following is None else b"".join(self._lines(following))
        try:
            self._write(envelope.content + b".\r\n" + after)
            async with asyncio.timeout(SMTP_BLOCK_SECONDS):
                await self._writer.drain()
            reply = await self._reply(SMTP_DOT_SECONDS)
        except (Trouble, OSError, TimeoutError, asyncio.IncompleteReadError):
            return envelope, InDoubt("no answer after the message was sent")
        self._in_data = False
        return envelope, judge_dot(reply)

    # The wire ----------------------------------------------------------------------------------
    def _write(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def _command(self, line: str) -> Reply:
        self._write(line.encode("ascii") + b"\r\n")
        return await self._reply(SMTP_COMMAND_SECONDS)

    async def _reply(self, seconds: float) -> Reply:
        lines, size, code = [], 0, 0
        async with asyncio.timeout(seconds):
            while True:
                try:
                    raw = await self._reader.readline()
                except ValueError as long:
                    raise Trouble("an answer that is too long") from long
                if not raw.endswith(b"\n"):
                    raise Trouble("the relay hung up")
                size += len(raw)
                text = raw.decode("ascii", "replace").rstrip("\r\n")
                found = re.fullmatch(r"([2-5]\d\d)([ -]?)(.*)", text)
                if not found or size > _REPLY_BYTES or code not in (0, int(found[1])):
                    raise Trouble("the relay answers in no form that is known")
                code = int(found[1])
                lines.append(found[3])
                if found[2] != "-":
                    return Reply(code, "\n".join(lines))

    async def close(self) -> None:
        """Say goodbye, without waiting long; in the midst of a message only hang up (TR-12)."""
        if not self._in_data:
            with contextlib.suppress(OSError, ValueError):
                async with asyncio.timeout(2):
                    self._write(b"QUIT\r\n")
                    await self._reader.readline()
        self._writer.transport.abort()


def judge_dot(reply: Reply) -> Result:
    """What the answer to the final dot means (email.md 11.3)."""
    if reply.is_good:
        return Accepted(str(reply))
    if reply.code < 500:
        return Later(str(reply))
    return Failed(str(reply))


def _xtext(text: str) -> str:
    """As parameters carry a value (RFC 3461 §4)."""
    return "".join(
        one if "!" <= one <= "~" and one not in "+=" else f"+{ord(one):02X}" for one in text
    )


def _words(trouble: Exception) -> str:
    return str(trouble) or "no answer in time"
