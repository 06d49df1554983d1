"""The publication itself: one row, and its local actors with their keys."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import ActorId, MediaId, TopicId
from storage.schema import actor, actor_key, newsletter, post
from storage.store import Tx
from storage.times import from_ms, to_ms
from storage.wakeup import REVISED

_ONLY = 1


@dataclass(frozen=True, slots=True)
class Newsletter:
    """What the founders say about their letter; plain texts."""

    title: str
    description: str
    language: str
    sender_name: str
    reply_to: str
    postal_address: str
    shop_url: str
    profile_fields_json: str
    rhythm_days: int
    second_thoughts_ms: int | None
    approve_known: bool
    icon_media_id: MediaId | None
    image_media_id: MediaId | None
    list_label: str
    revision: int
    created_at: int
    rhythm_broken_at: datetime | None  # When a letter last came sooner than promised.


@dataclass(frozen=True, slots=True)
class LocalActor:
    """An actor of ours."""

    id: ActorId
    username: str
    kind: str
    topic_id: TopicId | None
    moved_to: str | None
    also_known_as_json: str
    created_at: int


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A key of an actor of ours; the private part sealed."""

    actor_id: ActorId
    kind: str
    fragment: str
    public: str
    sealed_private: bytes


_COLUMNS = [
    newsletter.c[name] for name in Newsletter.__dataclass_fields__ if name != "rhythm_broken_at"
]
_BROKEN_AT = (
    sa.select(sa.func.max(post.c.published_at))
    .where(post.c.kind == "issue", post.c.state == "published", post.c.rhythm_reason != "")
    .scalar_subquery()
)


def create_newsletter(tx: Tx, *, title: str, language: str, list_label: str, now: datetime) -> None:
    """Write the one row.

    Raises:
        Conflict: It is there already.
    """
    statement = (
        tx.insert(newsletter)
        .values(
            id=_ONLY, title=title, language=language, list_label=list_label, created_at=to_ms(now)
        )
        .on_conflict_do_nothing()
        .returning(newsletter.c.id)  # A row count is not to be had of an INSERT everywhere.
    )
    if tx.row(statement) is None:
        raise Conflict("newsletter")


def get_newsletter(tx: Tx) -> Newsletter:
    """The publication.

    Raises:
        NotThere: Nothing was initialised yet.
    """
    row = tx.row(sa.select(*_COLUMNS, _BROKEN_AT))
    if row is None:
        raise NotThere("newsletter")
    values: list[Any] = [*row[:-1], from_ms(row[-1])]
    return Newsletter(*values)


def update_newsletter(tx: Tx, **changes: Any) -> None:
    """Change columns of the one row; everything that shows them is stale afterwards."""
    tx.execute(sa.update(newsletter).values(**changes))
    touch(tx)


def touch(tx: Tx) -> None:
    """Say that something which pages, feeds or documents show has changed."""
    tx.execute(sa.update(newsletter).values(revision=newsletter.c.revision + 1))
    tx.wake(REVISED)


def revision(tx: Tx) -> int:
    """The number that moves with each such change."""
    return int(tx.scalar(sa.select(newsletter.c.revision)) or 0)


def add_actor(
    tx: Tx, username: str, kind: str, *, now: datetime, topic_id: TopicId | None = None
) -> ActorId:
    """A new local actor.

    Raises:
        Conflict: The name is taken.
    """
    statement = (
        tx.insert(actor)
        .values(username=username, kind=kind, topic_id=topic_id, created_at=to_ms(now))
        .on_conflict_do_nothing()
        .returning(actor.c.id)
    )
    found = tx.execute(statement).scalar()
    if found is None:
        raise Conflict(username)
    touch(tx)
    return ActorId(found)


def add_key(tx: Tx, key: LocalKey, *, now: datetime) -> None:
    """Keep a key for an actor; its fragment is never used again."""
    tx.execute(
        sa.insert(actor_key).values(
            actor_id=key.actor_id,
            kind=key.kind,
            fragment=key.fragment,
            public=key.public,
            sealed_private=key.sealed_private,
            created_at=to_ms(now),
        )
    )


def local_actors(tx: Tx) -> list[LocalActor]:
    """All actors of ours, the oldest first."""
    columns = [actor.c[name] for name in LocalActor.__dataclass_fields__]
    return [LocalActor(*row) for row in tx.rows(sa.select(*columns).order_by(actor.c.id))]


def local_actor(tx: Tx, actor_id: ActorId) -> LocalActor:
    """One actor of ours, as it is now. Raises NotThere."""
    for one in local_actors(tx):
        if one.id == actor_id:
            return one
    raise NotThere(str(actor_id))


def set_aliases(tx: Tx, actor_id: ActorId, aliases: Sequence[str]) -> None:
    """Other ids of the same (FEP-7628)."""
    tx.execute(
        sa.update(actor)
        .where(actor.c.id == actor_id)
        .values(also_known_as_json=json.dumps(list(aliases)))
    )
    touch(tx)


def set_moved_to(tx: Tx, actor_id: ActorId, target: str | None) -> None:
    """Where the actor has gone; None if it is here."""
    tx.execute(sa.update(actor).where(actor.c.id == actor_id).values(moved_to=target))
    touch(tx)


def keys_of(tx: Tx, actor_id: ActorId) -> list[LocalKey]:
    """The keys in use of an actor of ours, the oldest first."""
    columns = [actor_key.c[name] for name in LocalKey.__dataclass_fields__]
    rows = tx.rows(
        sa.select(*columns)
        .where(actor_key.c.actor_id == actor_id, actor_key.c.retired_at.is_(None))
        .order_by(actor_key.c.id)
    )
    return [LocalKey(*row) for row in rows]
