"""One letter as mail: composed for everybody, sent again only on purpose, tried on oneself first.

Sources: issue 4.7; email.md HD-23, MI-8, sections 2 to 6.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fediletter.errors import AppError
from fediletter.links import Links
from fediletter.mail.compose import (
    CannotCompose,
    IssueLetter,
    ReaderSlots,
    Sender,
    Template,
    compose_issue,
    new_message_id,
)
from fediletter.mail.embedding import CannotEmbed, EmbeddedImage, embed, images_of
from fediletter.mail.letter import LetterContent, render_letter
from fediletter.newsletter.html import MAIL_COLUMN, file_in_mail, from_markdown, images_in
from fediletter.newsletter.preflight import (
    HTML_STOPS,
    MAIL_STOPS,
    MAIL_WITH_IMAGES_STOPS,
    stops_of_mail,
)
from fediletter.newsletter.rhythm import promise
from fediletter.newsletter.tokens import TEST_KEY
from fediletter.newsletter.typography import NBSP, french
from fediletter.rendering.objects import image_of
from fediletter.services import Services
from fediletter.settings import LANGUAGES, Settings
from fediletter.words import words
from storage import audit, fan_outs, mailings, posts
from storage.errors import NotThere
from storage.founders import Founder
from storage.ids import FounderId, PostId
from storage.media import Media, Rendition, media_named
from storage.newsletters import Newsletter, get_newsletter
from storage.notices import send_notice
from storage.posts import Post
from storage.store import Tx

_BASE64 = 1.37  # What an octet becomes on its way, with the line ends.


async def send_test(services: Services, post_id: PostId, founder: Founder) -> None:
    """Send the letter as it would be now to a founder alone (HD-23).

    Its links belong to no reader: leaving by them changes nothing.

    Raises:
        AppError: It cannot be sent as it is.
    """
    now = services.clock.now()
    post, letter, images = await _look(services, post_id)
    shown = replace(post, published_at=post.published_at or now)
    subject = f"[Test] {post.title}"
    _, raw = await asyncio.to_thread(
        compose_letter,
        shown,
        letter,
        services.links,
        services.settings,
        founder.language or letter.language,
        images,
        subject=subject,
    )
    message_id = new_message_id(services.settings.mail_from.rpartition("@")[2])
    body = filled_for_nobody(services, raw, to=founder.email, message_id=message_id, now=now)
    await services.store.write(
        send_notice, kind="test", recipient=founder.email, message_id=message_id, body=body, now=now
    )


def filled_for_nobody(
    services: Services, raw: bytes, *, to: str, message_id: str, now: datetime
) -> bytes:
    """A composed letter whose links belong to no reader."""
    tokens, links = services.tokens, services.links
    return Template(raw).fill(
        ReaderSlots(
            to=to,
            message_id=message_id,
            date=now,
            unsubscribe_url=links.unsubscribe(tokens.unsubscribe(TEST_KEY)),
            preferences_url=links.preferences(tokens.preferences(TEST_KEY, 1)),
            leave_address=f"leave+{tokens.leave(0)}@{message_id.rpartition('@')[2]}",
        )
    )


async def send_correction(
    services: Services, post_id: PostId, *, founder_id: FounderId | None = None
) -> None:
    """Mail the corrected letter to whoever got the letter by mail, on purpose and once.

    Its images stay on our site: to embed them is a choice for one mailing (HT-17).

    Raises:
        AppError: It was not changed since, or is not published.
    """
    now = services.clock.now()
    post, letter, images = await _look(services, post_id)
    templates = {}
    for language in LANGUAGES:
        _ = words(post.language).gettext
        templates[language] = await asyncio.to_thread(
            compose_letter,
            replace(post, embeds_images=False),
            letter,
            services.links,
            services.settings,
            language,
            images,
            subject=_("Correction: {title}", title=post.title),
            note=_("This is a correction of a letter that you have received. It replaces it."),
        )

    def work(tx: Tx) -> None:
        newest = posts.get_post(tx, post_id)
        if (
            newest.state != "published"
            or newest.revision < 2
            or newest.version != post.version
            or mailings.was_corrected(tx, post_id, newest.revision)
        ):
            raise AppError(
                409,
                "There is nothing to correct by mail: this text was not changed since.",
                "Change the letter first, then send the correction.",
            )
        mailing_id = mailings.create_mailing(
            tx, post_id, templates, now=now, kind="correction", sequence=newest.revision
        )
        fan_outs.fan_out_mailing(tx, mailing_id, start_at=now, now=now)
        audit.write(tx, "correct", subject=str(post_id), founder_id=founder_id, now=now)

    await services.store.write(work)


async def _look(services: Services, post_id: PostId) -> tuple[Post, Newsletter, dict[str, Media]]:
    def look(tx: Tx) -> tuple[Post, Newsletter, dict[str, Media]]:
        post = posts.get_post(tx, post_id)
        return post, get_newsletter(tx), images_shown(tx, post)

    try:
        post, letter, images = await services.store.read(look)
    except NotThere as gone:
        raise AppError(404, "There is no such letter.") from gone
    if not post.title.strip() or not post.body_markdown.strip():
        raise AppError(422, "A letter needs a title and a text.", "Write them first.")
    return post, letter, images


def images_shown(tx: Tx, post: Post) -> dict[str, Media]:
    """The stored images in a post's text, by public id."""
    return media_named(tx, images_in(post.body_markdown))


def letter_content(
    post: Post,
    letter: Newsletter,
    links: Links,
    language: str,
    images: Mapping[str, Media],
) -> LetterContent:
    """What the mail of a post says, with footers in one language.

    Args:
        post: What is sent.
        letter: Who sends it.
        links: Our addresses.
        language: Of the footers.
        images: Of `images_shown`.
    """
    web_url = links.letter(post.slug) if post.to_web else ""
    see = words(post.language).gettext("This table is too wide for a mail: see it on the web")
    body = from_markdown(
        post.body_markdown,
        profile="mail",
        language=post.language,
        base_url=links.base,
        page_url=web_url,
        images=images,
        instead_of_wide=(see, web_url) if web_url else None,
    )
    cover = _mail_cover(post, links)
    return LetterContent(
        title=_typeset(post.title, post.language),
        summary=_typeset(post.summary, post.language),
        body_html=body,
        language=post.language,
        newsletter=letter.title,
        sender=letter.sender_name or letter.title,
        postal_address=letter.postal_address,
        web_url=web_url,
        privacy_url=links.page("/privacy"),
        promise=promise(words(language), letter, reason=post.rhythm_reason),
        footer_language=language,
        **cover,
    )


def embedding_of(html: str, links: Links, settings: Settings) -> tuple[int, str]:
    """What it means to embed the images of a mail (HT-17).

    Args:
        html: Of the mail.
        links: Our addresses.
        settings: The settings.

    Returns:
        Octets more for each reader, and why it cannot be, as a message id; empty if it can.
    """
    try:
        found = images_of(html, links.media(""), settings.media)
    except CannotEmbed as wrong:
        return 0, wrong.words
    return round(sum(map(len, found.values())) * _BASE64), ""


def compose_letter(
    post: Post,
    letter: Newsletter,
    links: Links,
    settings: Settings,
    language: str,
    images: Mapping[str, Media],
    *,
    subject: str = "",
    note: str = "",
) -> tuple[str, bytes]:
    """Subject and composed template of a post's mail, with footers in one language.

    Args:
        post: What is sent.
        letter: Who sends it.
        links: Our addresses.
        settings: The settings.
        language: Of the footers.
        images: Of `images_shown`.
        subject: Instead of the title.
        note: Above the title: why another mail comes.

    Raises:
        AppError: The subject, a name or a link cannot be sent, or the letter is too long (MI-8).
        CannotEmbed: Its images cannot travel inside the mail as the founder wants.
    """
    subject = subject or post.title
    content = replace(
        letter_content(post, letter, links, language, images),
        note=note,
        subject=_typeset(subject, post.language),
    )
    for wrong in stops_of_mail(subject, content.body_html):
        raise AppError(
            422,
            wrong.words,
            "Change that, or send it to the web and the fediverse only.",
            wrong.fields,
        )
    html, text = render_letter(content, words(language).gettext)
    if len(html.encode()) > HTML_STOPS:
        raise AppError(
            422,
            "This letter is too long for a mail: {size} kB, and Gmail hides what is beyond 100.",
            "Shorten it, or send it to the web and the fediverse only.",
            {"size": len(html.encode()) // 1000},
        )
    host = settings.host.partition(":")[0]
    embedded: tuple[EmbeddedImage, ...] = ()
    if post.embeds_images:
        found = images_of(html, links.media(""), settings.media)
        html, embedded = embed(html, found, settings.mail_from.rpartition("@")[2])
    try:
        template = compose_issue(
            IssueLetter(
                Sender(letter.sender_name or letter.title, settings.mail_from, letter.reply_to),
                subject,
                post.language,
                html,
                text,
                f"{letter.list_label}.{host}",
                letter.title,
                content.web_url,
                leave_by_mail=settings.takes_mail_in,
                images=embedded,
            )
        )
    except CannotCompose as refused:
        raise AppError(
            422,
            "The title cannot be the subject of a mail.",
            "Take out control characters and the sequence =? from title and sender's name.",
        ) from refused
    raw = template.to_bytes()
    most = MAIL_WITH_IMAGES_STOPS if embedded else MAIL_STOPS
    if len(raw) > most:
        raise AppError(
            422,
            "This mail would weigh {size} kB, and {most} is the most.",
            "Shorten it, or send it to the web and the fediverse only.",
            {"size": len(raw) // 1000, "most": most // 1000},
        )
    return subject, raw


def _typeset(text: str, language: str) -> str:
    """A title or teaser in a mail: some programs show no narrow spaces (HT-16)."""
    return french(text, narrow=NBSP) if language == "fr" else text


def _mail_cover(post: Post, links: Links) -> dict[str, Any]:
    image = image_of(post, links)
    if image is None or post.cover is None:
        return {}
    files = [Rendition(**one) for one in json.loads(post.cover.renditions_json)]
    chosen = file_in_mail(files)
    width = min(MAIL_COLUMN, files[0].width)
    return {
        "cover_url": links.media(chosen.name),
        "cover_alt": post.cover_alt,
        "cover_width": width,
        "cover_height": max(1, round(chosen.height * width / chosen.width)),
    }
