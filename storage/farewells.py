"""Forgetting people: whole rows, on their wish or because the time is over (PR-5, PR-6, L-81)."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from storage.ids import SubscriberId
from storage.schema import (
    bounce,
    confirmation,
    consent,
    delivery,
    notice,
    one_time_link,
    publish_ask,
    reply,
    subscriber,
    subscription,
    tally,
    vote,
)
from storage.silence import by_a_list
from storage.store import Tx
from storage.times import to_ms

_FOLDED = {"delivered": "delivered", "failed": "failed", "cancelled": "cancelled",
           "waiting": "cancelled", "started": "uncertain", "uncertain": "uncertain"}  # fmt: skip


def forget_subscriber(tx: Tx, subscriber_id: SubscriberId) -> None:
    """Remove a person with everything that hangs on them; counts of mailings stay (PR-5)."""
    _fold_deliveries(tx, subscriber_id)
    theirs = sa.select(notice.c.id).where(notice.c.subscriber_id == subscriber_id)
    bounced = sa.select(delivery.c.id).where(
        sa.or_(delivery.c.subscriber_id == subscriber_id, delivery.c.notice_id.in_(theirs))
    )
    tx.execute(sa.delete(bounce).where(bounce.c.delivery_id.in_(bounced)))
    tx.execute(
        sa.delete(delivery).where(
            sa.or_(delivery.c.subscriber_id == subscriber_id, delivery.c.notice_id.in_(theirs))
        )
    )
    for table in (notice, bounce, confirmation, consent, one_time_link, subscription):
        tx.execute(sa.delete(table).where(table.c.subscriber_id == subscriber_id))
    tx.execute(sa.delete(vote).where(vote.c.voter == f"subscriber:{subscriber_id}"))
    _forget_answers(tx, subscriber_id)
    tx.execute(sa.delete(subscriber).where(subscriber.c.id == subscriber_id))


def _fold_deliveries(tx: Tx, subscriber_id: SubscriberId) -> None:
    """A mailing's counts go on telling the truth when a reader's row is gone (RE-4)."""
    rows = tx.rows(
        sa.select(delivery.c.mailing_id, delivery.c.state).where(
            delivery.c.subscriber_id == subscriber_id, delivery.c.mailing_id.is_not(None)
        )
    )
    for mailing_id, state in rows:
        name = _FOLDED[state]
        tx.execute(
            tx.insert(tally)
            .values(mailing_id=mailing_id, **{name: 1})
            .on_conflict_do_update(index_elements=["mailing_id"], set_={name: tally.c[name] + 1})
        )


def _forget_answers(tx: Tx, subscriber_id: SubscriberId) -> None:
    """What they wrote goes; a row stays, empty, where others answered it."""
    identity = sa.select(subscriber.c.identity).where(subscriber.c.id == subscriber_id)
    own = sa.or_(
        reply.c.subscriber_id == subscriber_id, reply.c.address == identity.scalar_subquery()
    )
    answers = reply.alias()
    answered = sa.select(answers.c.parent_id).where(answers.c.parent_id.is_not(None))
    asked = sa.select(reply.c.id).where(own)
    tx.execute(sa.delete(publish_ask).where(publish_ask.c.reply_id.in_(asked)))
    tx.execute(sa.delete(reply).where(own, reply.c.id.not_in(answered)))
    tx.execute(
        sa.update(reply)
        .where(own)
        .values(
            subscriber_id=None,
            address=None,
            author_name="",
            content_html="",
            uri=sa.literal("forgotten:").concat(sa.cast(reply.c.id, sa.Text)),
            state="deleted",
            publish_consent=False,
        )
    )


def unconfirmed(tx: Tx, *, before: datetime, limit: int = 500) -> Sequence[SubscriberId]:
    """People who asked before and never confirmed (L-76); not those whom nobody asked yet."""
    asked = sa.select(confirmation.c.subscriber_id).where(
        confirmation.c.subscriber_id == subscriber.c.id
    )
    rows = tx.rows(
        sa.select(subscriber.c.id)
        .where(
            subscriber.c.state == "pending",
            subscriber.c.requested_at < to_ms(before),
            sa.or_(sa.not_(by_a_list), asked.exists()),
        )
        .limit(limit)
    )
    return [SubscriberId(row[0]) for row in rows]


def left(tx: Tx, *, before: datetime, limit: int = 500) -> Sequence[SubscriberId]:
    """People who left before."""
    rows = tx.rows(
        sa.select(subscriber.c.id)
        .where(subscriber.c.state == "left", subscriber.c.left_at < to_ms(before))
        .limit(limit)
    )
    return [SubscriberId(row[0]) for row in rows]


def suppressed(tx: Tx) -> Sequence[tuple[SubscriberId, str]]:
    """People whose addresses take no mail: id and identity."""
    rows = tx.rows(
        sa.select(subscriber.c.id, subscriber.c.identity).where(subscriber.c.state == "suppressed")
    )
    return [(SubscriberId(row[0]), row[1]) for row in rows]
