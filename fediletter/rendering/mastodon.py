"""A letter as Mastodon shows it: its conversion of an Article, step by step.

Title, summary and link become the text; content and image are not used; the card is crawled from
the link (federation.md 5.2 steps 5 to 8, 5.4).
"""

from dataclasses import dataclass
from typing import Any

from fediletter.newsletter.html import plain_text


@dataclass(frozen=True, slots=True)
class MastodonView:
    """What a reader on Mastodon sees."""

    title: str
    teaser: str
    link: str
    hashtags: tuple[str, ...]
    card_title: str
    card_description: str
    card_image: str | None


def mastodon_view(article: dict[str, Any], *, card_description: str) -> MastodonView:
    """Convert an Article.

    Args:
        article: As federated.
        card_description: `og:description` of its page.
    """
    image = article.get("image")
    return MastodonView(
        title=plain_text(article.get("name", "")),
        teaser=plain_text(article.get("summary", "")),
        link=article["url"],
        hashtags=tuple(tag["name"] for tag in article.get("tag", [])),
        card_title=article.get("name", ""),
        card_description=card_description,
        card_image=image["url"] if isinstance(image, dict) else None,
    )
