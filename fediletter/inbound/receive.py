"""A request to an inbox becomes a durable row, or a refusal: before anything is done about it.

An activity that another than its actor brings has no effect, unless it carries its actor's own
proof: then it is its actor's, whoever brings it (federation.md 8.2).

Sources: security.md 2.1 (order of checks, statuses), IN-7, IN-8, IN-22, IN-24, IN-28, IN-36, L-14,
L-15; federation.md 9.1, 9.4.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, TypeAlias

from federation.errors import FederationError, NotTheActor, TryFetchLater
from federation.fetch import Budget
from federation.inbox import Claim, InboxRequest, VerifiedActivity, examine
from federation.limits import FETCHES
from federation.origins import host_of
from federation.signatures import cavage, rfc9421
from federation.signatures.cavage import CavageClaim
from federation.signatures.rfc9421 import MessageClaim
from fediletter.gathering import Gathering
from fediletter.inbound.dispatch import HANDLED, LOOK_AGAIN
from fediletter.inbound.keys import KeyLookup
from fediletter.limits import INBOX_PER_CALLER, INBOX_PER_HOST
from fediletter.rates import Rates
from fediletter.services import Services
from storage import received
from storage.blocks import blocked_among, is_blocked
from storage.lanes import wake_hosts
from storage.peers import KeptKey, find_actor, find_keys, hear_from
from storage.received import Arrival
from storage.store import Tx

_UNTIL_ANOTHER_LOOK = timedelta(hours=24)  # federation.md 9.4: one 404 proves nothing.
_log = logging.getLogger("fediletter.inbox")


class Blocked(FederationError):
    """The signer or its host is blocked."""

    status = 403
    words = "blocked"


class TooOften(FederationError):
    """More than a caller or a host may send; `seconds` until it may again."""

    status = 429
    words = "too often"

    def __init__(self, detail: str, seconds: int) -> None:
        super().__init__(detail)
        self.seconds = seconds


Fate: TypeAlias = Literal["taken", "blocked", "another key"]


@dataclass(frozen=True, slots=True)
class _Proven:
    """An activity on its way into the store."""

    activity: VerifiedActivity
    whose: frozenset[tuple[str, str]]  # Its actor and its signer, with their hosts.
    key: KeptKey | None  # That was at hand; None: it was looked up just now.
    fetches: int  # That this took.
    is_wanted: bool  # Else nothing is kept of it; but whoever speaks lives.


class Receiver:
    """Takes in requests to any inbox of ours. One for each process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keys = KeyLookup(services)
        self._proven = Gathering(services.store, self._keep)
        self._callers = Rates(*INBOX_PER_CALLER)
        self._senders = Rates(*INBOX_PER_HOST)
        settings = services.settings
        self._hosts = frozenset({settings.host, settings.account_host})
        self._schemes = ("https", "http") if settings.is_laboratory else ("https",)

    def admit(self, caller: str) -> None:
        """Count a request before anything of it is read (L-14).

        What is proven later is given back, so that many honest servers behind one address (a
        proxy that nobody told us of) are not taken for one that tries keys.

        Raises:
            TooOften: This address has sent too much that nobody could prove.
        """
        wait = self._callers.hit(caller, at=self._services.clock.monotonic())
        if wait is not None:
            raise TooOften("too many unproven requests of one address", wait)

    async def receive(self, request: InboxRequest, *, caller: str, owner: str | None) -> None:
        """Keep what the request says; after this it may be answered with 202.

        Args:
            request: As it stood on the wire.
            caller: As counted by `admit`.
            owner: The actor of ours whose inbox it is; None for the shared one.

        Raises:
            FederationError: With the status that answers it; nothing was stored.
        """
        with self._services.turns.asking():
            await self._receive(request, caller, owner)

    async def _receive(self, request: InboxRequest, caller: str, owner: str | None) -> None:
        now = self._services.clock.now()
        claim = examine(request, hosts=self._hosts, schemes=self._schemes, now=now)
        if claim.is_about_itself and not await self._is_known(claim.actor):
            self._callers.give_back(caller)
            return  # Nothing of theirs is here; the key is gone as well (IN-22).
        budget = Budget()
        known = self._keys.at_hand(claim)
        if known is not None and await self._take(known[0], claim, known[1], budget, caller, owner):
            return
        if await self._services.store.read(blocked_among, _whose(claim)):
            raise Blocked
        try:
            activity = await self._prove(claim, budget, now=now)
        except TryFetchLater:
            raise
        except FederationError:
            if claim.is_self_delete and await self._farewell(claim, budget, now=now):
                return
            raise
        if activity is None:
            # Forwarded or mis-attributed: no effect, and no word about why (IN-13).
            self._callers.give_back(caller)
            _log.info("an activity signed by another actor was ignored")
            return
        await self._take(activity, claim, None, budget, caller, owner)

    async def _prove(
        self, claim: Claim, budget: Budget, *, now: datetime
    ) -> VerifiedActivity | None:
        try:
            return await self._keys.prove(claim, budget, now=now)
        except NotTheActor:
            pass
        try:
            return await self._keys.prove_made(claim, budget, now=now)
        except TryFetchLater:
            raise
        except FederationError:
            return None

    async def _take(
        self,
        activity: VerifiedActivity,
        claim: Claim,
        key: KeptKey | None,
        budget: Budget,
        caller: str,
        owner: str | None,
    ) -> bool:
        """Write down what is proven. False if the key that proves it is not kept any longer."""
        moment = self._services.clock.monotonic()
        self._callers.give_back(caller)
        wait = self._senders.hit(host_of(activity.actor), at=moment)
        if wait is not None:
            raise TooOften("too many requests of one host", wait)
        astray = activity.type == "Follow" and owner not in (None, activity.object_id)
        is_wanted = activity.type in HANDLED and not astray
        fetches = FETCHES - budget.left
        fate = await self._proven.add(_Proven(activity, _whose(claim), key, fetches, is_wanted))
        if fate == "taken":
            return True
        self._callers.hit(caller, at=moment)
        if fate == "blocked" or key is None:
            raise Blocked
        self._keys.forget(key)
        return False

    async def may_read(self, request: InboxRequest, *, hosts: frozenset[str]) -> bool:
        """Whether a signed GET comes from one of these hosts, for what is not public.

        Nothing is fetched for a signature that names a key elsewhere: strangers cannot make us ask
        anybody (IN-9).
        """
        now = self._services.clock.now()
        try:
            signature: CavageClaim | MessageClaim
            if request.header("signature-input") is not None:
                signature = rfc9421.examine(
                    request, hosts=self._hosts, schemes=self._schemes, now=now
                )
            else:
                signature = cavage.examine(request, hosts=self._hosts, now=now)
            if host_of(signature.key_id) not in hosts:
                return False
            owner = await self._keys.owner(signature, now=now)
        except FederationError:
            return False
        host = host_of(owner)
        return host in hosts and not await self._services.store.read(is_blocked, owner, host)

    async def _is_known(self, actor_id: str) -> bool:
        found = await self._services.store.read(find_actor, actor_id)
        return found is not None and found.deleted_at is None

    async def _farewell(self, claim: Claim, budget: Budget, *, now: datetime) -> bool:
        """An actor we know says that it is gone, and no key can prove it (IN-24).

        Its own id decides: 410 is proof; at 404 we look again a day later; otherwise it is there.
        """
        found = await self._keys.whereabouts(claim.actor, budget, now=now)
        if found == "there":
            return False
        is_gone = found == "gone"
        # A row of its own, so that the activity's id stays free for whoever can prove it (IN-8).
        mark = sha256(f"{claim.actor} {now.date()}".encode()).hexdigest()
        arrival = Arrival(
            signer=claim.actor,
            activity_uri=f"urn:gone:{mark}",
            type=claim.type if is_gone else LOOK_AGAIN,
            body=claim.body,
            attempts=FETCHES - budget.left,
            not_before=now if is_gone else now + _UNTIL_ANOTHER_LOOK,
        )
        await self._services.store.write(received.keep, [arrival], now=now)
        return True

    def _keep(self, tx: Tx, proven: Sequence[_Proven]) -> list[Fate]:
        """Of those who may speak, what is wanted; whoever speaks lives."""
        now = self._services.clock.now()
        blocked = blocked_among(tx, {pair for one in proven for pair in one.whose})
        used = {one.key.uri for one in proven if one.key is not None}
        keys = {key.uri: (key.owner, key.public) for key in find_keys(tx, used)} if used else {}
        fates = [_fate(one, blocked, keys) for one in proven]
        taken = [one for one, fate in zip(proven, fates, strict=True) if fate == "taken"]
        new = received.keep(
            tx,
            [
                Arrival(
                    one.activity.actor,
                    one.activity.activity_id,
                    one.activity.type,
                    one.activity.body,
                    one.fetches,
                )
                for one in taken
                if one.is_wanted
            ],
            now=now,
        )
        heard = {host_of(signer) for signer, _ in new}
        hear_from(tx, heard, now=now)
        silent = {host_of(one.activity.actor) for one in taken if not one.is_wanted}
        wake_hosts(tx, heard | silent, now=now)
        return fates


def _fate(one: _Proven, blocked: set[tuple[str, str]], keys: dict[str, tuple[str, str]]) -> Fate:
    if not blocked.isdisjoint(one.whose):
        return "blocked"
    key = one.key
    if key is not None and keys.get(key.uri) != (key.owner, key.public):
        return "another key"
    return "taken"


def _whose(claim: Claim) -> frozenset[tuple[str, str]]:
    """The actor that is claimed and the one whose key signs, with their hosts."""
    signer = claim.key_id.partition("#")[0]
    return frozenset({(claim.actor, host_of(claim.actor)), (signer, host_of(claim.key_id))})
