"""Quotes of our posts that were agreed to, each with a stamp until that is taken back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import PostId, RemoteActorId
from storage.schema import post, quote, remote_actor
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Quote:
    """One agreed quote, with what it quotes and who quotes."""

    public_id: str
    quote_uri: str
    post_id: PostId
    post_kind: str
    post_public_id: str
    post_slug: str
    post_title: str
    post_state: str
    actor_uri: str
    author_name: str
    handle: str
    id: int
    revoked_at: datetime | None
    at: datetime


_QUOTE = (
    sa.select(
        quote.c.public_id,
        quote.c.quote_uri,
        quote.c.post_id,
        post.c.kind,
        post.c.public_id,
        post.c.slug,
        post.c.title,
        post.c.state,
        remote_actor.c.uri,
        remote_actor.c.name,
        remote_actor.c.username + "@" + remote_actor.c.host,
        quote.c.id,
        quote.c.revoked_at,
        quote.c.at,
    )
    .join(post, post.c.id == quote.c.post_id)
    .join(remote_actor, remote_actor.c.id == quote.c.remote_actor_id)
)


def _quotes(tx: Tx, query: sa.Select[Any]) -> list[Quote]:
    return [Quote(*(*row[:-2], from_ms(row[-2]), from_ms(row[-1]))) for row in tx.rows(query)]


def agree(
    tx: Tx,
    post_id: PostId,
    remote_actor_id: RemoteActorId,
    quote_uri: str,
    *,
    public_id: str,
    now: datetime,
) -> Quote | None:
    """Agree to a quote; the one agreed to before if it is asked again.

    None if it was taken back, or if this id is another actor's.
    """
    tx.execute(
        tx.insert(quote)
        .values(
            public_id=public_id,
            post_id=post_id,
            remote_actor_id=remote_actor_id,
            quote_uri=quote_uri,
            at=to_ms(now),
        )
        .on_conflict_do_nothing()
    )
    found = _quotes(
        tx,
        _QUOTE.where(
            quote.c.post_id == post_id,
            quote.c.quote_uri == quote_uri,
            quote.c.remote_actor_id == remote_actor_id,
            quote.c.revoked_at.is_(None),
        ),
    )
    return found[0] if found else None


def quote_by_public_id(tx: Tx, public_id: str) -> Quote:
    """One quote. Raises NotThere."""
    found = _quotes(tx, _QUOTE.where(quote.c.public_id == public_id))
    if not found:
        raise NotThere(public_id)
    return found[0]


def list_quotes(
    tx: Tx, *, limit: int, before: int | None = None, post_id: PostId | None = None
) -> list[Quote]:
    """Agreed quotes, the newest first, beyond the id `before`."""
    query = _QUOTE.where(quote.c.revoked_at.is_(None)).order_by(quote.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(quote.c.id < before)
    return _quotes(tx, query if post_id is None else query.where(quote.c.post_id == post_id))


def revoke(tx: Tx, public_id: str, *, now: datetime) -> bool:
    """Take agreement back. False if it was already."""
    changed = tx.execute(
        sa.update(quote)
        .where(quote.c.public_id == public_id, quote.c.revoked_at.is_(None))
        .values(revoked_at=to_ms(now))
    )
    return changed.rowcount == 1


def forget_quote(tx: Tx, quote_uri: str, actor_uri: str) -> bool:
    """Its author has deleted the quoting post. False if there was none of theirs."""
    theirs = sa.select(remote_actor.c.id).where(remote_actor.c.uri == actor_uri)
    gone = tx.execute(
        sa.delete(quote).where(quote.c.quote_uri == quote_uri, quote.c.remote_actor_id.in_(theirs))
    )
    return gone.rowcount > 0
