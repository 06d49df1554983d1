"""One person's data: the one-time links to it, and all of it in one piece (PR-4)."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.ids import SubscriberId
from storage.schema import (
    bounce,
    confirmation,
    consent,
    consent_text,
    delivery,
    mailing,
    notice,
    one_time_link,
    post,
    publish_ask,
    reply,
    subscriber,
    subscription,
    topic,
    vote,
)
from storage.store import Tx
from storage.times import from_ms, to_ms


def add_link(
    tx: Tx,
    token_hash: bytes,
    purpose: str,
    subscriber_id: SubscriberId,
    *,
    detail: str,
    expires_at: datetime,
    now: datetime,
) -> None:
    """A one-time link of a subscriber; earlier ones of the same purpose die."""
    tx.execute(
        sa.delete(one_time_link).where(
            one_time_link.c.purpose == purpose, one_time_link.c.subscriber_id == subscriber_id
        )
    )
    tx.execute(
        sa.insert(one_time_link).values(
            token_hash=token_hash,
            purpose=purpose,
            subscriber_id=subscriber_id,
            detail=detail,
            created_at=to_ms(now),
            expires_at=to_ms(expires_at),
        )
    )


def find_link(
    tx: Tx, token_hash: bytes, *, now: datetime
) -> tuple[str, SubscriberId, str | None] | None:
    """Purpose, subscriber and detail of a link that may still be used."""
    row = tx.row(
        sa.select(
            one_time_link.c.purpose, one_time_link.c.subscriber_id, one_time_link.c.detail
        ).where(
            one_time_link.c.token_hash == token_hash,
            one_time_link.c.subscriber_id.is_not(None),
            one_time_link.c.used_at.is_(None),
            one_time_link.c.expires_at > to_ms(now),
        )
    )
    return None if row is None else (row[0], SubscriberId(row[1]), row[2])


def use_link(tx: Tx, token_hash: bytes, *, now: datetime) -> None:
    """A link has served; what it carried is gone."""
    tx.execute(
        sa.update(one_time_link)
        .where(one_time_link.c.token_hash == token_hash)
        .values(used_at=to_ms(now), detail=None)
    )


def drop_links(tx: Tx, subscriber_id: SubscriberId) -> None:
    """A subscriber's links that were not used yet end: what was mailed to an address serves it."""
    tx.execute(
        sa.delete(one_time_link).where(
            one_time_link.c.subscriber_id == subscriber_id, one_time_link.c.used_at.is_(None)
        )
    )


def forget_links(tx: Tx, *, now: datetime) -> None:
    """Drop subscribers' links that are over."""
    tx.execute(
        sa.delete(one_time_link).where(
            one_time_link.c.subscriber_id.is_not(None), one_time_link.c.expires_at <= to_ms(now)
        )
    )


# What is on a person, table by table; a test holds this list against the schema.
_TABLES = {
    "subscriptions": (
        sa.select(topic.c.slug, topic.c.name, subscription.c.since).join_from(subscription, topic),
        subscription.c.subscriber_id,
    ),
    "consent": (
        sa.select(
            consent.c.kind,
            consent.c.at,
            consent.c.channel,
            consent.c.language,
            consent.c.topics_before_json,
            consent.c.topics_after_json,
            consent.c.message_id,
            consent.c.proof,
            consent.c.text_version,
            consent_text.c.text.label("wording"),
        )
        .select_from(
            consent.outerjoin(consent_text, consent_text.c.version == consent.c.text_version)
        )
        .order_by(consent.c.id),
        consent.c.subscriber_id,
    ),
    "confirmations": (
        sa.select(
            confirmation.c.wish_json,
            confirmation.c.created_at,
            confirmation.c.expires_at,
            confirmation.c.used_at,
        ),
        confirmation.c.subscriber_id,
    ),
    "links": (
        sa.select(one_time_link.c.purpose, one_time_link.c.created_at, one_time_link.c.used_at),
        one_time_link.c.subscriber_id,
    ),
    "letters": (
        sa.select(
            post.c.title,
            mailing.c.kind,
            delivery.c.state,
            delivery.c.created_at,
            delivery.c.ended_at,
            delivery.c.message_id,
            delivery.c.answer,
        )
        .select_from(
            delivery.join(mailing, mailing.c.id == delivery.c.mailing_id).join(
                post, post.c.id == mailing.c.post_id
            )
        )
        .order_by(delivery.c.id),
        delivery.c.subscriber_id,
    ),
    "notices": (
        sa.select(notice.c.kind, notice.c.recipient, notice.c.message_id, notice.c.created_at),
        notice.c.subscriber_id,
    ),
    "bounces": (
        sa.select(bounce.c.class_, bounce.c.status, bounce.c.excerpt, bounce.c.at),
        bounce.c.subscriber_id,
    ),
    "answers": (
        sa.select(
            post.c.title.label("letter"),
            reply.c.author_name,
            reply.c.content_html,
            reply.c.state,
            reply.c.publish_consent,
            reply.c.published_at,
            publish_ask.c.asked_at,
            publish_ask.c.agreed_at,
            publish_ask.c.withdrawn_at,
            consent_text.c.text.label("wording"),
        ).select_from(
            reply.join(post, post.c.id == reply.c.post_id)
            .outerjoin(publish_ask, publish_ask.c.reply_id == reply.c.id)
            .outerjoin(consent_text, consent_text.c.version == publish_ask.c.text_version)
        ),
        reply.c.subscriber_id,
    ),
}
_SECRET = frozenset({"key", "mail_lane", "id", "epoch"})
_MOMENTS = ("_at", "_until", "at", "since")


def everything_on(tx: Tx, subscriber_id: SubscriberId) -> dict[str, Any]:
    """All rows on a person, by table; moments in ISO 8601, no keys or row numbers."""
    columns = [column for column in subscriber.c if column.name not in _SECRET]
    found: dict[str, Any] = {
        "subscriber": _records(tx, sa.select(*columns).where(subscriber.c.id == subscriber_id))[0]
    }
    for name, (query, owner) in _TABLES.items():
        found[name] = _records(tx, query.where(owner == subscriber_id))
    voter = f"subscriber:{subscriber_id}"
    found["votes"] = _records(
        tx,
        sa.select(post.c.title, vote.c.at)
        .select_from(vote.join(post, post.c.id == vote.c.post_id))
        .where(vote.c.voter == voter),
    )
    return found


def _records(tx: Tx, query: sa.Select[Any]) -> list[dict[str, Any]]:
    names = [column.name for column in query.selected_columns]
    return [
        {
            name: _moment(value) if name.endswith(_MOMENTS) else value
            for name, value in zip(names, row, strict=True)
        }
        for row in tx.rows(query)
    ]


def _moment(value: int | None) -> str | None:
    moment = from_ms(value)
    return None if moment is None else moment.isoformat()
