"""Accept and Reject go to the personal inbox of whoever asked: GoToSocial checks whose it is.

Source: federation.md R11.
"""

from datetime import datetime

from federation.origins import host_of
from fediletter.keyring import OwnActor
from fediletter.rendering.activities import Outgoing, proven
from storage.activities import keep_activity
from storage.lanes import inbox_for, send_activity
from storage.peers import KeptActor
from storage.store import Tx


def answer_in_person(
    tx: Tx, own: OwnActor, asker: KeptActor, outgoing: Outgoing, *, now: datetime
) -> None:
    """Keep an answer and send it, before anything else that waits for that host."""
    outgoing = proven(outgoing, own.ed25519, now=now)
    activity_id = keep_activity(
        tx,
        uri=outgoing.uri,
        actor_id=own.id,
        type=outgoing.type,
        object_uri=outgoing.object_uri,
        body=outgoing.body,
        digest=outgoing.digest,
        listed=False,
        now=now,
    )
    inbox_id = inbox_for(tx, asker.inbox_url, host=host_of(asker.inbox_url), shared=False)
    send_activity(tx, activity_id, [inbox_id], object_uri=outgoing.object_uri, urgent=True, now=now)
