"""A letter as Mastodon shows it: its conversion of an Article, step by step.

Mastodon keeps nothing of `content` and `image`. The text of the post is `<h2>name</h2>`, the
summary and the link to `url`, put together as they are and then sanitised: what looks like markup
in name or summary is markup. Headings become bold paragraphs. The link loses its scheme and is cut
after thirty characters. The card is made from the page behind the link: its JSON-LD first, then
its Open Graph tags. Hashtags that the text does not hold stand in a bar below it.

Sources: federation.md 5.2 (steps 5 to 8) and 5.4, which state Mastodon's rules and name its files.
Of those only an older version of status_parser.rb was at hand to compare with; the rest follows
those two sections. No running Mastodon was asked.
"""

import html
import re
from dataclasses import dataclass

from fediletter.newsletter.html import SafeHtml, as_on_mastodon, plain_text
from fediletter.rendering.objects import Document

_SHOWN_LINK = 30  # Characters after the scheme.
_SCHEME = re.compile(r"https?://(www\.)?")


@dataclass(frozen=True, slots=True)
class Card:
    """The card below the text. Mastodon shows at most two lines of the title."""

    title: str
    description: str
    provider: str
    image: str | None
    image_alt: str
    credit: str | None  # `More from …`: only where the actor names the page's host.


@dataclass(frozen=True, slots=True)
class MastodonView:
    """What a reader on Mastodon sees."""

    title: str
    teaser: str
    link: str
    link_shown: str
    html: SafeHtml
    hashtags: tuple[str, ...]
    card: Card | None  # None: the page behind the link is not open to all.


def mastodon_view(
    article: Document, structured: Document | None, *, credit: str | None
) -> MastodonView:
    """Convert an Article.

    Args:
        article: As federated.
        structured: JSON-LD of its page; None if nobody is shown a page.
        credit: The handle in the page's `fediverse:creator`, if the actor's `attributionDomains`
            hold the page's host.
    """
    title, teaser = article.get("name", ""), article.get("summary", "")
    parts = [
        f"<h2>{title}</h2>" if title else "",
        teaser,
        _link(article["url"]),
    ]
    said = as_on_mastodon("\n\n".join(part for part in parts if part))
    return MastodonView(
        title=plain_text(title),
        teaser=plain_text(teaser),
        link=article["url"],
        link_shown=shown_link(article["url"]),
        html=said,
        hashtags=_bar(article, plain_text(said)),
        card=None if structured is None else _card(article, structured, credit),
    )


def shown_link(url: str) -> str:
    """A link as Mastodon writes it: no scheme, thirty characters."""
    rest = _SCHEME.sub("", url, count=1)
    return rest if len(rest) <= _SHOWN_LINK else f"{rest[:_SHOWN_LINK]}…"


def _link(url: str) -> str:
    found = _SCHEME.match(url)
    scheme = found[0] if found else ""
    rest = url[len(scheme) :]
    shown, hidden = rest[:_SHOWN_LINK], rest[_SHOWN_LINK:]
    cut = ' class="ellipsis"' if hidden else ""
    return (
        f'<a href="{html.escape(url)}" translate="no">'
        f'<span class="invisible">{html.escape(scheme)}</span>'
        f"<span{cut}>{html.escape(shown)}</span>"
        f'<span class="invisible">{html.escape(hidden)}</span></a>'
    )


def _bar(article: Document, text: str) -> tuple[str, ...]:
    """Hashtags that the text itself does not show, folded by case, in order."""
    found = dict.fromkeys(
        str(tag["name"]) for tag in article.get("tag", []) if tag.get("type") == "Hashtag"
    )
    said = {word.casefold() for word in re.findall(r"#\w+", text)}
    return tuple(name for name in found if name.casefold() not in said)


def _card(article: Document, structured: Document, credit: str | None) -> Card:
    image = article.get("image")
    described = image.get("name", "") if isinstance(image, dict) else ""
    return Card(
        html.unescape(structured.get("headline", "")).strip(),
        html.unescape(structured.get("description", "")),
        html.unescape(structured.get("publisher", {}).get("name", "")),
        structured.get("image"),
        described,
        credit,
    )
