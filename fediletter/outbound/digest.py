"""The monthly digest: made by the clock, once; what it lists depends on a reader's topics.

The database says which month is due, so two schedulers make one digest (RE-11). Its texts are
composed when the first reader of each kind is reached: readers with the same letters share them.

Sources: issue 4.3; email.md HD-16, MI-8; RE-11, RE-12.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import TypeAlias

from markupsafe import Markup

from fediletter.errors import AppError
from fediletter.links import Links
from fediletter.mail.compose import CannotCompose, IssueLetter, Sender, compose_issue
from fediletter.mail.letter import LetterContent, render_letter
from fediletter.newsletter.preflight import HTML_STOPS, MAIL_STOPS
from fediletter.newsletter.rhythm import promise
from fediletter.newsletter.typography import NBSP, french
from fediletter.services import Services
from fediletter.settings import Settings
from fediletter.words import words
from storage import digests, posts
from storage.ids import MailingId
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Post
from storage.store import Tx

_Entry: TypeAlias = Callable[[Post, Links, Callable[..., str]], Markup]
_HOUR = 7  # UTC, on the first day of the next month: not in the night of most readers.


async def digest_due(services: Services) -> None:
    """Make the digest of the month that has ended, if nobody did yet."""
    now = services.clock.now()
    until = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if now < until + timedelta(hours=_HOUR):
        return
    since = (until - timedelta(days=1)).replace(day=1)
    month = since.year * 100 + since.month
    if not await services.store.read(digests.is_open, month):
        return

    def work(tx: Tx) -> None:
        found = digests.letters_of_month(tx, since=since, until=until, now=now)
        if found is not None:
            digests.create_digest(tx, month, found, now=now)

    await services.store.write(work)


async def compose_variant(
    services: Services, mailing_id: MailingId, language: str, variant: int, name: str
) -> bytes:
    """The digest with these letters, composed and kept under a name.

    Args:
        services: The toolbox.
        mailing_id: A digest.
        language: Of the reader.
        variant: A bit for each letter.
        name: Under which all processes find it.
    """

    def look(tx: Tx) -> tuple[Newsletter, list[Post]]:
        ids = digests.letters_in(tx, mailing_id, variant)
        return get_newsletter(tx), [posts.get_post(tx, one) for one in ids]

    letter, found = await services.store.read(look)
    shown = [post for post in found if post.state == "published"] or found
    subject, raw = await asyncio.to_thread(
        compose_digest, shown, letter, services.links, services.settings, language
    )
    return await services.store.write(digests.keep_template, mailing_id, name, subject, raw)


def compose_digest(
    shown: list[Post], letter: Newsletter, links: Links, settings: Settings, language: str
) -> tuple[str, bytes]:
    """Subject and composed template of a digest.

    Args:
        shown: Its letters, the oldest first; at least one.
        letter: Who sends it.
        links: Our addresses.
        settings: The settings.
        language: Of the reader.

    Raises:
        AppError: The sender's name cannot be sent.
    """
    published = shown[0].published_at
    assert published is not None  # noqa: S101 (only published letters are listed)
    subject = words(language).gettext(
        "The letters of {month}", month=words(language).month(published)
    )
    html, raw = _composed(shown, _entry, subject, letter, links, settings, language)
    if len(html.encode()) > HTML_STOPS or len(raw) > MAIL_STOPS:
        # As many titles as a digest lists are never too long.
        _, raw = _composed(shown, _title_alone, subject, letter, links, settings, language)
    return subject, raw


def _composed(
    shown: list[Post],
    entry: _Entry,
    subject: str,
    letter: Newsletter,
    links: Links,
    settings: Settings,
    language: str,
) -> tuple[str, bytes]:
    _ = words(language).gettext
    content = LetterContent(
        title=subject,
        summary=_summary(shown, language),
        body_html=Markup("\n").join(entry(post, links, _) for post in shown),
        language=language,
        newsletter=letter.title,
        sender=letter.sender_name or letter.title,
        postal_address=letter.postal_address,
        web_url=links.page("/"),
        web_words=_("All letters on the web"),
        why=_("You receive this once a month because you asked for it with this address."),
        privacy_url=links.page("/privacy"),
        promise=promise(words(language), letter),
    )
    html_part, text = render_letter(content, _)
    host = settings.host.partition(":")[0]
    try:
        template = compose_issue(
            IssueLetter(
                Sender(letter.sender_name or letter.title, settings.mail_from, letter.reply_to),
                subject,
                language,
                html_part,
                text,
                f"{letter.list_label}.{host}",
                letter.title,
                automatic=True,
                leave_by_mail=settings.takes_mail_in,
            )
        )
    except CannotCompose as wrong:
        raise AppError(422, "The sender's name cannot be sent in a mail.") from wrong
    return html_part, template.to_bytes()


def _summary(shown: list[Post], language: str) -> str:
    titles = " · ".join(_typeset(post.title, post.language) for post in shown)
    if len(titles) <= 130:  # HT-10
        return titles
    return words(language).ngettext("{count} letter", "{count} letters", len(shown))


def _entry(post: Post, links: Links, translate: Callable[..., str]) -> Markup:
    """A letter in the list: title, teaser, link whose words say where it leads (HT-19)."""
    title = _typeset(post.title, post.language)
    parts = [Markup('<h2 lang="{}">{}</h2>').format(post.language, title)]
    if post.summary:
        summary = _typeset(post.summary, post.language)
        parts.append(Markup('<p lang="{}">{}</p>').format(post.language, summary))
    words_of_link = translate("Read “{title}” on the web", title=title)
    parts.append(
        Markup('<p><a href="{}">{}</a></p>').format(links.letter(post.slug), words_of_link)
    )
    return Markup("\n").join(parts)


def _title_alone(post: Post, links: Links, translate: Callable[..., str]) -> Markup:
    """The same where a month has so many letters that Gmail would hide the last ones (MI-8)."""
    title = _typeset(post.title, post.language)
    line = Markup('<h2 lang="{}"><a href="{}">{}</a></h2>')
    return line.format(post.language, links.letter(post.slug), title)


def _typeset(text: str, language: str) -> str:
    return french(text, narrow=NBSP) if language == "fr" else text
