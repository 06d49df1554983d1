"""Takes in a message that the mail server hands over; says yes after the commit.

Who is meant is decided by the envelope alone: `bounce+TAG` and `leave+TAG` carry a MAC, the
newsletter's own address is for people. Whatever the header says, no address in a message makes
anything happen to anybody (EM-11, EM-13).

Sources: email.md 9.1, 9.2; RFC 2033 §4.2; security.md EM-13, EM-14, PR-3.
"""

import asyncio
import logging
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import Message

from sqlalchemy.exc import DBAPIError

from fediletter.inbound.letters import NOWHERE, TOO_MANY, take_letter
from fediletter.mail import reports
from fediletter.mail.arrivals import Arrival, Automatic, Complaint, Letter, Receipt, Report, sort
from fediletter.mail.parts import Unreadable, header_of, parse
from fediletter.mail.reports import Verdict
from fediletter.mail.written import Written, read_letter
from fediletter.newsletter.alerts import Alert, tell_founders
from fediletter.newsletter.bounces import complain, note_untagged, take_report, withdraw_complaint
from fediletter.newsletter.subscribers import leave
from fediletter.services import Services, house_of
from storage import bounces, subscribers
from storage.bounces import Sent
from storage.ids import SubscriberId
from storage.probes import note_probe
from storage.store import Tx
from storage.throttles import hit

_HEAD_BYTES = 16 << 10  # Of a probe.
_COUNTED = timedelta(days=30)  # What is dropped is counted so long.
YES, NO, LATER = "250 2.0.0 taken", "550 5.1.1 not an address of ours", "451 4.3.0 later"
_log = logging.getLogger("fediletter.inbound")


@dataclass(frozen=True, slots=True)
class _Mail:
    """A message as read, outside any transaction."""

    arrival: Arrival
    written: Written | None
    original_id: str  # Message-ID of what came back, without its brackets.
    leave_token: str  # From the List-Unsubscribe of what came back.
    tag: str  # Of our envelope sender, where a complaint tells it.
    own: bool  # From our own address: a loop.
    head: str  # With the envelope sender on top.


class Arrivals:
    """What the LMTP door hands over, or was picked up from a mailbox."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.address = services.settings.mail_from.lower()  # For people.
        self._local, _, self._domain = self.address.rpartition("@")

    def is_ours(self, recipient: str) -> bool:
        """Whether mail to this address is for us."""
        local, _, domain = recipient.lower().rpartition("@")
        return domain == self._domain and local.partition("+")[0] in (
            self._local,
            "bounce",
            "leave",
        )

    async def take(self, sender: str, recipients: list[str], raw: bytes) -> list[str]:
        """An answer for each recipient, in their order (RFC 2033 §4.2)."""
        mail = await asyncio.to_thread(self._read, raw, sender)
        return [await self._take_for(recipient, mail) for recipient in recipients]

    async def _take_for(self, recipient: str, mail: _Mail | None) -> str:
        try:
            mail = await self._asked(recipient, mail)
            done = await self._services.store.write(
                self._apply, recipient, mail, now=self._services.clock.now()
            )
        except DBAPIError as trouble:
            _log.error("the database refuses mail", extra={"kind": type(trouble.orig).__name__})
            return LATER
        except Exception:  # noqa: BLE001 (logged; the mail server keeps the message)
            _log.exception("mail could not be taken in")
            return LATER
        _log.info("mail came in", extra={"done": done})
        if done == TOO_MANY:
            return "451 4.7.1 too many at a time"
        return "550 5.2.1 nobody reads here yet" if done == NOWHERE else YES

    def _read(self, raw: bytes, sender: str) -> _Mail | None:
        """The message, or None if it cannot be read within the limits."""
        try:
            message = parse(raw)
            arrival = sort(message, null_sender=sender == "")
            written = read_letter(message, raw) if isinstance(arrival, Letter) else None
        except Unreadable as wrong:
            _log.info("mail that cannot be read", extra={"reason": str(wrong)})
            return None
        original = arrival.original if isinstance(arrival, Complaint | Report) else None
        author = "" if written is None or written.address is None else written.address.identity
        return _Mail(
            arrival,
            written,
            _id_of(original),
            _token_of(original, self._services.links.unsubscribe("")),
            _tag_of(arrival, original),
            author == self._services.settings.mail_from.lower(),
            _head_of(raw, sender),
        )

    async def _asked(self, recipient: str, mail: _Mail | None) -> _Mail | None:
        """A domain that is said not to exist: nobody is struck off on somebody's word (9.3)."""
        if mail is None or not isinstance(mail.arrival, Report):
            return mail
        verdict = mail.arrival.verdict
        if verdict.kind != reports.NOWHERE:
            return mail
        delivery_id = self._services.tokens.read_bounce(recipient.lower().partition("@")[0][7:])
        sent = await self._services.store.read(bounces.sent_by_id, delivery_id or 0)
        domain = "" if sent is None else (sent.identity or "").rpartition("@")[2]
        takes = await self._services.domains.takes_mail(domain) if domain else None
        gone = takes is False
        settled = replace(verdict, kind=reports.GONE if gone else reports.LATER, certain=gone)
        return replace(mail, arrival=replace(mail.arrival, verdict=settled))

    # In one transaction ----------------------------------------------------------------------
    def _apply(self, tx: Tx, recipient: str, mail: _Mail | None, *, now: datetime) -> str:
        local, _, _domain = recipient.lower().rpartition("@")
        kind, _, tag = local.partition("+")
        if kind == "leave" and tag:
            return self._leave(tx, tag, now)
        delivery_id = None
        if kind == "bounce":
            probe = self._services.tokens.read_probe(tag)
            if probe is not None:
                return _probe(tx, probe, mail, now)
            delivery_id = self._services.tokens.read_bounce(tag)
            if delivery_id is None and tag:
                return _count(tx, "false tag", now)
        if mail is None:
            return _count(tx, "unreadable", now)
        return self._by_kind(tx, mail, delivery_id, now)

    def _by_kind(self, tx: Tx, mail: _Mail, delivery_id: int | None, now: datetime) -> str:
        match mail.arrival:
            case Complaint():
                return self._complaint(tx, mail, mail.arrival, delivery_id, now)
            case Report():
                return self._report(tx, mail, mail.arrival.verdict, delivery_id, now)
            case Automatic():
                return _count(tx, "automatic", now)
            case Receipt():
                return _count(tx, "receipt", now)
            case Letter():
                if mail.own or mail.written is None:
                    return _count(tx, "own", now)
                return take_letter(tx, mail.written, now=now)

    def _leave(self, tx: Tx, tag: str, now: datetime) -> str:
        """UN-6: the tag alone; From, subject and text are not looked at."""
        subscriber_id = self._services.tokens.read_leave(tag)
        if subscriber_id is None:
            return _count(tx, "false tag", now)
        key = subscribers.key_of(tx, SubscriberId(subscriber_id))
        if key is not None:
            leave(tx, key, self._services.tokens, channel="mailto", now=now)
        return "left"

    def _report(
        self,
        tx: Tx,
        mail: _Mail,
        verdict: Verdict,
        delivery_id: int | None,
        now: datetime,
    ) -> str:
        house = house_of(self._services)
        if delivery_id is not None:
            return take_report(tx, delivery_id, verdict, house, now=now)
        sent = bounces.sent_by_message_id(tx, mail.original_id) if mail.original_id else None
        if sent is None:
            return _count(tx, "report without a tag", now)
        note_untagged(tx, sent, verdict, now=now)
        return "report without a tag, noted"

    def _complaint(
        self,
        tx: Tx,
        mail: _Mail,
        complaint: Complaint,
        delivery_id: int | None,
        now: datetime,
    ) -> str:
        house = house_of(self._services)
        # By our tag, then Message-ID, then the token in List-Unsubscribe (9.2.3).
        sent, key = self._whose(tx, mail, delivery_id)
        if complaint.type == "abuse" and key is not None:
            complain(tx, sent, key, house, now=now)
            return "complaint"
        if complaint.type == "not-spam" and key is not None:
            withdraw_complaint(tx, key, house, now=now)
            return "complaint withdrawn"
        alert = Alert(
            f"feedback:{complaint.type[:20]}",
            "A mail provider reports something",
            "A mail provider sent a report of the kind “{kind}” about a message of yours.",
            {"kind": reports.masked(complaint.type)[:40]},
        )
        tell_founders(tx, alert, house, now=now)
        return "complaint noted"

    def _whose(
        self, tx: Tx, mail: _Mail, delivery_id: int | None
    ) -> tuple[Sent | None, bytes | None]:
        if delivery_id is None and mail.tag:
            delivery_id = self._services.tokens.read_bounce(mail.tag)
        sent = None
        if delivery_id is not None:
            sent = bounces.sent_by_id(tx, delivery_id)
        elif mail.original_id:
            sent = bounces.sent_by_message_id(tx, mail.original_id)
        if sent is not None and sent.subscriber_id is not None:
            return sent, subscribers.key_of(tx, sent.subscriber_id)
        if mail.leave_token:
            return None, self._services.tokens.read_unsubscribe(mail.leave_token)
        return None, None


def _count(tx: Tx, what: str, now: datetime) -> str:
    """Dropped, with a counter: nobody is answered, nothing is kept."""
    hit(tx, f"dropped:{what}", most=0, span=_COUNTED, now=now)
    return f"dropped: {what}"


def _probe(tx: Tx, number: int, mail: _Mail | None, now: datetime) -> str:
    """DO-10: the doctor looks at it; it concerns no reader."""
    if mail is None:
        return _count(tx, "unreadable", now)
    note_probe(tx, number, mail.head, now=now)
    return "probe"


def _head_of(raw: bytes, sender: str) -> str:
    head = re.split(rb"\r?\n\r?\n", raw[:_HEAD_BYTES], maxsplit=1)[0]
    return f"Return-Path: <{sender}>\r\n" + head.decode("utf-8", "replace").replace("\x00", "")


def _id_of(original: Message | None) -> str:
    found = "" if original is None else header_of(original, "Message-ID")
    return found.strip("<> ")[:250]


def _token_of(original: Message | None, prefix: str) -> str:
    field = "" if original is None else header_of(original, "List-Unsubscribe")
    _, found, rest = field.partition(f"<{prefix}")
    return rest.partition(">")[0][:80] if found else ""


def _tag_of(arrival: Arrival, original: Message | None) -> str:
    told = arrival.mail_from if isinstance(arrival, Complaint) else ""
    path = told or ("" if original is None else header_of(original, "Return-Path"))
    local = path.strip("<> ").lower().rpartition("@")[0]
    kind, _, tag = local.partition("+")
    return tag if kind == "bounce" else ""
