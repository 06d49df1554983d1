"""Drains one lane of mail over one connection to the relay.

Sources: email.md 11 (TR-17 to TR-24); security.md RE-4 to RE-6, EM-15, EM-17, L-91.
"""

import asyncio
import contextlib
import logging
import re
from collections import deque
from datetime import datetime, timedelta
from email.utils import format_datetime

from sqlalchemy.exc import DBAPIError

from fediletter.mail.compose import ReaderSlots, new_message_id, slot_values
from fediletter.mail.courier import Accepted, Envelope, Failed, Halt, Later
from fediletter.mail.courier import InDoubt as NoAnswer
from fediletter.mail.courier import Result as RelayResult
from fediletter.newsletter.bounces import take_refusal
from fediletter.newsletter.providers import pause
from fediletter.outbound.backoff import mail_again, rest_of, uncertain_again
from fediletter.outbound.letters import Letters
from fediletter.outbound.pace import Pace
from fediletter.outbound.relay_watch import RelayWatch
from fediletter.services import Services, house_of
from storage.ids import LaneId
from storage.leases import Again, Claim, Ended, InDoubt, Report, Result, let_go, settle
from storage.mailings import Letter, Start, advance, upcoming
from storage.store import Tx

_AT_LEAST = timedelta(seconds=1)
_AHEAD = 50  # Letters looked up at a time.
_UNEXPECTED_REST = timedelta(minutes=1)
_log = logging.getLogger("fediletter.outbound")


class MailSender:
    """One for each process."""

    def __init__(self, services: Services, stopping: asyncio.Event) -> None:
        self._services = services
        self.stopping = stopping  # No further letter begins (RE-14).
        self.letters = Letters(services)
        self.watch = RelayWatch(services.clock)
        self.pace = Pace(services.clock, services.settings.mail_rates)
        self._couriers: dict[LaneId, _LaneCourier] = {}

    def awaits_answer(self, lane_id: LaneId) -> bool:
        """Whether a message has begun in a lane, and the relay has not said what became of it."""
        courier = self._couriers.get(lane_id)
        return courier is not None and courier.begun is not None

    async def drain(self, claim: Claim) -> None:
        """Send what is due in a lane, and give it back."""
        courier = self._couriers[claim.lane_id] = _LaneCourier(self, self._services, claim)
        try:
            await self._drain(courier, claim)
        finally:
            del self._couriers[claim.lane_id]

    async def _drain(self, courier: "_LaneCourier", claim: Claim) -> None:
        rest, error = self.watch.quiet, self.watch.trouble or None
        if rest is None:
            try:
                await self.letters.look_up_keys()
                # A single mail to somebody who waits for it is held up by no letter.
                urgent = claim.key.startswith("notice:")
                async with contextlib.nullcontext() if urgent else self.pace.connection():
                    halt = await self._services.mailer.run(courier)
            except (asyncio.CancelledError, DBAPIError):
                raise  # The lane is let go, with what had begun in it.
            except Exception:  # noqa: BLE001 (one lane's trouble is not another's)
                _log.exception("mail could not be sent", extra={"lane": claim.key})
                await self._let_go(claim)
                return
            rest, error = self._judge(courier, claim, halt)
        answered = rest is None or courier.handed_over or courier.spent_until is not None
        report = Report(claim.lane_id, claim.term, answered=answered, rest=rest, error=error)
        await self._services.store.write(settle, [report], now=self._services.clock.now())

    async def _let_go(self, claim: Claim) -> None:
        now = self._services.clock.now()
        again = uncertain_again(now, hold=self._services.settings.hold_uncertain)
        await self._services.store.write(
            let_go, [claim], uncertain_at=again, now=now, rest=_UNEXPECTED_REST
        )

    def _judge(
        self, courier: "_LaneCourier", claim: Claim, halt: Halt | None
    ) -> tuple[timedelta | None, str | None]:
        """How long the lane should rest now, and why."""
        if halt is None and courier.spent_until is not None:
            halt = Halt("no more for now: the relay's allowance is used up")
            self.watch.halted(halt)
            return max(courier.spent_until - self._services.clock.now(), _AT_LEAST), halt.reason
        if halt is None:
            if courier.handed_over:
                self.watch.went_well()
            return None, None
        if halt.reason[:1] == "4":
            self.pace.met_limit()
        self.watch.halted(halt)
        # Trouble after good work is new trouble: the lane does not rest as long as a dead one.
        failures = 0 if courier.handed_over else claim.failures
        return self.watch.quiet or rest_of(failures), halt.reason


class _LaneCourier:
    """Chooses what is next in one lane, and commits between the steps."""

    def __init__(self, sender: MailSender, services: Services, claim: Claim) -> None:
        self._sender = sender
        self._services = services
        self._claim = claim
        self._letters: deque[Letter] = deque()
        self._by_id: dict[int, tuple[Letter, Start]] = {}  # Made ready, and not over.
        self._envelope: Envelope | None = None  # Handed out, not begun.
        self.begun: int | None = None  # The delivery of which octets may have left.
        self.handed_over = False  # The relay answered about a message.
        self.spent_until: datetime | None = None  # The relay's allowance is used up.
        self._at_rcpt: set[int] = set()  # Deliveries refused for their address.

    async def following(self) -> Envelope | None:
        """The next letter, made ready."""
        if self._sender.stopping.is_set():
            return None
        if self._envelope is not None:
            return self._envelope
        if self.spent_until is not None:
            return None
        await self._sender.pace.turn()
        now = self._services.clock.now()
        if not self._letters:
            found = await self._services.store.read(
                upcoming, self._claim.lane_id, now=now, limit=_AHEAD
            )
            self._letters.extend(one for one in found if one.id not in self._by_id)
        if not self._letters:
            return None
        letter = self._letters.popleft()
        self._envelope = await self._ready(letter, now)
        return self._envelope

    async def advance(
        self, ended: tuple[Envelope, RelayResult] | None, start: Envelope | None
    ) -> bool:
        """Commit a result together with the next start."""
        if ended is None and start is None:
            return False
        now = self._services.clock.now()
        result = None if ended is None else self._result(ended[0], ended[1], now)
        if ended is not None and self._envelope is ended[0]:
            self._envelope = None  # Refused before it began.
        beginning = None
        if start is not None:
            self._envelope = None
            letter, beginning = self._by_id[start.id]
            if letter.expires_at is not None and letter.expires_at < now:
                await self._write(result, None, now)
                expired = Ended(letter.id, "failed", "not worth sending any more")
                await self._write(expired, None, now)
                return False
        if ended is not None:
            self.handed_over |= not isinstance(ended[1], NoAnswer) and not (
                isinstance(ended[1], Later) and ended[1].is_silence
            )
            if isinstance(ended[1], Accepted):
                self._sender.pace.accepted()
            elif isinstance(ended[1], Later) and not ended[1].is_silence:
                self._sender.pace.met_limit()
            is_ours = isinstance(ended[1], Failed) and ended[1].is_ours
            mailing_id = self._by_id[ended[0].id][0].mailing_id
            if self._sender.watch.refused(mailing_id, ended[1]) or is_ours:
                await self._pause(ended[0], ended[1].answer, now)
        return await self._write(result, beginning, now)

    def slow_down(self) -> None:
        """The relay has enough for now: fewer connections, longer gaps."""
        self._sender.pace.met_limit()

    async def _write(self, ended: Result | None, start: Start | None, now: datetime) -> bool:
        begins = await self._services.store.write(self._record, ended, start, now)
        if isinstance(ended, Ended):
            kind = "notice" if self._claim.key.startswith("notice:") else "letter"
            self._services.ended[kind, ended.state] += 1
            self._by_id.pop(ended.id)  # A lane may hold a hundred thousand.
        if ended is not None and ended.id == self.begun:
            self.begun = None
        if begins and start is not None:
            self.begun = start.id
        return begins

    def _record(self, tx: Tx, ended: Result | None, start: Start | None, now: datetime) -> bool:
        """The answer with what follows from it, and the next start (email.md 9.4)."""
        pace = self._sender.pace
        if start is not None:
            self.spent_until = pace.rests_until(tx, now=now)
            start = start if self.spent_until is None else None
        begun = advance(
            tx, self._claim.lane_id, self._claim.term, ended=ended, start=start, now=now
        )
        if begun:
            pace.begun(tx, now=now)
        if isinstance(ended, Ended) and ended.state == "failed":
            at_rcpt = ended.id in self._at_rcpt
            take_refusal(
                tx, ended.id, ended.answer, house_of(self._services), at_rcpt=at_rcpt, now=now
            )
        return begun

    async def _pause(self, envelope: Envelope, answer: str, now: datetime) -> None:
        """The relay refuses us, not the reader: the mailing waits until a founder acts."""
        letter, _ = self._by_id[envelope.id]
        if letter.mailing_id is not None:
            self._letters.clear()
            await self._services.store.write(
                pause, letter.mailing_id, answer, house_of(self._services), now=now
            )

    def _result(self, envelope: Envelope, result: RelayResult, now: datetime) -> Result:
        letter, _ = self._by_id[envelope.id]
        match result:
            case Accepted():
                return Ended(letter.id, "delivered", result.answer)
            case Failed():
                if result.is_ours and letter.mailing_id is not None:
                    return Again(letter.id, now, result.answer)
                if result.is_ours:  # A notice is no less wanted for what the relay has against us.
                    return self._later(letter, result.answer, now)
                if result.at_rcpt:
                    self._at_rcpt.add(letter.id)
                return Ended(letter.id, "failed", result.answer)
            case NoAnswer():
                hold = self._services.settings.hold_uncertain
                return InDoubt(letter.id, uncertain_again(now, hold=hold), result.answer)
            case Later(is_silence=True) if not letter.attempts:
                return Again(letter.id, now, result.answer)  # At once, over a new connection.
            case Later():
                return self._later(letter, result.answer, now)

    def _later(self, letter: Letter, answer: str, now: datetime) -> Result:
        at = mail_again(letter.attempts + 1, created_at=letter.created_at, now=now)
        if at is None:
            return Ended(letter.id, "failed", f"given up: {answer}")
        return Again(letter.id, at, answer)

    async def _ready(self, letter: Letter, now: datetime) -> Envelope:
        settings, tokens, links = (
            self._services.settings,
            self._services.tokens,
            self._services.links,
        )
        domain = settings.mail_from.rpartition("@")[2]
        start = Start(
            letter.id, letter.message_id or new_message_id(domain), letter.dated_at or now
        )
        self._by_id[letter.id] = (letter, start)
        sender = f"bounce+{tokens.bounce(letter.id)}@{domain}"
        letters = self._sender.letters
        if letter.notice_body is not None:
            content = letters.signed(_dated(letter.notice_body, start.dated_at), now=now)
            return Envelope(letter.id, sender, letter.recipient, content)
        assert letter.mailing_id is not None  # noqa: S101 (a delivery is of a notice or a mailing)
        assert letter.key is not None and letter.epoch is not None  # noqa: S101, PT018
        composed = await letters.composed(letter.mailing_id, letter.language or "", letter.variant)
        values = slot_values(
            ReaderSlots(
                to=letter.recipient,
                message_id=start.message_id,
                date=start.dated_at,
                unsubscribe_url=links.unsubscribe(tokens.unsubscribe(letter.key)),
                preferences_url=links.preferences(tokens.preferences(letter.key, letter.epoch)),
                leave_address=f"leave+{tokens.leave(letter.subscriber_id or 0)}@{domain}",
            )
        )
        content = letters.filled(composed, values, now=now)
        return Envelope(letter.id, sender, letter.recipient, content)


def _dated(message: bytes, at: datetime) -> bytes:
    """A message composed when it was asked for, with the time at which it leaves (HD-1)."""
    date = format_datetime(at).encode("ascii")
    return re.sub(rb"\ADate: [^\r\n]*", lambda _: b"Date: " + date, message)
