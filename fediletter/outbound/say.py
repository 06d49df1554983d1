"""Saying something to peers: the activity kept, and its way to those who shall hear it.

Source: architecture page, section 4.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from federation.origins import host_of
from fediletter.keyring import OwnActor
from fediletter.rendering.activities import Outgoing, proven
from storage.activities import keep_activity
from storage.blocks import is_blocked
from storage.fan_outs import fan_out_activity
from storage.ids import ActivityId
from storage.lanes import inbox_at, send_activity
from storage.peers import KeptActor
from storage.posts import Post
from storage.store import Tx


def keep(
    tx: Tx, outgoing: Outgoing, own: OwnActor, post: Post | None, *, now: datetime
) -> ActivityId:
    """Keep an activity with its actor's proof; the outbox lists it if it is public."""
    outgoing = proven(outgoing, own.ed25519, now=now)
    return keep_activity(
        tx,
        uri=outgoing.uri,
        actor_id=own.id,
        type=outgoing.type,
        object_uri=outgoing.object_uri,
        body=outgoing.body,
        digest=outgoing.digest,
        listed=outgoing.listed and (post is None or post.audience == "public"),
        post_id=None if post is None else post.id,
        now=now,
    )


def say(
    tx: Tx,
    outgoing: Outgoing,
    own: OwnActor,
    post: Post | None,
    *,
    audience: str,
    start_at: datetime,
    now: datetime,
) -> ActivityId:
    """Keep an activity and let it go to an audience (`followers` or `holders`)."""
    activity_id = keep(tx, outgoing, own, post, now=now)
    fan_out_activity(tx, activity_id, audience=audience, start_at=start_at, now=now)
    return activity_id


def tell(
    tx: Tx,
    activity_id: ActivityId,
    outgoing: Outgoing,
    actors: Sequence[KeptActor],
    *,
    in_person: bool,
    now: datetime,
) -> None:
    """Send a kept activity to actors, beside any audience; each inbox gets it once.

    Whom the founders have blocked, and whoever has blocked us, gets nothing.

    Args:
        tx: The transaction that keeps it.
        activity_id: Of `outgoing`.
        outgoing: The activity.
        actors: Whom.
        in_person: To their own inboxes, not to those that their servers share.
        now: The time.
    """
    inboxes = []
    for actor in actors:
        if is_blocked(tx, actor.uri, actor.host):
            continue
        url = actor.inbox_url if in_person else actor.shared_inbox_url or actor.inbox_url
        shared = not in_person and actor.shared_inbox_url is not None
        inboxes.append(inbox_at(tx, url, host=host_of(url), shared=shared))
    send_activity(
        tx, activity_id, inboxes, object_uri=outgoing.object_uri, urgent=in_person, now=now
    )


def later_than(post: Post, now: datetime) -> datetime:
    """A whole second after `published` and after the last `updated` (R6)."""
    assert post.published_at is not None  # noqa: S101 (published)
    last = post.updated_at or post.published_at
    return max(now.replace(microsecond=0), last + timedelta(seconds=1))
