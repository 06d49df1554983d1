"""Whether the writer of a mail lets it stand on a page: asked once, answered by their link.

Sources: issue 4 point 6; OP-5 (a consent is kept with its wording and its time).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.ids import ReplyId
from storage.newsletters import touch
from storage.schema import publish_ask, reply
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the writer of one mail."""

    reply_id: ReplyId
    asked_at: datetime
    expires_at: datetime  # To agree; to withdraw there is no end.
    agreed_at: datetime | None
    withdrawn_at: datetime | None

    @property
    def agrees(self) -> bool:
        """Whether the writer agreed, and has not changed their mind."""
        return self.agreed_at is not None and self.withdrawn_at is None


_ASK = sa.select(
    publish_ask.c.reply_id,
    publish_ask.c.asked_at,
    publish_ask.c.expires_at,
    publish_ask.c.agreed_at,
    publish_ask.c.withdrawn_at,
)


def _asks(tx: Tx, query: sa.Select[tuple[int, ...]]) -> list[Ask]:
    return [Ask(ReplyId(row[0]), *(from_ms(one) for one in row[1:])) for row in tx.rows(query)]


def ask_writer(
    tx: Tx, reply_id: ReplyId, key: bytes, *, expires_at: datetime, now: datetime
) -> bool:
    """Keep that the writer is asked. False if they were asked before: nobody is asked twice."""
    row = tx.row(
        tx.insert(publish_ask)
        .values(reply_id=reply_id, key=key, asked_at=to_ms(now), expires_at=to_ms(expires_at))
        .on_conflict_do_nothing()
        .returning(publish_ask.c.reply_id)
    )
    return row is not None


def ask_by_key(tx: Tx, key: bytes) -> Ask | None:
    """The question that a link stands for."""
    found = _asks(tx, _ASK.where(publish_ask.c.key == key))
    return found[0] if found else None


def asks_about(tx: Tx, reply_ids: Sequence[ReplyId]) -> dict[ReplyId, Ask]:
    """The questions about these mails."""
    found = _asks(tx, _ASK.where(publish_ask.c.reply_id.in_(list(reply_ids))))
    return {one.reply_id: one for one in found}


def agree(tx: Tx, reply_id: ReplyId, *, name: str, text_version: str, now: datetime) -> None:
    """The writer lets it be shown under this name, having read this wording."""
    tx.execute(
        sa.update(publish_ask)
        .where(publish_ask.c.reply_id == reply_id)
        .values(agreed_at=to_ms(now), withdrawn_at=None, text_version=text_version)
    )
    tx.execute(
        sa.update(reply)
        .where(reply.c.id == reply_id, reply.c.state != "deleted")
        .values(publish_consent=True, visibility="public", author_name=name)
    )
    touch(tx)


def withdraw(tx: Tx, reply_id: ReplyId, *, now: datetime) -> None:
    """The writer takes it back: from now on it is for the founders' eyes again."""
    tx.execute(
        sa.update(publish_ask)
        .where(publish_ask.c.reply_id == reply_id)
        .values(withdrawn_at=to_ms(now))
    )
    tx.execute(
        sa.update(reply)
        .where(reply.c.id == reply_id)
        .values(publish_consent=False, visibility="direct")
    )
    tx.execute(
        sa.update(reply)
        .where(reply.c.id == reply_id, reply.c.state == "approved")
        .values(state="pending")
    )
    touch(tx)
