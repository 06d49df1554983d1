"""What readers answered: replies, likes, boosts, reports, quotes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import PostId, RemoteActorId, ReplyId, SubscriberId
from storage.newsletters import touch
from storage.schema import post, reaction, remote_actor, reply, report
from storage.store import Tx
from storage.times import from_ms, to_ms

SHOWN = ("public", "unlisted")  # What may ever stand on a page (IN-32).


@dataclass(frozen=True, slots=True)
class NewReply:
    """A reply to keep; `content_html` is sanitised already."""

    post_id: PostId
    channel: str
    uri: str
    content_html: str
    visibility: str
    published_at: datetime
    parent_id: ReplyId | None = None
    remote_actor_id: RemoteActorId | None = None
    subscriber_id: SubscriberId | None = None
    author_name: str = ""
    url: str | None = None
    context: str | None = None
    mention: bool = False
    updated_at: datetime | None = None  # Of an edit that came before what it edits.


@dataclass(frozen=True, slots=True)
class Reply:
    """A kept reply with its author."""

    id: ReplyId
    post_id: PostId
    parent_id: ReplyId | None
    channel: str
    uri: str
    content_html: str
    url: str | None
    context: str | None
    visibility: str
    state: str
    author_name: str
    actor_uri: str | None
    handle: str | None
    actor_url: str | None
    post_title: str
    post_slug: str
    mention: bool  # Names us and answers nothing of ours: never shown below a letter.
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """A Note of the founders that answers a reply."""

    id: PostId
    public_id: str
    reply_id: ReplyId
    body_markdown: str
    language: str
    audience: str
    version: int
    published_at: datetime


_REPLY = sa.select(
    reply.c.id,
    reply.c.post_id,
    reply.c.parent_id,
    reply.c.channel,
    reply.c.uri,
    reply.c.content_html,
    reply.c.url,
    reply.c.context,
    reply.c.visibility,
    reply.c.state,
    sa.func.coalesce(sa.func.nullif(remote_actor.c.name, ""), reply.c.author_name),
    remote_actor.c.uri,
    remote_actor.c.username + "@" + remote_actor.c.host,
    remote_actor.c.url,
    post.c.title,
    post.c.slug,
    reply.c.mention,
    reply.c.published_at,
).select_from(
    reply.join(post, post.c.id == reply.c.post_id).outerjoin(
        remote_actor, remote_actor.c.id == reply.c.remote_actor_id
    )
)


_IS_SHOWN = sa.and_(
    reply.c.state == "approved", reply.c.visibility.in_(SHOWN), sa.not_(reply.c.mention)
)


def _replies(tx: Tx, query: sa.Select[Any]) -> list[Reply]:
    return [Reply(*(*row[:-1], from_ms(row[-1]))) for row in tx.rows(query)]


def keep_reply(tx: Tx, new: NewReply, *, state: str, now: datetime) -> ReplyId | None:
    """Keep a reply; None if one with its id is here already, whoever wrote it (IN-19)."""
    statement = (
        tx.insert(reply)
        .values(
            post_id=new.post_id,
            parent_id=new.parent_id,
            channel=new.channel,
            uri=new.uri,
            remote_actor_id=new.remote_actor_id,
            subscriber_id=new.subscriber_id,
            author_name=new.author_name,
            content_html=new.content_html,
            url=new.url,
            context=new.context,
            visibility=new.visibility,
            state=state,
            mention=new.mention,
            published_at=to_ms(new.published_at),
            updated_at=None if new.updated_at is None else to_ms(new.updated_at),
            at=to_ms(now),
        )
        .on_conflict_do_nothing()
        .returning(reply.c.id)
    )
    row = tx.row(statement)
    if row is None:
        return None
    if state == "approved":
        touch(tx)
    return ReplyId(row[0])


def get_reply(tx: Tx, reply_id: ReplyId) -> Reply:
    """One reply. Raises NotThere."""
    found = _replies(tx, _REPLY.where(reply.c.id == reply_id))
    if not found:
        raise NotThere(str(reply_id))
    return found[0]


def reply_by_uri(tx: Tx, uri: str) -> Reply | None:
    """The reply of this object id, if we have it and it was not deleted."""
    found = _replies(tx, _REPLY.where(reply.c.uri == uri, reply.c.state != "deleted"))
    return found[0] if found else None


def answered_reply(tx: Tx, post_id: PostId) -> Reply:
    """The reply that a Note of ours answers. Raises NotThere."""
    query = sa.select(post.c.reply_id).where(post.c.id == post_id).scalar_subquery()
    found = _replies(tx, _REPLY.where(reply.c.id == query))
    if not found:
        raise NotThere(str(post_id))
    return found[0]


def answers_below(tx: Tx, post_id: PostId, *, shown_only: bool) -> list[Answer]:
    """The founders' answers in the conversation of a letter, the oldest first.

    Args:
        tx: The transaction.
        post_id: The letter, or a poll.
        shown_only: Only those that a page may show: public, to replies that it shows.
    """
    below = sa.select(reply.c.id).where(reply.c.post_id == post_id)
    if shown_only:
        below = below.where(_IS_SHOWN)
    return _answers(tx, post.c.reply_id.in_(below), shown_only=shown_only)


def answers_to(tx: Tx, reply_ids: Sequence[ReplyId]) -> list[Answer]:
    """The founders' answers to these replies, the oldest first."""
    return _answers(tx, post.c.reply_id.in_(list(reply_ids)), shown_only=False)


def _answers(tx: Tx, which: sa.ColumnElement[bool], *, shown_only: bool) -> list[Answer]:
    query = (
        sa.select(
            post.c.id,
            post.c.public_id,
            post.c.reply_id,
            post.c.body_markdown,
            post.c.language,
            post.c.audience,
            post.c.version,
            post.c.published_at,
        )
        .where(post.c.kind == "note", post.c.state == "published", which)
        .order_by(post.c.published_at, post.c.id)
    )
    if shown_only:
        query = query.where(post.c.audience.in_(SHOWN))
    return [Answer(*(*row[:-1], from_ms(row[-1]))) for row in tx.rows(query)]


def depth_of(tx: Tx, reply_id: ReplyId, *, most: int) -> int:
    """How many answers stand above and including this one, counted up to `most` (L-26)."""
    depth, place = 0, int(reply_id)
    while place and depth < most:
        depth += 1
        place = tx.scalar(sa.select(reply.c.parent_id).where(reply.c.id == place)) or 0
    return depth


def edit_reply(
    tx: Tx, reply_id: ReplyId, *, content_html: str, visibility: str, updated_at: datetime
) -> bool:
    """Its author has edited it. False if that edit is not newer than what is kept."""
    moment = to_ms(updated_at)
    newer = sa.or_(reply.c.updated_at.is_(None), reply.c.updated_at < moment)
    changed = tx.execute(
        sa.update(reply)
        .where(reply.c.id == reply_id, newer)
        .values(content_html=content_html, visibility=visibility, updated_at=moment)
    )
    if changed.rowcount:
        touch(tx)
    return changed.rowcount == 1


def delete_reply(tx: Tx, reply_id: ReplyId) -> None:
    """Its author has deleted it: the words go, a mark stays so that the thread holds."""
    tx.execute(
        sa.update(reply)
        .where(reply.c.id == reply_id)
        .values(state="deleted", content_html="", author_name="", url=None)
    )
    touch(tx)


def delete_all_of(tx: Tx, actor_uri: str) -> None:
    """An actor is gone: replies, likes and boosts of theirs go with them (PR-7)."""
    theirs = sa.select(remote_actor.c.id).where(remote_actor.c.uri == actor_uri)
    tx.execute(
        sa.update(reply)
        .where(reply.c.remote_actor_id.in_(theirs))
        .values(state="deleted", content_html="", author_name="", url=None)
    )
    tx.execute(sa.delete(reaction).where(reaction.c.remote_actor_id.in_(theirs)))
    touch(tx)


def decide(tx: Tx, reply_id: ReplyId, *, state: str) -> Reply:
    """A founder approves or hides a reply; approving says so of its author for next time.

    What only mentions us has no letter below which it could be shown: it stays as it is.
    """
    found = get_reply(tx, reply_id)
    if state == "approved" and found.mention:
        return found
    tx.execute(
        sa.update(reply)
        .where(reply.c.id == reply_id, reply.c.state != "deleted")
        .values(state=state)
    )
    if state == "approved" and found.actor_uri is not None:
        tx.execute(
            sa.update(remote_actor)
            .where(remote_actor.c.uri == found.actor_uri)
            .values(approved=True)
        )
    touch(tx)
    return found


def approved_replies(tx: Tx, post_id: PostId, *, limit: int, after: int = 0) -> list[Reply]:
    """What may be shown below a letter, the oldest first, beyond the id `after`."""
    return _replies(
        tx,
        _REPLY.where(reply.c.post_id == post_id, _IS_SHOWN, reply.c.id > after)
        .order_by(reply.c.id)
        .limit(limit),
    )


def conversation(
    tx: Tx,
    *,
    limit: int,
    before: int | None = None,
    states: Sequence[str] = ("pending",),
    channel: str | None = None,
    post_id: PostId | None = None,
) -> list[Reply]:
    """Replies for the desk, the newest first, beyond the id `before`."""
    query = _REPLY.where(reply.c.state.in_(list(states))).order_by(reply.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(reply.c.id < before)
    if channel is not None:
        query = query.where(reply.c.channel == channel)
    if post_id is not None:
        query = query.where(reply.c.post_id == post_id)
    return _replies(tx, query)


def count_replies(tx: Tx, post_id: PostId) -> int:
    """Approved replies below a letter."""
    return int(tx.scalar(sa.select(sa.func.count()).where(reply.c.post_id == post_id, _IS_SHOWN)))


def count_pending(tx: Tx, *, most: int = 100) -> int:
    """Replies that wait for a founder, counted up to `most`."""
    waiting = sa.select(reply.c.id).where(reply.c.state == "pending").limit(most).subquery()
    return int(tx.scalar(sa.select(sa.func.count()).select_from(waiting)))


def stored_of(
    tx: Tx, post_id: PostId, remote_actor_id: RemoteActorId, *, mention: bool, now: datetime
) -> tuple[int, int]:
    """Replies below this post, and of this actor within the hour (L-25).

    Mentions are counted apart: a flood of them keeps no answer out.
    """
    since = to_ms(now - timedelta(hours=1))
    row = tx.row(
        sa.select(
            sa.func.count().filter(reply.c.post_id == post_id, reply.c.mention == mention),
            sa.func.count().filter(reply.c.remote_actor_id == remote_actor_id, reply.c.at > since),
        )
    )
    assert row is not None  # noqa: S101 (an aggregate has one row)
    return int(row[0]), int(row[1])


def react(
    tx: Tx,
    post_id: PostId,
    remote_actor_id: RemoteActorId,
    kind: str,
    *,
    uri: str,
    now: datetime,
    emoji: str | None = None,
) -> None:
    """Count a `like` or an `announce` once for each actor."""
    tx.execute(
        tx.insert(reaction)
        .values(
            post_id=post_id,
            remote_actor_id=remote_actor_id,
            kind=kind,
            emoji=emoji,
            uri=uri,
            at=to_ms(now),
        )
        .on_conflict_do_nothing()
    )
    touch(tx)


def unreact(
    tx: Tx, actor_uri: str, *, kind: str | None, post_id: PostId | None, uri: str | None
) -> bool:
    """Take a like or boost back: by post and kind, or by the id under which it came."""
    theirs = sa.select(remote_actor.c.id).where(remote_actor.c.uri == actor_uri)
    query = sa.delete(reaction).where(reaction.c.remote_actor_id.in_(theirs))
    if kind is not None and post_id is not None:
        query = query.where(reaction.c.kind == kind, reaction.c.post_id == post_id)
    else:
        query = query.where(reaction.c.uri == uri)
    gone = tx.execute(query).rowcount > 0
    if gone:
        touch(tx)
    return gone


def reactions_of(tx: Tx, post_id: PostId) -> dict[str, int]:
    """Likes and boosts of a post, by kind."""
    rows = tx.rows(
        sa.select(reaction.c.kind, sa.func.count())
        .where(reaction.c.post_id == post_id)
        .group_by(reaction.c.kind)
    )
    return dict(rows)


def keep_report(
    tx: Tx, *, reporter: str, objects: Sequence[str], comment: str, now: datetime
) -> None:
    """Keep a report for the founders."""
    tx.execute(
        sa.insert(report).values(
            reporter=reporter,
            objects_json=json.dumps(list(objects)),
            comment=comment,
            at=to_ms(now),
        )
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What another server's moderators, or a person there, told us about."""

    id: int
    reporter: str  # Actor id.
    objects: tuple[str, ...]  # Ids of what it is about.
    comment: str
    at: datetime
    settled_at: datetime | None


def reports(tx: Tx, *, limit: int, settled: bool, before: int | None = None) -> list[Report]:
    """Reports, the newest first, beyond the id `before`."""
    settled_at = report.c.settled_at
    query = (
        sa.select(
            report.c.id,
            report.c.reporter,
            report.c.objects_json,
            report.c.comment,
            report.c.at,
            settled_at,
        )
        .where(settled_at.is_not(None) if settled else settled_at.is_(None))
        .order_by(report.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(report.c.id < before)
    return [
        Report(row[0], row[1], tuple(json.loads(row[2])), row[3], from_ms(row[4]), from_ms(row[5]))
        for row in tx.rows(query)
    ]


def settle_report(tx: Tx, report_id: int, *, now: datetime) -> bool:
    """A founder has dealt with it. False if it was settled already."""
    changed = tx.execute(
        sa.update(report)
        .where(report.c.id == report_id, report.c.settled_at.is_(None))
        .values(settled_at=to_ms(now))
    )
    return changed.rowcount > 0
