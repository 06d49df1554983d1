"""A request to an inbox becomes a durable row, or a refusal: before anything is done about it.

Sources: security.md 2.1 (order of checks, statuses), IN-7, IN-8, IN-22, IN-36; federation.md 9.1.
"""

import logging

from federation.errors import FederationError, NotTheActor, TryFetchLater
from federation.inbox import InboxRequest, VerifiedActivity, examine
from federation.origins import host_of
from federation.signatures import cavage, rfc9421
from federation.signatures.cavage import CavageClaim
from federation.signatures.rfc9421 import MessageClaim
from fediletter.inbound.keys import KeyLookup, is_gone
from fediletter.services import Services
from storage import received
from storage.blocks import is_blocked
from storage.lanes import wake_host
from storage.peers import find_actor, hear_from
from storage.store import Tx

_log = logging.getLogger("fediletter.inbox")


class Blocked(FederationError):
    """The signer or its host is blocked."""

    status = 403
    words = "blocked"


class Receiver:
    """Takes in requests to any inbox of ours. One for each process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keys = KeyLookup(services)
        settings = services.settings
        self._hosts = frozenset({settings.host, settings.account_host})
        self._schemes = ("https", "http") if settings.is_laboratory else ("https",)

    async def receive(self, request: InboxRequest) -> None:
        """Keep what the request says; after this it may be answered with 202.

        Raises:
            FederationError: With the status that answers it; nothing was stored.
        """
        now = self._services.clock.now()
        claim = examine(request, hosts=self._hosts, schemes=self._schemes, now=now)
        if claim.is_self_delete and not await self._is_known(claim.actor):
            return  # Nothing of theirs is here; the key is gone as well (IN-22).
        if await self._services.store.read(is_blocked, claim.actor, host_of(claim.actor)):
            raise Blocked
        try:
            activity = await self._keys.prove(claim, now=now)
        except NotTheActor:
            # Forwarded or mis-attributed: no effect, and no word about why (IN-13).
            _log.info("an activity signed by another actor was ignored")
            return
        except TryFetchLater:
            raise
        except FederationError:
            if claim.is_self_delete and await is_gone(self._services, claim.actor, now=now):
                await self._services.store.write(
                    received.keep,
                    signer=claim.actor,
                    activity_uri=claim.activity_id,
                    type=claim.type,
                    body=claim.body,
                    now=now,
                )
                return
            raise
        await self._services.store.write(self._keep, activity)

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
        return await self._services.store.read(find_actor, actor_id) is not None

    def _keep(self, tx: Tx, activity: VerifiedActivity) -> None:
        now = self._services.clock.now()
        host = host_of(activity.actor)
        kept = received.keep(
            tx,
            signer=activity.actor,
            activity_uri=activity.activity_id,
            type=activity.type,
            body=activity.body,
            now=now,
        )
        if kept:
            hear_from(tx, host, now=now)
            wake_host(tx, host, now=now)
