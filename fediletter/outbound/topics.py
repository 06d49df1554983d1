"""Topics that can be followed: each public topic is an actor, which announces its letters.

A letter goes out once, from the newsletter; the topic's actor passes it on to its own followers by
an Announce. A host with followers of both gets each of the two activities once.

Sources: issue 3.4; federation.md 2, 11.1; RE-7.
"""

import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from fediletter.installation import add_keys
from fediletter.keyring import OwnActor
from fediletter.links import Links
from fediletter.outbound.say import say
from fediletter.rendering.activities import announce, undo
from fediletter.services import Services
from fediletter.settings import RESERVED_NAMES
from storage.activities import announces_of, unlist_one
from storage.errors import Conflict
from storage.ids import ActorId, TopicId
from storage.newsletters import add_actor, local_actors
from storage.posts import Post
from storage.store import Tx
from storage.topics import Topic, topics_without_actor

_LONGEST_NAME = 30  # federation.md section 2.

Announcers: TypeAlias = Mapping[TopicId, OwnActor]


async def give_actors(services: Services) -> None:
    """Make the actors that public topics lack; a second process that tries does nothing."""
    for topic in await services.store.read(topics_without_actor):
        try:
            await services.store.write(_give, services, topic, now=services.clock.now())
        except Conflict:
            continue  # Somebody else was faster.
        await services.keyring.reload()


def _give(tx: Tx, services: Services, topic: Topic, *, now: datetime) -> None:
    rows = local_actors(tx)
    if any(row.topic_id == topic.id for row in rows):
        raise Conflict(topic.slug)
    taken = {row.username.lower() for row in rows} | RESERVED_NAMES
    actor_id = add_actor(tx, free_name(topic.slug, taken), "topic", now=now, topic_id=topic.id)
    add_keys(tx, services.vault, actor_id, now=now)


def free_name(slug: str, taken: set[str]) -> str:
    """A user name for a topic: its slug, or with a number where that is somebody's already.

    >>> free_name("cuir-vegetal", {"shop"}), free_name("shop", {"shop"})
    ('cuir_vegetal', 'shop_2')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_") or "topic"
    name, number = plain[:_LONGEST_NAME], 1
    while name in taken:
        number += 1
        suffix = f"_{number}"
        name = plain[: _LONGEST_NAME - len(suffix)] + suffix
    return name


async def announcers(services: Services) -> Announcers:
    """The topics' actors, by topic."""
    await give_actors(services)
    return {
        own.row.topic_id: own
        for own in await services.keyring.all()
        if own.row.topic_id is not None
    }


def announce_changes(
    tx: Tx, by_topic: Announcers, post: Post, links: Links, *, start_at: datetime, now: datetime
) -> None:
    """Let each public topic of a letter announce it, and those that it lost take that back."""
    wanted = {
        by_topic[topic.id].id: by_topic[topic.id]
        for topic in post.topics
        if topic.public and topic.id in by_topic and post.audience == "public"
    }
    uri = links.post_object(post.kind, post.public_id)
    done = {actor_id for actor_id, _, _ in announces_of(tx, uri)}
    _undo(tx, by_topic, post, links, keeping=set(wanted), now=now)
    for actor_id, own in wanted.items():
        if actor_id in done:
            continue
        outgoing = announce(
            own.uri,
            uri,
            links,
            author=links.actor(),
            token=secrets.token_urlsafe(16),
            now=now,
        )
        say(tx, outgoing, own, post, audience="followers", start_at=start_at, now=now)


def unannounce(tx: Tx, by_topic: Announcers, post: Post, links: Links, *, now: datetime) -> None:
    """Take back every Announce of a letter that is withdrawn."""
    _undo(tx, by_topic, post, links, keeping=set(), now=now)


def _undo(
    tx: Tx, by_topic: Announcers, post: Post, links: Links, *, keeping: set[ActorId], now: datetime
) -> None:
    uri = links.post_object(post.kind, post.public_id)
    by_id = {own.id: own for own in by_topic.values()}
    for actor_id, announce_uri, body in announces_of(tx, uri):
        if actor_id in keeping:
            continue
        outgoing = undo(json.loads(body), uri, links, token=secrets.token_urlsafe(16))
        say(tx, outgoing, by_id[actor_id], post, audience="followers", start_at=now, now=now)
        unlist_one(tx, announce_uri)
