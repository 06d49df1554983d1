"""A signer's key: from the store, else from the network, and not too often.

No transaction and no lock is held while a document is fetched: the peer may be asking for our key
at that moment (federation.md 7.6). Whoever asks for the same key at the same time waits for the one
answer.

Sources: IN-9 to IN-12, IN-24, L-10, L-11, FE-16; federation.md 7.4, 8.2.
"""

import asyncio
from collections import OrderedDict
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from federation import proofs
from federation.actors import RemoteActor
from federation.errors import (
    BadKey,
    DocumentGone,
    FederationError,
    NotProven,
    NotTheActor,
    TooManyFetches,
    TryFetchLater,
)
from federation.fetch import Budget, Fetcher
from federation.inbox import Claim, VerifiedActivity, verify, verify_proof
from federation.keys import KnownKey, public_key
from federation.origins import same_origin
from federation.signatures.cavage import CavageClaim
from federation.signatures.rfc9421 import MessageClaim
from fediletter.limits import (
    KEY_REFRESH,
    KEYS_AT_HAND,
    NEGATIVE_KEY_CACHE,
    NEGATIVE_KEYS,
    STRANGERS,
)
from fediletter.newsletter.html import plain_name
from fediletter.services import Services
from storage.peers import ActorSnapshot, KeptKey, Swept, find_key, forget_strangers, keep_actor

T = TypeVar("T")
Whereabouts: TypeAlias = Literal["gone", "missing", "there"]

_TIDY_EVERY = 200  # New actors, after which strangers are counted.


class KeyLookup:
    """Keys of signers. One for each process; what it remembers is bounded (FE-16)."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # Words, not exceptions: one that is raised again and again keeps all that it passed.
        self._failures: OrderedDict[str, tuple[datetime, type[FederationError], str]]
        self._failures = OrderedDict()
        self._refreshed: OrderedDict[str, datetime] = OrderedDict()
        self._seen: OrderedDict[str, tuple[datetime, Whereabouts]] = OrderedDict()
        self._at_hand: OrderedDict[str, tuple[KeptKey, KnownKey]] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[KnownKey]] = {}
        self._met = 0
        self._swept = Swept()

    def at_hand(self, claim: Claim) -> tuple[VerifiedActivity, KeptKey] | None:
        """Verify a claim with a key that proved another before, without a look at the store.

        Whoever relies upon it asks the store whether the key is still kept. None: it is not at
        hand, or not this one's; `prove` says which.
        """
        found = self._at_hand.get(claim.key_id)
        if found is None:
            return None
        kept, key = found
        try:
            return verify(claim, key), kept
        except FederationError:
            return None

    def forget(self, kept: KeptKey) -> None:
        """The store has another by now."""
        self._at_hand.pop(kept.uri, None)

    async def prove(self, claim: Claim, budget: Budget, *, now: datetime) -> VerifiedActivity:
        """Verify a claim with the key that is kept, or fetched now.

        Args:
            claim: As examined.
            budget: What may be fetched for it.
            now: The time.

        Raises:
            NotProven: No key of the claimed id made the signature.
            NotTheActor: It did, and is another actor's.
            TryFetchLater: The key cannot be had at present.
        """
        kept = await self._services.store.read(find_key, claim.key_id)
        if kept is None:
            return verify(claim, await self._fetched(claim.key_id, budget, now=now))
        try:
            known = _known(kept)
            activity = verify(claim, known)
        except NotTheActor:
            # Somebody of the same host may list another's key as its own.
            if not same_origin(kept.owner, claim.actor):
                raise
            newer = await self._newer(kept, budget, now=now)
            if newer is None:
                raise
            return verify(claim, newer)
        except NotProven:
            newer = await self._newer(kept, budget, now=now)
            if newer is None:
                raise
            return verify(claim, newer)
        self._remember(self._at_hand, kept.uri, (kept, known), KEYS_AT_HAND)
        return activity

    async def owner(self, signature: CavageClaim | MessageClaim, *, now: datetime) -> str:
        """Whose key made the signature of a request that claims no actor.

        Raises:
            NotProven: No key of the claimed id made it.
            TryFetchLater: The key cannot be had at present.
        """
        kept = await self._services.store.read(find_key, signature.key_id)
        if kept is not None and signature.is_by(_known(kept).key):
            return kept.owner
        if kept is not None and not self._may_refresh(kept, now):
            raise NotProven("the signature is not of this key")
        key = await self._fetched(signature.key_id, Budget(), now=now)
        if not signature.is_by(key.key):
            raise NotProven("the signature is not of this key")
        return key.owner

    async def prove_made(self, claim: Claim, budget: Budget, *, now: datetime) -> VerifiedActivity:
        """Verify by the proof that the actor put into the activity itself (federation.md 8.2).

        Raises:
            NotProven: There is none, or it is not of a key that the actor lists.
            TryFetchLater: The key cannot be had at present.
        """
        proof = proofs.examine(claim.document, now=now)
        if proof is None or not same_origin(proof.key_id, claim.actor):
            raise NotProven("no proof by its actor")
        kept = await self._services.store.read(find_key, proof.key_id)
        if kept is not None:
            try:
                return verify_proof(claim, proof, _known(kept))
            except NotProven:
                if not self._may_refresh(kept, now):
                    raise
        return verify_proof(claim, proof, await self._fetched(proof.key_id, budget, now=now))

    async def whereabouts(self, actor_id: str, budget: Budget, *, now: datetime) -> Whereabouts:
        """What an actor's own id says: it is gone (410, a tombstone), missing (404), or there.

        Asked once within L-10, for whoever could not prove a Delete.

        Raises:
            TooManyFetches: The budget does not reach for it.
        """
        seen = self._seen.get(actor_id)
        if seen is not None and now - seen[0] < NEGATIVE_KEY_CACHE:
            return seen[1]
        fetcher = await fetcher_of(self._services, budget)
        found = await where_is(fetcher, actor_id, now=now)
        self._remember(self._seen, actor_id, (now, found), NEGATIVE_KEYS)
        return found

    async def _newer(self, kept: KeptKey, budget: Budget, *, now: datetime) -> KnownKey | None:
        """What the key may be by now; None if it was looked at lately and is the same (L-11)."""
        if kept.uri in self._under_way or self._may_refresh(kept, now):
            return await self._fetched(kept.uri, budget, now=now)
        found = await self._services.store.read(find_key, kept.uri)
        if found is None or (found.public, found.owner) == (kept.public, kept.owner):
            return None
        return _known(found)

    async def _fetched(self, key_id: str, budget: Budget, *, now: datetime) -> KnownKey:
        failure = self._failures.get(key_id)
        if failure is not None and now - failure[0] < NEGATIVE_KEY_CACHE:
            raise failure[1](failure[2])
        task = self._under_way.get(key_id)
        if task is None:
            task = asyncio.create_task(self._fetch(key_id, budget, now=now))
            self._under_way[key_id] = task
            task.add_done_callback(lambda done: self._landed(key_id, done))
        return await asyncio.shield(task)

    def _landed(self, key_id: str, task: asyncio.Task[KnownKey]) -> None:
        del self._under_way[key_id]
        if not task.cancelled():
            task.exception()  # Whoever waited has it; perhaps nobody waits any more.

    async def _fetch(self, key_id: str, budget: Budget, *, now: datetime) -> KnownKey:
        fetcher = await fetcher_of(self._services, budget)
        is_whole = budget == Budget()
        try:
            key, actor = await fetcher.key(key_id, now=now)
            if await self._services.store.write(keep_actor, snapshot_of(actor), now=now) is None:
                raise NotProven("the account was deleted")  # Though it is served (IN-21).
        except TryFetchLater as wrong:
            self._fail(key_id, TryFetchLater, wrong.detail, now)
            raise
        except FederationError as wrong:
            detail = f"no key: {wrong.detail}"
            # What others used up says nothing of this key: its own activities may still prove it.
            if is_whole or not isinstance(wrong, TooManyFetches):
                self._fail(key_id, NotProven, detail, now)
            raise NotProven(detail) from wrong
        self._failures.pop(key_id, None)
        self._remember(self._refreshed, key_id, now, NEGATIVE_KEYS)
        self._met += 1
        if self._met % _TIDY_EVERY == 0:
            self._swept = await self._services.store.write_behind(
                forget_strangers, self._swept, most=STRANGERS
            )
        return key

    def _fail(self, key_id: str, kind: type[FederationError], detail: str, now: datetime) -> None:
        self._remember(self._failures, key_id, (now, kind, detail), NEGATIVE_KEYS)

    def _may_refresh(self, kept: KeptKey, now: datetime) -> bool:
        last = self._refreshed.get(kept.uri, kept.fetched_at)
        return now - last >= KEY_REFRESH

    @staticmethod
    def _remember(memory: OrderedDict[str, T], key: str, value: T, most: int) -> None:
        memory[key] = value
        memory.move_to_end(key)
        if len(memory) > most:
            memory.popitem(last=False)


async def fetcher_of(services: Services, budget: Budget) -> Fetcher:
    """Fetches as our instance actor."""
    instance = await services.keyring.instance()
    return Fetcher(services.network, instance.rsa, budget)


def snapshot_of(actor: RemoteActor) -> ActorSnapshot:
    """What the store keeps of an actor's document; names without marks that nobody sees (HT-7)."""
    return ActorSnapshot(
        uri=actor.id,
        host=actor.host,
        type=actor.type,
        inbox_url=actor.inbox,
        shared_inbox_url=actor.shared_inbox,
        username=plain_name(actor.username, 256),
        name=plain_name(actor.name, 2048),
        url=actor.url,
        icon_url=actor.icon,
        followers_uri=actor.followers,
        also_known_as=actor.also_known_as,
        moved_to=actor.moved_to,
        keys=tuple((key.key_id, key.key.text) for key in actor.keys),
    )


async def where_is(fetcher: Fetcher, actor_id: str, *, now: datetime) -> Whereabouts:
    """What an actor's own id says now; an answer that says nothing means that it is there.

    Raises:
        TooManyFetches: The budget does not reach for it.
    """
    try:
        await fetcher.actor(actor_id, now=now)
    except DocumentGone as gone:
        return "gone" if gone.proven else "missing"
    except TooManyFetches:
        raise
    except FederationError:
        return "there"
    return "there"


def _known(kept: KeptKey) -> KnownKey:
    try:
        return KnownKey(kept.uri, kept.owner, public_key(kept.public))
    except BadKey as wrong:
        raise NotProven("the kept key cannot be read") from wrong
