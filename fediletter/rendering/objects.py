"""Posts as ActivityStreams objects.

The form of an Article decides what followers can read. Mastodon shows `name`, `summary` and a link,
never the content; GoToSocial, Hollo and Misskey show `summary` as a content warning in front of the
content, and the first two lose the title. So by default the title stands in the content too, as its
first heading: with the summary Mastodon is served best, and nobody loses the title. The other form,
`title`, has no summary (the title folds the letter at GoToSocial) and begins with the teaser.

Sources: federation.md 1 (R1 to R15), 5, 10, 13; peers.md 1; FEP-b2b8, FEP-044f, FEP-7888.
"""

import html
import json
import re
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, TypeAlias

from federation.reading import PUBLIC
from fediletter.links import Links
from fediletter.newsletter.html import SafeHtml, from_markdown
from fediletter.newsletter.shortening import shortened
from fediletter.words import words
from storage.posts import Post

Document: TypeAlias = dict[str, Any]

AS = "https://www.w3.org/ns/activitystreams"
CONTENT_CAP = 90_000  # Characters: Pleroma refuses the whole object above 100,000.
_MAPPED_CAP = 30_000  # A longer content stands there once; `nameMap` tells the language.
TITLE_CAP = 200
TEASER_CAP = 500
_TAGS_CAP = 10

_TYPES = {"issue": "Article", "note": "Note", "poll": "Question"}

OBJECT_CONTEXT: list[Any] = [
    AS,
    {
        "toot": "http://joinmastodon.org/ns#",
        "ostatus": "http://ostatus.org#",
        "Hashtag": "as:Hashtag",
        "sensitive": "as:sensitive",
        "conversation": "ostatus:conversation",
        "votersCount": "toot:votersCount",
        "gts": "https://gotosocial.org/ns#",
        "interactionPolicy": {"@id": "gts:interactionPolicy", "@type": "@id"},
        "canQuote": {"@id": "gts:canQuote", "@type": "@id"},
        "automaticApproval": {"@id": "gts:automaticApproval", "@type": "@id"},
    },
]


@dataclass(frozen=True, slots=True)
class Counts:
    """What readers did with a post, as its object tells it."""

    replies: int = 0
    likes: int = 0
    shares: int = 0


def when(moment: datetime) -> str:
    """A time as documents carry it: UTC, whole seconds, Z (R6)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def addressing(post: Post, links: Links) -> tuple[list[str], list[str]]:
    """`to` and `cc` of a post; the public always by its full IRI in a list."""
    followers = f"{links.actor()}/followers"
    if post.audience == "unlisted":
        return [followers], [PUBLIC]
    if post.audience == "followers":
        return [followers], []
    return [PUBLIC], [followers]


_ENTITY = re.compile(r"&(#?\w+;?)")


def plain_title(text: str) -> str:
    """A title as `name`: Mastodon puts it into HTML unescaped, so it must not look like markup."""
    return _not_markup(text)[:TITLE_CAP]


def _not_markup(text: str) -> str:
    """Neither tags nor entities: Mastodon would take away the one and decode the other."""
    plain = re.sub(r"<(?=[A-Za-z/!?])", "‹", " ".join(text.split()))
    return _ENTITY.sub(
        lambda one: one[0] if html.unescape(one[0]) == one[0] else f"＆{one[1]}", plain
    )


def teaser_of(post: Post) -> str:
    """What followers read before the letter: as the founders wrote it, or the summary."""
    return _not_markup(post.fediverse_teaser or post.summary)[:TEASER_CAP]


def content_of(post: Post, links: Links, head: str) -> SafeHtml:
    """The letter below its head as `content`; cut with a link to the rest when peers refuse it."""
    body = from_markdown(
        post.body_markdown,
        profile="article",
        language=post.language,
        base_url=links.base,
        page_url=links.letter(post.slug),
    )
    content = SafeHtml(head + body)
    if len(content) <= CONTENT_CAP:
        return content
    words_of_link = escape(words(post.language).gettext("Read on"), quote=False)
    more = f'<p><a href="{links.letter(post.slug)}">{words_of_link}</a></p>'
    return SafeHtml(shortened(content, CONTENT_CAP - len(more)) + more)


def article_of(post: Post, links: Links, *, counts: Counts | None = None) -> Document:
    """A published issue as an Article, without `@context`.

    Args:
        post: With `published_at`.
        links: Our addresses.
        counts: What readers did so far.
    """
    assert post.published_at is not None  # noqa: S101 (the caller publishes or has published)
    uri = links.post_object(post.kind, post.public_id)
    to, cc = addressing(post, links)
    title, teaser = plain_title(post.title), teaser_of(post)
    with_summary = post.article_form != "title" and bool(teaser)
    lead = "" if with_summary or not teaser else f"<p><em>{escape(teaser, quote=False)}</em></p>"
    content = content_of(post, links, f"<h2>{escape(title, quote=False)}</h2>{lead}")
    document: Document = {
        "id": uri,
        "type": "Article",
        "attributedTo": links.actor(),
        "name": title,
        "nameMap": {post.language: title},
        "content": content,
        "url": links.letter(post.slug),
        "published": when(post.published_at),
        "to": to,
        "cc": cc,
        "sensitive": False,
        "tag": hashtags_of(post, links),
        "conversation": f"{uri}/context",
        "context": f"{uri}/context",
        **collections_of(uri, counts or Counts()),
        "preview": preview_of(post, links),
    }
    if len(content) <= _MAPPED_CAP:
        document["contentMap"] = {post.language: content}
    if post.audience != "followers":
        document |= quote_policy()
    if with_summary:
        document["summary"] = teaser
    if post.updated_at is not None:
        document["updated"] = when(post.updated_at)
    image = image_of(post, links)
    if image is not None:
        document["image"] = image
    return document


def preview_of(post: Post, links: Links) -> Document:
    """A short Note for who does not show Articles (FEP-b2b8)."""
    assert post.published_at is not None  # noqa: S101 (the caller publishes or has published)
    more = escape(words(post.language).gettext("Read the letter"), quote=False)
    teaser = teaser_of(post)
    parts = [
        f"<p><strong>{escape(plain_title(post.title), quote=False)}</strong></p>",
        f"<p>{escape(teaser, quote=False)}</p>" if teaser else "",
        f'<p><a href="{links.letter(post.slug)}">{more}</a></p>',
    ]
    return {
        "type": "Note",
        "attributedTo": links.actor(),
        "published": when(post.published_at),
        "content": "".join(parts),
        "tag": hashtags_of(post, links),
    }


def hashtags_of(post: Post, links: Links) -> list[Document]:
    """The topics of a post and its own hashtags, each once."""
    found = {topic.hashtag: links.topic(topic.slug) for topic in post.public_topics}
    known = {name.casefold() for name in found}
    for name in post.hashtags.split():
        if name.casefold() not in known:
            known.add(name.casefold())
            found[name] = links.page("/")
    return [
        {"type": "Hashtag", "name": f"#{name}", "href": href}
        for name, href in list(found.items())[:_TAGS_CAP]
    ]


def quote_policy() -> Document:
    """Everybody may quote (FEP-044f).

    Nothing is said of what we do not enforce: GoToSocial would wait for an Accept of each reply and
    like (federation.md 5.1).
    """
    return {"interactionPolicy": {"canQuote": {"automaticApproval": [PUBLIC]}}}


def image_of(post: Post, links: Links) -> Document | None:
    """The cover; not in `attachment`, which would suppress Mastodon's card (R15)."""
    if post.cover is None:
        return None
    renditions = json.loads(post.cover.renditions_json)
    if not renditions:
        return None
    widest = renditions[0]
    return {
        "type": "Image",
        "mediaType": widest["mime"],
        "url": links.media(widest["name"]),
        "name": post.cover_alt,
        "width": widest["width"],
        "height": widest["height"],
    }


def tombstone_of(post: Post, links: Links) -> Document:
    """What stands at the id of a withdrawn post."""
    document: Document = {
        "id": links.post_object(post.kind, post.public_id),
        "type": "Tombstone",
        "formerType": _TYPES[post.kind],
    }
    if post.withdrawn_at is not None:
        document["deleted"] = when(post.withdrawn_at)
    return document


def collections_of(uri: str, counts: Counts) -> Document:
    """What readers did with an object, as counts (federation.md 9.7)."""
    replies = f"{uri}/replies"
    return {
        "replies": {
            "id": replies,
            "type": "Collection",
            "totalItems": counts.replies,
            "first": {"type": "CollectionPage", "partOf": replies, "items": []},
        },
        "likes": {"id": f"{uri}/likes", "type": "Collection", "totalItems": counts.likes},
        "shares": {"id": f"{uri}/shares", "type": "Collection", "totalItems": counts.shares},
    }
