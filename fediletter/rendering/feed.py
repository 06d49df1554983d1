"""Letters as feed entries, written by feedgen; JSON Feed is a plain document.

Sources: RFC 4287; JSON Feed 1.1.
"""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from fediletter.links import Links
from fediletter.newsletter.html import from_markdown
from fediletter.rendering.objects import image_of, when
from storage.media import Media
from storage.newsletters import Newsletter
from storage.posts import Post
from storage.times import from_ms


def atom(
    found: Sequence[Post],
    links: Links,
    letter: Newsletter,
    *,
    name: str | None = None,
    path: str = "",
    feed_name: str = "feed.atom",
) -> bytes:
    """An Atom feed, newest first, with whole letters.

    Args:
        found: Published posts.
        links: Our addresses.
        letter: Whose they are.
        name: Of the topic, if it is a topic's feed.
        path: Of the page that the feed belongs to, without a final slash.
        feed_name: Its last part.
    """
    from feedgen.feed import FeedGenerator  # noqa: PLC0415 (start-up time and memory)

    here = links.page(f"{path}/{feed_name}")
    feed = FeedGenerator()
    feed.id(here)
    feed.title(f"{letter.title} · {name}" if name else letter.title)
    feed.subtitle(letter.description or None)
    feed.language(letter.language)
    feed.author({"name": letter.title, "uri": links.profile})
    feed.link(href=here, rel="self", type="application/atom+xml")
    feed.link(href=links.page(path or "/"), rel="alternate", type="text/html")
    changed = [post.updated_at or post.published_at for post in found]
    feed.updated(max((one for one in changed if one), default=from_ms(letter.created_at)))
    for post in found:
        entry = feed.add_entry(order="append")
        entry.id(links.post_object(post.kind, post.public_id))
        entry.title(post.title)
        entry.link(href=links.letter(post.slug), rel="alternate", type="text/html")
        entry.published(post.published_at)
        entry.updated(post.updated_at or post.published_at)
        entry.summary(post.summary or None)
        entry.content(content_of(post, links), type="html")
        for topic in post.public_topics:
            entry.category(term=topic.slug, label=topic.name)
    octets: bytes = feed.atom_str(pretty=False)
    return octets


def json_feed(found: Sequence[Post], links: Links, letter: Newsletter) -> bytes:
    """The same as JSON Feed 1.1."""
    document = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": letter.title,
        "home_page_url": links.page("/"),
        "feed_url": links.page("/feed.json"),
        "description": letter.description,
        "language": letter.language,
        "authors": [{"name": letter.title, "url": links.profile}],
        "items": [_item(post, links) for post in found],
    }
    return json.dumps(document, ensure_ascii=False).encode()


def podcast(
    found: Sequence[tuple[Post, Media]], links: Links, letter: Newsletter, *, icon: str | None
) -> bytes:
    """An RSS feed for podcast programs: letters with their sound, the newest first.

    Args:
        found: Published posts, each with its sound.
        links: Our addresses.
        letter: Whose they are.
        icon: File name of the newsletter's picture.
    """
    from feedgen.feed import FeedGenerator  # noqa: PLC0415 (start-up time and memory)

    feed = FeedGenerator()
    feed.load_extension("podcast")
    feed.title(letter.title)
    feed.description(letter.description or letter.title)
    feed.link(href=links.page("/podcast.rss"), rel="self")
    feed.link(href=links.page("/"), rel="alternate")
    feed.language(letter.language)
    feed.podcast.itunes_author(letter.title)
    feed.podcast.itunes_summary(letter.description or letter.title)
    feed.podcast.itunes_category("Arts", "Fashion & Beauty")
    feed.podcast.itunes_explicit("no")
    if icon is not None:
        feed.podcast.itunes_image(links.media(icon))
    for post, sound in found:
        entry = feed.add_entry(order="append")
        entry.id(links.post_object(post.kind, post.public_id))
        entry.title(post.title)
        entry.link(href=links.letter(post.slug))
        entry.published(post.published_at)
        entry.description(post.summary or post.title)
        file = sound.renditions[0]
        entry.enclosure(links.media(file.name), str(file.bytes), file.mime)
        entry.podcast.itunes_duration(sound.seconds or 1)
        entry.podcast.itunes_explicit("no")
    octets: bytes = feed.rss_str(pretty=False)
    return octets


def content_of(post: Post, links: Links) -> str:
    """A letter as a feed reader shows it, its cover first."""
    body = from_markdown(
        post.body_markdown,
        profile="mail",
        language=post.language,
        base_url=links.base,
        page_url=links.letter(post.slug),
    )
    image = image_of(post, links)
    if image is None:
        return body
    return f'<p><img src="{image["url"]}" alt="{escape(image["name"])}"></p>{body}'


def _item(post: Post, links: Links) -> dict[str, Any]:
    assert post.published_at is not None  # noqa: S101 (published)
    item: dict[str, Any] = {
        "id": links.post_object(post.kind, post.public_id),
        "url": links.letter(post.slug),
        "title": post.title,
        "content_html": content_of(post, links),
        "date_published": when(post.published_at),
        "language": post.language,
        "tags": [topic.name for topic in post.public_topics],
    }
    if post.summary:
        item["summary"] = post.summary
    if post.updated_at is not None:
        item["date_modified"] = when(post.updated_at)
    image = image_of(post, links)
    if image is not None:
        item["image"] = image["url"]
    return item
