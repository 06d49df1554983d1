"""Followers who came too many at once: a founder accepts or refuses them, and they are told.

Sources: security.md IN-29, L-30, L-31; federation.md R11.
"""

import secrets
from collections.abc import Sequence

from fediletter.inbound.answering import answer_in_person
from fediletter.rendering.activities import accept, reject
from fediletter.services import Services
from storage import audit
from storage.followers import decide_parked
from storage.ids import FounderId
from storage.peers import find_actor
from storage.store import Tx


async def decide(
    services: Services, follower_ids: Sequence[int], *, accepted: bool, founder_id: FounderId
) -> None:
    """Answer the Follows of parked followers; whoever waits no more is passed over.

    Args:
        services: What the app works with.
        follower_ids: Rows of the desk's list.
        accepted: Accept, or refuse and forget.
        founder_id: Who decides.
    """
    own = await services.keyring.newsletter()
    now = services.clock.now()
    tokens = [secrets.token_urlsafe(16) for _ in follower_ids]
    answer = accept if accepted else reject

    def work(tx: Tx) -> None:
        for follower_id, token in zip(follower_ids, tokens, strict=True):
            found = decide_parked(tx, own.id, follower_id, accepted=accepted)
            asker = None if found is None else find_actor(tx, found[0])
            if found is None or asker is None:
                continue
            request = {"type": "Follow", "actor": asker.uri, "object": own.uri}
            if not found[1].startswith("urn:"):  # It came without an id (IN-13).
                request["id"] = found[1]
            outgoing = answer(request, own.uri, services.links, token=token)
            answer_in_person(tx, own, asker, outgoing, now=now)
            audit.write(
                tx,
                "accept follower" if accepted else "refuse follower",
                subject=str(follower_id),
                founder_id=founder_id,
                now=now,
            )

    await services.store.write(work)
