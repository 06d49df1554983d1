"""From type to handler: `gather` may ask the network, `apply` decides in one transaction.

A handler returns a reason when it ignores an activity, None when it applied it. What a peer sends
never raises out of here: it is recorded with a reason that a founder can read (`reasons.py`).

All that is asked for one activity, when it came and at each try, is asked on one budget (L-43).

Sources: federation.md 9.2, 9.3; RE-8; IN-33, IN-36, FE-15.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

from federation.errors import FederationError, TryFetchLater
from federation.fetch import Budget, Fetcher
from federation.inbox import VerifiedActivity, reopen
from federation.limits import FETCHES
from federation.origins import host_of
from fediletter.inbound import follow, profile, quote, reaction, removal, reply
from fediletter.inbound.facts import Apply
from fediletter.inbound.keys import fetcher_of
from fediletter.inbound.reasons import BLOCKED, HELD, NO_HANDLER, reason_of
from fediletter.services import Services
from storage import received
from storage.blocks import is_blocked
from storage.errors import NotThere
from storage.ids import ReceivedId
from storage.store import Tx

LOOK_AGAIN = "Delete, unproven"  # No type that a document could have: it would be one of two.
_LONGEST_WAIT = timedelta(hours=12)
_log = logging.getLogger("fediletter.inbox")

Handler: TypeAlias = Callable[[Services, VerifiedActivity, Fetcher], Awaitable[Apply]]

_HANDLERS: dict[str, Handler] = {
    "Follow": follow.follow,
    "Undo": removal.undo,
    "Create": reply.create,
    "Update": profile.update,
    "Delete": removal.delete,
    "Like": reaction.like,
    "EmojiReact": reaction.like,
    "Announce": reaction.announce,
    "Block": follow.block,
    "Move": profile.move,
    "Flag": profile.flag,
    "QuoteRequest": quote.quote_request,
    LOOK_AGAIN: removal.look_again,
}
HANDLED = frozenset(_HANDLERS) - {LOOK_AGAIN}


async def process(services: Services, received_id: ReceivedId) -> None:
    """Apply one received activity; whatever happens, it is recorded."""
    try:
        row = await services.store.read(received.get, received_id)
    except NotThere:
        return
    handler = _HANDLERS.get(row.type)
    budget = Budget(FETCHES - row.attempts)
    try:
        if handler is None:
            await _finish(services, received_id, "ignored", NO_HANDLER)
            return
        activity = reopen(row.signer, row.body)
        apply = await handler(services, activity, await fetcher_of(services, budget))
        await services.store.write_behind(_apply, apply, activity, received_id)
    except TryFetchLater as late:
        # Accepted is accepted: it waits until the other server answers (RE-8).
        await _again(services, row, budget, reason_of(late))
    except FederationError as wrong:
        await _finish(services, received_id, "failed", reason_of(wrong))
    except Exception as unexpected:  # noqa: BLE001 (the edge of a worker)
        _log.exception("an activity could not be applied", extra={"received": received_id})
        await _again(services, row, budget, reason_of(unexpected))


def _apply(tx: Tx, apply: Apply, activity: VerifiedActivity, received_id: ReceivedId) -> None:
    if not received.hold(tx, received_id, activity.actor):
        return  # Another process was faster.
    if is_blocked(tx, activity.actor, host_of(activity.actor)):
        received.finish(tx, received_id, state="ignored", reason=BLOCKED)
        return
    reason = apply(tx)
    state = "held" if reason in HELD else "ignored" if reason else "done"
    received.finish(tx, received_id, state=state, reason=reason)


async def _again(services: Services, row: received.Received, budget: Budget, reason: str) -> None:
    attempts = max(FETCHES - budget.left, row.attempts + 1)
    if attempts >= FETCHES:
        await _finish(services, row.id, "failed", reason)
        return
    at = services.clock.now() + min(timedelta(seconds=10 * 4**row.attempts), _LONGEST_WAIT)
    await services.store.write(received.later, row.id, attempts=attempts, at=at, reason=reason)


async def _finish(services: Services, received_id: ReceivedId, state: str, reason: str) -> None:
    await services.store.write(received.finish, received_id, state=state, reason=reason)
