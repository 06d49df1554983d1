"""An inbox is gone or has moved: ask the actors behind it where they are now.

Nobody is removed on a guess: only an actor's own id that answers 410 or shows a tombstone ends a
follow; an actor that has another inbox now goes on following there.

Sources: federation.md section 6 (301, 404, 410), D04, D05.
"""

from federation.errors import DocumentGone, FederationError
from federation.fetch import Fetcher
from federation.origins import host_of
from fediletter.services import Services
from storage.followers import followers_at, move_follower, remove_follower
from storage.lanes import inbox_for
from storage.peers import mark_deleted
from storage.store import Tx

_AT_MOST = 20  # Actors behind a shared inbox that are asked for at once.


async def look_again(services: Services, inbox_url: str) -> None:
    """Ask for the actors whose deliveries go to an inbox; write what they say."""
    instance = await services.keyring.instance()
    fetcher = Fetcher(services.network, instance.rsa)
    for uri in (await services.store.read(followers_at, inbox_url))[:_AT_MOST]:
        await _ask(services, fetcher, uri)


async def _ask(services: Services, fetcher: Fetcher, uri: str) -> None:
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
        url = actor.shared_inbox or actor.inbox
        inbox_id = inbox_for(tx, url, host=host_of(url), shared=actor.shared_inbox is not None)
        move_follower(tx, uri, inbox_id, inbox_url=actor.inbox, shared_url=actor.shared_inbox)

    await services.store.write(move)
