"""Followers: remote actors whose Follow we accepted."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.ids import ActorId, InboxId, RemoteActorId
from storage.schema import follower, inbox, remote_actor
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Follower:
    """One follower, for the desk."""

    uri: str
    username: str
    name: str
    host: str
    url: str | None
    state: str
    id: int
    at: datetime


def add_follower(
    tx: Tx,
    actor_id: ActorId,
    remote_actor_id: RemoteActorId,
    inbox_id: InboxId,
    *,
    follow_uri: str,
    state: str,
    now: datetime,
) -> None:
    """Keep a follower; a second Follow changes only its id and where deliveries go."""
    values = {"inbox_id": inbox_id, "follow_uri": follow_uri}
    tx.execute(
        tx.insert(follower)
        .values(
            actor_id=actor_id,
            remote_actor_id=remote_actor_id,
            state=state,
            at=to_ms(now),
            **values,
        )
        .on_conflict_do_update(index_elements=["actor_id", "remote_actor_id"], set_=values)
    )


@dataclass(frozen=True, slots=True)
class FollowerAddress:
    """Where a private message to one follower goes."""

    uri: str
    username: str
    host: str
    inbox_url: str


def find_follower(tx: Tx, actor_id: ActorId, handle: str) -> FollowerAddress | None:
    """The accepted follower of a handle (`@ana@host`, or the address of the profile)."""
    username, _, host = handle.removeprefix("@").rpartition("@")
    is_theirs = (
        sa.or_(remote_actor.c.uri == handle, remote_actor.c.url == handle)
        if "/" in handle
        else sa.and_(
            sa.func.lower(remote_actor.c.username) == username.lower(),
            remote_actor.c.host == host.lower(),
        )
    )
    row = tx.row(
        sa.select(
            remote_actor.c.uri,
            remote_actor.c.username,
            remote_actor.c.host,
            remote_actor.c.inbox_url,
        )
        .join(follower, follower.c.remote_actor_id == remote_actor.c.id)
        .where(
            follower.c.actor_id == actor_id,
            follower.c.state == "accepted",
            remote_actor.c.deleted_at.is_(None),
            is_theirs,
        )
    )
    return None if row is None else FollowerAddress(*row)


def handle_of(tx: Tx, actor_uri: str) -> str:
    """`@ana@host` of a known actor; its id if it is not known any more."""
    row = tx.row(
        sa.select(remote_actor.c.username, remote_actor.c.host).where(
            remote_actor.c.uri == actor_uri
        )
    )
    return actor_uri if row is None else f"@{row[0]}@{row[1]}"


def is_follower(tx: Tx, actor_id: ActorId, remote_actor_id: RemoteActorId) -> bool:
    """Whether this actor follows that one of ours."""
    return (
        tx.row(
            sa.select(follower.c.id).where(
                follower.c.actor_id == actor_id, follower.c.remote_actor_id == remote_actor_id
            )
        )
        is not None
    )


def follows_any(tx: Tx, remote_actor_id: RemoteActorId) -> bool:
    """Whether this actor follows any of ours."""
    query = sa.select(follower.c.id).where(follower.c.remote_actor_id == remote_actor_id)
    return tx.row(query.limit(1)) is not None


def hosts_of(tx: Tx, actor_id: ActorId) -> set[str]:
    """Hosts at which somebody follows an actor of ours."""
    rows = tx.rows(
        sa.select(remote_actor.c.host)
        .distinct()
        .select_from(follower.join(remote_actor))
        .where(follower.c.actor_id == actor_id, follower.c.state == "accepted")
    )
    return {row[0] for row in rows}


def is_parked(tx: Tx, actor_id: ActorId, remote_actor_id: RemoteActorId) -> bool:
    """Whether this actor's Follow waits for a founder (IN-29)."""
    state = tx.scalar(
        sa.select(follower.c.state).where(
            follower.c.actor_id == actor_id, follower.c.remote_actor_id == remote_actor_id
        )
    )
    return bool(state == "parked")


def remove_follower(tx: Tx, actor_uri: str, *, actor_id: ActorId | None = None) -> int:
    """Forget a follower of one of our actors, or of all; how many rows that were."""
    theirs = sa.select(remote_actor.c.id).where(remote_actor.c.uri == actor_uri)
    query = sa.delete(follower).where(follower.c.remote_actor_id.in_(theirs))
    if actor_id is not None:
        query = query.where(follower.c.actor_id == actor_id)
    return tx.execute(query).rowcount


def move_follower(
    tx: Tx, actor_uri: str, inbox_id: InboxId, *, inbox_url: str, shared_url: str | None
) -> None:
    """An actor takes deliveries elsewhere now."""
    tx.execute(
        sa.update(remote_actor)
        .where(remote_actor.c.uri == actor_uri)
        .values(inbox_url=inbox_url, shared_inbox_url=shared_url)
    )
    theirs = sa.select(remote_actor.c.id).where(remote_actor.c.uri == actor_uri)
    tx.execute(
        sa.update(follower).where(follower.c.remote_actor_id.in_(theirs)).values(inbox_id=inbox_id)
    )


def follow_of(tx: Tx, actor_uri: str, follow_uri: str) -> ActorId | None:
    """Which of our actors this Follow of that actor was about."""
    found = tx.scalar(
        sa.select(follower.c.actor_id)
        .join(remote_actor, remote_actor.c.id == follower.c.remote_actor_id)
        .where(remote_actor.c.uri == actor_uri, follower.c.follow_uri == follow_uri)
    )
    return None if found is None else ActorId(found)


def recent_from_host(tx: Tx, host: str, *, now: datetime) -> int:
    """New followers of a host within the last hour (L-30)."""
    since = to_ms(now - timedelta(hours=1))
    return int(
        tx.scalar(
            sa.select(sa.func.count())
            .select_from(follower.join(remote_actor))
            .where(remote_actor.c.host == host, follower.c.at > since)
        )
    )


def count_followers(tx: Tx, actor_id: ActorId) -> int:
    """Accepted followers of an actor of ours."""
    return int(
        tx.scalar(
            sa.select(sa.func.count()).where(
                follower.c.actor_id == actor_id, follower.c.state == "accepted"
            )
        )
    )


def count_parked(tx: Tx, actor_id: ActorId, *, most: int) -> int:
    """Those who wait for a founder, as far as `most`: a flood of them costs the page no more."""
    query = sa.select(follower.c.id).where(
        follower.c.actor_id == actor_id, follower.c.state == "parked"
    )
    return len(tx.rows(query.limit(most)))


def decide_parked(
    tx: Tx, actor_id: ActorId, follower_id: int, *, accepted: bool
) -> tuple[str, str] | None:
    """Accept a parked follower, or forget it (IN-29).

    Returns:
        Ids of the actor and of its newest Follow; None if it waits no more.
    """
    row = tx.row(
        sa.select(remote_actor.c.uri, follower.c.follow_uri)
        .join(follower, follower.c.remote_actor_id == remote_actor.c.id)
        .where(
            follower.c.id == follower_id,
            follower.c.actor_id == actor_id,
            follower.c.state == "parked",
            remote_actor.c.deleted_at.is_(None),
        )
        .with_for_update()
    )
    if row is None:
        return None
    here = follower.c.id == follower_id
    if accepted:
        tx.execute(sa.update(follower).where(here).values(state="accepted"))
    else:
        tx.execute(sa.delete(follower).where(here))
    return row[0], row[1]


def list_followers(
    tx: Tx,
    actor_id: ActorId,
    *,
    limit: int,
    before: int | None = None,
    search: str = "",
    state: str = "accepted",
) -> list[Follower]:
    """Followers, the newest first, beyond the id `before`; `search` matches name, user, host."""
    query = (
        sa.select(
            remote_actor.c.uri,
            remote_actor.c.username,
            remote_actor.c.name,
            remote_actor.c.host,
            remote_actor.c.url,
            follower.c.state,
            follower.c.id,
            follower.c.at,
        )
        .join(remote_actor, remote_actor.c.id == follower.c.remote_actor_id)
        .where(follower.c.actor_id == actor_id, follower.c.state == state)
        .order_by(follower.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(follower.c.id < before)
    if search:
        query = query.where(
            sa.or_(
                remote_actor.c.name.icontains(search, autoescape=True),
                remote_actor.c.username.icontains(search, autoescape=True),
                remote_actor.c.host.icontains(search, autoescape=True),
            )
        )
    return [Follower(*(*row[:-1], from_ms(row[-1]))) for row in tx.rows(query)]


def followers_at(tx: Tx, inbox_url: str) -> list[str]:
    """Ids of the actors whose deliveries go to an inbox."""
    rows = tx.rows(
        sa.select(remote_actor.c.uri)
        .join(follower, follower.c.remote_actor_id == remote_actor.c.id)
        .join(inbox, inbox.c.id == follower.c.inbox_id)
        .where(inbox.c.url == inbox_url)
    )
    return [row[0] for row in rows]
