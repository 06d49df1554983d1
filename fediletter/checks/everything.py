"""The doctor: looks at everything that letters need, one finding a line.

Sources: interface.md section 2 (`check`); design/style.md, words for people.
"""

import httpx

from federation.errors import FederationError
from federation.fetch import is_activity_type
from federation.webfinger import look_up
from fediletter.app import build_services
from fediletter.checks.findings import Finding
from fediletter.checks.machine import machine_findings
from fediletter.checks.mail import mail_findings
from fediletter.checks.probe import probe_findings
from fediletter.checks.public import public_findings
from fediletter.errors import AppError
from fediletter.services import Services
from fediletter.settings import Settings
from storage.newsletters import get_newsletter


async def run_checks(settings: Settings, *, probe: bool = False) -> list[Finding]:
    """Look at everything; a look that fails is a finding, not an error.

    Args:
        settings: Of this installation.
        probe: Send ourselves a mail too, and wait for it.
    """
    findings = machine_findings(settings)
    try:
        services = build_services(settings)
    except AppError as wrong:
        findings.append(Finding("database", False, wrong.words, wrong.hint, wrong.fields))
        return findings
    try:
        await services.store.read(get_newsletter)
        findings.append(Finding("database", True, "The database answers."))
        findings += await mail_findings(services)
        findings += await public_findings(services)
        findings += await _outside(services)
        findings += await probe_findings(services) if probe else []
    finally:
        services.store.close()
    return findings


async def _outside(services: Services) -> list[Finding]:
    """WebFinger and actor as another server sees them."""
    settings, links = services.settings, services.links
    handle = f"{settings.account_user}@{settings.account_host}"
    scheme = "https" if settings.is_secure else "http"
    findings = []
    network = services.network.from_outside()  # Otherwise our own host is never asked (FE-17).
    try:
        found = await look_up(network, handle, scheme=scheme)
        is_good, reason = found.actor_id == links.actor(), found.actor_id
    except (FederationError, httpx.HTTPError) as wrong:
        is_good, reason = False, str(wrong)
    findings.append(
        Finding(
            "webfinger",
            is_good,
            "@{handle} is found." if is_good else "@{handle} is not found from outside: {reason}.",
            "Check that the server runs, and that its host answers /.well-known/webfinger.",
            {"handle": handle, "reason": reason},
        )
    )
    try:
        async with network.connection() as client:
            answer = await client.get(
                links.actor(), headers={"Accept": "application/activity+json"}
            )
        is_good = answer.status_code == 200 and is_activity_type(
            answer.headers.get("content-type", "")
        )
        reason = str(answer.status_code)
    except (FederationError, httpx.HTTPError) as wrong:
        is_good, reason = False, str(wrong)
    findings.append(
        Finding(
            "actor",
            is_good,
            "The actor {url} can be read from outside."
            if is_good
            else "The actor {url} cannot be read from outside: {reason}.",
            "Check the proxy in front of the server: it must hand on Host and Accept.",
            {"url": links.actor(), "reason": reason},
        )
    )
    return findings
