"""Remote actors, their keys and their hosts, as we last saw them."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.ids import RemoteActorId
from storage.schema import metadata, peer, remote_actor, remote_key
from storage.store import Tx
from storage.times import from_ms, to_ms

_CHUNK = 500  # Bound values in one statement.


@dataclass(frozen=True, slots=True)
class ActorSnapshot:
    """What is kept of an actor document; texts are plain and not escaped."""

    uri: str
    host: str
    type: str
    inbox_url: str
    shared_inbox_url: str | None
    username: str
    name: str
    url: str | None
    icon_url: str | None
    followers_uri: str | None
    also_known_as: tuple[str, ...] = ()
    moved_to: str | None = None
    keys: tuple[tuple[str, str], ...] = ()  # Key id and its text.


@dataclass(frozen=True, slots=True)
class KeptActor:
    """A remote actor of the store."""

    id: RemoteActorId
    uri: str
    host: str
    inbox_url: str
    shared_inbox_url: str | None
    username: str
    name: str
    url: str | None
    followers_uri: str | None
    approved: bool
    fetched_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key with its proven owner."""

    uri: str
    owner: str
    public: str
    fetched_at: datetime


def keep_actor(tx: Tx, snapshot: ActorSnapshot, *, now: datetime) -> RemoteActorId | None:
    """Keep what an actor's own document says now; keys that it lists no longer are forgotten.

    None, and nothing is kept, if the actor was deleted (IN-21).
    """
    values = {
        "host": snapshot.host,
        "type": snapshot.type,
        "inbox_url": snapshot.inbox_url,
        "shared_inbox_url": snapshot.shared_inbox_url,
        "username": snapshot.username,
        "name": snapshot.name,
        "url": snapshot.url,
        "icon_url": snapshot.icon_url,
        "followers_uri": snapshot.followers_uri,
        "also_known_as_json": json.dumps(snapshot.also_known_as),
        "moved_to": snapshot.moved_to,
        "fetched_at": to_ms(now),
    }
    statement = (
        tx.insert(remote_actor)
        .values(uri=snapshot.uri, **values)
        .on_conflict_do_update(
            index_elements=["uri"], set_=values, where=remote_actor.c.deleted_at.is_(None)
        )
        .returning(remote_actor.c.id)
    )
    found = tx.execute(statement).scalar_one_or_none()
    if found is None:
        return None
    actor_id = RemoteActorId(found)
    tx.execute(
        sa.delete(remote_key).where(
            remote_key.c.remote_actor_id == actor_id,
            remote_key.c.uri.not_in([uri for uri, _ in snapshot.keys]),
        )
    )
    for uri, public in snapshot.keys:
        key = {"remote_actor_id": actor_id, "public": public, "fetched_at": to_ms(now)}
        tx.execute(
            tx.insert(remote_key)
            .values(uri=uri, **key)
            .on_conflict_do_update(index_elements=["uri"], set_=key)
        )
    return actor_id


def find_actor(tx: Tx, uri: str) -> KeptActor | None:
    """The actor of this id, if we ever met it."""
    found = find_actors(tx, [uri])
    return found[0] if found else None


def find_actors(tx: Tx, uris: Sequence[str]) -> list[KeptActor]:
    """The actors of these ids, as far as we ever met them."""
    columns = [remote_actor.c[name] for name in KeptActor.__dataclass_fields__]
    found = []
    for start in range(0, len(uris), _CHUNK):
        chunk = list(uris[start : start + _CHUNK])
        for row in tx.rows(sa.select(*columns).where(remote_actor.c.uri.in_(chunk))):
            found.append(KeptActor(*(*row[:-2], from_ms(row[-2]), from_ms(row[-1]))))
    return found


def actor_by_handle(tx: Tx, username: str, host: str) -> str | None:
    """Id of the actor that we know under `username@host`."""
    found: str | None = tx.scalar(
        sa.select(remote_actor.c.uri).where(
            sa.func.lower(remote_actor.c.username) == username.lower(),
            remote_actor.c.host == host.lower(),
            remote_actor.c.deleted_at.is_(None),
        )
    )
    return found


def find_key(tx: Tx, uri: str) -> KeptKey | None:
    """The key of this id, if we have it."""
    found = find_keys(tx, [uri])
    return found[0] if found else None


def find_keys(tx: Tx, uris: Collection[str]) -> list[KeptKey]:
    """The keys of these ids, as far as we have them; not more than one statement takes."""
    rows = tx.rows(
        sa.select(
            remote_key.c.uri, remote_actor.c.uri, remote_key.c.public, remote_key.c.fetched_at
        )
        .join(remote_actor, remote_actor.c.id == remote_key.c.remote_actor_id)
        .where(remote_key.c.uri.in_(uris), remote_actor.c.deleted_at.is_(None))
    )
    return [KeptKey(uri, owner, public, from_ms(at)) for uri, owner, public, at in rows]


def mark_deleted(tx: Tx, uri: str, *, now: datetime) -> None:
    """The actor is gone; its row stays as a mark, without words and keys (PR-7)."""
    tx.execute(
        sa.update(remote_actor)
        .where(remote_actor.c.uri == uri)
        .values(deleted_at=to_ms(now), name="", username="", url=None, icon_url=None)
    )
    gone = sa.select(remote_actor.c.id).where(remote_actor.c.uri == uri)
    tx.execute(sa.delete(remote_key).where(remote_key.c.remote_actor_id.in_(gone)))


def mark_moved(tx: Tx, uri: str, target: str, *, now: datetime) -> None:
    """The actor says that it has moved; nothing else follows from it (IN-31)."""
    tx.execute(
        sa.update(remote_actor)
        .where(remote_actor.c.uri == uri)
        .values(moved_to=target, moved_at=to_ms(now))
    )


def moved_at(tx: Tx, actor_id: RemoteActorId) -> datetime | None:
    """When an actor's last Move was noted (L-32)."""
    query = sa.select(remote_actor.c.moved_at).where(remote_actor.c.id == actor_id)
    found: int | None = tx.scalar(query)
    return from_ms(found)


def hear_from(tx: Tx, hosts: Collection[str], *, now: datetime) -> None:
    """A verified request came from each of these hosts."""
    if not hosts:
        return
    statement = tx.insert(peer)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["host"], set_={"heard_at": statement.excluded.heard_at}
        ),
        # In one order: two processes that hear from the same must not wait for each other.
        [{"host": host, "first_at": to_ms(now), "heard_at": to_ms(now)} for host in sorted(hosts)],
    )


def new_hosts_below(tx: Tx, host: str, parent: str, *, now: datetime) -> int:
    """How many hosts of a parent domain we first heard from within a day, before this one (L-31).

    0 if this host is not new itself.

    Args:
        tx: The transaction.
        host: As in the Host header.
        parent: A domain, without port.
        now: The time.
    """
    since = to_ms(now - timedelta(days=1))
    mine = tx.scalar(sa.select(peer.c.id).where(peer.c.host == host, peer.c.first_at > since))
    if mine is None:
        return 0
    name = parent.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    below = sa.or_(
        peer.c.host == parent,
        peer.c.host.like(f"%.{name}", escape="\\"),
        peer.c.host.like(f"%.{name}:%", escape="\\"),
    )
    query = sa.select(sa.func.count()).where(peer.c.id < mine, peer.c.first_at > since, below)
    return int(tx.scalar(query))


@dataclass(frozen=True, slots=True)
class Swept:
    """How far strangers were looked at: actors in the order in which they came."""

    edge: int = 0  # Up to here each was looked at once since this began; 0: not begun.
    cursor: int = 0  # Up to here in the present turn through the older ones.


def forget_strangers(tx: Tx, swept: Swept, *, most: int, rows: int = 500) -> Swept:
    """Forget actors and hosts that nothing of ours is about, but for the newest (FE-16).

    Whoever follows, answered, reacted or is otherwise referred to stays. What this costs does not
    grow with how many there are: it looks at those who are no longer among the newest since the
    last time, and in turn at some of the older ones, who may have become strangers since.

    Args:
        tx: The transaction.
        swept: What this returned the last time.
        most: Kept at most of those whom nothing is about.
        rows: Of the older ones, looked at each time.
    """
    newest = int(tx.scalar(sa.select(sa.func.max(remote_actor.c.id))) or 0)
    edge = max(newest - most, swept.edge)
    if edge <= 0:
        return swept
    older = swept.edge or edge
    _forget(tx, older, edge)
    turn = (
        sa.select(remote_actor.c.id)
        .where(remote_actor.c.id > swept.cursor, remote_actor.c.id <= older)
        .order_by(remote_actor.c.id)
        .limit(rows)
        .subquery()
    )
    count, last = tx.row(sa.select(sa.func.count(), sa.func.max(turn.c.id))) or (0, None)
    if last is not None:
        _forget(tx, swept.cursor, last)
    return Swept(edge, int(last or 0) if count == rows else 0)


def _forget(tx: Tx, after: int, upto: int) -> None:
    """Of the actors with these ids, those whom nothing is about; and hosts left without any."""
    about = [
        sa.exists().where(column == remote_actor.c.id)
        for table in metadata.sorted_tables
        if table is not remote_key
        for column in table.c
        if any(key.column is remote_actor.c.id for key in column.foreign_keys)
    ]
    gone = tx.rows(
        sa.delete(remote_actor)
        .where(
            remote_actor.c.id > after,
            remote_actor.c.id <= upto,
            *(sa.not_(one) for one in about),
            remote_actor.c.deleted_at.is_(None),
        )
        .returning(remote_actor.c.host)
    )
    hosts = sorted({host for (host,) in gone})
    for start in range(0, len(hosts), _CHUNK):
        known = sa.exists().where(remote_actor.c.host == peer.c.host)
        tx.execute(
            sa.delete(peer).where(peer.c.host.in_(hosts[start : start + _CHUNK]), sa.not_(known))
        )
