"""Blocks of actors and domains, decided by founders."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.ids import InboxId
from storage.lanes import close_inboxes
from storage.newsletters import touch
from storage.schema import block as blocks
from storage.schema import follower, inbox, lane, remote_actor, reply
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Block:
    """One block: `kind` is `actor` (value: its id) or `domain`."""

    kind: str
    value: str
    note: str
    id: int
    at: datetime


def is_blocked(tx: Tx, actor_uri: str, host: str) -> bool:
    """Whether an actor, its host or a parent domain of it is blocked."""
    return bool(blocked_among(tx, [(actor_uri, host)]))


def blocked_among(tx: Tx, whom: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these are blocked: by their id, their host or a parent domain of it.

    Args:
        tx: The transaction.
        whom: Ids of actors with their hosts.
    """
    domains = {host: _domains(host) for _, host in whom}
    rows = tx.rows(
        sa.select(blocks.c.kind, blocks.c.value).where(
            sa.or_(
                sa.and_(blocks.c.kind == "actor", blocks.c.value.in_({uri for uri, _ in whom})),
                sa.and_(
                    blocks.c.kind == "domain", blocks.c.value.in_(set().union(*domains.values()))
                ),
            )
        )
    )
    found = set(rows)
    return {
        (uri, host)
        for uri, host in whom
        if found
        and (("actor", uri) in found or any(("domain", one) in found for one in domains[host]))
    }


def _domains(host: str) -> set[str]:
    labels = host.partition(":")[0].split(".")
    return {host, *(".".join(labels[start:]) for start in range(len(labels)))}


def add_block(tx: Tx, kind: str, value: str, *, note: str, now: datetime) -> bool:
    """Block an actor or a domain. False if it was blocked already."""
    statement = (
        tx.insert(blocks)
        .values(kind=kind, value=value, note=note, at=to_ms(now))
        .on_conflict_do_nothing()
        .returning(blocks.c.id)
    )
    return tx.row(statement) is not None


def block(tx: Tx, kind: str, value: str, *, note: str, now: datetime) -> bool:
    """Block, with all that follows: no follower, no delivery, no reply shown.

    Args:
        tx: The transaction.
        kind: `actor` (value: its id) or `domain` (with all domains below it).
        value: Domains in lower case.
        note: For the founders.
        now: The time.

    Returns:
        False if it was blocked already.
    """
    added = add_block(tx, kind, value, note=note, now=now)
    theirs = sa.select(remote_actor.c.id)
    if kind == "actor":
        theirs = theirs.where(remote_actor.c.uri == value)
    else:
        theirs = theirs.where(_at(remote_actor.c.host, value))
    inboxes = sa.select(inbox.c.id)
    if kind == "actor":
        personal = sa.select(remote_actor.c.inbox_url).where(remote_actor.c.uri == value)
        inboxes = inboxes.where(inbox.c.url.in_(personal), sa.not_(inbox.c.shared))
    else:
        lanes = sa.select(lane.c.id).where(
            lane.c.key.startswith("ap:"), _at(sa.func.substr(lane.c.key, 4), value)
        )
        inboxes = inboxes.where(inbox.c.lane_id.in_(lanes))
    close_inboxes(tx, [InboxId(row[0]) for row in tx.rows(inboxes)], now=now)
    tx.execute(sa.delete(follower).where(follower.c.remote_actor_id.in_(theirs)))
    tx.execute(
        sa.update(reply)
        .where(reply.c.remote_actor_id.in_(theirs), reply.c.state != "deleted")
        .values(state="hidden")
    )
    tx.execute(sa.update(remote_actor).where(remote_actor.c.id.in_(theirs)).values(approved=False))
    touch(tx)
    return added


def _at(host: sa.ColumnElement[str], domain: str) -> sa.ColumnElement[bool]:
    """Whether a host, with or without a port, is a domain or below it."""
    forms = (host == domain, host.startswith(f"{domain}:", autoescape=True))
    below = (
        host.endswith(f".{domain}", autoescape=True),
        host.contains(f".{domain}:", autoescape=True),
    )
    return sa.or_(*forms, *below)


def remove_block(tx: Tx, value: str) -> bool:
    """Lift a block: who was closed out may be written to again. False if there was none."""
    lanes = sa.select(lane.c.id).where(
        lane.c.key.startswith("ap:"), _at(sa.func.substr(lane.c.key, 4), value)
    )
    theirs = sa.select(remote_actor.c.inbox_url).where(remote_actor.c.uri == value)
    closed = sa.or_(inbox.c.lane_id.in_(lanes), inbox.c.url.in_(theirs))
    tx.execute(sa.update(inbox).where(closed, inbox.c.gone_at.is_not(None)).values(gone_at=None))
    return tx.execute(sa.delete(blocks).where(blocks.c.value == value)).rowcount > 0


def list_blocks(tx: Tx, *, limit: int, before: int | None = None, search: str = "") -> list[Block]:
    """Blocks, the newest first, beyond the id `before`; `search` matches any part of a value."""
    query = _SELECT.order_by(blocks.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(blocks.c.id < before)
    if search:
        query = query.where(blocks.c.value.contains(search.lower(), autoescape=True))
    return [_read(row) for row in tx.rows(query)]


def all_blocks(tx: Tx) -> list[Block]:
    """Every block, the oldest first."""
    return [_read(row) for row in tx.rows(_SELECT.order_by(blocks.c.id))]


_SELECT = sa.select(blocks.c.kind, blocks.c.value, blocks.c.note, blocks.c.id, blocks.c.at)


def _read(row: tuple[Any, ...]) -> Block:
    return Block(*(*row[:-1], from_ms(row[-1])))
