"""A signer's key: from the store, else from the network, and not too often.

No transaction and no lock is held while a document is fetched: the peer may be asking for our key
at that moment (federation.md 7.6).

Sources: IN-9 to IN-12, IN-24, L-10, L-11.
"""

from collections import OrderedDict
from datetime import datetime
from typing import TypeVar

from federation.actors import RemoteActor
from federation.errors import BadKey, DocumentGone, FederationError, NotProven, TryFetchLater
from federation.fetch import Fetcher
from federation.inbox import Claim, VerifiedActivity, verify
from federation.keys import KnownKey, public_key
from federation.signatures.cavage import CavageClaim
from federation.signatures.rfc9421 import MessageClaim
from fediletter.limits import KEY_REFRESH, NEGATIVE_KEY_CACHE, NEGATIVE_KEYS
from fediletter.services import Services
from storage.peers import ActorSnapshot, KeptKey, find_key, keep_actor

T = TypeVar("T")


class KeyLookup:
    """Keys of signers. One for each process; what it remembers is bounded (FE-16)."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._failures: OrderedDict[str, tuple[datetime, FederationError]] = OrderedDict()
        self._refreshed: OrderedDict[str, datetime] = OrderedDict()

    async def prove(self, claim: Claim, *, now: datetime) -> VerifiedActivity:
        """Verify a claim with the key that is kept, or fetched now.

        Raises:
            NotProven: No key of the claimed id made the signature.
            TryFetchLater: The key cannot be had at present.
        """
        kept = await self._services.store.read(find_key, claim.key_id)
        if kept is not None:
            try:
                return verify(claim, _known(kept))
            except NotProven:
                if not self._may_refresh(claim.key_id, kept, now):
                    raise
        return verify(claim, await self._fetched(claim.key_id, now=now))

    async def owner(self, signature: CavageClaim | MessageClaim, *, now: datetime) -> str:
        """Whose key made the signature of a request that claims no actor.

        Raises:
            NotProven: No key of the claimed id made it.
            TryFetchLater: The key cannot be had at present.
        """
        kept = await self._services.store.read(find_key, signature.key_id)
        if kept is not None and signature.is_by(_known(kept).key):
            return kept.owner
        if kept is not None and not self._may_refresh(signature.key_id, kept, now):
            raise NotProven("the signature is not of this key")
        key = await self._fetched(signature.key_id, now=now)
        if not signature.is_by(key.key):
            raise NotProven("the signature is not of this key")
        return key.owner

    async def _fetched(self, key_id: str, *, now: datetime) -> KnownKey:
        failure = self._failures.get(key_id)
        if failure is not None and now - failure[0] < NEGATIVE_KEY_CACHE:
            raise failure[1]
        fetcher = await fetcher_of(self._services)
        self._remember(self._refreshed, key_id, now)
        try:
            key, actor = await fetcher.key(key_id, now=now)
        except TryFetchLater as wrong:
            self._remember(self._failures, key_id, (now, wrong))
            raise
        except FederationError as wrong:
            refusal = NotProven(f"no key: {wrong.detail}")
            refusal.__cause__ = wrong
            self._remember(self._failures, key_id, (now, refusal))
            raise refusal from wrong
        self._failures.pop(key_id, None)
        await self._services.store.write(keep_actor, snapshot_of(actor), now=now)
        return key

    def _may_refresh(self, key_id: str, kept: KeptKey, now: datetime) -> bool:
        last = self._refreshed.get(key_id, kept.fetched_at)
        return now - last >= KEY_REFRESH

    @staticmethod
    def _remember(memory: OrderedDict[str, T], key_id: str, value: T) -> None:
        memory[key_id] = value
        memory.move_to_end(key_id)
        if len(memory) > NEGATIVE_KEYS:
            memory.popitem(last=False)


async def fetcher_of(services: Services) -> Fetcher:
    """Fetches as our instance actor."""
    instance = await services.keyring.instance()
    return Fetcher(services.network, instance.rsa)


def snapshot_of(actor: RemoteActor) -> ActorSnapshot:
    """What the store keeps of an actor's document."""
    return ActorSnapshot(
        uri=actor.id,
        host=actor.host,
        type=actor.type,
        inbox_url=actor.inbox,
        shared_inbox_url=actor.shared_inbox,
        username=actor.username,
        name=actor.name,
        url=actor.url,
        icon_url=actor.icon,
        followers_uri=actor.followers,
        also_known_as=actor.also_known_as,
        moved_to=actor.moved_to,
        keys=tuple((key.key_id, key.key.text) for key in actor.keys),
    )


async def is_gone(services: Services, actor_id: str, *, now: datetime) -> bool:
    """Whether an actor's own id proves that it is gone: 410 or a tombstone (IN-24)."""
    fetcher = await fetcher_of(services)
    try:
        await fetcher.actor(actor_id, now=now)
    except DocumentGone as gone:
        return gone.proven
    except FederationError:
        return False
    return False


def _known(kept: KeptKey) -> KnownKey:
    try:
        return KnownKey(kept.uri, kept.owner, public_key(kept.public))
    except BadKey as wrong:
        raise NotProven("the kept key cannot be read") from wrong
