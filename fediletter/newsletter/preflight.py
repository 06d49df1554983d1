"""Before a letter leaves: what to look at once more, and what each channel will do with it.

Pure: facts in, findings out. What asks the network or the database gathers the facts
(`outbound.preflight`). What is certainly wrong stops a letter. What a program cannot tell is for
the founder to judge: a name in capitals (ONU) from shouting (HD-5), a file's name (notes.md) from
another address, a site that has no https from a slip (HT-6: in the mail it is no link).

Sources: issue 4.9; email.md HD-5, MI-8, HT-5, HT-6, HT-10, HT-14, HT-15, HT-17, HT-18.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Literal
from urllib.parse import urlsplit

from fediletter.newsletter.html import COLUMNS_IN_MAIL, IMAGE_IN_MAIL

Severity = Literal["stop", "warning", "note"]
HTML_WARNS, HTML_STOPS = 90_000, 100_000  # Octets of decoded HTML (MI-8).
MAIL_STOPS, MAIL_WITH_IMAGES_STOPS = 300_000, 500_000  # Of a whole message (MI-8).
_LIKE_AN_ANSWER = re.compile(r"(?i)(re|fwd?|tr) ?:")
_SHORT = 10  # Characters: below that, or in one word, capitals are a name (as SpamAssassin has it).
_IMAGES_IN_MAIL = 1_000_000  # Octets of all together (HT-13).
_SUBJECT_SHOWN = 60  # Characters that most programs show of a subject on a phone.
_PREHEADER = 130
_LITTLE_TEXT = 200
_SURELY_AN_ADDRESS = re.compile(r"(?i)https?://|www\.")
_ADDRESS_LIKE = re.compile(r"(?:https?://)?(?:www\.)?([\w-]+(?:\.[\w-]+)+)(?:/\S*)?")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know; `words` is a message id with slots for `fields`."""

    name: str
    severity: Severity
    words: str
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a letter that is about to leave."""

    title: str
    summary: str
    topics: int
    body_html: str  # As on the web.
    addresses: tuple[str, ...]  # Of its links, as they were typed.
    mail_bytes: int  # Of the mail's HTML.
    to_web: bool
    to_fediverse: bool
    to_email: bool
    has_cover: bool
    cover_alt: str
    has_postal_address: bool
    mail_now: int
    mail_monthly: int
    followers: int
    embedded_bytes: int = 0  # Of images inside the mail, for each reader.
    image_bytes: tuple[int, ...] = ()  # Of each image that the mail shows.
    embedding_problem: str = ""  # Why they cannot be there, as a message id.


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a letter and its words."""

    url: str
    words: str


def find(facts: Facts) -> list[Finding]:
    """Everything worth saying, the gravest first."""
    found = [*_title(facts), *_summary(facts), *_body(facts), *_mail(facts), *_channels(facts)]
    order = {"stop": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda one: order[one.severity])


def stops_of_mail(subject: str, body_html: str) -> list[Finding]:
    """What no mail may have, since filters and readers distrust it (HD-5, HT-6)."""
    found = [*_subject(subject), *(one for link in links_of(body_html) for one in _link(link))]
    return [one for one in found if one.severity == "stop"]


def links_of(markup: str) -> list[Link]:
    """The links of a text in their order."""
    return _read(markup).links


def _title(facts: Facts) -> Iterable[Finding]:
    title = facts.title.strip()
    if not title:
        yield Finding("title", "stop", "A letter needs a title.")
    if len(title) > _SUBJECT_SHOWN:
        yield Finding(
            "subject",
            "warning",
            "The title has {count} characters. As a subject, phones show about 60 of them.",
            {"count": len(title)},
        )
    if facts.to_email:
        yield from _subject(title)


def _subject(subject: str) -> Iterable[Finding]:
    subject = subject.strip()
    if _LIKE_AN_ANSWER.match(subject):
        yield Finding(
            "subject", "stop", "The title begins like an answer. Mail filters distrust that."
        )
    if len(subject) >= _SHORT and len(subject.split()) > 1 and subject.isupper():
        yield Finding(
            "subject", "stop", "The title is all in capitals. Mail filters distrust that."
        )


def _summary(facts: Facts) -> Iterable[Finding]:
    if not facts.summary.strip():
        yield Finding(
            "summary",
            "warning",
            "There is no teaser. Mailboxes, Mastodon and cards will show first words instead.",
        )
    elif len(facts.summary) > _PREHEADER:
        yield Finding(
            "summary",
            "note",
            "The teaser has {count} characters; beside the subject, mailboxes show about 130.",
            {"count": len(facts.summary)},
        )
    if not facts.topics:
        yield Finding("topic", "note", "Without a topic, this letter goes to everybody.")


def _body(facts: Facts) -> Iterable[Finding]:
    text = _read(facts.body_html)
    if not text.words.strip():
        yield Finding("body", "stop", "A letter needs a text.")
    without_alt = text.images_without_alt + (facts.has_cover and not facts.cover_alt.strip())
    if without_alt:
        yield Finding(
            "alt",
            "warning",
            "Images without a description: {count}. Many mailboxes show the description first.",
            {"count": without_alt},
        )
    if (text.images or facts.has_cover) and len(text.words) < _LITTLE_TEXT:
        yield Finding(
            "images",
            "warning",
            "Much image and little text: many mailboxes block images, and filters distrust that.",
        )
    if text.most_columns > COLUMNS_IN_MAIL and facts.to_email and facts.to_web:
        yield Finding(
            "table", "note", "A table is too wide for a mail: a link to the page stands for it."
        )
    for address in facts.addresses:
        if not re.match(r"#|[a-z][a-z0-9+.-]*:", address, re.IGNORECASE):
            yield Finding(
                "link",
                "warning",
                "The link {url} has no site of its own: in the letter it leads to your site.",
                {"url": address[:200]},
            )
    for link in text.links:
        for one in _link(link):
            stops = one.severity == "stop" and facts.to_email
            yield one if stops else replace(one, severity="warning")


def _link(link: Link) -> Iterable[Finding]:
    about: dict[str, object] = {"url": link.url[:200]}
    parts = urlsplit(link.url)
    if parts.scheme == "mailto":
        return
    if parts.scheme == "http":
        yield Finding(
            "link",
            "warning",
            "The link {url} is not secure: write https. In the mail it is a text.",
            about,
        )
    if re.fullmatch(r"[\d.]+|\[.*\]", parts.netloc.partition(":")[0] or "["):
        yield Finding(
            "link",
            "warning",
            "The link {url} leads to a bare number. In the mail it is a text.",
            about,
        )
    words = link.words.strip()
    shown = _ADDRESS_LIKE.fullmatch(words)
    if shown and shown[1].lower().removeprefix("www.") != (parts.hostname or "").removeprefix(
        "www."
    ):
        yield Finding(
            "link",
            "stop" if _SURELY_AN_ADDRESS.match(words) else "warning",
            "A link shows one address and leads to another: {url}",
            about,
        )


def _mail(facts: Facts) -> Iterable[Finding]:
    if not facts.to_email:
        return
    size: dict[str, object] = {"size": facts.mail_bytes // 1000}
    if facts.mail_bytes > HTML_STOPS:
        yield Finding(
            "size",
            "stop",
            "This letter is too long for a mail: {size} kB, and Gmail hides what is beyond 100.",
            size,
        )
    elif facts.mail_bytes > HTML_WARNS:
        yield Finding(
            "size", "warning", "The mail has {size} kB. Gmail hides what is beyond 100.", size
        )
    weight = sum(facts.image_bytes)
    if weight > _IMAGES_IN_MAIL or max(facts.image_bytes, default=0) > IMAGE_IN_MAIL:
        yield Finding(
            "weight",
            "warning",
            "The images of the mail weigh {size} kB. Better: 200 kB each, 1000 together.",
            {"size": weight // 1000},
        )
    if facts.embedding_problem:
        yield Finding("embeds_images", "stop", facts.embedding_problem)
    elif facts.embedded_bytes:
        yield Finding(
            "embeds_images",
            "note",
            "The images travel inside the mail: {size} kB more for each reader.",
            {"size": facts.embedded_bytes // 1000},
        )
    if not facts.has_postal_address:
        yield Finding(
            "address",
            "warning",
            "No postal address is set. Law wants it at the end of each letter: see Settings.",
        )


def _channels(facts: Facts) -> Iterable[Finding]:
    if not (facts.to_web or facts.to_fediverse or facts.to_email):
        yield Finding("channels", "stop", "No channel is chosen: nobody would see this letter.")
    if facts.to_web:
        yield Finding("web", "note", "Web: the whole letter, on its page and in the feeds.")
    if facts.to_fediverse:
        yield Finding(
            "fediverse",
            "note",
            "Fediverse: title, teaser and a link. Followers: {count}.",
            {"count": facts.followers},
        )
    if facts.to_email:
        yield Finding(
            "mail",
            "note",
            "Mail: the whole letter. Readers now: {count}; in a monthly digest: {monthly}.",
            {"count": facts.mail_now, "monthly": facts.mail_monthly},
        )


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[Link] = []
        self.words = ""
        self.images = 0
        self.images_without_alt = 0
        self.most_columns = 0  # Of a table.
        self._columns = 0  # Of the table at hand.
        self._open: tuple[str, int] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.images += 1
            self.images_without_alt += not (values.get("alt") or "").strip()
        elif tag == "table":
            self._columns = 0
        elif tag == "th":
            self._columns += 1
            self.most_columns = max(self.most_columns, self._columns)
        elif tag == "a" and values.get("href"):
            self._open = (values["href"] or "", len(self.words))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open is not None:
            url, start = self._open
            self.links.append(Link(url, self.words[start:]))
            self._open = None

    def handle_data(self, data: str) -> None:
        self.words += data


def _read(markup: str) -> _Text:
    text = _Text()
    text.feed(markup)
    text.close()
    return text
