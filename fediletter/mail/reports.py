"""Delivery reports: what a server said of a message, and which class of trouble that is.

Three doors, one judge: the answer on the wire (`judge_answer`), a machine-readable report
(RFC 3464), and what daemons write in prose. Whom a report concerns is never read from it: our tag
in the envelope recipient says so (EM-13).

Pure: a parsed message in, a verdict out.

Sources: RFC 3463, 3464, 6522, 6533, 7372, 7505; email.md BO-1 to BO-6 and the table in 9.3.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import HeaderParser
from functools import cache

from fediletter.mail import report_words as said
from fediletter.mail.parts import header_of, human_text, parts_of

GONE, NOWHERE, INACTIVE, FULL = "gone", "nowhere", "inactive", "full"
LATER, UNKNOWN, CONTENT, POLICY, OURS = "later", "unknown", "content", "policy", "ours"
NOTE = "note"  # Delayed, delivered, relayed: nothing follows.
_WORST = (GONE, NOWHERE, INACTIVE, FULL, UNKNOWN, POLICY, OURS, CONTENT, LATER, NOTE)

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(
    r"(?:^|said:|says:|smtp;|reason:|response:|error:|>:|\]:|<<<|antwort:|->|was:|: )[ \t]{0,8}"
    r"\(?([245]\d\d)(?=[ \-#:,)]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_PLATFORM = re.compile(r"\b(?:OFR|LPN)[A-Za-z0-9]*_(\d{3})\b")
# A reply with its enhanced code beside it: proof of a report where nothing else is (9.2.4).
_PROOF = re.compile(
    r"(?:^|said:|smtp;|<[^<>\s]*>:)[ \t]*[45]\d\d[ \-]+#?[45]\.\d{1,3}\.\d{1,3}\b",
    re.IGNORECASE | re.MULTILINE,
)
_DAEMON = re.compile(
    r"mailer-daemon|postmaster|mail delivery|maildelivery|delivery subsystem|mail administrator|"
    r"mailadmin|mdaemon|mail-daemon|microsoftexchange|bounce",
    re.IGNORECASE,
)
_EXCERPT = 2000  # Characters kept of what a server said, for 30 days.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one message, or one answer, says.

    `certain` says that a code of the table, not a word or a bare reply code, means `gone`.
    `nowhere` means: the domain is said not to exist; our own look-up decides (5.1.2, 5.4.4).
    """

    kind: str
    status: str | None = None
    certain: bool = False
    excerpt: str = ""  # What was said, addresses masked.
    action: str = ""  # `delivered`, `relayed`, `delayed`: of a note.


def judge_answer(answer: str, *, at_rcpt: bool) -> Verdict:
    """What an SMTP refusal means.

    Args:
        answer: Code and text, as `550 5.1.1 no such user`.
        at_rcpt: It came to RCPT: a bare refusal there is about the recipient.
    """
    verdict = _judge(answer, None, "")
    bare = not _ENHANCED.search(answer) and answer[:3] in ("550", "551", "553")
    if at_rcpt and bare and verdict.kind == UNKNOWN:
        verdict = replace(verdict, kind=GONE)
    return replace(verdict, excerpt=masked(answer))


def read_report(message: Message) -> Verdict | None:
    """The verdict of a delivery report; None if the message is none (9.2.4)."""
    blocks = [block for part in parts_of(message) for block in _blocks(part)]
    prose = human_text(message)
    if blocks:
        verdicts = [_of_block(block, prose) for block in blocks if _names_recipient(block)]
        if not verdicts:
            return _of_prose(message, prose)
        return min(verdicts, key=lambda one: (_WORST.index(one.kind), not one.certain))
    by_daemon = bool(_DAEMON.search(header_of(message, "From")))
    failed = header_of(message, "X-Failed-Recipients")
    if by_daemon or failed or _PROOF.search(prose):
        return _of_prose(message, prose)
    return None


def masked(text: str) -> str:
    """What was said, without addresses of people, at most 2 kB."""
    local = r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]+(?=@[\w.-]+)"
    return re.sub(local, "…", text)[:_EXCERPT]


def has_phrase(phrases: str, text: str) -> bool:
    """Whether one of the phrases (`report_words`) stands in a text, in whole words."""
    return _has(phrases, _plain(text))


# --- RFC 3464 --------------------------------------------------------------------------------


def _blocks(part: Message) -> list[Message]:
    """The groups of fields of a report part, also of one that is encoded or not of its type."""
    kind = part.get_content_type()
    if kind not in ("message/delivery-status", "message/global-delivery-status"):
        return []
    payload = part.get_payload()
    blocks = (
        [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []
    )
    if any(_names_recipient(block) for block in blocks):
        return blocks
    # Encoded although it must not be, or kept as text by the parser: read it by hand.
    text = "\n\n".join(str(block) for block in blocks) if blocks else str(payload)
    encoding = header_of(part, "Content-Transfer-Encoding").lower()
    if encoding == "base64":
        try:
            text = base64.b64decode(re.sub(r"\s", "", text)).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return blocks
    groups = re.split(r"\r?\n[ \t]*\r?\n", text.strip())
    return [HeaderParser().parsestr(group) for group in groups]


def _names_recipient(block: Message) -> bool:
    names = ("Final-Recipient", "Original-Recipient", "Action", "Status", "Diagnostic-Code")
    return any(block.get(name) is not None for name in names)


def _of_block(block: Message, prose: str) -> Verdict:
    action = header_of(block, "Action").lower().split("(")[0].strip(" ;.")
    diagnostic = re.sub(r"^\s*[\w-]+\s*;\s*", "", header_of(block, "Diagnostic-Code"))
    found = _ENHANCED.search(header_of(block, "Status"))
    status = found[0] if found else None
    verdict = _judge(diagnostic, status, prose)
    excerpt = masked(" ".join(f"{status or ''} {diagnostic}".split()) or prose.strip())
    if action in ("delayed", "delivered", "relayed", "expanded"):
        return Verdict(NOTE, status, excerpt=excerpt, action=action)
    failed = action in ("failed", "failure") or _is_permanent(diagnostic, status)  # BO-3
    return replace(verdict if failed else Verdict(NOTE, status), excerpt=excerpt)


def _is_permanent(diagnostic: str, status: str | None) -> bool:
    reply = _REPLY.search(diagnostic)
    if reply is not None:
        return reply[1].startswith("5")
    return (status or "").startswith("5")


def _of_prose(message: Message, prose: str) -> Verdict:
    """What a daemon wrote without a part for machines."""
    subject = header_of(message, "Subject")
    enhanced, reply = _ENHANCED.search(prose), _REPLY.search(prose)
    excerpt = masked(prose.strip())
    plain = _plain(f"{subject} {prose}")
    is_permanent = (enhanced or reply or ("",))[0].strip().startswith("5") or (
        reply is not None and reply[1].startswith("5")
    )
    if not is_permanent and _has(said.WARNING_ONLY, plain):
        return Verdict(NOTE, excerpt=excerpt, action="delayed")
    return replace(_judge("", None, prose), excerpt=excerpt)


# --- the judge -------------------------------------------------------------------------------


def _judge(diagnostic: str, status: str | None, prose: str) -> Verdict:
    """BO-4: the diagnostic, then Status, then prose; words where BO-5 lets them."""
    evidence = diagnostic if diagnostic.strip() else prose
    codes = [*_ENHANCED.findall(diagnostic)]
    if status is not None:
        codes += _ENHANCED.findall(status)
    codes += [] if diagnostic.strip() else _ENHANCED.findall(prose)
    replies = _REPLY.findall(diagnostic) or ([] if diagnostic.strip() else _REPLY.findall(prose))
    named = ".".join(codes[0]) if codes else status
    platform = _of_platform(evidence)
    plain = _plain(evidence)
    if platform == GONE:  # Only held for a while, unless a code says so too.
        return Verdict(GONE, named, any(_of_code(c, int(s), int(d))[1] for c, s, d in codes))
    by_words = platform or _words_that_beat(plain)
    if by_words is not None:
        return Verdict(by_words, named)
    for read in (_firmly, _loosely):
        verdict = read(codes, replies, plain, named)
        if verdict is not None:
            return verdict
    if _has(said.UNKNOWN_RECIPIENT, plain):
        return Verdict(GONE, named)
    return Verdict(LATER if _has(said.TRY_LATER, plain) else UNKNOWN, named)


_Codes = Iterable[tuple[str, str, str]]


def _firmly(codes: _Codes, replies: list[str], plain: str, named: str | None) -> Verdict | None:
    """The first code that means something by itself."""
    for klass, subject, detail in codes:
        kind, certain = _of_code(klass, int(subject), int(detail))
        if kind is not None:
            return Verdict(kind, f"{klass}.{subject}.{detail}", certain)
    if "521" in replies:
        return Verdict(GONE, named, certain=True)
    return None


def _loosely(codes: _Codes, replies: list[str], plain: str, named: str | None) -> Verdict | None:
    """Codes that mean something unless words say more; then the reply code."""
    if _has(said.UNKNOWN_RECIPIENT, plain) and not _is_temporary(codes, replies):
        return Verdict(GONE, named)
    for klass, subject, _detail in codes:
        otherwise = {"5": OURS, "7": POLICY, "4": LATER}.get(subject)
        if otherwise is not None:
            return Verdict(otherwise, named)
        if klass == "4":
            return Verdict(LATER, named)
    for reply in replies:
        kind = _OF_REPLY.get(reply) or (LATER if reply.startswith("4") else None)
        if kind is not None:
            return Verdict(kind, named)
    return None


def _is_temporary(codes: _Codes, replies: list[str]) -> bool:
    first = [klass for klass, _, _ in codes] or [reply[0] for reply in replies]
    return bool(first) and all(one == "4" for one in first)


_OF_REPLY = {"552": FULL, "541": POLICY, "571": POLICY} | dict.fromkeys(
    ("500", "501", "502", "503", "504", "530", "534", "535", "538", "555"), OURS
)
_GONE_AT_ONCE = {(1, 1), (1, 10), (1, 3), (1, 6), (7, 17), (7, 18)}
_NO_DOMAIN = {(1, 2), (4, 4)}
_TOO_LARGE = {(2, 3), (3, 4)}
_NO_UTF8 = {(6, 7), (6, 9)}
_OUR_SENDER = {(1, 7), (1, 8)}
_PERMANENTLY_LATER = {(3, 2), (4, 6), (4, 7)}
_BY_POLICY = {(7, detail) for detail in (*range(20, 33), 40, 509, 515, 5, 7)}


def _of_code(klass: str, subject: int, detail: int) -> tuple[str | None, bool]:
    """A row of the table in 9.3, and whether it means `gone` by itself; None: words decide."""
    code = (subject, detail)
    for codes, kind in (
        (_OUR_SENDER, OURS),
        ({(2, 2)}, FULL),
        (_TOO_LARGE, CONTENT),
        (_BY_POLICY, POLICY),
    ):
        if code in codes:
            return kind, False
    if klass == "4":
        return LATER, False
    if klass != "5":
        return None, False
    for codes, kind in (
        (_GONE_AT_ONCE, GONE),
        (_NO_DOMAIN, NOWHERE),
        ({(2, 1)}, INACTIVE),
        (_NO_UTF8, OURS),
        (_PERMANENTLY_LATER, LATER),
    ):
        if code in codes:
            return kind, kind == GONE
    return (CONTENT, False) if subject == 6 else (None, False)


def _of_platform(evidence: str) -> str | None:
    found = _PLATFORM.search(evidence)
    if found is None:
        return None
    number = int(found[1])
    for numbers, kind in (
        (said.PLATFORM_GONE, GONE),
        (said.PLATFORM_POLICY, POLICY),
        (said.PLATFORM_LATER, LATER),
        (said.PLATFORM_CONTENT, CONTENT),
    ):
        if number in numbers:
            return kind
    return None


def _words_that_beat(plain: str) -> str | None:
    """BO-5: four cases, in this order."""
    if _has(said.FULL, plain):
        return FULL
    if _says_inactive(plain):
        return INACTIVE
    # "not listed in Domino Directory" is not said of a block list.
    if _has(said.SENDER_SIDE, _without(said.UNKNOWN_RECIPIENT, plain)):
        return POLICY
    return OURS if _has(said.RELAYING, plain) else None


def _says_inactive(plain: str) -> bool:
    subject, predicate = _pattern(said.MAILBOX), _pattern(said.INACTIVE)
    strangers = set(said.NOT_THE_MAILBOX.split("|"))
    for found in subject.finditer(plain):
        following = plain[found.end() : found.end() + 90]
        end = predicate.search(following)
        if end is None:
            continue
        between = following[: end.start()].split()
        after = following[end.end() :].split()[:1]
        if len(between) <= 8 and not strangers & set(between) and after not in (["by"], ["par"]):
            return True
    return False


def _plain(text: str) -> str:
    """Lower case without accents, links, addresses and signs: what phrases are compared with."""
    bare = re.sub(r"https?://\S+|www\.\S+|(?<![\w.+=-])[\w.+=-]+@[\w.-]+", " ", text)
    flat = unicodedata.normalize("NFKD", bare.lower().replace("ß", "ss"))
    letters = "".join(one for one in flat if not unicodedata.combining(one))
    letters = re.sub(r"['’`]", "", letters)
    return " ".join(re.sub(r"[^\w:-]", " ", letters).split())


@cache
def _pattern(phrases: str) -> re.Pattern[str]:
    def one(phrase: str) -> str:
        return (
            re.escape(phrase.strip()).replace(r"\ \*\ ", r"\ (?:\S+\ ){0,4}").replace(r"\*", r"\w*")
        )

    return re.compile(r"(?<![\w-])(?:" + "|".join(map(one, phrases.split("|"))) + r")(?![\w-])")


def _has(phrases: str, plain: str) -> bool:
    return _pattern(phrases).search(plain) is not None


def _without(phrases: str, plain: str) -> str:
    return _pattern(phrases).sub(" ", plain)
