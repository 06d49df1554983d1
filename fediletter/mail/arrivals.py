"""What an inbound message is: complaint, report, automatic answer, receipt, or a person's letter.

The first that fits wins, and the order matters: many reports carry the marks of automatic answers,
so those are looked for behind them. A subject alone proves nothing: people write too.

Pure.

Sources: email.md 9.2; RFC 5965, 6430, 6591 (complaints), 3834 (automatic answers), 8098 (receipts).
"""

import re
from dataclasses import dataclass
from email.message import Message
from typing import TypeAlias

from fediletter.mail import report_words as said
from fediletter.mail.parts import header_of, parts_of, returned_part, text_of
from fediletter.mail.reports import Verdict, has_phrase, read_report

_JMRP = re.compile(r"@(?:hotmail|outlook|live|microsoft)\.com\b", re.IGNORECASE)
_AUTOMATIC_PRECEDENCE = frozenset(("auto_reply", "bulk", "junk", "list"))
_AUTOMATIC_FIELDS = ("X-Autoreply", "X-Autorespond", "X-Auto-Reply-From", "X-AutoReply-From")


@dataclass(frozen=True, slots=True)
class Complaint:
    """Somebody said of a message of ours what `type` names (RFC 5965 §3.1)."""

    type: str
    original: Message | None
    mail_from: str  # Original-Mail-From, if it is told.


@dataclass(frozen=True, slots=True)
class Report:
    """A delivery report; `original` is our message or its header, if it came back with it."""

    verdict: Verdict
    original: Message | None


@dataclass(frozen=True, slots=True)
class Automatic:
    """A machine answered: never answered, never counted against anybody."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A read receipt: not asked for, not kept."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A person wrote."""


Arrival: TypeAlias = Complaint | Report | Automatic | Receipt | Letter


def sort(message: Message, *, null_sender: bool) -> Arrival:
    """What a message is.

    Args:
        message: As parsed.
        null_sender: The envelope sender was empty.
    """
    complaint = _complaint(message)
    if complaint is not None:
        return complaint
    verdict = read_report(message)
    if verdict is not None:
        return Report(verdict, returned_part(message))
    if _is_automatic(message, null_sender=null_sender):
        return Automatic()
    if _is_receipt(message):
        return Receipt()
    return Letter()


def _complaint(message: Message) -> Complaint | None:
    for part in parts_of(message):
        if part.get_content_type() == "message/feedback-report":
            fields = _fields(part)
            return Complaint(
                fields.get("feedback-type", "").lower() or "other",
                returned_part(message),
                fields.get("original-mail-from", ""),
            )
    kind = str(message.get_param("report-type", "") or "")
    if kind.lower() == "feedback-report":
        return Complaint("other", returned_part(message), "")
    original = returned_part(message)
    subject = header_of(message, "Subject").lower()
    is_jmrp = subject.startswith("complaint about message from") and _JMRP.search(
        header_of(message, "From")
    )
    if is_jmrp and original is not None:
        return Complaint("abuse", original, "")
    return None


def _fields(part: Message) -> dict[str, str]:
    """The fields of a feedback report, however the parser kept them."""
    payload = part.get_payload()
    text = text_of(part)
    if isinstance(payload, list):
        text = "\n".join(str(one) for one in payload)
    found = re.findall(r"(?m)^([A-Za-z-]{1,40}):[ \t]*([^\r\n]{0,500})", text)
    fields: dict[str, str] = {}
    for name, value in found:
        fields.setdefault(name.lower(), value.strip())
    return fields


def _is_automatic(message: Message, *, null_sender: bool) -> bool:
    submitted = header_of(message, "Auto-Submitted").lower().split(";")[0].strip()
    if submitted and submitted != "no":
        return True
    if header_of(message, "Precedence").lower() in _AUTOMATIC_PRECEDENCE:
        return True
    if any(message.get(name) is not None for name in _AUTOMATIC_FIELDS):
        return True
    if header_of(message, "X-Apple-Action").lower() == "vacation":
        return True
    return null_sender and has_phrase(said.ABSENT, header_of(message, "Subject"))


def _is_receipt(message: Message) -> bool:
    return any(
        part.get_content_type() == "message/disposition-notification" for part in parts_of(message)
    )
