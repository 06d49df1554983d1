"""Subscribers of whom nothing was heard: for years, or since they were asked something."""

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from storage.ids import SubscriberId
from storage.schema import confirmation, consent, reply, subscriber
from storage.store import Tx
from storage.times import to_ms

# Consent events that are no act of the person.
_NOT_THEIRS = ("asked to stay", "requested")

# Of a row of `subscriber`: a list brought them here, wherever they came from first.
by_a_list = (
    sa.select(consent.c.id)
    .where(consent.c.subscriber_id == subscriber.c.id, consent.c.kind == "imported")
    .exists()
)


def silent_since(
    tx: Tx, moment: datetime, *, marks: Sequence[str], limit: int
) -> Sequence[SubscriberId]:
    """Active people without an act since, and without one of these marks since."""
    since = to_ms(moment)
    heard = sa.select(consent.c.id).where(
        consent.c.subscriber_id == subscriber.c.id,
        consent.c.at >= since,
        sa.or_(consent.c.kind.not_in(_NOT_THEIRS), consent.c.kind.in_(marks)),
    )
    answered = sa.select(reply.c.id).where(
        reply.c.subscriber_id == subscriber.c.id, reply.c.at >= since
    )
    return _ids(
        tx,
        sa.select(subscriber.c.id)
        .where(
            subscriber.c.state == "active",
            subscriber.c.requested_at < since,
            sa.or_(subscriber.c.confirmed_at.is_(None), subscriber.c.confirmed_at < since),
            sa.not_(heard.exists()),
            sa.not_(answered.exists()),
        )
        .order_by(subscriber.c.id)
        .limit(limit),
    )


def unanswered_since(tx: Tx, moment: datetime, *, mark: str, limit: int) -> Sequence[SubscriberId]:
    """Active people who were given this mark before, and have done nothing after it."""
    asked = (
        sa.select(consent.c.subscriber_id, sa.func.max(consent.c.at).label("at"))
        .where(consent.c.kind == mark)
        .group_by(consent.c.subscriber_id)
        .subquery()
    )
    acted = sa.select(consent.c.id).where(
        consent.c.subscriber_id == asked.c.subscriber_id,
        consent.c.at > asked.c.at,
        consent.c.kind.not_in(_NOT_THEIRS),
    )
    answered = sa.select(reply.c.id).where(
        reply.c.subscriber_id == asked.c.subscriber_id, reply.c.at > asked.c.at
    )
    return _ids(
        tx,
        sa.select(subscriber.c.id)
        .join(asked, asked.c.subscriber_id == subscriber.c.id)
        .where(
            subscriber.c.state == "active",
            asked.c.at < to_ms(moment),
            sa.not_(acted.exists()),
            sa.not_(answered.exists()),
        )
        .order_by(subscriber.c.id)
        .limit(limit),
    )


def unasked(
    tx: Tx, *, after: SubscriberId, domains_without: Collection[str], limit: int
) -> Sequence[SubscriberId]:
    """Imported people who wait for their confirmation, but not at these domains."""
    asked = sa.select(confirmation.c.token_hash).where(
        confirmation.c.subscriber_id == subscriber.c.id
    )
    return _ids(
        tx,
        sa.select(subscriber.c.id)
        .where(
            subscriber.c.state == "pending",
            by_a_list,
            subscriber.c.id > after,
            sa.not_(asked.exists()),
            *(subscriber.c.identity.not_like(f"%@{domain}") for domain in domains_without),
        )
        .order_by(subscriber.c.id)
        .limit(limit),
    )


def _ids(tx: Tx, query: sa.Select[tuple[int]]) -> Sequence[SubscriberId]:
    return [SubscriberId(row[0]) for row in tx.rows(query)]
