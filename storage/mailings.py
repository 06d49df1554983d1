"""Mailings: one issue going out by mail, and the steps of one message at a time.

A message is *started* in a commit of its own before its first byte leaves; the next commit records
the relay's answer together with the next start. A kill leaves at most one message in doubt for each
connection (RE-6, TR-20 of email.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.ids import DeliveryId, LaneId, MailingId, PostId, SubscriberId
from storage.leases import Result, record
from storage.schema import (
    IS_OPEN,
    TO_DO,
    delivery,
    fan_out,
    lane,
    mailing,
    mailing_template,
    notice,
    subscriber,
)
from storage.store import Tx
from storage.times import from_ms, to_ms
from storage.wakeup import LANES


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to send: a mailing's to a subscriber, or a notice."""

    id: DeliveryId
    mailing_id: MailingId | None
    notice_body: bytes | None
    subscriber_id: SubscriberId | None
    recipient: str
    key: bytes | None  # Of the subscriber: their links.
    epoch: int | None
    language: str | None
    message_id: str | None  # From an earlier attempt, or of the notice.
    attempts: int
    dated_at: datetime | None  # The Date that a repeat must carry.
    created_at: datetime
    expires_at: datetime | None
    variant: int | None = None  # Of a digest: which letters it lists.


_PLAIN = list(Letter.__dataclass_fields__)[:-4]


@dataclass(frozen=True, slots=True)
class Start:
    """A message about to leave, with what every attempt of it will carry."""

    id: DeliveryId
    message_id: str
    dated_at: datetime


def create_mailing(
    tx: Tx,
    post_id: PostId,
    templates: Mapping[str, tuple[str, bytes]],
    *,
    now: datetime,
    kind: str = "issue",
    sequence: int | None = None,
) -> MailingId:
    """A new mailing with its subject and template for each language.

    Args:
        tx: The transaction.
        post_id: What it sends.
        templates: Subject and template by language.
        now: The time.
        kind: `issue` or `correction`.
        sequence: Which of its kind, once; the next if not given.
    """
    number = tx.scalar(
        sa.select(sa.func.count()).where(mailing.c.post_id == post_id, mailing.c.kind == kind)
    )
    found = tx.execute(
        sa.insert(mailing)
        .values(post_id=post_id, kind=kind, sequence=sequence or number + 1, created_at=to_ms(now))
        .returning(mailing.c.id)
    ).scalar_one()
    tx.execute(
        sa.insert(mailing_template),
        [
            {"mailing_id": found, "language": language, "subject": subject, "template": template}
            for language, (subject, template) in templates.items()
        ],
    )
    return MailingId(found)


def templates_of(tx: Tx, mailing_id: MailingId) -> dict[str, bytes]:
    """The composed templates of a mailing by language."""
    rows = tx.rows(
        sa.select(mailing_template.c.language, mailing_template.c.template).where(
            mailing_template.c.mailing_id == mailing_id
        )
    )
    return {language: bytes(template) for language, template in rows}


def upcoming(tx: Tx, lane_id: LaneId, *, now: datetime, limit: int) -> list[Letter]:
    """What is due next in a mail lane, oldest first; nothing of a paused mailing."""
    rows = tx.rows(
        sa.select(
            delivery.c.id,
            delivery.c.mailing_id,
            notice.c.body,
            delivery.c.subscriber_id,
            sa.func.coalesce(notice.c.recipient, subscriber.c.email),
            subscriber.c.key,
            subscriber.c.epoch,
            subscriber.c.language,
            sa.func.coalesce(delivery.c.message_id, notice.c.message_id),
            delivery.c.attempts,
            delivery.c.dated_at,
            delivery.c.created_at,
            notice.c.expires_at,
            delivery.c.variant,
        )
        .select_from(
            delivery.outerjoin(subscriber, subscriber.c.id == delivery.c.subscriber_id)
            .outerjoin(notice, notice.c.id == delivery.c.notice_id)
            .outerjoin(mailing, mailing.c.id == delivery.c.mailing_id)
        )
        .where(
            delivery.c.lane_id == lane_id,
            TO_DO,
            delivery.c.not_before <= to_ms(now),
            mailing.c.paused_at.is_(None),
        )
        .order_by(delivery.c.id)
        .limit(limit)
    )
    return [
        Letter(
            **dict(zip(_PLAIN, row, strict=False)),
            dated_at=from_ms(row[-4]),
            created_at=from_ms(row[-3]),
            expires_at=from_ms(row[-2]),
            variant=row[-1],
        )
        for row in rows
    ]


def advance(
    tx: Tx,
    lane_id: LaneId,
    term: int,
    *,
    ended: Result | None,
    start: Start | None,
    now: datetime,
) -> bool:
    """Record the answer to one message and the start of the next, in one commit.

    Returns:
        Whether the next may leave: the lane is still held, and its reader has neither left nor
        was the mailing stopped meanwhile (EM-15).
    """
    held = tx.row(
        sa.select(lane.c.freed)
        .where(lane.c.id == lane_id, lane.c.term == term, lane.c.leased_by.is_not(None))
        .with_for_update(key_share=True)
    )
    if held is None:
        return False
    if ended is not None:
        record(tx, [ended], now)
        if held[0]:
            # It gets on: what was freed before was not freed because of what is in it.
            tx.execute(sa.update(lane).where(lane.c.id == lane_id).values(freed=0))
    if start is None:
        return False
    paused = (
        sa.select(mailing.c.id)
        .where(mailing.c.id == delivery.c.mailing_id, mailing.c.paused_at.is_not(None))
        .exists()
    )
    started = tx.execute(
        sa.update(delivery)
        .where(
            delivery.c.id == start.id,
            TO_DO,
            delivery.c.not_before <= to_ms(now),  # Put off meanwhile: its domain pauses.
            sa.not_(paused),
        )
        .values(
            state="started",
            started_at=to_ms(now),
            message_id=start.message_id,
            dated_at=to_ms(start.dated_at),
        )
    )
    return started.rowcount == 1


def pause_mailing(tx: Tx, mailing_id: MailingId, *, reason: str, now: datetime) -> bool:
    """Nothing more of it leaves until a founder resumes it; False if it paused already."""
    paused = tx.execute(
        sa.update(mailing)
        .where(mailing.c.id == mailing_id, mailing.c.paused_at.is_(None))
        .values(paused_at=to_ms(now), pause_reason=reason)
    )
    return paused.rowcount == 1


def hold_unfinished(tx: Tx, *, reason: str, now: datetime) -> int:
    """Pause every mailing that is not over; how many these are."""
    held = tx.execute(
        sa.update(mailing)
        .where(mailing.c.finished_at.is_(None), mailing.c.paused_at.is_(None))
        .values(paused_at=to_ms(now), pause_reason=reason)
    )
    return held.rowcount


def resume_post(tx: Tx, post_id: PostId, *, now: datetime) -> None:
    """A founder lets the mailings of a post go on: nobody who got the letter gets it again."""
    mine = [
        row[0]
        for row in tx.rows(
            sa.update(mailing)
            .where(mailing.c.post_id == post_id, mailing.c.paused_at.is_not(None))
            .values(paused_at=None, pause_reason="")
            .returning(mailing.c.id)
        )
    ]
    waiting = sa.select(delivery.c.lane_id).where(delivery.c.mailing_id.in_(mine), TO_DO)
    tx.execute(
        sa.update(lane)
        .where(lane.c.id.in_(waiting), lane.c.leased_by.is_(None))
        .values(ready_at=to_ms(now))
    )
    tx.wake(LANES)


_LEFT = "may have arrived; left as it is"
# Of a row of `delivery`: may have arrived. A founder who left it so may think better of it.
IN_DOUBT = sa.or_(
    delivery.c.state == "uncertain",
    sa.and_(delivery.c.state == "cancelled", delivery.c.answer == _LEFT),
)


def decide_uncertain(tx: Tx, delivery_id: DeliveryId, *, again: bool, now: datetime) -> bool:
    """A founder settles a message that may have arrived: once more, or left as it is (TR-22).

    False if it is over. What was left can still be sent.
    """
    lane_id = tx.scalar(sa.select(delivery.c.lane_id).where(delivery.c.id == delivery_id))
    tx.rows(sa.select(lane.c.id).where(lane.c.id == lane_id).with_for_update(key_share=True))
    values: dict[str, Any] = {"state": "uncertain", "not_before": to_ms(now), "ended_at": None}
    if not again:
        values = {
            "state": "cancelled",
            "ended_at": to_ms(now),
            "answer": _LEFT,
        }
    changed = tx.execute(
        sa.update(delivery).where(delivery.c.id == delivery_id, IN_DOUBT).values(values)
    )
    if again:
        of_mailing = sa.select(delivery.c.mailing_id).where(delivery.c.id == delivery_id)
        reopened = sa.update(mailing).where(mailing.c.id.in_(of_mailing))
        tx.execute(reopened.values(finished_at=None))
    tx.execute(
        sa.update(lane)
        .where(lane.c.id == lane_id, lane.c.leased_by.is_(None))
        .values(ready_at=to_ms(now))
    )
    tx.wake(LANES)
    return changed.rowcount == 1


def was_corrected(tx: Tx, post_id: PostId, revision: int) -> bool:
    """Whether this revision of a post went out by mail as a correction."""
    return bool(
        tx.row(
            sa.select(mailing.c.id).where(
                mailing.c.post_id == post_id,
                mailing.c.kind == "correction",
                mailing.c.sequence == revision,
            )
        )
    )


def finish_mailings(tx: Tx, *, now: datetime) -> list[MailingId]:
    """Say of mailings that are over that they are (RE-4); which these are."""
    still_open = (
        sa.select(delivery.c.id)
        .where(
            # Through what is open, not through all that was ever sent of it: hence the sum.
            delivery.c.mailing_id + 0 == mailing.c.id,
            IS_OPEN,
            TO_DO,
        )
        .exists()
    )
    stepping = (
        sa.select(fan_out.c.id)
        .where(
            fan_out.c.mailing_id == mailing.c.id,
            fan_out.c.done_at.is_(None),
            fan_out.c.cancelled_at.is_(None),
        )
        .exists()
    )
    rows = tx.rows(
        sa.update(mailing)
        .where(mailing.c.finished_at.is_(None), sa.not_(still_open), sa.not_(stepping))
        .values(finished_at=to_ms(now))
        .returning(mailing.c.id)
    )
    return [MailingId(row[0]) for row in rows]


def widest_template(tx: Tx, post_id: PostId) -> bytes | None:
    """The largest composed letter of a post's newest mailing; None if it goes to nobody by mail."""
    found = tx.scalar(
        sa.select(mailing_template.c.template)
        .join(mailing, mailing.c.id == mailing_template.c.mailing_id)
        .where(mailing.c.post_id == post_id)
        .order_by(mailing.c.id.desc(), sa.func.length(mailing_template.c.template).desc())
        .limit(1)
    )
    return None if found is None else bytes(found)
