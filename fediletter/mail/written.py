"""What a person wrote, out of the mail in which they wrote it: their words without what they quote.

Attachments are named, not kept. Pure.

Sources: email.md 9.2.7; RFC 3676 §4.3 (signatures); habits of Gmail, Outlook, Apple Mail,
Thunderbird, Yahoo and Orange, whose marks stand below.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from hashlib import sha256

from fediletter.limits import REMOTE_HTML_BYTES
from fediletter.mail.addresses import Address, BadAddress, parse_international
from fediletter.mail.parts import header_of, parts_of, text_of
from fediletter.newsletter.html import SafeHtml, from_remote, paragraphs_of, plain_name, plain_text

_IDS = re.compile(r"<([^<>\s]{3,250})>")
_MOST_REFERENCES = 30
# Below such a line stands the message that is answered.
_DIVIDER = re.compile(
    r"[ \t]*-{2,}[ \t]*(?:original message|message d.origine|message original|"
    r"message transféré|ursprüngliche nachricht|mensaje original|messaggio originale)[ \t]*-{2,}",
    re.IGNORECASE,
)
_RULE = re.compile(r"[ \t]*(?:_{5,}|-{5,})[ \t]*")
# The head of that message, as programs copy it: three lines of it at least, by kind.
_FIELDS = {
    "from": r"from|de|von|da",
    "date": r"sent|date|envoyé|gesendet|datum|enviado|inviato|fecha|data",
    "to": r"to|à|a|an|para|cc|copie à",
    "subject": r"subject|objet|betreff|asunto|oggetto",
}
_FIELD = re.compile(
    "[ \\t]*[*]?(?:"
    + "|".join(f"(?P<{kind}>{names})" for kind, names in _FIELDS.items())
    + r")[ \t]?:[*]?(?:[ \t].*)?",
    re.IGNORECASE,
)
# What programs add below by themselves.
_ADDED = re.compile(
    r"(?:sent (?:from|with|via)|get outlook for|envoyé (?:de|depuis|avec|à partir de)|"
    r"(?:télécharger|obtenir|téléchargez) outlook|gesendet (?:von|mit)|von meinem .* gesendet|"
    r"enviado (?:desde|con)|inviato (?:da|con))\b.{1,90}",
    re.IGNORECASE,
)
_ATTRIBUTION = re.compile(
    r"(?:wrote|a écrit|schrieb.{0,120}|escribió|ha scritto)[ \t\u00a0\u202f]?:[ \t]*$",
    re.IGNORECASE,
)
_OPENS = re.compile(r"^(?:On|Le|Am|El|Il|Em)\b.{5,}", re.IGNORECASE)
_INVISIBLE = re.compile("[\ufeff\u200b\u200e\u200f]")
_HTML_QUOTE = re.compile(
    r"<div[^>]{0,200}class=[\"'][^\"']{0,80}(?:gmail_quote|yahoo_quoted|moz-cite-prefix|"
    r"protonmail_quote|OutlookMessageHeader)|<div[^>]{0,200}id=[\"'](?:divRplyFwdMsg|"
    r"appendonsend|x_divRplyFwdMsg)|<hr[^>]{0,80}id=[\"']zwchr|<blockquote[^>]{0,200}type=[\"']cite",
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
            address = parse_international(text)
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
    """A person's words alone: not what they answer, nor signatures; all of it if that is all.

    Words between quoted lines stay, and those below them.

    Args:
        text: With LF line ends.
    """
    lines = _INVISIBLE.sub("", text).split("\n")
    plain = [line.replace("\u00a0", " ").replace("\u202f", " ").rstrip() for line in lines]
    kept = [lines[at] for at in _own(plain)]
    own = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return own or text.strip()


def _own(lines: list[str]) -> list[int]:
    """Which lines are the person's, down to where another's message begins."""
    kept: list[int] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line in ("--", "-- ") or _begins_another(lines, at):
            break
        width = _attribution_at(lines, at)
        if width:
            at += width
            following = _next_words(lines, at)
            if following is not None and not following.startswith(">"):
                break  # Not marked as quoted, but another's all the same.
            continue
        if not line.startswith((">", "|>")):
            kept.append(at)
        at += 1
    while kept and (not lines[kept[-1]].strip() or _ADDED.fullmatch(lines[kept[-1]].strip())):
        kept.pop()
    return kept


def _begins_another(lines: list[str], at: int) -> bool:
    """A divider, or the head of a message, perhaps below a rule."""
    if _DIVIDER.match(lines[at]):
        return True
    if _RULE.fullmatch(lines[at]):
        at += 1
    kinds = set()
    for line in lines[at : at + 6]:
        field = _FIELD.fullmatch(line[:400])
        if field is None:
            break
        kinds.add(field.lastgroup)
    return len(kinds) >= 3 and "from" in kinds


def _attribution_at(lines: list[str], at: int) -> int:
    """How many lines say whose words follow: `On 24 November …, Ana wrote:`, folded or not.

    Only before quoted lines, at the end, or if an address stands in it: people write such lines.
    """
    if not _OPENS.match(lines[at].lstrip()):
        return 0
    for width in (1, 2, 3):
        said = " ".join(lines[at : at + width])[:600]
        if _ATTRIBUTION.search(said):
            following = _next_words(lines, at + width)
            sure = following is None or following.startswith(">") or "@" in said
            return width if sure else 0
    return 0


def _next_words(lines: list[str], at: int) -> str | None:
    return next((line for line in lines[at:] if line.strip()), None)


def _attachments(message: Message) -> list[str]:
    names = [
        plain_name(str(part.get_filename() or ""), 80)
        for part in parts_of(message)
        if part.get_filename() is not None
    ]
    return [name for name in names if name][:20]
