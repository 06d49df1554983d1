"""Polls on the fediverse: asked, told how they stand, closed.

A tally goes out at most every three minutes, without a newer `updated`: peers take the numbers and
nothing else. The database says which poll is due; two processes that look send one.

Sources: federation.md 9.6; vectors I11 to I13; RE-11.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

from fediletter.errors import FormError
from fediletter.newsletter.conversations import around
from fediletter.newsletter.polls import GRACE, TALLY_EVERY, check_poll
from fediletter.outbound.publish import new_public_id
from fediletter.outbound.say import say, tell
from fediletter.rendering import activities
from fediletter.rendering.documents import document_of
from fediletter.services import Services
from storage import audit, polls, posts
from storage.ids import FounderId, PostId
from storage.newsletters import get_newsletter
from storage.peers import find_actors
from storage.posts import Draft
from storage.store import Tx

_TITLE = 150


async def publish_poll(
    services: Services,
    question: str,
    options: Sequence[str],
    *,
    multiple: bool,
    ends_at: datetime,
    founder_id: FounderId | None = None,
    also: Callable[[Tx, PostId], None] | None = None,
) -> PostId:
    """Ask the followers.

    Args:
        services: The toolbox.
        question: Markdown, at most 500 characters.
        options: Two to ten answers, plain and distinct.
        multiple: Whether a reader may choose several.
        ends_at: When the last vote counts; whole seconds are kept.
        founder_id: Who asks.
        also: What belongs to it, in the same transaction.

    Raises:
        FormError: It cannot be asked so.
    """
    now = services.clock.now()
    names = [" ".join(one.split()) for one in options]
    problems = check_poll(question, names, ends_at=ends_at, now=now)
    if problems:
        raise FormError(problems)
    own = await services.keyring.newsletter()
    public_id = new_public_id()

    def work(tx: Tx) -> PostId:
        draft = Draft(
            " ".join(question.split())[:_TITLE],
            "",
            question,
            get_newsletter(tx).language,
            to_web=False,
            to_email=False,
        )
        post_id = posts.create_draft(
            tx,
            draft,
            public_id=public_id,
            slug=f"poll-{public_id}",
            kind="poll",
            now=now,
            founder_id=founder_id,
        )
        polls.create_poll(
            tx, post_id, names, multiple=multiple, ends_at=ends_at.replace(microsecond=0)
        )
        moment = now.replace(microsecond=0)
        posts.mark_published(tx, post_id, version=1, slug=f"poll-{public_id}", published_at=moment)
        post = posts.get_post(tx, post_id)
        outgoing = activities.create(document_of(post, services.links, around(tx, post)))
        say(tx, outgoing, own, post, audience="followers", start_at=now, now=now)
        if also is not None:
            also(tx, post_id)
        audit.write(tx, "poll", subject=str(post_id), founder_id=founder_id, now=now)
        return post_id

    return await services.store.write(work)


async def tell_tallies(services: Services) -> None:
    """Close what has ended, and tell how the others stand where that has changed."""
    now = services.clock.now()

    def look(tx: Tx) -> tuple[list[PostId], list[PostId]]:
        return (
            polls.due_closings(tx, now=now, grace=GRACE),
            polls.due_tallies(tx, now=now, every=TALLY_EVERY),
        )

    ended, changed = await services.store.read(look)
    own = await services.keyring.newsletter()

    def work(tx: Tx, post_id: PostId) -> None:
        if post_id in ended:
            if not polls.mark_closed(tx, post_id):
                return
        elif not polls.mark_tallied(tx, post_id, now=now, every=TALLY_EVERY):
            return
        post = posts.get_post(tx, post_id)
        document = document_of(post, services.links, around(tx, post))
        outgoing = activities.update(document, services.links, token=secrets.token_urlsafe(16))
        activity_id = say(tx, outgoing, own, post, audience="holders", start_at=now, now=now)
        voters = find_actors(tx, polls.voters_of(tx, post_id))
        alive = [one for one in voters if one.deleted_at is None]
        tell(tx, activity_id, outgoing, alive, in_person=False, now=now)

    for post_id in dict.fromkeys([*ended, *changed]):
        await services.store.write(work, post_id)
