"""A person's mail: kept in the conversation of the letter that it answers.

For the founders' eyes. Nothing is sent back to whoever writes: no acknowledgement, so no loop and
no mail to forged senders (EM-14). To show it on the page a founder asks, and the writer agrees by
a link that only their mailbox has.

Sources: email.md 9.2.7; issue 4 point 6; L-25.
"""

from datetime import datetime

from fediletter.limits import REPLIES_PER_ACTOR_HOUR, REPLIES_PER_ISSUE
from fediletter.mail.written import Written
from storage import bounces
from storage.correspondence import NewLetter, keep_letter, letters_of, newest_letter, place_of
from storage.ids import PostId, ReplyId
from storage.store import Tx
from storage.subscribers import find_subscriber

KEPT, TOO_MANY, NOWHERE = "kept", "too many", "nowhere"


def take_letter(tx: Tx, written: Written, *, now: datetime) -> str:
    """Keep it where it belongs.

    Returns:
        `KEPT`, also when it is here already; `TOO_MANY` (L-25); `NOWHERE`: there is no letter yet
        below which it could stand.
    """
    place = _place(tx, written, now)
    if place is None:
        return NOWHERE
    post_id, parent_id, mention = place
    identity = None if written.address is None else written.address.identity
    lately, below = letters_of(tx, identity, post_id, now=now)
    if lately >= REPLIES_PER_ACTOR_HOUR or below >= REPLIES_PER_ISSUE:
        return TOO_MANY
    reader = None if identity is None else find_subscriber(tx, identity)
    keep_letter(
        tx,
        NewLetter(
            post_id=post_id,
            parent_id=parent_id,
            subscriber_id=reader.id if reader is not None and reader.state == "active" else None,
            message_id=written.message_id,
            address=identity,
            author_name=written.name,
            content_html=written.content,
            mention=mention,
            published_at=min(written.at or now, now),
        ),
        now=now,
    )
    return KEPT


def _place(tx: Tx, written: Written, now: datetime) -> tuple[PostId, ReplyId | None, bool] | None:
    for message_id in written.references:
        found = place_of(tx, message_id)
        if found is not None:
            sent = bounces.sent_by_message_id(tx, message_id)
            if sent is not None:  # It has arrived: somebody answers it (TR-22).
                bounces.settle_doubt(tx, sent.id, "delivered", "was answered", now=now)
            return found[0], found[1], False
    newest = newest_letter(tx)
    return None if newest is None else (newest, None, True)
