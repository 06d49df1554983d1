"""Subjects to come: proposed, open to a vote, chosen; the votes are those of a poll.

A subject holds no name of whoever proposed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import PostId
from storage.newsletters import touch
from storage.schema import subject
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject; plain texts."""

    public_id: str
    title: str
    description: str
    state: str  # proposed, open, chosen, declined
    post_id: PostId | None  # The letter that was made of it.
    poll_id: PostId | None  # The last poll that it stood in, as the option of its title.
    at: datetime


_COLUMNS = [subject.c[name] for name in Subject.__dataclass_fields__]


def add_subject(
    tx: Tx, title: str, description: str, *, state: str, public_id: str, now: datetime
) -> None:
    """A new subject. Raises Conflict if one that is open has this title."""
    if state == "open":
        _require_free(tx, title)
    tx.execute(
        sa.insert(subject).values(
            public_id=public_id, title=title, description=description, state=state, at=to_ms(now)
        )
    )
    if state == "open":
        touch(tx)


def subjects(tx: Tx, state: str, *, limit: int) -> list[Subject]:
    """Subjects of one state, the newest first."""
    query = sa.select(*_COLUMNS).where(subject.c.state == state)
    rows = tx.rows(query.order_by(subject.c.id.desc()).limit(limit))
    return [_read(row) for row in rows]


def get_subject(tx: Tx, public_id: str) -> Subject:
    """One subject. Raises NotThere."""
    row = tx.row(sa.select(*_COLUMNS).where(subject.c.public_id == public_id))
    if row is None:
        raise NotThere(public_id)
    return _read(row)


def count_proposed(tx: Tx) -> int:
    """How many wait for a decision."""
    counted = sa.select(sa.func.count()).select_from(subject)
    return int(tx.scalar(counted.where(subject.c.state == "proposed")))


def accept(tx: Tx, public_id: str) -> None:
    """A proposal is shown from now on. Raises NotThere, or Conflict as `add_subject`."""
    _require_free(tx, get_subject(tx, public_id).title)
    _move(tx, public_id, ("proposed",), state="open")


def decline(tx: Tx, public_id: str) -> None:
    """It is not shown, or no more. Raises Conflict if it is neither proposed nor open."""
    _move(tx, public_id, ("proposed", "open"), state="declined")


def choose(tx: Tx, public_id: str, post_id: PostId) -> None:
    """A letter is made of it. Raises Conflict if it is not open."""
    _move(tx, public_id, ("open",), state="chosen", post_id=post_id)


def put_to_vote(tx: Tx, public_ids: Sequence[str], poll_id: PostId) -> None:
    """These subjects stand in a poll. Raises Conflict if one of them is not open."""
    for public_id in public_ids:
        _move(tx, public_id, ("open",), poll_id=poll_id)


def last_poll(tx: Tx) -> PostId | None:
    """The newest poll that subjects stood in; None if there was none."""
    found = tx.scalar(sa.select(sa.func.max(subject.c.poll_id)))
    return None if found is None else PostId(found)


def _read(row: Sequence[Any]) -> Subject:
    values: list[Any] = [*row[:-1], from_ms(row[-1])]
    return Subject(*values)


def _require_free(tx: Tx, title: str) -> None:
    query = sa.select(subject.c.id).where(subject.c.state == "open", subject.c.title == title)
    if tx.row(query) is not None:
        raise Conflict(title)


def _move(tx: Tx, public_id: str, states: Sequence[str], **values: object) -> None:
    changed = tx.execute(
        sa.update(subject)
        .where(subject.c.public_id == public_id, subject.c.state.in_(states))
        .values(**values)
    )
    if changed.rowcount == 0:
        raise Conflict(public_id)
    touch(tx)
