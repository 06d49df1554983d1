"""QuoteRequest: whoever asks to quote a public post of ours gets a stamp for it.

Sources: FEP-044f; federation.md 9.9; vector I16.
"""

import secrets

from federation.fetch import Fetcher
from federation.inbox import VerifiedActivity
from federation.origins import same_origin
from federation.reading import id_of
from fediletter.inbound.answering import answer_in_person
from fediletter.inbound.facts import Apply, actor_now, actor_row, ignore, our_post
from fediletter.rendering.activities import accept, reject
from fediletter.rendering.quotes import REQUEST_CONTEXT
from fediletter.services import Services
from storage.conversations import SHOWN
from storage.quotes import agree
from storage.received import is_buried
from storage.store import Tx


async def quote_request(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """Agree to the quote of a public post; refuse any other."""
    links = services.links
    target, quoting = activity.object_id, id_of(activity.document.get("instrument"))
    if target is None or not target.startswith(links.base + "/"):
        return ignore("is about nothing of ours")
    if quoting is None or not same_origin(quoting, activity.actor):
        return ignore("the quoting post is not at the actor's own host")
    fetched = await actor_now(services, activity.actor, fetcher)
    own = await services.keyring.newsletter()
    now = services.clock.now()
    token, public_id = secrets.token_urlsafe(16), secrets.token_hex(10)

    def apply(tx: Tx) -> str | None:
        row = actor_row(tx, activity.actor, fetched, now=now)
        if row is None or row.deleted_at is not None:
            return "the actor is gone"
        if is_buried(tx, quoting, activity.actor):
            return "was deleted before it came"
        post = our_post(tx, links, target)
        agreed = None
        if post is not None and post.audience in SHOWN:
            agreed = agree(tx, post.id, row.id, quoting, public_id=public_id, now=now)
        if agreed is None:
            no = reject(activity.document, own.uri, links, token=token, context=REQUEST_CONTEXT)
            answer_in_person(tx, own, row, no, now=now)
            return "may not be quoted"
        yes = accept(
            activity.document,
            own.uri,
            links,
            token=token,
            context=REQUEST_CONTEXT,
            result=links.quote(agreed.public_id),
        )
        answer_in_person(tx, own, row, yes, now=now)
        return None

    return apply
