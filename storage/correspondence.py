"""Mails of people below a letter: whom to answer, and whether the writer lets them be shown.

Beside `storage.conversations`, which shows them with all other replies. A writer's address is kept
for the founders' answer alone; no page shows it.

Sources: email.md 9.2.7; issue 4 point 6; PR-5.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.ids import PostId, ReplyId, SubscriberId
from storage.schema import delivery, mailing, post, reply
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class NewLetter:
    """A person's mail to keep; `content_html` is sanitised already."""

    post_id: PostId
    parent_id: ReplyId | None
    subscriber_id: SubscriberId | None
    message_id: str  # Without angle brackets.
    address: str | None
    author_name: str
    content_html: str
    mention: bool  # Answers no letter of ours: only addressed to us.
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Correspondent:
    """Whom an answer to a kept mail goes to."""

    reply_id: ReplyId
    post_id: PostId
    message_id: str
    address: str | None
    author_name: str
    content_html: str
    post_title: str
    language: str  # Of the letter that was answered.
    state: str
    publish_consent: bool
    subscriber_id: SubscriberId | None
    published_at: datetime


def keep_letter(tx: Tx, new: NewLetter, *, now: datetime) -> ReplyId | None:
    """Keep a mail for the founders' eyes; None if it is here already."""
    row = tx.row(
        tx.insert(reply)
        .values(
            post_id=new.post_id,
            parent_id=new.parent_id,
            channel="email",
            uri=new.message_id,
            subscriber_id=new.subscriber_id,
            address=new.address,
            author_name=new.author_name,
            content_html=new.content_html,
            visibility="direct",
            state="pending",
            mention=new.mention,
            published_at=to_ms(new.published_at),
            at=to_ms(now),
        )
        .on_conflict_do_nothing()
        .returning(reply.c.id)
    )
    return None if row is None else ReplyId(row[0])


def place_of(tx: Tx, message_id: str) -> tuple[PostId, ReplyId | None] | None:
    """What a Message-ID stands for: a letter of ours, a mail below one, or our answer to it.

    An answer's Message-ID is made of its public id.
    """
    row = tx.row(
        sa.select(mailing.c.post_id)
        .join(delivery, delivery.c.mailing_id == mailing.c.id)
        .where(delivery.c.message_id == message_id)
    )
    if row is not None:
        return PostId(row[0]), None
    row = tx.row(
        sa.select(reply.c.post_id, reply.c.id).where(
            reply.c.uri == message_id, reply.c.channel == "email"
        )
    )
    if row is None:
        answered = sa.select(post.c.reply_id).where(
            post.c.public_id == message_id.rpartition("@")[0], post.c.kind == "note"
        )
        row = tx.row(
            sa.select(reply.c.post_id, reply.c.id).where(
                reply.c.id == answered.scalar_subquery(), reply.c.channel == "email"
            )
        )
    return None if row is None else (PostId(row[0]), ReplyId(row[1]))


def newest_letter(tx: Tx) -> PostId | None:
    """The newest published letter: where mail stands that answers none."""
    found = tx.scalar(
        sa.select(post.c.id)
        .where(post.c.kind == "issue", post.c.state == "published")
        .order_by(post.c.published_at.desc(), post.c.id.desc())
        .limit(1)
    )
    return None if found is None else PostId(found)


def letters_of(tx: Tx, address: str | None, post_id: PostId, *, now: datetime) -> tuple[int, int]:
    """Mails of this address within the hour, and replies below this post (L-25)."""
    since = to_ms(now - timedelta(hours=1))
    row = tx.row(
        sa.select(
            sa.func.count().filter(reply.c.address == address, reply.c.at > since),
            sa.func.count().filter(reply.c.post_id == post_id),
        ).where(sa.or_(reply.c.post_id == post_id, reply.c.address == address))
    )
    assert row is not None  # noqa: S101 (an aggregate has one row)
    return int(row[0]), int(row[1])


def correspondent(tx: Tx, reply_id: ReplyId) -> Correspondent | None:
    """Who wrote a kept mail; None if it is none, or was deleted."""
    row = tx.row(
        sa.select(
            reply.c.id,
            reply.c.post_id,
            reply.c.uri,
            reply.c.address,
            reply.c.author_name,
            reply.c.content_html,
            post.c.title,
            post.c.language,
            reply.c.state,
            reply.c.publish_consent,
            reply.c.subscriber_id,
            reply.c.published_at,
        )
        .join(post, post.c.id == reply.c.post_id)
        .where(reply.c.id == reply_id, reply.c.channel == "email", reply.c.state != "deleted")
    )
    return None if row is None else Correspondent(*(*row[:-1], from_ms(row[-1])))
