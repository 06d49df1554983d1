"""For whoever runs the server: is it well, and how much waits.

`/healthz` is for everybody and says nothing more than yes or no. `/metrics` is
for this machine, or for who has the token (CL-6): counts only, no host and no person.

Sources: security.md CL-6; interface.md section 4; Prometheus text format 0.0.4.
"""

import hmac
import ipaddress
import logging
from collections import Counter
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fediletter.errors import AppError
from fediletter.services import Services
from fediletter.web.context import services_of
from storage.progress import QueueStatus, queue_status
from storage.workers import beats

_log = logging.getLogger("fediletter.web")


async def health(request: Request) -> Response:
    """Whether the database answers; no detail (CL-6)."""
    try:
        await services_of(request).store.read(beats)
    except DBAPIError as trouble:
        _log.error("the database refuses", extra={"kind": type(trouble.orig).__name__})
        return PlainTextResponse("unavailable", 503, {"Retry-After": "10"})
    return PlainTextResponse("ok")


async def metrics(request: Request) -> Response:
    """The queue in the form that Prometheus reads."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 (memory)
    from prometheus_client.core import (  # noqa: PLC0415 (the same)
        CounterMetricFamily,
        GaugeMetricFamily,
        Metric,
    )
    from prometheus_client.process_collector import ProcessCollector  # noqa: PLC0415 (the same)
    from prometheus_client.registry import CollectorRegistry  # noqa: PLC0415 (the same)

    services = services_of(request)
    if not _may_read(request, services):
        raise AppError(404, "There is nothing at this address.")
    found = await services.store.read(queue_status, now=services.clock.now())
    answered: Counter[int] = request.app.state.inbox_answers

    class Queue:
        def collect(self) -> Iterator[Metric]:
            deliveries = GaugeMetricFamily(
                "fediletter_deliveries",
                "Deliveries that are not over, by class and state",
                labels=["class", "state"],
            )
            letters = found.mail.waiting - found.notices.waiting
            doubtful = found.mail.uncertain - found.notices.uncertain
            deliveries.add_metric(["letter", "waiting"], letters)
            deliveries.add_metric(["letter", "uncertain"], doubtful)
            for name, counts in (("notice", found.notices), ("fediverse", found.fediverse)):
                deliveries.add_metric([name, "waiting"], counts.waiting)
                deliveries.add_metric([name, "uncertain"], counts.uncertain)
            yield deliveries
            ended = CounterMetricFamily(
                "fediletter_deliveries_ended",
                "Deliveries that this process brought to an end, by class and how",
                labels=["class", "state"],
            )
            for (name, state), count in sorted(services.ended.items()):
                ended.add_metric([name, state], count)
            yield ended
            bounces = GaugeMetricFamily(
                "fediletter_bounces", "Bounces that are kept, by class", labels=["class"]
            )
            for name, count in found.bounces:
                bounces.add_metric([name], count)
            yield bounces
            answers = CounterMetricFamily(
                "fediletter_inbox_answers",
                "What this process answered to activities, by status",
                labels=["status"],
            )
            for status, count in sorted(answered.items()):
                answers.add_metric([str(status)], count)
            yield answers
            for name, words, value in _gauges(found):
                yield GaugeMetricFamily(f"fediletter_{name}", words, value=value)
            yield CounterMetricFamily(
                "fediletter_redirects_followed",
                "Redirects of peers that this process followed",
                value=services.network.redirects_followed,
            )

    registry = CollectorRegistry()
    registry.register(Queue())
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _gauges(found: QueueStatus) -> Iterator[tuple[str, str, float]]:
    yield "workers", "Processes that send and apply", found.workers
    yield "received_waiting", "Activities received and not yet applied", found.received_waiting
    yield "fan_outs_open", "Letters whose readers are still being looked up", found.stepping
    yield "relay_rests", "Whether mail waits for the relay: 1 or 0", found.mail_rest is not None
    yield "lanes_resting", "Hosts that did not answer and rest", found.resting_lanes
    yield "lanes_parked", "Lanes set aside because workers died in them", found.parked_lanes
    yield "hosts_dormant", "Hosts that failed on seven days", found.dormant
    yield (
        "oldest_waiting_seconds",
        "Age of the oldest delivery that is due and has not been tried",
        found.oldest_seconds,
    )


def _may_read(request: Request, services: Services) -> bool:
    token = services.settings.metrics_token
    given = request.headers.get("authorization", "")
    if token is not None and hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return True
    # Behind a proxy of this machine everybody comes from loopback: what it forwards does not count.
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host if request.client else "").is_loopback
    except ValueError:
        return False
