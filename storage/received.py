"""What was said to us: verified, kept once, applied later (RE-8, IN-7, IN-8)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import ReceivedId
from storage.schema import received, remote_actor, tombstone
from storage.store import Tx
from storage.times import from_ms, to_ms
from storage.wakeup import RECEIVED

_LONGEST = 500
_LOCK_SPACE = 4283303  # Of our advisory locks on signers.


@dataclass(frozen=True, slots=True)
class Received:
    """A verified activity that waits to be applied."""

    id: ReceivedId
    signer: str
    activity_uri: str
    type: str
    body: bytes
    attempts: int  # Requests that were made for it, at least one for each try that failed.


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified activity as it comes in."""

    signer: str
    activity_uri: str
    type: str
    body: bytes
    attempts: int = 0
    not_before: datetime | None = None  # None: to be applied at once.


def keep(tx: Tx, arrivals: Collection[Arrival], *, now: datetime) -> set[tuple[str, str]]:
    """Keep activities; a second copy changes nothing.

    Returns:
        Signer and id of those that were not here already.
    """
    ids = {(one.signer, _short(one.activity_uri)): one for one in arrivals}
    if not ids:
        return set()
    statement = (
        tx.insert(received)
        .on_conflict_do_nothing()
        .returning(received.c.signer, received.c.activity_uri)
    )
    # In one order: two processes that keep the same must not wait for each other.
    values = [
        {
            "signer": one.signer,
            "activity_uri": uri,
            "type": one.type,
            "body": one.body,
            "state": "waiting",
            "attempts": one.attempts,
            "not_before": to_ms(one.not_before or now),
            "at": to_ms(now),
        }
        for (_, uri), one in sorted(ids.items(), key=lambda item: item[0])
    ]
    new = [(row.signer, row.activity_uri) for row in tx.execute(statement, values)]
    if new:
        tx.wake(RECEIVED)
    return {(signer, ids[signer, uri].activity_uri) for signer, uri in new}


def _short(uri: str) -> str:
    """An id as the index takes it: PostgreSQL's have no room for two ids of full length."""
    return uri if len(uri) <= _LONGEST else f"urn:sha256:{sha256(uri.encode()).hexdigest()}"


def due(tx: Tx, *, now: datetime, limit: int) -> list[ReceivedId]:
    """Activities to apply, the oldest first."""
    rows = tx.rows(
        sa.select(received.c.id)
        .where(received.c.state == "waiting", received.c.not_before <= to_ms(now))
        .order_by(received.c.id)
        .limit(limit)
    )
    return [ReceivedId(row[0]) for row in rows]


def get(tx: Tx, received_id: ReceivedId) -> Received:
    """One that still waits. Raises NotThere."""
    row = tx.row(
        sa.select(*(received.c[name] for name in Received.__dataclass_fields__)).where(
            received.c.id == received_id, received.c.state == "waiting"
        )
    )
    if row is None:
        raise NotThere(str(received_id))
    return Received(*row)


@dataclass(frozen=True, slots=True)
class Told:
    """What came to nothing, or waits for another server, for the desk."""

    id: ReceivedId
    signer: str
    handle: str | None  # user@host, of an actor that we know.
    type: str
    state: str
    reason: str | None
    at: datetime
    not_before: datetime  # Of the next try, while it waits.


def told(tx: Tx, *, limit: int, state: str | None = None, before: int | None = None) -> list[Told]:
    """What was ignored, held or failed, the newest first, beyond the id `before`.

    Args:
        tx: The transaction.
        limit: So many.
        state: `ignored`, `held` or `failed` alone; `waiting`: what is tried again.
        before: The last id of the page before.
    """
    query = (
        sa.select(
            received.c.id,
            received.c.signer,
            remote_actor.c.username + "@" + remote_actor.c.host,
            received.c.type,
            received.c.state,
            received.c.reason,
            received.c.at,
            received.c.not_before,
        )
        .select_from(received.outerjoin(remote_actor, remote_actor.c.uri == received.c.signer))
        .order_by(received.c.id.desc())
        .limit(limit)
    )
    if state == "waiting":
        query = query.where(received.c.state == "waiting", received.c.reason.is_not(None))
    else:
        # As the index says it.
        query = query.where(sa.text("received.state NOT IN ('waiting', 'done')"))
        if state is not None:
            query = query.where(received.c.state == state)
    if before is not None:
        query = query.where(received.c.id < before)
    return [Told(*(*row[:-2], *map(from_ms, row[-2:]))) for row in tx.rows(query)]


def try_again(tx: Tx, received_id: ReceivedId, *, now: datetime) -> bool:
    """Let what was held or failed be applied anew. False if it is neither."""
    changed = tx.execute(
        sa.update(received)
        .where(received.c.id == received_id, received.c.state.in_(("held", "failed")))
        .values(state="waiting", attempts=0, not_before=to_ms(now), reason=None)
    )
    if changed.rowcount:
        tx.wake(RECEIVED)
    return changed.rowcount == 1


def hold(tx: Tx, received_id: ReceivedId, signer: str) -> bool:
    """Let nothing else of its signer be applied until this transaction ends. False if it is over.

    An Undo and what it undoes look for each other (RE-8): side by side neither would see the other.
    SQLite has one writer.
    """
    if tx.is_postgresql:
        lock = sa.func.pg_advisory_xact_lock(_LOCK_SPACE, sa.func.hashtext(signer))
        tx.execute(sa.select(lock))
    state = tx.scalar(sa.select(received.c.state).where(received.c.id == received_id))
    return bool(state == "waiting")


def finish(tx: Tx, received_id: ReceivedId, *, state: str, reason: str | None) -> bool:
    """Say that it is `done`, `ignored`, `held` or `failed`. False if somebody else did already."""
    changed = tx.execute(
        sa.update(received)
        .where(received.c.id == received_id, received.c.state == "waiting")
        .values(state=state, reason=reason)
    )
    return changed.rowcount == 1


def later(tx: Tx, received_id: ReceivedId, *, attempts: int, at: datetime, reason: str) -> None:
    """It could not be applied now."""
    tx.execute(
        sa.update(received)
        .where(received.c.id == received_id, received.c.state == "waiting")
        .values(attempts=attempts, not_before=to_ms(at), reason=reason)
    )


def forget_before(tx: Tx, moment: datetime) -> None:
    """Drop what is over and older; L-6 refuses a replay by then (L-7)."""
    tx.execute(
        sa.delete(received).where(received.c.at < to_ms(moment), received.c.state != "waiting")
    )
    tx.execute(sa.delete(tombstone).where(tombstone.c.at < to_ms(moment)))


def bury(tx: Tx, uri: str, signer: str, *, now: datetime) -> None:
    """Remember that its owner has ended this, so that a late beginning stays without effect."""
    tx.execute(
        tx.insert(tombstone).values(uri=uri, signer=signer, at=to_ms(now)).on_conflict_do_nothing()
    )


def is_buried(tx: Tx, uri: str, signer: str) -> bool:
    """Whether its owner has ended this before."""
    return (
        tx.row(
            sa.select(tombstone.c.uri).where(tombstone.c.uri == uri, tombstone.c.signer == signer)
        )
        is not None
    )
