"""Taking back the consent to a quote: its stamp is gone, and whoever shows it is told.

Sources: FEP-044f; federation.md 9.9.
"""

import secrets

from fediletter.errors import AppError
from fediletter.outbound.say import say, tell
from fediletter.rendering.quotes import revocation
from fediletter.services import Services
from storage import audit, quotes
from storage.errors import NotThere
from storage.ids import FounderId
from storage.peers import find_actors
from storage.store import Tx


async def revoke(services: Services, public_id: str, *, founder_id: FounderId | None) -> None:
    """Take it back, for good. Raises AppError if there is no such quote."""
    own = await services.keyring.newsletter()
    now = services.clock.now()

    def work(tx: Tx) -> None:
        quote = quotes.quote_by_public_id(tx, public_id)
        if not quotes.revoke(tx, public_id, now=now):
            return
        outgoing = revocation(quote, services.links, token=secrets.token_urlsafe(16), now=now)
        activity_id = say(tx, outgoing, own, None, audience="followers", start_at=now, now=now)
        asked = find_actors(tx, [quote.actor_uri])
        tell(tx, activity_id, outgoing, asked, in_person=False, now=now)
        audit.write(tx, "quote revoked", subject=public_id, founder_id=founder_id, now=now)

    try:
        await services.store.write(work)
    except NotThere as gone:
        raise AppError(404, "There is no such quote.") from gone
