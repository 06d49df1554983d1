"""Topics: labels that a reader may choose and a letter may carry."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import PostId, TopicId
from storage.newsletters import touch
from storage.schema import actor, post_topic, subscriber, subscription, topic
from storage.store import Tx
from storage.times import to_ms


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; `hashtag` without the '#'."""

    id: TopicId
    slug: str
    name: str
    description: str
    hashtag: str
    public: bool


_COLUMNS = [topic.c[name] for name in Topic.__dataclass_fields__]


def all_topics(tx: Tx, *, public_only: bool = False) -> list[Topic]:
    """Topics in the founders' order."""
    query = sa.select(*_COLUMNS).order_by(topic.c.position, topic.c.name)
    if public_only:
        query = query.where(topic.c.public)
    return [Topic(*row) for row in tx.rows(query)]


def topic_by_slug(tx: Tx, slug: str) -> Topic:
    """One topic.

    Raises:
        NotThere: No topic has this slug.
    """
    row = tx.row(sa.select(*_COLUMNS).where(topic.c.slug == slug))
    if row is None:
        raise NotThere(slug)
    return Topic(*row)


def topics_without_actor(tx: Tx) -> list[Topic]:
    """Public topics that nobody can follow yet."""
    theirs = sa.select(actor.c.topic_id).where(actor.c.topic_id.is_not(None))
    query = sa.select(*_COLUMNS).where(topic.c.public, topic.c.id.not_in(theirs))
    return [Topic(*row) for row in tx.rows(query.order_by(topic.c.id))]


def topic_names(tx: Tx) -> dict[TopicId, str]:
    """User names of the topics that can be followed."""
    rows = tx.rows(
        sa.select(actor.c.topic_id, actor.c.username).where(actor.c.topic_id.is_not(None))
    )
    return {TopicId(topic_id): username for topic_id, username in rows}


def get_topic(tx: Tx, topic_id: TopicId) -> Topic:
    """One topic. Raises NotThere."""
    row = tx.row(sa.select(*_COLUMNS).where(topic.c.id == topic_id))
    if row is None:
        raise NotThere(str(topic_id))
    return Topic(*row)


def add_topic(
    tx: Tx, *, slug: str, name: str, hashtag: str, now: datetime, description: str = ""
) -> Topic:
    """A new public topic.

    Raises:
        Conflict: The slug is taken.
    """
    statement = (
        tx.insert(topic)
        .values(
            slug=slug, name=name, hashtag=hashtag, description=description, created_at=to_ms(now)
        )
        .on_conflict_do_nothing()
        .returning(*_COLUMNS)
    )
    row = tx.row(statement)
    if row is None:
        raise Conflict(slug)
    touch(tx)
    return Topic(*row)


def update_topic(
    tx: Tx, topic_id: TopicId, *, name: str, hashtag: str, description: str, public: bool
) -> None:
    """Rename or hide a topic; its slug stays, links must not break."""
    changed = tx.execute(
        sa.update(topic)
        .where(topic.c.id == topic_id)
        .values(name=name, hashtag=hashtag, description=description, public=public)
    )
    if changed.rowcount == 0:
        raise NotThere(str(topic_id))
    touch(tx)


def topics_of_posts(tx: Tx, post_ids: list[PostId]) -> dict[PostId, tuple[Topic, ...]]:
    """Topics by post, in the founders' order; posts without any are absent."""
    if not post_ids:
        return {}
    rows = tx.rows(
        sa.select(post_topic.c.post_id, *_COLUMNS)
        .join(topic, topic.c.id == post_topic.c.topic_id)
        .where(post_topic.c.post_id.in_(post_ids))
        .order_by(topic.c.position, topic.c.name)
    )
    found: dict[PostId, tuple[Topic, ...]] = {}
    for post_id, *values in rows:
        found[post_id] = (*found.get(post_id, ()), Topic(*values))
    return found


def set_topics(tx: Tx, post_id: PostId, topic_ids: list[TopicId]) -> None:
    """Replace the topics of a post."""
    tx.execute(sa.delete(post_topic).where(post_topic.c.post_id == post_id))
    if topic_ids:
        tx.execute(
            sa.insert(post_topic),
            [{"post_id": post_id, "topic_id": topic_id} for topic_id in dict.fromkeys(topic_ids)],
        )


def readers_by_topic(tx: Tx) -> dict[TopicId, int]:
    """Active subscribers who chose each topic, beside those who take every letter."""
    rows = tx.rows(
        sa.select(subscription.c.topic_id, sa.func.count())
        .join(subscriber, subscriber.c.id == subscription.c.subscriber_id)
        .where(subscriber.c.state == "active", sa.not_(subscriber.c.all_topics))
        .group_by(subscription.c.topic_id)
    )
    return {TopicId(topic_id): count for topic_id, count in rows}
