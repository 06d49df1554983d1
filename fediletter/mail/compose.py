"""The one door where mail is composed.

A letter is composed once per mailing and language; per reader only slots are filled, as bytes: a
join of constant pieces and values. The standard library writes encoded words and addresses;
placeholders stand for what it would fold or encode wrongly (SE-2). Everything is quoted-printable,
so nothing on the way has a reason to change a byte.

Sources: RFC 5322, 2045 to 2047, 2369, 2919, 8058; email.md sections 2 to 4 (HD, SE, MI rules);
security.md EM-1, EM-2, EM-4, EM-16, EM-17.
"""

import base64
import re
import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.header import Header, decode_header, make_header
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.utils import format_datetime

from fediletter.mail.embedding import EmbeddedImage
from fediletter.mail.quoted import quoted, soft_rows
from fediletter.mail.text import paragraphs

TO, MESSAGE_ID, DATE = "to", "message-id", "date"
UNSUBSCRIBE, PREFERENCES, LEAVE = "unsubscribe", "preferences", "leave"

_SLOT = re.compile(rb"\x00([a-z-]+)\x00")
# What stands for a slot while the library writes the header (SE-2): valid in its field's grammar.
_IN_HEADER = {
    b"slot-to@slot.invalid": TO,
    b"slot-message-id@slot.invalid": MESSAGE_ID,
    b"https://slot.invalid/unsubscribe": UNSUBSCRIBE,
    b"Thu, 01 Jan 1970 00:00:00 +0000": DATE,
}
# What stands for a slot in a body: written by the letter's templates.
_IN_BODY = {
    "https://slot.invalid/unsubscribe": UNSUBSCRIBE,
    "https://slot.invalid/preferences": PREFERENCES,
}
UNSUBSCRIBE_HERE, PREFERENCES_HERE = _IN_BODY
# What stands for words beyond ASCII, in a name and in a subject.
_NAME_HERE, _LIST_HERE, _SUBJECT_HERE = "slot-name", "slot-list", "slot-subject"
_LONGEST_LINE, _LONGEST_WORD = 78, 75
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST_SUBJECT, _LONGEST_NAME = 150, 80
_JOINER = "\u200d"
# What a value of one reader may hold: nothing that ends an address, a URL, a quote or a line.
_ADDRESS = re.compile(r"[^\x00-\x20\x7f-\U0010ffff<>,;:@\"()\[\]\\]+@[A-Za-z0-9._:\[\]-]+")
# Beyond ASCII only where the relay offers SMTPUTF8 (SE-3, TR-25).
_READER = re.compile(r"[^\x00-\x20\x7f-\xa0<>,;:@\"()\[\]\\]+@[A-Za-z0-9._:\[\]-]+")
_MESSAGE_ID = re.compile(r"[!-;=?-~]{3,250}")
_URL = re.compile(r"https?://[A-Za-z0-9._/:\[\]-]+")
_POLICY = policy.SMTP


class CannotCompose(ValueError):
    """Something in a header cannot be sent as it is (EM-1, EM-2)."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes: From and, if answers go elsewhere, Reply-To."""

    name: str
    address: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class IssueLetter:
    """One letter in one language, before it is composed.

    `html` and `text` hold `UNSUBSCRIBE_HERE` and `PREFERENCES_HERE` where the reader's links go.
    """

    sender: Sender
    subject: str
    language: str
    html: str
    text: str
    list_id: str  # `label.host`
    list_name: str
    archived_at: str = ""  # Empty: on no page of its own, as a digest (HD-14).
    automatic: bool = False  # Sent by the clock, not by a person (HD-16).
    leave_by_mail: bool = False  # Mail to us is read: a mailto: may stand beside the link.
    images: tuple[EmbeddedImage, ...] = ()  # `html` names them by `cid:`.


@dataclass(frozen=True, slots=True)
class ReaderSlots:
    """What differs from reader to reader (HD-22)."""

    to: str
    message_id: str  # Without angle brackets.
    date: datetime
    unsubscribe_url: str
    preferences_url: str
    leave_address: str = "leave@invalid.invalid"  # Of letters that offer it.


class Template:
    """A composed letter: constant pieces and, between them, the names of slots."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        parts = _SLOT.split(raw)
        self._pieces = parts[0::2]
        self._slots = [name.decode("ascii") for name in parts[1::2]]

    def to_bytes(self) -> bytes:
        """For the store; `Template(bytes)` reads it."""
        return self._raw

    def fill(self, reader: ReaderSlots) -> bytes:
        """The message as it goes over the wire: CRLF, no line that begins with a dot.

        Raises:
            CannotCompose: A value would not fit its slot (EM-1).
        """
        return self.join(slot_values(reader))

    def join(self, values: Mapping[str, bytes]) -> bytes:
        """The message with what `slot_values` gave."""
        parts = [self._pieces[0]]
        for name, piece in zip(self._slots, self._pieces[1:], strict=True):
            parts += (values[name], piece)
        return b"".join(parts)


def slot_values(reader: ReaderSlots) -> dict[str, bytes]:
    """What stands in the slots of one reader's message, by their names.

    Raises:
        CannotCompose: A value would not fit its slot (EM-1).
    """
    for pattern, value in (
        (_READER, reader.to),
        (_ADDRESS, reader.message_id),
        (_ADDRESS, reader.leave_address),
        (_URL, reader.unsubscribe_url),
        (_URL, reader.preferences_url),
    ):
        if not pattern.fullmatch(value):
            raise CannotCompose("a reader's address or link does not fit its slot")
    values = {
        TO: reader.to.encode(),
        MESSAGE_ID: reader.message_id.encode("ascii"),
        DATE: format_datetime(reader.date).encode("ascii"),
        UNSUBSCRIBE: reader.unsubscribe_url.encode("ascii"),
        PREFERENCES: reader.preferences_url.encode("ascii"),
        LEAVE: reader.leave_address.encode("ascii"),
    }
    soft = {f"soft-{name}": soft_rows(values[name]) for name in (UNSUBSCRIBE, PREFERENCES)}
    return values | soft


def compose_issue(letter: IssueLetter) -> Template:
    """Compose a letter: multipart/alternative, text first (MI-1); with images as MI-2 has it.

    Raises:
        CannotCompose: A name or the subject cannot be sent, or the parts do not parse back.
    """
    message = EmailMessage(policy=_POLICY)
    message["Date"] = "Thu, 01 Jan 1970 00:00:00 +0000"
    _add_sender(message, letter.sender)
    message["To"] = "slot-to@slot.invalid"
    message["Subject"] = _or_place(checked_subject(letter.subject), _SUBJECT_HERE)
    message["Message-ID"] = "<slot-message-id@slot.invalid>"
    message["MIME-Version"] = "1.0"
    message["List-ID"] = f"{_phrase(letter.list_name)}<{letter.list_id}>"
    message["List-Unsubscribe"] = "<https://slot.invalid/unsubscribe>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["List-Post"] = "NO"
    if letter.archived_at:
        message["Archived-At"] = "<https://slot.invalid/archived>"
    message["Precedence"] = "bulk"
    if letter.automatic:
        message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    message["Content-Language"] = letter.language
    html = _part("html", letter.html)
    if letter.images:
        html = _related(html, letter.images)
    parts = [_part("plain", letter.text), html]
    boundary = _boundary_of(parts)
    message["Content-Type"] = f'multipart/alternative; boundary="{boundary}"'
    head = _head(message, letter.sender, letter.subject).replace(
        b"https://slot.invalid/archived", letter.archived_at.encode("ascii")
    )
    head = _with_words(head, "List-ID", _LIST_HERE, letter.list_name, letter.list_id)
    for placeholder, name in _IN_HEADER.items():
        head = head.replace(placeholder, b"\x00" + name.encode("ascii") + b"\x00")
    # A URL is never folded, nor parted from its field by a line of nothing (SE-2).
    head = head.replace(b"List-Unsubscribe:\r\n <", b"List-Unsubscribe: <")
    if letter.leave_by_mail:  # HD-10. Else nothing takes mail in: who wrote would not be heard.
        link = b"List-Unsubscribe: <\x00unsubscribe\x00>"
        by_mail = b",\r\n <mailto:\x00leave\x00?subject=unsubscribe>"
        head = head.replace(link, link + by_mail)
    template = Template(head + b"\r\n" + _enclosed(parts, boundary))
    _check(template, letter, [*message.keys()])
    return template


def compose_plain(
    *,
    sender: Sender,
    to: str,
    subject: str,
    text: str,
    language: str,
    message_id: str,
    now: datetime,
    automatic: str = "auto-generated",
    answers: str = "",
) -> bytes:
    """A mail of plain text to one person: confirmation, service, alert (HD table, C, S, A).

    Raises:
        CannotCompose: A name, the subject or the address cannot be sent.
    """
    if not _READER.fullmatch(to) or not _ADDRESS.fullmatch(message_id):
        raise CannotCompose("the address cannot be sent as it is")
    message = EmailMessage(policy=_POLICY)
    message["Date"] = format_datetime(now)
    _add_sender(message, sender, with_reply_to=False)
    message["To"] = "slot-to@slot.invalid"
    message["Subject"] = _or_place(checked_subject(subject), _SUBJECT_HERE)
    message["Message-ID"] = "<slot-message-id@slot.invalid>"
    message["MIME-Version"] = "1.0"
    if automatic:
        message["Auto-Submitted"] = automatic
    if _MESSAGE_ID.fullmatch(answers):  # What a stranger's program wrote: else left out (EM-1).
        message["In-Reply-To"] = "<slot-answered@slot.invalid>"
        message["References"] = "<slot-answered@slot.invalid>"
    message["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    message["Content-Language"] = language
    message["Content-Type"] = 'text/plain; charset="utf-8"'
    message["Content-Transfer-Encoding"] = "quoted-printable"
    head = _head(message, sender, subject)
    head = head.replace(b"slot-to@slot.invalid", to.encode())
    head = head.replace(b"slot-message-id@slot.invalid", message_id.encode("ascii"))
    head = head.replace(b"slot-answered@slot.invalid", answers.encode("ascii", "ignore"))
    # The last line ends too: a final dot behind it would be part of it (EM-4).
    return head + b"\r\n" + quoted(paragraphs(text.rstrip("\r\n")) + "\n")


def new_message_id(domain: str) -> str:
    """A new Message-ID without its angle brackets (HD-6)."""
    return f"{secrets.token_hex(12)}@{domain}"


def fits_a_header(text: str) -> bool:
    """Whether a name or a title can be sent (EM-1, EM-2): asked where it is typed."""
    return not _FORBIDDEN.search(text) and "=?" not in text


def checked_subject(text: str) -> str:
    """A subject that cannot become another header (EM-1, EM-2), at most 150 characters.

    Raises:
        CannotCompose: It holds a control character or an encoded word, or is empty.
    """
    return _checked(text, _LONGEST_SUBJECT, "subject")


def _checked(text: str, longest: int, what: str) -> str:
    plain = unicodedata.normalize("NFC", text).strip()
    if not plain or not fits_a_header(plain):
        raise CannotCompose(f"the {what} cannot be sent as it is")
    return _cut(plain, longest)


def _cut(text: str, longest: int) -> str:
    """At most so many characters, and none of what people see as one taken apart (SE-5)."""
    end = longest
    while 0 < end < len(text) and _belongs_before(text, end):
        end -= 1
    return text[:end].rstrip()


def _belongs_before(text: str, at: int) -> bool:
    kind = unicodedata.category(text[at])
    is_modifier = "\U0001f3fb" <= text[at] <= "\U0001f3ff"  # Tones of skin.
    flags = re.search("[\U0001f1e6-\U0001f1ff]*$", text[:at])  # Two signs make one.
    if flags and len(flags[0]) % 2 and "\U0001f1e6" <= text[at] <= "\U0001f1ff":
        return True
    return kind in ("Mn", "Me", "Mc") or is_modifier or _JOINER in text[at - 1 : at + 1]


def _add_sender(message: EmailMessage, sender: Sender, *, with_reply_to: bool = True) -> None:
    local, _, domain = sender.address.rpartition("@")
    name = _or_place(_name_of(sender), _NAME_HERE)
    message["From"] = HeaderAddress(name, local, domain)
    if sender.reply_to and with_reply_to:
        local, _, domain = sender.reply_to.rpartition("@")
        message["Reply-To"] = HeaderAddress("", local, domain)


def _name_of(sender: Sender) -> str:
    """The name as it is sent; an address would show another sender than who writes (HD-2)."""
    if not sender.name or "@" in sender.name:
        return ""
    return _checked(sender.name, _LONGEST_NAME, "sender's name")


def _phrase(name: str) -> str:
    """A list's name before its id (HD-9): nothing if it cannot be sent."""
    if re.fullmatch(r"[A-Za-z0-9 .,'-]{1,60}", name):
        return f'"{name}" '
    return f"{_LIST_HERE} " if name.strip() and fits_a_header(name) else ""


def _or_place(text: str, place: str) -> str:
    """ASCII as it is; else what stands for it while the library writes the header.

    When it folds between two encoded words, CPython loses the space that stood there.
    """
    return text if text.isascii() else place


def _encoded_words(text: str, field: str) -> bytes:
    """Encoded words in which each space is a sign like any other (RFC 2047 §5)."""
    header = Header(text, "utf-8", header_name=field, maxlinelen=_LONGEST_WORD)
    return header.encode(linesep="\r\n").encode("ascii")


def _head(message: EmailMessage, sender: Sender, subject: str) -> bytes:
    message.set_payload("")
    head = message.as_bytes(policy=_POLICY).partition(b"\r\n\r\n")[0] + b"\r\n"
    subject = checked_subject(subject)
    if not subject.isascii():
        place = f"Subject: {_SUBJECT_HERE}".encode("ascii")
        head = head.replace(place, b"Subject: " + _encoded_words(subject, "Subject"))
    name = _name_of(sender)
    return head if name.isascii() else _with_words(head, "From", _NAME_HERE, name, sender.address)


def _with_words(head: bytes, field: str, place: str, name: str, address: str) -> bytes:
    """A head with encoded words for a name, where a placeholder stands before an address."""
    words = _encoded_words(_cut(name.strip(), _LONGEST_NAME), field)
    rest = f" <{address}>".encode("ascii")
    fits = len(words.rpartition(b"\r\n")[2] + rest) <= _LONGEST_LINE - len(f"{field}: ")
    before = re.compile(f"{field}: {place}(?:\r\n)? <".encode("ascii"))
    fold = b"" if fits else b"\r\n"
    return before.sub(lambda _: f"{field}: ".encode("ascii") + words + fold + b" <", head)


def _enclosed(parts: Sequence[bytes], boundary: str) -> bytes:
    opened = f"--{boundary}\r\n".encode("ascii")
    closed = f"--{boundary}--\r\n".encode("ascii")
    return b"".join(opened + part + b"\r\n" for part in parts) + closed


def _boundary_of(parts: Sequence[bytes]) -> str:
    """A boundary that occurs in none of these parts (MI-6)."""
    while True:
        boundary = f"fl-{secrets.token_hex(16)}"
        if not any(boundary.encode("ascii") in part for part in parts):
            return boundary


def _part(kind: str, text: str) -> bytes:
    head = (
        f'Content-Type: text/{kind}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    return head.encode("ascii") + _with_slots(text)


def _related(html: bytes, images: Sequence[EmbeddedImage]) -> bytes:
    """The HTML together with its images, as one part (MI-2)."""
    parts = [html, *(_image(one) for one in images)]
    boundary = _boundary_of(parts)
    head = f'Content-Type: multipart/related; type="text/html";\r\n boundary="{boundary}"\r\n\r\n'
    return head.encode("ascii") + _enclosed(parts, boundary).removesuffix(b"\r\n")


def _image(image: EmbeddedImage) -> bytes:
    head = (
        f'Content-Type: {image.mime}; name="{image.name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        f"Content-ID: <{image.content_id}>\r\n"
        f'Content-Disposition: inline; filename="{image.name}"\r\n\r\n'
    )
    rows = base64.encodebytes(image.octets).rstrip(b"\n")  # Of 76 columns.
    return head.encode("ascii") + rows.replace(b"\n", b"\r\n")


def _with_slots(text: str) -> bytes:
    """Quoted-printable, each slot alone on its line between soft breaks (MI-5)."""
    pattern = "|".join(re.escape(placeholder) for placeholder in _IN_BODY)
    parts = re.split(f"({pattern})", text)
    encoded = []
    for part in parts:
        if part in _IN_BODY:
            encoded.append(f"=\r\n\0soft-{_IN_BODY[part]}\0=\r\n".encode("ascii"))
        else:
            encoded.append(quoted(part))
    return b"".join(encoded)


def _check(template: Template, letter: IssueLetter, planned: list[str]) -> None:
    """Parse what was composed and compare it with what was planned (SE-3)."""
    probe = ReaderSlots(
        "reader@example.org",
        "0123456789abcdef@example.org",
        datetime.fromisoformat("2026-01-02T03:04:05+00:00"),
        "https://example.org/unsubscribe/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "https://example.org/preferences/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    )
    octets = template.fill(probe)
    head = octets.partition(b"\r\n\r\n")[0]
    parsed = message_from_bytes(octets, policy=policy.default)
    problems = [
        "other fields than planned" if [*parsed.keys()] != planned else "",
        "a defect" if any(part.defects for part in parsed.walk()) else "",
        "octets above 127" if not octets.isascii() else "",
        "a bare line end" if re.search(rb"(?<!\r)\n|\r(?!\n)", octets) else "",
        "a line too long" if any(len(line) > 998 for line in octets.split(b"\r\n")) else "",
        "a line that begins with a dot" if b"\r\n." in octets else "",
        "an encoded URL" if b"=?" in _field(head, b"List-Unsubscribe:") else "",
        *_other_values(octets, letter, probe),
    ]
    found = [problem for problem in problems if problem]
    if found:
        raise CannotCompose(f"the letter does not parse back: {', '.join(found)}")


def _other_values(octets: bytes, letter: IssueLetter, probe: ReaderSlots) -> Iterator[str]:
    """Fields that do not say what was planned, each as a sentence's end."""
    raw = message_from_bytes(octets, policy=policy.compat32)
    planned = {
        "To": probe.to,
        "Message-ID": f"<{probe.message_id}>",
        "Content-Language": letter.language,
        "Archived-At": f"<{letter.archived_at}>" if letter.archived_at else None,
        "Reply-To": letter.sender.reply_to or None,
    }
    for name, value in planned.items():
        if " ".join((raw[name] or "").split()) != (value or ""):
            yield f"another {name}"
    if not raw["List-ID"].endswith(f"<{letter.list_id}>") or raw["List-ID"].count("<") > 1:
        yield "another List-ID"
    if not raw["List-Unsubscribe"].startswith(f"<{probe.unsubscribe_url}>"):
        yield "another List-Unsubscribe"
    if _decoded(raw["Subject"]) != checked_subject(letter.subject):
        yield "another subject"
    shown = _decoded(raw["From"])
    name, _, mailbox = shown.rpartition("<")
    name = name.rstrip(" ")
    if raw["From"].lstrip()[:1] == '"':  # Else a quote is a sign within an encoded word.
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    if (name, mailbox.rstrip(">")) != (_name_of(letter.sender), letter.sender.address):
        yield "another sender"


def _decoded(value: str) -> str:
    """Not by the library's structured parser: it reads spaces into long names (SE-3)."""
    return str(make_header(decode_header(re.sub(r"\r?\n", "", value))))


def _field(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"(?im)^" + re.escape(name) + rb".*(\r\n[ \t].*)*", head)
    return found[0] if found else b""
