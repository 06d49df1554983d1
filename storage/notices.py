"""Notices: one mail to one person, such as a confirmation, queued as durably as a letter."""

from datetime import datetime

import sqlalchemy as sa

from storage.ids import NoticeId, SubscriberId
from storage.lanes import add_mail, lane_for
from storage.schema import notice
from storage.store import Tx
from storage.times import to_ms


def send_notice(
    tx: Tx,
    *,
    kind: str,
    recipient: str,
    message_id: str,
    body: bytes,
    now: datetime,
    subscriber_id: SubscriberId | None = None,
    expires_at: datetime | None = None,
) -> NoticeId:
    """Queue a mail; it leaves before any letter that waits.

    Args:
        tx: The transaction that makes the mail necessary.
        kind: `confirm`, `service`, `alert` or `test`.
        recipient: The address as it goes into RCPT.
        message_id: As in the body, without angle brackets or with.
        body: RFC 5322 octets with CRLF line ends.
        now: The time.
        subscriber_id: Whom it concerns; their removal removes it.
        expires_at: Not worth sending after this.
    """
    found = tx.execute(
        sa.insert(notice)
        .values(
            kind=kind,
            recipient=recipient,
            message_id=message_id,
            body=body,
            subscriber_id=subscriber_id,
            expires_at=None if expires_at is None else to_ms(expires_at),
            created_at=to_ms(now),
        )
        .returning(notice.c.id)
    ).scalar_one()
    lane_id = lane_for(tx, "notice:0", kind="email", urgent=True)
    add_mail(
        tx,
        [{"lane_id": lane_id, "notice_id": found, "subscriber_id": subscriber_id}],
        urgent=True,
        now=now,
    )
    return NoticeId(found)
