"""The facts for the look before a letter leaves: from the database, the renderer, the network.

Links are asked through the one guarded door, few at a time and for a few seconds; what does not
answer in that time is not called dead.

Sources: issue 4.9; security.md section 3.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from federation.errors import FederationError
from fediletter.mail.embedding import weights_of
from fediletter.mail.letter import render_letter
from fediletter.newsletter.html import addresses_in, from_markdown
from fediletter.newsletter.preflight import Facts, Finding, find, links_of
from fediletter.outbound.mailing import embedding_of, images_shown, letter_content
from fediletter.services import Services
from fediletter.words import words
from storage.audiences import count_mail_readers
from storage.followers import count_followers
from storage.media import Media
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Post
from storage.store import Tx

_LINKS, _AT_ONCE, _SECONDS = 40, 8, 8.0
_GONE = (404, 410)


async def preflight(services: Services, post: Post) -> list[Finding]:
    """What to know before this post is published, the gravest first; asks no other server."""
    now = services.clock.now()
    own = await services.keyring.newsletter()

    def look(tx: Tx) -> tuple[Newsletter, dict[str, Media], tuple[int, int], int]:
        readers = count_mail_readers(tx, post.id, now=now)
        return get_newsletter(tx), images_shown(tx, post), readers, count_followers(tx, own.id)

    letter, images, (mail_now, monthly), followers = await services.store.read(look)
    body, mail = await asyncio.to_thread(_render, services, post, letter, images)
    weights = await asyncio.to_thread(
        weights_of, mail, services.links.media(""), services.settings.media
    )
    embedded, problem = 0, ""
    if post.embeds_images:
        embedded, problem = await asyncio.to_thread(
            embedding_of, mail, services.links, services.settings
        )
    return find(
        Facts(
            title=post.title,
            summary=post.summary,
            topics=len(post.topics),
            body_html=body,
            addresses=tuple(addresses_in(post.body_markdown)),
            mail_bytes=len(mail.encode("utf-8")),
            to_web=post.to_web,
            to_fediverse=post.to_fediverse,
            to_email=post.to_email,
            has_cover=post.cover is not None,
            cover_alt=post.cover_alt,
            has_postal_address=bool(letter.postal_address.strip()),
            mail_now=mail_now,
            mail_monthly=monthly,
            followers=followers,
            embedded_bytes=embedded,
            embedding_problem=problem,
            image_bytes=tuple(weights),
        )
    )


def _render(
    services: Services, post: Post, letter: Newsletter, images: Mapping[str, Media]
) -> tuple[str, str]:
    content = letter_content(post, letter, services.links, post.language, images)
    html, _ = render_letter(content, words(post.language).gettext)
    return _web(services, post), html


async def dead_links(services: Services, post: Post) -> list[Finding]:
    """Links of a post whose page is gone or whose site does not exist; asks other servers."""
    found = links_of(_web(services, post))
    urls = list(dict.fromkeys(one.url for one in found if urlsplit(one.url).scheme == "https"))
    if services.settings.is_laboratory:
        urls = list(dict.fromkeys(one.url for one in found if one.url.startswith("http")))
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(url: str) -> Finding | None:
        async with slots:
            return await _ask(services, url)

    tasks = [asyncio.create_task(ask(url)) for url in urls[:_LINKS]]
    if not tasks:
        return []
    done, late = await asyncio.wait(tasks, timeout=_SECONDS)
    for task in late:
        task.cancel()
    dead = [task.result() for task in tasks if task in done]
    return [one for one in dead if one is not None]


async def _ask(services: Services, url: str) -> Finding | None:
    try:
        # Letters link to our own pages too.
        async with services.network.from_outside().connection() as client:
            answer = await client.head(url)
            if answer.status_code in (403, 405, 501, *_GONE):  # Some know no HEAD.
                answer = await client.get(url)
    except (FederationError, httpx.HTTPError):
        return Finding(
            "dead link", "warning", "The link {url} leads to no page that answers.", {"url": url}
        )
    if answer.status_code in _GONE:
        return Finding(
            "dead link",
            "warning",
            "The link {url} leads to a page that does not exist ({status}).",
            {"url": url, "status": answer.status_code},
        )
    return None


def _web(services: Services, post: Post) -> str:
    # Places in the letter itself are not looked at: its page is not there yet.
    return from_markdown(
        post.body_markdown, profile="web", language=post.language, base_url=services.links.base
    )
