"""Reads what arrives, whoever wrote it: bounded, and never in doubt what a header is.

The standard parser does the work on at most so many octets and lines as it can read within its
time; what lies behind is attachments. A malformed part is skipped, not the message.

Sources: email.md 9.2 (parser rules); RFC 5322, 2045 to 2047.
"""

import contextlib
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message

from fediletter.newsletter.html import plain_text

_OCTETS, _LINES = 512 << 10, 20_000  # Read of one message.
_PARTS, _DEPTH, _HEADER_LINES = 50, 8, 1000
_PROSE = 16 << 10  # Characters of text looked at.
# Where daemons put our own message behind their words.
_COPY = re.compile(
    r"^[ \t>*-]{0,40}(?:below this line is a copy|this is a copy of|original message\b|"
    r"returned message|copie du message|message original|originalnachricht|mensaje original|"
    r"messaggio originale|the headers? of the original|message header follows|"
    r"headers? of the original message|(?:begin|start) (?:of )?(?:original|returned) message)",
    re.IGNORECASE | re.MULTILINE,
)


class Unreadable(ValueError):
    """Not a message within the limits."""


def parse(raw: bytes) -> Message:
    """A message of a stranger.

    Raises:
        Unreadable: More header lines than anybody needs, or more depth than can be read.
    """
    head = re.split(rb"\r?\n\r?\n", raw[: 256 << 10], maxsplit=1)[0]
    if head.count(b"\n") >= _HEADER_LINES:
        raise Unreadable("too many header lines")
    lines = raw[:_OCTETS].splitlines(keepends=True)[:_LINES]
    if b"".join(lines).lower().count(b"boundary=") > _PARTS:
        raise Unreadable("too many parts")
    try:
        return message_from_bytes(b"".join(lines), policy=policy.compat32)
    except (MessageError, RecursionError, ValueError, LookupError, TypeError) as wrong:
        raise Unreadable("a form that cannot be read") from wrong


def parts_of(message: Message) -> Iterator[Message]:
    """The message and its parts, outside in; at most 50, at most 8 deep."""
    left = [_PARTS]

    def walk(part: Message, depth: int) -> Iterator[Message]:
        if left[0] <= 0 or depth > _DEPTH:
            return
        left[0] -= 1
        yield part
        payload = part.get_payload()
        # The groups of a delivery-status part are no parts.
        if isinstance(payload, list) and not part.get_content_type().endswith("delivery-status"):
            for inner in payload:
                if isinstance(inner, Message):
                    yield from walk(inner, depth + 1)

    yield from walk(message, 1)


def header_of(message: Message, name: str) -> str:
    """A field's first value in one line, decoded; empty if it is absent or cannot be read."""
    # Not `get`: it turns octets above 127 into question marks.
    values = (value for key, value in message.raw_items() if key.lower() == name.lower())
    raw = next(values, "").encode("utf-8", "surrogateescape")
    text = _decoded(raw, "utf-8")
    with contextlib.suppress(MessageError, LookupError, ValueError, AssertionError):
        text = str(make_header(decode_header(text)))
    return " ".join(text.replace("\x00", "").split())


def text_of(part: Message) -> str:
    """A text part as text, whatever its charset claims."""
    try:
        octets = part.get_payload(decode=True)
    except (MessageError, ValueError, LookupError, AssertionError):
        return ""
    if not isinstance(octets, bytes):
        return ""
    return _decoded(octets, str(part.get_content_charset("utf-8") or "utf-8"))


def _decoded(octets: bytes, charset: str) -> str:
    for one in (charset, "utf-8"):
        with contextlib.suppress(LookupError, UnicodeError):
            return octets.decode(one)
    return octets.decode("windows-1252", "replace")


def returned_part(message: Message) -> Message | None:
    """Our own message inside a report: whole, or its headers; None if there is none."""
    for part in parts_of(message):
        kind = part.get_content_type()
        payload = part.get_payload()
        if kind in ("message/rfc822", "message/global") and isinstance(payload, list) and payload:
            inner = payload[0]
            return inner if isinstance(inner, Message) else None
        if kind in ("text/rfc822-headers", "message/global-headers"):
            text = text_of(part) or str(payload)
            return message_from_bytes(text.encode("utf-8", "replace"), policy=policy.compat32)
    return None


def human_text(message: Message) -> str:
    """The words of a report: its text parts before the message that comes back."""
    found: list[str] = []
    for part in parts_of(message):
        kind = part.get_content_type()
        if kind in ("message/rfc822", "text/rfc822-headers", "message/global"):
            break
        if part.get_content_maintype() == "text" and not part.is_multipart():
            text = text_of(part)
            found.append(plain_text(text[: 4 * _PROSE]) if kind == "text/html" else text)
    prose = "\n".join(found)[: 4 * _PROSE]
    cut = _COPY.search(prose)
    return (prose[: cut.start()] if cut else prose)[:_PROSE]
