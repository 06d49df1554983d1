"""An inbox is gone or has moved: ask the actors behind it where they are now.

Nobody is removed on a guess: only an actor's own id that answers 410 or shows a tombstone ends a
follow; an actor that has another inbox now goes on following there.

Sources: federation.md section 6 (301, 404, 410), D04, D05.
"""

from federation.errors import DocumentGone, FederationError
from federation.fetch import Fetcher
from federation.origins import host_of
from fediletter.services import Services
from storage.activities import about
from storage.followers import followers_at, move_follower, remove_follower
from storage.lanes import inbox_for, send_activity
from storage.leases import Errand
from storage.peers import mark_deleted
from storage.store import Tx

_AT_MOST = 20  # Actors behind a shared inbox that are asked for at once.


async def look_again(services: Services, errand: Errand) -> None:
    """Ask for the actors whose deliveries go to an inbox; write what they say.

    Who is found at another inbox gets there what could not be delivered here, once.
    """
    instance = await services.keyring.instance()
    inbox_url = errand.inbox_url
    for uri in (await services.store.read(followers_at, inbox_url))[:_AT_MOST]:
        fetcher = Fetcher(services.network, instance.rsa)
        await _ask(services, fetcher, uri, errand)


async def _ask(services: Services, fetcher: Fetcher, uri: str, errand: Errand) -> None:
    now = services.clock.now()
    try:
        actor = await fetcher.actor(uri, now=now)
    except DocumentGone as gone:
        if gone.proven:

            def forget(tx: Tx) -> None:
                remove_follower(tx, uri)
                mark_deleted(tx, uri, now=now)

            await services.store.write(forget)
        return
    except FederationError:
        return  # Not now: the next letter asks again.

    def move(tx: Tx) -> None:
        # A shared inbox that is gone though it is still listed: to the actor's own instead.
        shared = None if actor.shared_inbox == errand.inbox_url else actor.shared_inbox
        url = shared or actor.inbox
        inbox_id = inbox_for(tx, url, host=host_of(url), shared=shared is not None)
        move_follower(tx, uri, inbox_id, inbox_url=actor.inbox, shared_url=shared)
        if url != errand.inbox_url:
            object_uri = about(tx, errand.activity_id)
            send_activity(
                tx, errand.activity_id, [inbox_id], object_uri=object_uri, urgent=False, now=now
            )

    await services.store.write(move)
