"""When letters came out and will: what the promise of a rhythm is measured by."""

from datetime import datetime

import sqlalchemy as sa

from storage.ids import PostId
from storage.schema import newsletter, post
from storage.store import Tx
from storage.times import from_ms, to_ms

_OUT = sa.and_(post.c.state.in_(("published", "withdrawn")), post.c.published_at.is_not(None))


def lock_rhythm(tx: Tx) -> None:
    """Let nobody else publish until this transaction ends: of two letters one is the first."""
    tx.row(sa.select(newsletter.c.id).with_for_update())


def promised_days(tx: Tx) -> int:
    """The promise; 0 if none is made."""
    return int(tx.scalar(sa.select(newsletter.c.rhythm_days)) or 0)


def letter_between(
    tx: Tx, at: datetime, since: datetime, until: datetime, *, but: PostId | None
) -> datetime | None:
    """When a letter came out or is planned in a span, the latest; None if there is none.

    One that is planned for later and has its reason breaks the promise itself, and does not count.

    Args:
        tx: The transaction.
        at: When the letter is to come out that is held to the promise.
        since: The span's first moment.
        until: The first moment after it.
        but: A letter that does not count.
    """
    moment = sa.case((post.c.state == "scheduled", post.c.scheduled_at), else_=post.c.published_at)
    query = sa.select(sa.func.max(moment)).where(
        post.c.kind == "issue",
        sa.or_(
            _OUT,
            sa.and_(
                post.c.state == "scheduled",
                sa.or_(post.c.rhythm_reason == "", post.c.scheduled_at < to_ms(at)),
            ),
        ),
        moment >= to_ms(since),
        moment < to_ms(until),
    )
    if but is not None:
        query = query.where(post.c.id != but)
    found: int | None = tx.scalar(query)
    return from_ms(found)


def set_reason(tx: Tx, post_id: PostId, reason: str) -> None:
    """Why this letter breaks the promise; empty if it keeps it."""
    tx.execute(sa.update(post).where(post.c.id == post_id).values(rhythm_reason=reason))
