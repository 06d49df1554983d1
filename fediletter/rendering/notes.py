"""Short posts as objects: the founders' answers (`Note`) and their polls (`Question`).

Sources: federation.md 9.5, 9.6, 13.6, 13.7; FEP-7888.
"""

from dataclasses import dataclass
from html import escape

from federation.reading import PUBLIC
from fediletter.links import Links
from fediletter.newsletter.html import from_markdown
from fediletter.rendering.objects import Counts, Document, collections_of, quote_policy, when
from storage.polls import Poll
from storage.posts import Post


@dataclass(frozen=True, slots=True)
class Answered:
    """Whom and what a Note answers."""

    uri: str  # Of the object answered.
    actor_uri: str
    actor_url: str
    handle: str  # user@host
    context: str | None  # The conversation as the one answered calls it.


def note_of(
    post: Post, links: Links, answered: Answered, *, counts: Counts | None = None
) -> Document:
    """An answer: mentions its reader, who is addressed, and keeps the conversation's name."""
    uri = links.post_object(post.kind, post.public_id)
    to, cc = note_addressing(post, links, answered)
    user, _, _ = answered.handle.partition("@")
    mention = f'<a href="{escape(answered.actor_url)}" class="u-url mention">@{escape(user)}</a>'
    content = _content(post, links)
    lead = f"<p>{mention} "
    content = (
        lead + content.removeprefix("<p>")
        if content.startswith("<p>")
        else f"<p>{mention}</p>{content}"
    )
    document: Document = {
        "id": uri,
        "type": "Note",
        "attributedTo": links.actor(),
        "inReplyTo": answered.uri,
        "content": content,
        "contentMap": {post.language: content},
        "url": links.note(post.public_id),
        "published": _published(post),
        "to": to,
        "cc": cc,
        "sensitive": False,
        "tag": [
            {"type": "Mention", "href": answered.actor_uri, "name": f"@{answered.handle}"},
        ],
        **_conversation(answered.context),
    }
    if post.audience in ("public", "unlisted"):
        document |= collections_of(uri, counts or Counts()) | quote_policy()
    return _dated(document, post)


def note_addressing(post: Post, links: Links, answered: Answered) -> tuple[list[str], list[str]]:
    """`to` and `cc` of an answer: as public as what it answers, and never more."""
    followers = f"{links.actor()}/followers"
    if post.audience == "public":
        return [PUBLIC], [followers, answered.actor_uri]
    if post.audience == "unlisted":
        return [followers, answered.actor_uri], [PUBLIC]
    return [answered.actor_uri], []


def question_of(post: Post, links: Links, poll: Poll, *, counts: Counts | None = None) -> Document:
    """A poll with its tally; `closed` once it has ended.

    A tally moves no `updated`: peers then take the numbers and refuse other options (9.6).
    """
    uri = links.post_object(post.kind, post.public_id)
    content = _content(post, links)
    document: Document = {
        "id": uri,
        "type": "Question",
        "attributedTo": links.actor(),
        "content": content,
        "contentMap": {post.language: content},
        "url": links.note(post.public_id),
        "published": _published(post),
        "to": [PUBLIC],
        "cc": [f"{links.actor()}/followers"],
        "sensitive": False,
        "endTime": when(poll.ends_at),
        "votersCount": poll.voters,
        ("anyOf" if poll.multiple else "oneOf"): [
            {
                "type": "Note",
                "name": option.name,
                "replies": {"type": "Collection", "totalItems": option.votes},
            }
            for option in poll.options
        ],
        **_conversation(f"{uri}/context"),
        **collections_of(uri, counts or Counts()),
        **quote_policy(),
    }
    if poll.closed_at is not None:
        document["closed"] = when(poll.closed_at)
    return document


def _content(post: Post, links: Links) -> str:
    return from_markdown(
        post.body_markdown, profile="article", language=post.language, base_url=links.base
    )


def _published(post: Post) -> str:
    assert post.published_at is not None  # noqa: S101 (published with it)
    return when(post.published_at)


def _dated(document: Document, post: Post) -> Document:
    if post.updated_at is not None:
        document["updated"] = when(post.updated_at)
    return document


def _conversation(context: str | None) -> Document:
    if context is None:
        return {}
    found: Document = {"conversation": context}
    if context.startswith(("https://", "http://")):
        found["context"] = context
    return found
