"""What several handlers gather: the actor's row, and which post of ours something is about."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

from federation.actors import RemoteActor
from federation.fetch import Fetcher
from fediletter.inbound.keys import snapshot_of
from fediletter.links import Links
from fediletter.services import Services
from storage.errors import NotThere
from storage.ids import RemoteActorId
from storage.peers import KeptActor, find_actor, keep_actor
from storage.posts import Post, post_by_public_id, post_by_slug
from storage.store import Tx

# Decides and writes, on what the database says now; a reason if it ignores, None if applied.
Apply: TypeAlias = Callable[[Tx], str | None]

_FRESH = timedelta(days=7)


def ignore(reason: str) -> Apply:
    """Nothing to do, and why."""
    return lambda _tx: reason


async def actor_now(services: Services, actor_id: str, fetcher: Fetcher) -> RemoteActor | None:
    """The actor's document, if what is kept is missing or old; None if that is fresh enough.

    Of an account that was deleted here nothing is asked.

    Raises:
        FetchFailed: It is missing and cannot be had.
    """
    now = services.clock.now()
    kept = await services.store.read(find_actor, actor_id)
    if kept is not None and (kept.deleted_at is not None or now - kept.fetched_at < _FRESH):
        return None
    return await fetcher.actor(actor_id, now=now)


def actor_row(
    tx: Tx, actor_id: str, fetched: RemoteActor | None, *, now: datetime
) -> KeptActor | None:
    """The actor's row, with what was fetched kept in it."""
    if fetched is not None:
        keep_actor(tx, snapshot_of(fetched), now=now)
    return find_actor(tx, actor_id)


def require_row(
    tx: Tx, actor_id: str, fetched: RemoteActor | None, *, now: datetime
) -> RemoteActorId | None:
    """Id of the actor's row; None if it is gone."""
    row = actor_row(tx, actor_id, fetched, now=now)
    return None if row is None or row.deleted_at is not None else row.id


def our_post(tx: Tx, links: Links, uri: str | None) -> Post | None:
    """The published post that an object id, its Create or its page names."""
    if uri is None:
        return None
    try:
        public_id = links.post_of(uri.partition("#")[0])
        if public_id is not None:
            post = post_by_public_id(tx, public_id)
        elif uri.startswith(f"{links.base}/letters/"):
            post = post_by_slug(tx, uri.removeprefix(f"{links.base}/letters/"))
        else:
            return None
    except NotThere:
        return None
    return post if post.state == "published" else None
