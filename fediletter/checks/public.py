"""The doctor's look at our public address and our mail hosts, as providers of mailboxes use them.

Sources: email.md section 12 (DO-6, DO-7, DO-13, DO-14, DO-16); RFC 8058, 8461, 8460, 9116, 2142.
"""

import asyncio
import re
import ssl
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx

from federation.errors import FederationError
from federation.network import Network
from fediletter.checks.findings import Finding
from fediletter.clock import Clock
from fediletter.mail.dns import Dns
from fediletter.mail.relay import Relay
from fediletter.mail.smtp import Session, Trouble, Unreachable
from fediletter.newsletter.tokens import TEST_KEY
from fediletter.services import Services

_CERTIFICATE_DAYS = 14
_ONE_CLICK_SECONDS = 5.0


async def public_findings(services: Services) -> list[Finding]:
    """One-click, certificate and security.txt, asked for through the public address."""
    return [
        await _one_click(services),
        *await _certificate(services.settings.base_url, services.clock),
        await _security_txt(services),
    ]


async def _one_click(services: Services) -> Finding:
    """DO-13, DO-7: what a provider sends when somebody presses its button; of nobody's token."""
    url = services.links.unsubscribe(services.tokens.unsubscribe(TEST_KEY))
    network = services.network.from_outside()
    begin = services.clock.monotonic()
    try:
        async with network.connection() as client:
            seen = await client.get(url)
            answer = await client.post(
                url,
                content=b"List-Unsubscribe=One-Click",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
    except (FederationError, httpx.HTTPError) as wrong:
        reason = str(wrong)
    else:
        took = services.clock.monotonic() - begin
        reason = next(
            (
                words
                for is_bad, words in (
                    (300 <= answer.status_code < 400, f"redirect {answer.status_code}"),
                    (answer.status_code != 200, str(answer.status_code)),
                    (seen.status_code != 200, str(seen.status_code)),
                    ("set-cookie" in answer.headers or "set-cookie" in seen.headers, "cookie"),
                    (not answer.headers.get("content-type", "").startswith("text/plain"), "HTML"),
                    (took > _ONE_CLICK_SECONDS, f"{took:.0f} s"),
                )
                if is_bad
            ),
            "",
        )
    if reason:
        fact = "Leaving by one click does not work from outside: {reason}."
        remedy = "Let the proxy hand on POST to /unsubscribe/ as it is: no redirect, no question."
        return Finding("one-click", False, fact, remedy, {"reason": reason})
    return Finding("one-click", True, "Leaving by one click works from outside.")


async def _certificate(base_url: str, clock: Clock) -> list[Finding]:
    """DO-7: the certificate of the public address is good for two weeks more."""
    parts = urlsplit(base_url)
    if parts.scheme != "https":
        return []
    fields: dict[str, object] = {"host": parts.netloc}
    try:
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=ssl.create_default_context()
            )
    except (OSError, TimeoutError) as wrong:
        fact = "{host} cannot be reached by https: {reason}."
        remedy = "Check its address in DNS, the proxy and its certificate."
        return [Finding("https", False, fact, remedy, fields | {"reason": str(wrong) or "time"})]
    shown = writer.get_extra_info("peercert")
    writer.transport.abort()
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    fields["days"] = max(0, (ends - clock.now()).days)
    if ends - clock.now() < timedelta(days=_CERTIFICATE_DAYS):
        fact = "The certificate of {host} ends in {days} days."
        remedy = "Renew it: links of letters and one-click stop working with it."
        return [Finding("https", False, fact, remedy, fields)]
    return [
        Finding("https", True, "The certificate of {host} is good for {days} days.", "", fields)
    ]


async def _security_txt(services: Services) -> Finding:
    """DO-16: where to report a hole, and not out of date (RFC 9116)."""
    remedy = (
        "Let the proxy hand /.well-known/ on to fediletter, which serves one; or serve your own."
    )
    text = await _text(services.network.from_outside(), services.links.page(
        "/.well-known/security.txt"))  # fmt: skip
    if text is None or not re.search(r"(?im)^contact:\s*\S", text):
        fact = "There is no /.well-known/security.txt: nobody knows where to report a hole."
        return Finding("security.txt", True, fact, remedy, is_amber=True)
    found = re.search(r"(?im)^expires:\s*(\S+)", text)
    try:
        expires = datetime.fromisoformat(found[1].replace("Z", "+00:00")) if found else None
    except ValueError:
        expires = None
    if expires is None or expires.tzinfo is None or expires < services.clock.now():
        fact = "/.well-known/security.txt has expired, or does not say when it does."
        return Finding("security.txt", True, fact, remedy, is_amber=True)
    return Finding("security.txt", True, "/.well-known/security.txt is in order.")


async def receiving_findings(
    names: Dns, network: Network, domain: str, ehlo_name: str, *, port: int = 25
) -> list[Finding]:
    """DO-6: whether others must use TLS when they write to us, and can.

    Args:
        names: The door to DNS.
        network: Where the policy is read.
        domain: Of the From address.
        ehlo_name: How we greet.
        port: Of the mail hosts.
    """
    fields: dict[str, object] = {"domain": domain}
    found = [one for one in await names.txt(f"_mta-sts.{domain}") if one.startswith("v=STSv1")]
    if not found:
        fact = "{domain} does not ask others for TLS when they write to you (MTA-STS)."
        remedy = "Ask whoever runs its mail for MTA-STS; letters leave without it too."
        return [Finding("mta-sts", True, fact, remedy, fields, is_amber=True)]
    text = await _text(network, f"https://mta-sts.{domain}/.well-known/mta-sts.txt")
    if text is None:
        fact = "{domain} announces a policy (MTA-STS) that cannot be read."
        remedy = (
            "Serve it at https://mta-sts.{domain}/.well-known/mta-sts.txt, or take out the record."
        )
        return [Finding("mta-sts", False, fact, remedy, fields)]
    pairs = [line.partition(":")[::2] for line in text.splitlines()]
    lines = [(name.strip().lower(), value.strip().lower()) for name, value in pairs]
    allowed = [value for name, value in lines if name == "mx"]
    hosts = [one for one in await names.mx(domain) if one]
    strangers = [one for one in hosts if not _matches(one.lower(), allowed)]
    if strangers:
        fact = "The policy of {domain} (MTA-STS) leaves out its mail host {host}."
        remedy = "Add the line mx: {host}"
        return [Finding("mta-sts", False, fact, remedy, fields | {"host": strangers[0]})]
    for host in hosts[:1]:
        if reason := await _insecure(names, host, ehlo_name, port):
            fact = "{domain} demands TLS (MTA-STS), and its mail host {host} cannot: {reason}."
            remedy = "Give {host} a certificate of its name, or take the policy back."
            return [
                Finding("mta-sts", False, fact, remedy, fields | {"host": host, "reason": reason})
            ]
    if ("mode", "enforce") not in lines:
        fact = "The policy of {domain} (MTA-STS) is not enforced yet."
        return [Finding("mta-sts", True, fact, "Write mode: enforce.", fields, is_amber=True)]
    if not any(one.startswith("v=TLSRPTv1") for one in await names.txt(f"_smtp._tls.{domain}")):
        fact = "{domain} asks for TLS (MTA-STS), and for no reports when that fails (TLSRPT)."
        remedy = "Publish a TXT record at _smtp._tls.{domain}: v=TLSRPTv1; rua=mailto:{address}"
        fields["address"] = f"postmaster@{domain}"
        return [Finding("mta-sts", True, fact, remedy, fields, is_amber=True)]
    return [Finding("mta-sts", True, "{domain} asks others for TLS (MTA-STS).", fields=fields)]


async def _insecure(names: Dns, host: str, ehlo_name: str, port: int) -> str:
    """Why others cannot write to a mail host in safety; empty if they can, or nobody answers us."""
    relay = Relay(host, port, "starttls", None, None, ehlo_name)
    for address in (await names.addresses(host))[:1]:
        try:
            session = await Session.open(relay, address=address)
        except (Unreachable, OSError):
            return ""
        except Trouble as wrong:
            return str(wrong)
        await session.close()
    return ""


def _matches(host: str, allowed: list[str]) -> bool:
    """`*.` stands for one label (RFC 8461 §4.1)."""
    return host in allowed or f"*.{host.partition('.')[2]}" in allowed


async def postmaster_findings(
    names: Dns, domain: str, ehlo_name: str, *, port: int = 25
) -> list[Finding]:
    """DO-14: the mail hosts of our domain take mail for those whom others write to in trouble.

    A network that lets nothing out on port 25 says nothing about it.

    Args:
        names: The door to DNS.
        domain: Of the From address.
        ehlo_name: How we greet.
        port: Of the mail hosts.
    """
    for host in [one for one in await names.mx(domain) if one][:1]:
        for address in (await names.addresses(host))[:1]:
            try:
                session = await Session.open(Relay(address, port, "none", None, None, ehlo_name))
            except (Trouble, OSError):
                return []
            try:
                refused = [
                    f"{name}@{domain}"
                    for name in ("postmaster", "abuse")
                    if not await session.takes(f"{name}@{domain}")
                ]
            except (Trouble, OSError, TimeoutError):
                return []
            finally:
                await session.close()
            if refused:
                fact = "{host} refuses mail to {refused}: nobody can tell you of trouble."
                remedy = "Let these addresses lead to somebody (RFC 2142)."
                fields = {"host": host, "refused": ", ".join(refused)}
                return [Finding("postmaster", True, fact, remedy, fields, is_amber=True)]
            fact = "postmaster@{domain} and abuse@{domain} take mail."
            return [Finding("postmaster", True, fact, fields={"domain": domain})]
    return []


async def _text(network: Network, url: str) -> str | None:
    try:
        async with network.connection() as client:
            answer = await client.get(url)
    except (FederationError, httpx.HTTPError):
        return None
    return answer.text if answer.status_code == 200 else None
