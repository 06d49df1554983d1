"""What a person wrote, out of the mail in which they wrote it: their words without what they quote.

Attachments are named, not kept. Pure.

Sources: email.md 9.2.7; RFC 3676 §4.3 (signatures); habits of Gmail, Outlook, Apple Mail,
Thunderbird, Yahoo and Orange, whose marks stand below.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from hashlib import sha256

from fediletter.limits import REMOTE_HTML_BYTES
from fediletter.mail.addresses import Address, BadAddress, parse_address
from fediletter.mail.parts import header_of, parts_of, text_of
from fediletter.newsletter.html import SafeHtml, from_remote, paragraphs_of, plain_name, plain_text

_IDS = re.compile(r"<([^<>\s]{3,250})>")
_MOST_REFERENCES = 30
# Below such a line stands the message that is answered.
_FORWARDED = re.compile(
    r"^[ \t]*(?:-{2,}[ \t]*(?:original message|message d.origine|message original|"
    r"message transféré|ursprüngliche nachricht|mensaje original|messaggio originale)[ \t]*-{2,}"
    r"|_{20,}[ \t]*$|(?:from|de|von|da)[ \t]?:.{1,200}\n(?:.{0,200}\n)?"
    r"(?:sent|date|envoyé|gesendet|enviado|inviato|to|à|an|para|a)[ \t]?:)",
    re.IGNORECASE | re.MULTILINE,
)
_ATTRIBUTION = re.compile(
    r"(?:wrote|a écrit|schrieb.{0,120}|escribió|ha scritto)[ \t\u00a0\u202f]?:[ \t]*$",
    re.IGNORECASE,
)
_OPENS = re.compile(r"^(?:On|Le|Am|El|Il|Em)\b.{5,}", re.IGNORECASE)
_HTML_QUOTE = re.compile(
    r"<div[^>]{0,200}class=[\"'][^\"']{0,80}(?:gmail_quote|yahoo_quoted|moz-cite-prefix|"
    r"protonmail_quote|OutlookMessageHeader)|<div[^>]{0,200}id=[\"'](?:divRplyFwdMsg|"
    r"appendonsend|x_divRplyFwdMsg)|<blockquote[^>]{0,200}type=[\"']cite",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Written:
    """A letter of a person to us."""

    message_id: str  # Without angle brackets; made of its octets if it has none.
    references: tuple[str, ...]  # Message-IDs that it answers, the nearest first.
    address: Address | None
    name: str
    subject: str
    content: SafeHtml
    at: datetime | None


def read_letter(message: Message, raw: bytes) -> Written:
    """What a person wrote.

    Args:
        message: As parsed.
        raw: Its octets.
    """
    name, address = _author(header_of(message, "From"))
    found = _IDS.findall(header_of(message, "Message-ID"))
    text = _own_words(message)
    files = " ".join(f"[{one}]" for one in _attachments(message))
    content = "\n\n".join(part for part in (text, files) if part)
    return Written(
        message_id=found[0] if found else f"{sha256(raw).hexdigest()[:32]}@unnamed.invalid",
        references=_references(message),
        address=address,
        name=name,
        subject=plain_name(header_of(message, "Subject"), 200),
        content=from_remote(paragraphs_of(content[: REMOTE_HTML_BYTES // 2])),
        at=_date(message),
    )


def _author(field: str) -> tuple[str, Address | None]:
    for name, text in getaddresses([field])[:3]:
        try:
            address = parse_address(text)
        except BadAddress:
            continue
        shown = plain_name(name, 80)
        # An address is no name: it would be shown.
        return ("" if "@" in shown else shown) or address.local[:80], address
    return "", None


def _references(message: Message) -> tuple[str, ...]:
    nearest = _IDS.findall(header_of(message, "In-Reply-To"))
    chain = _IDS.findall(header_of(message, "References"))[-_MOST_REFERENCES:]
    return tuple(dict.fromkeys((*nearest, *reversed(chain))))


def _date(message: Message) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header_of(message, "Date"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _own_words(message: Message) -> str:
    texts: dict[str, str] = {}
    for part in parts_of(message):
        kind = part.get_content_type()
        if kind in ("message/rfc822", "message/global"):
            break
        if kind in ("text/plain", "text/html") and part.get_filename() is None:
            texts.setdefault(kind, text_of(part)[: 4 * REMOTE_HTML_BYTES])
    plain = texts.get("text/plain", "").replace("\r\n", "\n")
    if not plain.strip() and "text/html" in texts:
        return _from_html(texts["text/html"])
    return without_quotes(plain)


def _from_html(markup: str) -> str:
    cut = _HTML_QUOTE.search(markup)
    above = plain_text(markup[: cut.start()]) if cut else ""
    return without_quotes(above or plain_text(markup))


def without_quotes(text: str) -> str:
    """A person's words alone: not what they answer, nor their signature; all of it if that is all.

    Words between quoted lines stay.
    """
    cut = _FORWARDED.search(text)
    above = text[: cut.start()] if cut else text
    lines = list(_unquoted(above.split("\n")))
    for at, line in enumerate(lines):
        if line.rstrip("\r") == "-- ":
            lines = lines[:at]
            break
    own = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return own or text.strip()


def _unquoted(lines: list[str]) -> Iterable[str]:
    """Lines that are no quotes, and not those that say whose words follow."""
    for at, line in enumerate(lines):
        if line.startswith((">", "|>")):
            continue
        if _is_attribution(lines, at):
            continue
        yield line


def _is_attribution(lines: list[str], at: int) -> bool:
    """`On 24 November …, Ana wrote:` before a quote or at the end, on one line or folded on two."""
    for width in (1, 2, 3):
        for first in range(max(0, at - width + 1), at + 1):
            block = lines[first : first + width]
            text = " ".join(block)
            if len(block) == width and _OPENS.match(block[0]) and _ATTRIBUTION.search(text[:600]):
                following = [one for one in lines[first + width :] if one.strip()][:1]
                if not following or following[0].startswith(">"):
                    return True
    return False


def _attachments(message: Message) -> list[str]:
    names = [
        plain_name(str(part.get_filename() or ""), 80)
        for part in parts_of(message)
        if part.get_filename() is not None
    ]
    return [name for name in names if name][:20]
