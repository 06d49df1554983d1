"""Activities: what we said to peers, once, as the exact bytes that were signed and sent.

One table is both ActivityPub's *outbox* and the transactional outbox of the database.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import ActivityId, ActorId, PostId
from storage.schema import activity
from storage.store import Tx
from storage.times import to_ms


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of an actor's outbox."""

    id: ActivityId
    uri: str
    type: str
    body: bytes


def keep_activity(
    tx: Tx,
    *,
    uri: str,
    actor_id: ActorId,
    type: str,
    object_uri: str,
    body: bytes,
    digest: str,
    listed: bool,
    now: datetime,
    post_id: PostId | None = None,
) -> ActivityId:
    """Keep an activity.

    Args:
        tx: The transaction that also writes what the activity says.
        uri: Its id, new.
        actor_id: Who says it.
        type: `Create`, `Accept` …
        object_uri: What it is about: deliveries about one object keep their order.
        body: The octets to send.
        digest: base64 of the SHA-256 of `body`.
        listed: Whether the outbox shows it.
        now: The time.
        post_id: The post it is about, if any.
    """
    found = tx.execute(
        sa.insert(activity)
        .values(
            uri=uri,
            actor_id=actor_id,
            type=type,
            object_uri=object_uri,
            body=body,
            digest=digest,
            listed=listed,
            post_id=post_id,
            created_at=to_ms(now),
        )
        .returning(activity.c.id)
    ).scalar_one()
    return ActivityId(found)


def activity_body(tx: Tx, uri: str) -> bytes:
    """The octets of an activity. Raises NotThere."""
    body = tx.scalar(sa.select(activity.c.body).where(activity.c.uri == uri))
    if body is None:
        raise NotThere(uri)
    return bytes(body)


def about_post(tx: Tx, uri: str) -> tuple[str, PostId | None]:
    """Type of an activity, and the post that it is about, if any. Raises NotThere."""
    row = tx.row(sa.select(activity.c.type, activity.c.post_id).where(activity.c.uri == uri))
    if row is None:
        raise NotThere(uri)
    return row[0], None if row[1] is None else PostId(row[1])


def outbox_page(
    tx: Tx, actor_id: ActorId, *, limit: int, before: ActivityId | None = None
) -> list[Listed]:
    """Listed activities of an actor, newest first, older than the cursor `before`."""
    query = (
        sa.select(activity.c.id, activity.c.uri, activity.c.type, activity.c.body)
        .where(activity.c.actor_id == actor_id, activity.c.listed)
        .order_by(activity.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(activity.c.id < before)
    return [Listed(*row) for row in tx.rows(query)]


def count_listed(tx: Tx, actor_id: ActorId) -> int:
    """How many activities the outbox of an actor shows."""
    return int(
        tx.scalar(
            sa.select(sa.func.count()).where(activity.c.actor_id == actor_id, activity.c.listed)
        )
    )


def unlist(tx: Tx, object_uri: str) -> None:
    """Take what was said about an object out of the outbox: it is gone."""
    tx.execute(sa.update(activity).where(activity.c.object_uri == object_uri).values(listed=False))


def unlist_one(tx: Tx, uri: str) -> None:
    """Take one activity out of the outbox."""
    tx.execute(sa.update(activity).where(activity.c.uri == uri).values(listed=False))


def announces_of(tx: Tx, object_uri: str) -> list[tuple[ActorId, str, bytes]]:
    """Who of ours announces an object: actor, id of the Announce, its octets."""
    rows = tx.rows(
        sa.select(activity.c.actor_id, activity.c.uri, activity.c.body).where(
            activity.c.object_uri == object_uri,
            activity.c.type == "Announce",
            activity.c.listed,
        )
    )
    return [(ActorId(actor_id), uri, bytes(body)) for actor_id, uri, body in rows]


def about(tx: Tx, activity_id: ActivityId) -> str:
    """The object that an activity of ours is about: deliveries about one keep their order."""
    return str(tx.scalar(sa.select(activity.c.object_uri).where(activity.c.id == activity_id)))
