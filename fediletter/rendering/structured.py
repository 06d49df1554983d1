"""What a letter's page says of itself to machines: JSON-LD, from which Mastodon makes its card.

Sources: schema.org NewsArticle; federation.md 5.4.
"""

import json

from fediletter.links import Links
from fediletter.rendering.objects import Document, image_of, when
from storage.newsletters import Newsletter
from storage.posts import Post


def structured_of(post: Post, newsletter: Newsletter, links: Links) -> Document:
    """The letter as a NewsArticle."""
    image = image_of(post, links)
    document: Document = {
        "@context": "https://schema.org",
        "@type": "NewsArticle",
        "headline": card_title(post),
        "description": card_description(post),
        "inLanguage": post.language,
        "url": links.letter(post.slug),
        "author": {"@type": "Organization", "name": newsletter.title, "url": links.profile},
        "publisher": {"@type": "Organization", "name": newsletter.title},
    }
    if post.published_at is not None:
        document["datePublished"] = when(post.published_at)
    if post.updated_at is not None:
        document["dateModified"] = when(post.updated_at)
    if image is not None:
        document["image"] = image["url"]
    return document


def card_title(post: Post) -> str:
    """The title of the card below a link to the letter."""
    return post.card_title or post.title


def card_description(post: Post) -> str:
    """The text of that card."""
    return post.card_description or post.summary


def in_script(document: Document) -> str:
    """JSON for the inside of a script element.

    Nothing may end the element; and Mastodon decodes HTML entities before it reads the JSON, so no
    ampersand may stand in it: a title with `&quot;` would be no JSON any more.
    """
    text = json.dumps(document, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
