"""A post of any kind as the object that peers get, with what stands around it.

Sources: federation.md 5, 9.5, 9.6.
"""

from dataclasses import dataclass, field

from fediletter.links import Links
from fediletter.rendering.notes import Answered, note_of, question_of
from fediletter.rendering.objects import Counts, Document, article_of
from storage.polls import Poll
from storage.posts import Post


@dataclass(frozen=True, slots=True)
class Around:
    """What the object of a post shows beside the post itself."""

    counts: Counts = field(default_factory=Counts)
    poll: Poll | None = None
    answered: Answered | None = None


def document_of(post: Post, links: Links, around: Around) -> Document:
    """A published post as its object, without `@context`."""
    if post.kind == "issue":
        return article_of(post, links, counts=around.counts)
    if post.kind == "poll":
        assert around.poll is not None  # noqa: S101 (made together)
        return question_of(post, links, around.poll, counts=around.counts)
    assert around.answered is not None  # noqa: S101 (a Note of ours answers somebody)
    return note_of(post, links, around.answered, counts=around.counts)
