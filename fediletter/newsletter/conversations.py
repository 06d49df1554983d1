"""The conversation below a letter: what stands around a post, and where an answer belongs."""

from fediletter.rendering.documents import Around
from fediletter.rendering.notes import Answered
from fediletter.rendering.objects import Counts
from storage import conversations
from storage.polls import get_poll
from storage.posts import Post
from storage.store import Tx


def around(tx: Tx, post: Post) -> Around:
    """What the object of a post shows now: counts, poll, whom it answers."""
    reactions = conversations.reactions_of(tx, post.id)
    counts = Counts(
        conversations.count_replies(tx, post.id),
        reactions.get("like", 0),
        reactions.get("announce", 0),
    )
    return Around(
        counts,
        get_poll(tx, post.id) if post.kind == "poll" else None,
        answered_by(tx, post) if post.kind == "note" else None,
    )


def answered_by(tx: Tx, post: Post) -> Answered:
    """Whom an answer of ours answers. Raises NotThere."""
    reply = conversations.answered_reply(tx, post.id)
    assert reply.actor_uri is not None  # noqa: S101 (only such are answered by Notes)
    return Answered(
        reply.uri,
        reply.actor_uri,
        reply.actor_url or reply.actor_uri,
        reply.handle or "",
        reply.context,
    )
