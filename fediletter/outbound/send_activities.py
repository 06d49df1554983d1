"""Drains one lane of a peer over one connection.

An answer that says *later* holds back that delivery; no answer at all rests the whole lane, and so
do five errors of the server in a row. The loop does nothing per delivery but sign, send and judge.

Sources: federation.md 6, 11; security.md RE-7, RE-9, FE-8; architecture page, section 7.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError

from federation.delivery import Delivered, Gone, Outcome, Parcel, Refused, Scheme, TryLater, deliver
from federation.network import Client
from fediletter.gathering import Gathering
from fediletter.limits import BLOCKING_US
from fediletter.newsletter.alerts import Alert, tell_founders
from fediletter.outbound.backoff import activity_again, rest_of
from fediletter.outbound.look_again import look_again
from fediletter.services import Services, house_of
from storage.ids import ActivityId, ActorId, LaneId
from storage.lanes import refused_lately
from storage.leases import (
    Again,
    Claim,
    Ended,
    Errand,
    Report,
    Result,
    activity_parcels,
    settle,
)
from storage.store import Tx
from storage.times import from_ms

_ROUNDS = 10  # Batches over one connection before other lanes get the slot.
_REFUSED = 3  # Signatures not accepted: our key or clock is wrong, or theirs (federation.md 6).
_NOT_OURS = "does not accept our signature"
_BLOCKED = 403
_ITS_FAULT = 500
_BREAKS = 5  # Errors of its own in a row, then the host rests half an hour, and one is tried.
_HOSTS_IN_TROUBLE = 10_000  # Remembered at once (FE-16).
_KEPT = 64  # Parcels in memory: a lane rarely needs more than the newest few.
_log = logging.getLogger("fediletter.outbound")


class ActivitySender:
    """One for each process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reports = Gathering(services.store, self._settle)
        self._parcels: OrderedDict[ActivityId, tuple[Parcel, ActorId]] = OrderedDict()
        self._errors: OrderedDict[LaneId, int] = OrderedDict()  # 5xx in a row, by lane.

    async def drain(self, claim: Claim) -> None:
        """Send what is due in a lane, and give it back."""
        errands = claim.errands
        scheme = claim.scheme
        try:
            async with self._services.network.connection() as client:
                for number in range(_ROUNDS):
                    report = await self._send(
                        client, claim, errands, scheme, is_last=number + 1 == _ROUNDS
                    )
                    scheme = report.scheme or scheme
                    errands = await self._reports.add(report)
                    self._services.ended.update(
                        ("fediverse", one.state) for one in report.results if isinstance(one, Ended)
                    )
                    if not errands:
                        return
        except (asyncio.CancelledError, DBAPIError):
            # Terminated: the lane is handed back with all that this process holds. A database that
            # was away: the lane begins anew as soon as it answers.
            raise
        except Exception:  # noqa: BLE001 (one lane's trouble is not another's)
            _log.exception("a lane could not be drained", extra={"lane": claim.key})
            await self._reports.add(
                Report(
                    claim.lane_id, claim.term, rest=timedelta(minutes=1), error="unexpected trouble"
                )
            )

    def _settle(self, tx: Tx, reports: Sequence[Report]) -> list[tuple[Errand, ...]]:
        """What is due next in each lane that goes on."""
        more = settle(tx, reports, now=self._services.clock.now())
        return [more.get(report.lane_id, ()) for report in reports]

    async def _send(
        self,
        client: Client,
        claim: Claim,
        errands: Sequence[Errand],
        scheme: str | None,
        *,
        is_last: bool,
    ) -> Report:
        results: list[Result] = []
        used: Scheme | None = "rfc9421" if scheme == "rfc9421" else "cavage" if scheme else None
        answered, trouble = False, None
        refused: set[ActivityId] = set()
        for errand in errands:
            parcel, actor_id = await self._parcel(errand.activity_id)
            signer = (await self._services.keyring.by_id(actor_id)).rsa
            await self._services.turns.give_way()
            now = self._services.clock.now()
            outcome = await deliver(client, parcel, errand.inbox_url, signer, scheme=used, now=now)
            rest = self._rest_after(claim, outcome)
            if rest is not None:
                results.append(_result(errand, outcome, now))
                error = outcome.reason if isinstance(outcome, TryLater) else None
                return Report(claim.lane_id, claim.term, results, rest=rest, error=error)
            answered = True
            if isinstance(outcome, Delivered):
                used = outcome.scheme
            else:
                trouble = outcome.reason
            if isinstance(outcome, Gone):
                await look_again(self._services, errand)
            result = _result(errand, outcome, now)
            if isinstance(result, Ended) and result.answer == _NOT_OURS:
                await self._warn(claim, now)
            results.append(result)
            if isinstance(outcome, Delivered):
                refused = set()
            elif isinstance(outcome, Refused) and outcome.status == _BLOCKED:
                refused |= {errand.activity_id}
                if not any(isinstance(one, Ended) and one.state == "delivered" for one in results):
                    refused |= await self._services.store.read(
                        refused_lately, claim.lane_id, outcome.reason
                    )
                most, rest = BLOCKING_US
                if len(refused) >= most:
                    return Report(claim.lane_id, claim.term, results, rest=rest, blocks_us=True)
        return Report(
            claim.lane_id,
            claim.term,
            results,
            answered=answered,
            error=trouble,
            scheme=used if answered else None,
            go_on=not is_last and bool(errands),
        )

    async def _warn(self, claim: Claim, now: datetime) -> None:
        """The key or the clock is wrong, ours or theirs: the founders hear of it once a day."""
        alert = Alert(
            "signatures",
            "A server does not accept our signature",
            "{host} refused letters three times because of their signature. If more servers do, "
            "look whether the clock of this machine is right and whether they can read {actor}.",
            {
                "host": claim.key.partition(":")[2],
                "actor": self._services.links.actor(self._services.settings.account_user),
            },
            "/desk/audit",
        )
        house = house_of(self._services)
        await self._services.store.write(tell_founders, alert, house, now=now)

    def _rest_after(self, claim: Claim, outcome: Outcome) -> timedelta | None:
        """How long the whole host rests; None if it need not."""
        if isinstance(outcome, TryLater) and not outcome.answered:
            return rest_of(claim.failures)
        if not isinstance(outcome, TryLater) or (outcome.status or 0) < _ITS_FAULT:
            self._errors.pop(claim.lane_id, None)
            return None
        count = self._errors[claim.lane_id] = self._errors.get(claim.lane_id, 0) + 1
        self._errors.move_to_end(claim.lane_id)
        if len(self._errors) > _HOSTS_IN_TROUBLE:
            self._errors.popitem(last=False)
        return rest_of(max(_BREAKS - 1, claim.failures)) if count >= _BREAKS else None

    async def _parcel(self, activity_id: ActivityId) -> tuple[Parcel, ActorId]:
        kept = self._parcels.get(activity_id)
        if kept is None:
            found = await self._services.store.read(activity_parcels, [activity_id])
            body, digest, actor_id = found[activity_id]
            kept = self._parcels[activity_id] = (Parcel(body, digest), ActorId(actor_id))
            if len(self._parcels) > _KEPT:
                self._parcels.popitem(last=False)
        return kept


def _result(errand: Errand, outcome: Outcome, now: datetime) -> Result:
    match outcome:
        case Delivered():
            return Ended(errand.id, "delivered", f"answered {outcome.status}")
        case TryLater(status=401) if errand.attempts + 1 >= _REFUSED:
            return Ended(errand.id, "failed", _NOT_OURS)
        case TryLater():
            at = activity_again(
                errand.attempts + 1,
                created_at=from_ms(errand.created_at),
                now=now,
                after=outcome.after,
            )
            if at is None:
                return Ended(errand.id, "failed", f"given up: {outcome.reason}")
            return Again(errand.id, at, outcome.reason)
        case Refused() | Gone():
            return Ended(errand.id, "failed", outcome.reason)
