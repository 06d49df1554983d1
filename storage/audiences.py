"""Who a letter by mail is for: conditions on a row of `subscriber`.

Sources: interface.md section 4; issue 4.3, 4.4, 4.7.
"""

from datetime import datetime

import sqlalchemy as sa

from storage.ids import PostId
from storage.schema import (
    actor,
    delivery,
    follower,
    mailing,
    post,
    post_topic,
    remote_actor,
    subscriber,
    subscription,
)
from storage.store import Tx
from storage.times import to_ms


def may_get_mail(now: datetime) -> sa.ColumnElement[bool]:
    """Of a row of `subscriber`: active, neither paused nor held."""
    moment = to_ms(now)
    return sa.and_(
        subscriber.c.state == "active",
        sa.or_(subscriber.c.paused_until.is_(None), subscriber.c.paused_until <= moment),
        sa.or_(subscriber.c.held_until.is_(None), subscriber.c.held_until <= moment),
    )


def of_topics(post_id: PostId) -> sa.ColumnElement[bool]:
    """Of a row of `subscriber`: chose a topic of this post.

    Who chose none gets every letter; a letter without one goes to everybody (interface.md 4).
    """
    topics = sa.select(post_topic.c.topic_id).where(post_topic.c.post_id == post_id)
    chosen = (
        sa.select(subscription.c.subscriber_id)
        .where(subscription.c.subscriber_id == subscriber.c.id, subscription.c.topic_id.in_(topics))
        .exists()
    )
    return sa.or_(subscriber.c.all_topics, chosen, sa.not_(topics.exists()))


def wants_letter(post_id: PostId) -> sa.ColumnElement[bool]:
    """Of a row of `subscriber`: gets this letter by itself, not in a digest."""
    return sa.and_(
        subscriber.c.rhythm == "every", of_topics(post_id), sa.not_(reads_elsewhere(post_id))
    )


def reads_elsewhere(post_id: PostId) -> sa.ColumnElement[bool]:
    """They follow us with an account that they proved theirs, and the letter goes there too."""
    return sa.and_(
        subscriber.c.follows_as.is_not(None),
        sa.select(follower.c.id)
        .join(remote_actor, remote_actor.c.id == follower.c.remote_actor_id)
        .join(actor, actor.c.id == follower.c.actor_id)
        .where(
            remote_actor.c.uri == subscriber.c.follows_as,
            actor.c.kind == "newsletter",
            follower.c.state == "accepted",
        )
        .exists(),
        sa.select(post.c.id).where(post.c.id == post_id, post.c.to_fediverse).exists(),
    )


def had_letter(post_id: PostId) -> sa.ColumnElement[bool]:
    """Of a row of `subscriber`: this letter was handed over for them, or may have been."""
    return (
        sa.select(delivery.c.id)
        .join(mailing, mailing.c.id == delivery.c.mailing_id)
        .where(
            mailing.c.post_id == post_id,
            mailing.c.kind == "issue",
            delivery.c.subscriber_id == subscriber.c.id,
            delivery.c.state.in_(("delivered", "uncertain")),
        )
        .exists()
    )


def count_mail_readers(tx: Tx, post_id: PostId, *, now: datetime) -> tuple[int, int]:
    """Who would get this letter by mail now, and who later in a monthly digest."""
    row = tx.row(
        sa.select(
            sa.func.count().filter(subscriber.c.rhythm == "every"),
            sa.func.count().filter(subscriber.c.rhythm == "monthly"),
        ).where(may_get_mail(now), of_topics(post_id), sa.not_(reads_elsewhere(post_id)))
    )
    assert row is not None  # noqa: S101 (an aggregate has one row)
    return int(row[0]), int(row[1])
