"""The monthly digest: which letters of a month it may list, and for whom.

One mailing for each month; what it lists differs from reader to reader by their topics. A bit for
each letter says which, and readers with the same bits share one template.
"""

import json
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from storage.audiences import of_topics, reads_elsewhere
from storage.ids import MailingId, PostId
from storage.schema import (
    delivery,
    fan_out,
    mailing,
    mailing_template,
    newsletter,
    post,
    subscriber,
)
from storage.store import Tx
from storage.times import to_ms
from storage.wakeup import STEPS

MOST = 60  # Letters in one digest: as many as fit the bits of a number.


def is_open(tx: Tx, month: int) -> bool:
    """Whether the digest of this month (as 202611) was not made yet."""
    return bool(tx.row(sa.select(newsletter.c.id).where(newsletter.c.digest_month < month)))


def letters_of_month(
    tx: Tx, *, since: datetime, until: datetime, now: datetime
) -> list[PostId] | None:
    """Letters that went out by mail in this time, the oldest first.

    Returns:
        None while one of them still waits for its first message (second thoughts).
    """
    issues = sa.and_(mailing.c.post_id == post.c.id, mailing.c.kind == "issue")
    rows = tx.rows(
        sa.select(post.c.id, sa.func.max(fan_out.c.start_at))
        .join(mailing, issues)
        .join(fan_out, sa.and_(fan_out.c.mailing_id == mailing.c.id))
        .where(
            post.c.state == "published",
            post.c.kind == "issue",
            post.c.published_at >= to_ms(since),
            post.c.published_at < to_ms(until),
            fan_out.c.cancelled_at.is_(None),
        )
        .group_by(post.c.id, post.c.published_at)
        .order_by(post.c.published_at, post.c.id)
    )
    if any(start_at > to_ms(now) for _, start_at in rows):
        return None
    return [PostId(row[0]) for row in rows][-MOST:]


def create_digest(
    tx: Tx, month: int, post_ids: Sequence[PostId], *, now: datetime
) -> MailingId | None:
    """Make the digest of a month, once; a month without a letter has none.

    Returns:
        None if there is nothing to send, or another process was faster (RE-11).
    """
    claimed = tx.execute(
        sa.update(newsletter).where(newsletter.c.digest_month < month).values(digest_month=month)
    )
    if claimed.rowcount == 0 or not post_ids:
        return None
    found = tx.execute(
        sa.insert(mailing)
        .values(
            post_id=post_ids[-1],
            kind="digest",
            sequence=month,
            posts_json=json.dumps(list(post_ids)),
            created_at=to_ms(now),
        )
        .returning(mailing.c.id)
    ).scalar_one()
    newest = tx.scalar(sa.select(sa.func.max(subscriber.c.id))) or 0
    tx.execute(
        sa.insert(fan_out).values(
            mailing_id=found,
            audience="subscribers",
            upto=newest,
            start_at=to_ms(now),
            created_at=to_ms(now),
        )
    )
    tx.wake(STEPS)
    return MailingId(found)


def letters_in(tx: Tx, mailing_id: MailingId, variant: int) -> list[PostId]:
    """The letters that a variant of a digest lists."""
    found = tx.scalar(sa.select(mailing.c.posts_json).where(mailing.c.id == mailing_id))
    return [
        PostId(one) for place, one in enumerate(json.loads(found or "[]")) if variant >> place & 1
    ]


def keep_template(
    tx: Tx, mailing_id: MailingId, language: str, subject: str, template: bytes
) -> bytes:
    """Keep a template made on demand; the one that all processes use from now on."""
    tx.execute(
        tx.insert(mailing_template)
        .values(mailing_id=mailing_id, language=language, subject=subject, template=template)
        .on_conflict_do_nothing()
    )
    return bytes(
        tx.scalar(
            sa.select(mailing_template.c.template).where(
                mailing_template.c.mailing_id == mailing_id,
                mailing_template.c.language == language,
            )
        )
    )


def variant_for(posts_json: str) -> sa.ColumnElement[int]:
    """For a row of `subscriber`: a bit for each letter that their digest lists.

    Those of their topics, without what they got as a letter of its own.
    """
    bits: sa.ColumnElement[int] = sa.literal(0, sa.BigInteger)
    for place, post_id in enumerate(json.loads(posts_json)):
        bits = bits + sa.case(
            (_listed(post_id), sa.literal(1 << place, sa.BigInteger)),
            else_=sa.literal(0, sa.BigInteger),
        )
    return bits


def _listed(post_id: int) -> sa.ColumnElement[bool]:
    had_it = (
        sa.select(delivery.c.id)
        .join(mailing, mailing.c.id == delivery.c.mailing_id)
        .where(
            mailing.c.post_id == post_id,
            mailing.c.kind == "issue",
            delivery.c.subscriber_id == subscriber.c.id,
            delivery.c.state != "cancelled",
        )
        .exists()
    )
    return sa.and_(
        of_topics(PostId(post_id)), sa.not_(reads_elsewhere(PostId(post_id))), sa.not_(had_it)
    )
