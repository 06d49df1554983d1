"""Follow and Block: who is told of what we say.

Sources: federation.md 9.2, R11, 13.3; security.md IN-28 to IN-30, L-30, L-31.
"""

import secrets
from datetime import datetime

from federation.fetch import Fetcher
from federation.inbox import VerifiedActivity
from federation.origins import host_of, parent_domain
from fediletter.inbound.answering import answer_in_person
from fediletter.inbound.facts import Apply, actor_now, actor_row, ignore
from fediletter.inbound.reasons import TOO_MANY_FOLLOWERS
from fediletter.limits import FOLLOWS_PER_HOST_HOUR, NEW_HOSTS_PER_PARENT_DAY
from fediletter.rendering.activities import accept, reject
from fediletter.services import Services
from storage.followers import (
    add_follower,
    is_follower,
    is_parked,
    recent_from_host,
    remove_follower,
)
from storage.lanes import close_personal_inbox, inbox_at, inbox_for
from storage.newsletters import local_actor
from storage.peers import find_actor, new_hosts_below
from storage.received import is_buried
from storage.store import Tx


async def follow(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """Keep the follower and accept; a repeated Follow is accepted again under its new id."""
    target = await services.keyring.by_uri(activity.object_id)
    if target is None:
        return ignore("follows nobody of ours")
    fetched = await actor_now(services, activity.actor, fetcher)
    links = services.links
    now = services.clock.now()
    token = secrets.token_urlsafe(16)

    def apply(tx: Tx) -> str | None:
        if is_buried(tx, activity.activity_id, activity.actor):
            return "was undone before it came"
        row = actor_row(tx, activity.actor, fetched, now=now)
        if row is None or row.deleted_at is not None:
            return "the actor is gone"
        if target.row.kind == "instance":
            no = reject(activity.document, target.uri, links, token=token)
            answer_in_person(tx, target, row, no, now=now)
            return "nobody follows the instance actor"
        if local_actor(tx, target.id).moved_to:
            no = reject(activity.document, target.uri, links, token=token)
            answer_in_person(tx, target, row, no, now=now)
            return "follows an account that has moved"
        if is_follower(tx, target.id, row.id):
            parked = is_parked(tx, target.id, row.id)
        else:
            parked = _is_too_many(tx, row.host, now=now)
        inbox_url = row.shared_inbox_url or row.inbox_url
        inbox_id = inbox_for(
            tx, inbox_url, host=host_of(inbox_url), shared=row.shared_inbox_url is not None
        )
        add_follower(
            tx,
            target.id,
            row.id,
            inbox_id,
            follow_uri=activity.activity_id,
            state="parked" if parked else "accepted",
            now=now,
        )
        if parked:
            return TOO_MANY_FOLLOWERS
        yes = accept(activity.document, target.uri, links, token=token)
        answer_in_person(tx, target, row, yes, now=now)
        return None

    return apply


def _is_too_many(tx: Tx, host: str, *, now: datetime) -> bool:
    """Whether a host, or the domain above it, brings more followers than people do (IN-29)."""
    if recent_from_host(tx, host, now=now) >= FOLLOWS_PER_HOST_HOUR:
        return True
    parent = parent_domain(host)
    if parent is None:
        return False
    return new_hosts_below(tx, host, parent, now=now) >= NEW_HOSTS_PER_PARENT_DAY


async def block(services: Services, activity: VerifiedActivity, _: Fetcher) -> Apply:
    """Somebody blocks us: they are no follower any more, and their own inbox is closed to us."""
    target = await services.keyring.by_uri(activity.object_id)
    if target is None:
        return ignore("blocks nobody of ours")
    now = services.clock.now()

    def apply(tx: Tx) -> str | None:
        if is_buried(tx, activity.activity_id, activity.actor):
            return "was undone before it came"
        remove_follower(tx, activity.actor, actor_id=target.id)
        row = find_actor(tx, activity.actor)
        if row is not None and target.row.kind == "newsletter":
            inbox_at(tx, row.inbox_url, host=host_of(row.inbox_url), shared=False)
            close_personal_inbox(tx, row.inbox_url, now=now)
        return None

    return apply
