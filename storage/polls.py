"""Polls: a question with a few answers to choose from, and who chose what.

A voter is an actor id, or `subscriber:` and a row id. Counting is a query: no counter can drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import PostId
from storage.newsletters import touch
from storage.schema import poll, poll_option, post, vote
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to choose, with its votes so far."""

    id: int
    name: str
    votes: int


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll as it stands; options in the founders' order; `voters` counts people, not votes."""

    post_id: PostId
    multiple: bool
    ends_at: datetime
    closed_at: datetime | None
    options: tuple[Option, ...]
    voters: int


def create_poll(
    tx: Tx, post_id: PostId, names: Sequence[str], *, multiple: bool, ends_at: datetime
) -> None:
    """Make a post a poll; `names` are distinct."""
    tx.execute(sa.insert(poll).values(post_id=post_id, multiple=multiple, ends_at=to_ms(ends_at)))
    tx.execute(
        sa.insert(poll_option),
        [
            {"post_id": post_id, "position": position, "name": name}
            for position, name in enumerate(names)
        ],
    )


def get_poll(tx: Tx, post_id: PostId) -> Poll:
    """The poll of a post. Raises NotThere."""
    row = tx.row(
        sa.select(poll.c.multiple, poll.c.ends_at, poll.c.closed_at).where(
            poll.c.post_id == post_id
        )
    )
    if row is None:
        raise NotThere(str(post_id))
    options = tx.rows(
        sa.select(poll_option.c.id, poll_option.c.name, sa.func.count(vote.c.id))
        .outerjoin(vote, vote.c.option_id == poll_option.c.id)
        .where(poll_option.c.post_id == post_id)
        .group_by(poll_option.c.id, poll_option.c.name, poll_option.c.position)
        .order_by(poll_option.c.position)
    )
    voters = tx.scalar(
        sa.select(sa.func.count(sa.distinct(vote.c.voter))).where(vote.c.post_id == post_id)
    )
    return Poll(
        post_id,
        bool(row[0]),
        from_ms(row[1]),
        from_ms(row[2]),
        tuple(Option(*one) for one in options),
        int(voters),
    )


def lock_poll(tx: Tx, post_id: PostId) -> None:
    """Let nobody else vote until this transaction ends: a single choice stays single."""
    tx.row(sa.select(poll.c.post_id).where(poll.c.post_id == post_id).with_for_update())


def choices_of(tx: Tx, post_id: PostId, voter: str) -> set[int]:
    """The options that a voter has chosen."""
    rows = tx.rows(
        sa.select(vote.c.option_id).where(vote.c.post_id == post_id, vote.c.voter == voter)
    )
    return {row[0] for row in rows}


def add_vote(tx: Tx, post_id: PostId, option_id: int, voter: str, *, now: datetime) -> None:
    """Count a vote; the same one again changes nothing."""
    added = tx.row(
        tx.insert(vote)
        .values(post_id=post_id, option_id=option_id, voter=voter, at=to_ms(now))
        .on_conflict_do_nothing()
        .returning(vote.c.id)
    )
    if added is not None:
        tx.execute(sa.update(poll).where(poll.c.post_id == post_id).values(changed=True))
        touch(tx)


def forget_votes(tx: Tx, voter: str) -> None:
    """A voter is gone, and their votes with them (PR-7)."""
    theirs = sa.select(vote.c.post_id).where(vote.c.voter == voter)
    open_ones = sa.and_(poll.c.post_id.in_(theirs), poll.c.closed_at.is_(None))
    tx.execute(sa.update(poll).where(open_ones).values(changed=True))
    tx.execute(sa.delete(vote).where(vote.c.voter == voter))


def voters_of(tx: Tx, post_id: PostId) -> list[str]:
    """Everybody who has voted."""
    rows = tx.rows(sa.select(vote.c.voter).where(vote.c.post_id == post_id).distinct())
    return [row[0] for row in rows]


def due_tallies(tx: Tx, *, now: datetime, every: timedelta) -> list[PostId]:
    """Open polls with new votes, whose last tally went out at least `every` ago."""
    rows = tx.rows(
        _PUBLISHED.where(
            poll.c.changed,
            sa.or_(poll.c.tallied_at.is_(None), poll.c.tallied_at <= to_ms(now - every)),
        )
    )
    return [PostId(row[0]) for row in rows]


def due_closings(tx: Tx, *, now: datetime, grace: timedelta) -> list[PostId]:
    """Open polls whose end has passed, and the grace for votes under way."""
    rows = tx.rows(_PUBLISHED.where(poll.c.ends_at <= to_ms(now - grace)))
    return [PostId(row[0]) for row in rows]


_PUBLISHED = (
    sa.select(poll.c.post_id)
    .join(post, post.c.id == poll.c.post_id)
    .where(post.c.state == "published", poll.c.closed_at.is_(None))
)


def end_now(tx: Tx, post_id: PostId, *, now: datetime) -> None:
    """Let an open poll end before its time; what is told of it follows as at any end."""
    tx.execute(
        sa.update(poll)
        .where(poll.c.post_id == post_id, poll.c.closed_at.is_(None), poll.c.ends_at > to_ms(now))
        .values(ends_at=to_ms(now.replace(microsecond=0)))
    )
    touch(tx)


def rename_voter(tx: Tx, former: str, voter: str) -> None:
    """Two names are one reader's: the votes under the former are of the other from now on.

    Where both have voted in a poll, the other's vote counts.
    """
    theirs = sa.select(vote.c.post_id).where(vote.c.voter == voter)
    both = sa.select(vote.c.post_id).where(vote.c.voter == former, vote.c.post_id.in_(theirs))
    polls_of_both = [row[0] for row in tx.rows(both.distinct())]
    tx.execute(sa.delete(vote).where(vote.c.voter == former, vote.c.post_id.in_(polls_of_both)))
    open_ones = sa.and_(poll.c.post_id.in_(polls_of_both), poll.c.closed_at.is_(None))
    tx.execute(sa.update(poll).where(open_ones).values(changed=True))
    tx.execute(sa.update(vote).where(vote.c.voter == former).values(voter=voter))
    touch(tx)


def mark_tallied(tx: Tx, post_id: PostId, *, now: datetime, every: timedelta) -> bool:
    """A tally goes out now. False if another process was faster."""
    changed = tx.execute(
        sa.update(poll)
        .where(
            poll.c.post_id == post_id,
            poll.c.changed,
            poll.c.closed_at.is_(None),
            sa.or_(poll.c.tallied_at.is_(None), poll.c.tallied_at <= to_ms(now - every)),
        )
        .values(changed=False, tallied_at=to_ms(now))
    )
    return changed.rowcount == 1


def mark_closed(tx: Tx, post_id: PostId) -> bool:
    """The poll has ended at its time. False if that is known already."""
    changed = tx.execute(
        sa.update(poll)
        .where(poll.c.post_id == post_id, poll.c.closed_at.is_(None))
        .values(closed_at=poll.c.ends_at, changed=False)
    )
    if changed.rowcount:
        touch(tx)
    return changed.rowcount == 1
