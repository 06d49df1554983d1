"""What a founder does about deliveries that wait: try them now, or give them up.

Both act on one post: what else waits in the same lane keeps its place and its order. The lanes are
locked first, as everywhere (`storage.lanes`).

Sources: issue 5.5; security.md RE-4 (given up is failed, with a reason).
"""

from datetime import datetime

import sqlalchemy as sa

from storage.ids import PostId
from storage.lanes import chunks
from storage.schema import TO_DO, activity, delivery, follower, inbox, lane, mailing, subscriber
from storage.store import Tx
from storage.times import to_ms
from storage.wakeup import LANES

_GIVEN_UP = "given up by a founder"


def of_post(post_id: PostId) -> sa.ColumnElement[bool]:
    """Of a row of `delivery`: it belongs to this post, a digest that names it apart."""
    mailings = sa.select(mailing.c.id).where(
        mailing.c.post_id == post_id, mailing.c.kind != "digest"
    )
    activities = sa.select(activity.c.id).where(activity.c.post_id == post_id)
    return sa.or_(delivery.c.mailing_id.in_(mailings), delivery.c.activity_id.in_(activities))


def domain_of(tx: Tx) -> sa.ColumnElement[str]:
    """Of a row of `subscriber`: what stands after the @."""
    at = sa.func.strpos if tx.is_postgresql else sa.func.instr
    return sa.func.substr(subscriber.c.identity, at(subscriber.c.identity, "@") + 1)


def try_again_now(
    tx: Tx, post_id: PostId, *, now: datetime, key: str | None = None, domain: str | None = None
) -> int:
    """Try what waits of a post at once: in a lane, which ends its rest, or for a mail domain.

    Returns:
        How many deliveries will be tried.
    """
    moment = to_ms(now)
    theirs = _waiting(tx, post_id, key, domain)
    lanes = _lock(tx, theirs)
    if not lanes:
        return 0
    values = {"ready_at": moment, "parked_at": None, "freed": 0}
    if key is not None:
        values |= {"failures": 0, "dormant_at": None}
    for chunk in chunks(lanes):
        tx.execute(sa.update(lane).where(lane.c.id.in_(chunk)).values(values))
    tried = tx.execute(sa.update(delivery).where(theirs).values(not_before=moment))
    tx.wake(LANES)
    return tried.rowcount


def give_up(
    tx: Tx, post_id: PostId, *, now: datetime, key: str | None = None, domain: str | None = None
) -> int:
    """Give up what waits of a post in a lane or for a mail domain: it has failed, with a reason.

    Returns:
        How many deliveries that were.
    """
    theirs = _waiting(tx, post_id, key, domain)
    lanes = _lock(tx, theirs)
    gone = tx.execute(
        sa.update(delivery)
        .where(theirs)
        .values(state="failed", answer=_GIVEN_UP, ended_at=to_ms(now))
    )
    left = sa.select(delivery.c.id).where(delivery.c.lane_id == lane.c.id, TO_DO).exists()
    for chunk in chunks(lanes):
        # What killed workers may have been among it; what is left deserves to be tried.
        tx.execute(
            sa.update(lane)
            .where(lane.c.id.in_(chunk))
            .values(parked_at=None, freed=0, ready_at=sa.case((left, lane.c.ready_at)))
        )
    tx.wake(LANES)
    return gone.rowcount


def forget_dormant(tx: Tx, *, before: datetime, now: datetime) -> int:
    """Hosts dormant since before this are gone: their followers are deleted, what waits has failed.

    Returns:
        How many followers that were.
    """
    silent = sa.select(lane.c.id).where(lane.c.dormant_at < to_ms(before))
    lanes = [row[0] for row in tx.rows(silent.order_by(lane.c.id).with_for_update(key_share=True))]
    forgotten = 0
    for chunk in chunks(lanes):
        inboxes = sa.select(inbox.c.id).where(inbox.c.lane_id.in_(chunk))
        forgotten += tx.execute(
            sa.delete(follower).where(follower.c.inbox_id.in_(inboxes))
        ).rowcount
        tx.execute(
            sa.update(delivery)
            .where(delivery.c.lane_id.in_(chunk), TO_DO)
            .values(state="failed", answer="the host is gone for a month", ended_at=to_ms(now))
        )
        tx.execute(sa.update(lane).where(lane.c.id.in_(chunk)).values(ready_at=None))
    return forgotten


def _waiting(
    tx: Tx, post_id: PostId, key: str | None, domain: str | None
) -> sa.ColumnElement[bool]:
    if domain is not None:
        readers = sa.select(subscriber.c.id).where(domain_of(tx) == domain)
        where = delivery.c.subscriber_id.in_(readers)
    else:
        where = delivery.c.lane_id.in_(sa.select(lane.c.id).where(lane.c.key == key))
    return sa.and_(of_post(post_id), where, TO_DO)


def _lock(tx: Tx, theirs: sa.ColumnElement[bool]) -> list[int]:
    wanted = sorted({row[0] for row in tx.rows(sa.select(delivery.c.lane_id).where(theirs))})
    for chunk in chunks(wanted):
        tx.rows(
            sa.select(lane.c.id)
            .where(lane.c.id.in_(chunk))
            .order_by(lane.c.id)
            .with_for_update(key_share=True)
        )
    return wanted
