"""The doctor's look at mail: the relay, and what DNS says of the domain that we write from.

Each red or amber line names one thing to do.

Sources: email.md section 12 (DO-1, DO-3 to DO-5, DO-9); sections 1 and 9.1.
"""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy.exc import DBAPIError

from fediletter.checks.domain_keys import own_key_findings
from fediletter.checks.findings import Finding
from fediletter.checks.public import postmaster_findings, receiving_findings
from fediletter.checks.sample import sample_findings
from fediletter.mail.dns import Dns, NoAnswer, dmarc_of, spf_of
from fediletter.mail.imap import ImapSession, Mailbox, NoMailbox
from fediletter.mail.relay import Relay, relays_from_urls
from fediletter.mail.smtp import Session, Trouble
from fediletter.services import Services
from fediletter.settings import Settings
from storage.dkim import keys_in_use
from storage.store import Tx
from storage.subscribers import any_beyond_ascii
from storage.throttles import clear, counted_since, hit

_GREEN_LONG, _REMEMBERED = timedelta(days=30), timedelta(days=3650)
_LOOK_UPS, _MANY_LOOK_UPS, _VOID = 10, 8, 2  # RFC 7208 §4.6.4


async def mail_findings(
    services: Services, names: Dns | None = None, *, mx_port: int = 25
) -> list[Finding]:
    """Everything about outgoing mail.

    Args:
        services: The toolbox.
        names: Instead of the system's resolver.
        mx_port: Of the mail hosts of our domain.
    """
    settings = services.settings
    if settings.smtp_url.startswith("maildir:"):
        caught = "Mail is caught in {path} and reaches nobody: set FEDILETTER_SMTP_URL to send it."
        path = settings.smtp_url.removeprefix("maildir:")
        return [Finding("mail", True, caught, fields={"path": path})]
    relays = [one for one in relays_from_urls(settings.smtp_url) if one is not None]
    found = [one for relay in relays for one in await _relay(relay)]
    found += await _beyond_ascii(services, found)
    found += [] if settings.imap is None else [await _mailbox(settings.imap)]
    found += await sample_findings(services)
    keys = await services.store.read(keys_in_use)
    asker = names or Dns()
    domain = settings.mail_from.rpartition("@")[2]
    own, greeting = relays[0].is_loopback, relays[0].ehlo_name
    looks: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
        ("SPF", lambda: _spf(asker, domain, await_addresses=own, settings=settings)),
        ("DKIM", lambda: own_key_findings(asker, domain, keys)),
        ("DMARC", lambda: _dmarc_since(services, asker, domain)),
        ("MX", lambda: _mx(asker, domain)),
        (
            "TLS",
            lambda: receiving_findings(asker, services.network, domain, greeting, port=mx_port),
        ),
        ("MX", lambda: postmaster_findings(asker, domain, greeting, port=mx_port)),
    ]
    if own:
        looks.append(("PTR", lambda: _ptr(asker, settings, greeting)))
    for name, look in looks:
        try:
            found += await look()
        except NoAnswer:
            found.append(
                Finding(
                    name.lower(),
                    False,
                    "{name} of {domain} could not be looked up: no name server answers.",
                    "Check the resolver of this machine, then run `fediletter check` again.",
                    {"name": name, "domain": domain},
                )
            )
    return found


async def _relay(relay: Relay) -> list[Finding]:
    """DO-9: connect, secure, log in, and what it can."""
    fields: dict[str, object] = {"host": f"{relay.host}:{relay.port}"}
    try:
        session = await Session.open(relay)
    except (Trouble, OSError) as wrong:
        return [
            Finding(
                "mail",
                False,
                "The mail relay at {host} cannot be used: {reason}.",
                "Check that it runs, or set FEDILETTER_SMTP_URL. Letters wait and will leave then.",
                fields | {"reason": str(wrong) or "no answer"},
            )
        ]
    offered = session.extensions
    await session.close()
    found = [
        Finding(
            "mail",
            True,
            "The mail relay at {host} answers. It offers: {offered}.",
            fields=fields | {"offered": ", ".join(sorted(offered)) or "–"},
        )
    ]
    absent = [name for name in ("DSN", "SMTPUTF8") if name not in offered]
    if absent:  # Said, not judged.
        fact = "The relay at {host} does without {missing}: letters leave all the same."
        found.append(Finding("relay", True, fact, fields=fields | {"missing": ", ".join(absent)}))
    if "PIPELINING" not in offered or "SIZE" not in offered:
        found.append(
            Finding(
                "relay",
                True,
                "The relay at {host} offers no {missing}: sending takes longer.",
                "Ask its operator, or leave it as it is.",
                fields
                | {
                    "missing": ", ".join(
                        name for name in ("PIPELINING", "SIZE") if name not in offered
                    )
                },
                is_amber=True,
            )
        )
    return found


async def _mailbox(mailbox: Mailbox) -> Finding:
    """Where bounces and answers are picked up (email.md 9.1)."""
    fields: dict[str, object] = {"host": f"{mailbox.host}:{mailbox.port}"}
    try:
        session = await asyncio.to_thread(ImapSession, mailbox)
    except NoMailbox as wrong:
        fact = "The mailbox at {host} cannot be read: {reason}."
        remedy = "Check FEDILETTER_IMAP_URL. What lies there waits and will be taken in then."
        return Finding("mailbox", False, fact, remedy, fields | {"reason": str(wrong)})
    await asyncio.to_thread(session.close)
    return Finding("mailbox", True, "The mailbox at {host} is read every minute.", fields=fields)


async def _beyond_ascii(services: Services, relays: list[Finding]) -> list[Finding]:
    """TR-25: whom the form lets in, or let in before, can be reached over each relay."""
    is_open = services.settings.international_addresses
    if not is_open and not await services.store.read(any_beyond_ascii):
        return []
    fact = (
        "The relay at {host} takes no letters beyond ASCII before the @ (SMTPUTF8): readers "
        "with such an address get nothing."
    )
    remedy = "Let it offer SMTPUTF8, or set FEDILETTER_INTERNATIONAL_ADDRESSES to no."
    if not is_open:
        remedy = "Let it offer SMTPUTF8, or take another relay: there are such readers."
    return [
        Finding("smtputf8", False, fact, remedy, {"host": one.fields["host"]})
        for one in relays
        if "offered" in one.fields and "SMTPUTF8" not in one.fields["offered"].split(", ")
    ]


async def _spf(
    names: Dns, domain: str, *, await_addresses: bool, settings: Settings
) -> list[Finding]:
    """DO-1: one record, readable, within its limits, that permits this server."""
    spf = await spf_of(names, domain)
    fields: dict[str, object] = {"domain": domain}
    red: list[tuple[bool, str, str]] = [
        (
            spf.records == 0,
            "{domain} has no SPF record: receivers distrust its mail.",
            "Publish a TXT record at {domain}, such as: v=spf1 mx -all",
        ),
        (
            spf.records > 1,
            "{domain} has several SPF records: receivers then read none.",
            "Join them into one TXT record.",
        ),
        (
            bool(spf.problem),
            "The SPF record of {domain} has a part that cannot be read: {part}",
            "Correct this part.",
        ),
        (
            spf.look_ups > _LOOK_UPS,
            "The SPF record of {domain} needs {count} look-ups; receivers stop after 10.",
            "Take out includes that you no longer need.",
        ),
        (
            spf.void > _VOID,
            "The SPF record of {domain} names hosts that do not exist.",
            "Take them out.",
        ),
    ]
    fields |= {"part": spf.problem, "count": spf.look_ups}
    for is_bad, fact, remedy in red:
        if is_bad:
            return [Finding("spf", False, fact, remedy, fields)]
    if await_addresses:
        host = urlsplit(settings.base_url).hostname or ""
        mine = [one for one in await names.addresses(host) if ipaddress.ip_address(one).is_global]
        missing = next((one for one in mine if not _permitted(one, spf.networks)), None)
        if missing is not None:
            fact = "The SPF record of {domain} does not permit {address}, from which mail leaves."
            remedy = "Add to the record, before its end: {mechanism}"
            kind = "ip6" if ":" in missing else "ip4"
            fields |= {"address": missing, "mechanism": f"{kind}:{missing}"}
            return [Finding("spf", False, fact, remedy, fields)]
    if spf.end not in ("-all", "~all"):
        fact = "The SPF record of {domain} forbids nobody: it ends in {end}."
        fields["end"] = spf.end or "–"
        return [Finding("spf", True, fact, "Let it end in -all or ~all.", fields, is_amber=True)]
    if spf.look_ups > _MANY_LOOK_UPS:
        fact = "The SPF record of {domain} needs {count} look-ups; receivers stop after 10."
        remedy = "Take out includes that you no longer need."
        return [Finding("spf", True, fact, remedy, fields, is_amber=True)]
    return [Finding("spf", True, "SPF of {domain} is in order.", fields=fields)]


def _permitted(address: str, networks: tuple[str, ...]) -> bool:
    one = ipaddress.ip_address(address)
    return any(one in ipaddress.ip_network(network) for network in networks)


async def _dmarc_since(services: Services, names: Dns, domain: str) -> list[Finding]:
    """DO-3: what was green in every check of thirty days can forbid others to write in our name."""
    (found,) = await _dmarc(names, domain)
    key, now = f"dmarc:{domain}", services.clock.now()

    def note(tx: Tx) -> datetime | None:
        if not found.is_good or found.is_amber:
            clear(tx, key)
            return None
        hit(tx, key, most=0, span=_REMEMBERED, now=now)
        return counted_since(tx, key)

    try:
        since = await services.store.write(note)
    except DBAPIError:  # Full or read-only: other lines say so.
        since = None
    if since is None or now - since < _GREEN_LONG or found.fields["policy"] != "none":
        return [found]
    fact = "DMARC of {domain} is in order, and still lets others write in your name (p=none)."
    remedy = "If its reports show your own mail only, write p=quarantine."
    return [Finding("dmarc", True, fact, remedy, found.fields, is_amber=True)]


async def _dmarc(names: Dns, domain: str) -> list[Finding]:
    """DO-3: found by the walk up the tree, one, with a policy.

    From and envelope have one domain, so SPF is aligned in either mode; whether DKIM is, the probe
    tells.
    """
    found = await dmarc_of(names, domain)
    fields: dict[str, object] = {"domain": domain}
    if found is None:
        fact = "{domain} has no DMARC record: large receivers refuse newsletters without one."
        remedy = "Publish a TXT record at _dmarc.{domain}: v=DMARC1; p=none; rua=mailto:{address}"
        return [Finding("dmarc", False, fact, remedy, fields | {"address": f"postmaster@{domain}"})]
    fields["at"] = f"_dmarc.{found.domain}"
    if found.records > 1:
        fact = "There are several DMARC records at {at}: receivers then read none."
        return [Finding("dmarc", False, fact, "Keep one of them.", fields)]
    policy = found.tags.get("p", "").lower()
    if policy not in ("none", "quarantine", "reject"):
        fact = "The DMARC record at {at} names no policy, or one that does not exist."
        return [Finding("dmarc", False, fact, "Write p=none, p=quarantine or p=reject.", fields)]
    gone = [name for name in ("pct", "rf", "ri") if name in found.tags]
    if gone:
        fact = "The DMARC record at {at} holds {tags}, which no longer mean anything."
        fields["tags"] = ", ".join(gone)
        return [Finding("dmarc", True, fact, "Take them out.", fields, is_amber=True)]
    if "rua" not in found.tags:
        fact = "The DMARC record at {at} asks for no reports: nobody would tell you of trouble."
        remedy = "Add rua=mailto: and an address that you read."
        return [Finding("dmarc", True, fact, remedy, fields, is_amber=True)]
    for stranger in _report_domains(found.tags["rua"], found.domain):
        allowed = await names.txt(f"{found.domain}._report._dmarc.{stranger}")
        if not any(one.startswith("v=DMARC1") for one in allowed):
            fact = "DMARC reports of {domain} go to {stranger}, which has not agreed to take them."
            remedy = "Ask there for a TXT record at {at}: v=DMARC1"
            fields |= {"stranger": stranger, "at": f"{found.domain}._report._dmarc.{stranger}"}
            return [Finding("dmarc", True, fact, remedy, fields, is_amber=True)]
    fields["policy"] = policy
    return [Finding("dmarc", True, "DMARC of {domain} is in order.", fields=fields)]


def _report_domains(rua: str, own: str) -> list[str]:
    """Domains of others that shall get reports: they must permit it (RFC 9990 §4)."""
    found = re.findall(r"mailto:[^@,\s]+@([^,!\s]+)", rua.lower())
    return [one for one in found if one != own and not one.endswith(f".{own}")]


async def _mx(names: Dns, domain: str) -> list[Finding]:
    """DO-5, ID-2: answers and bounces must have somewhere to go."""
    fields: dict[str, object] = {"domain": domain}
    hosts = await names.mx(domain)
    if hosts == [""]:
        fact = "{domain} says that it takes no mail (null MX): answers and bounces would be lost."
        return [Finding("mx", False, fact, "Publish an MX record that names a mail host.", fields)]
    reachable = hosts or [domain]
    addresses = [one for host in reachable for one in await names.addresses(host)]
    if not addresses:
        fact = "{domain} has no mail host: answers and bounces would be lost."
        return [Finding("mx", False, fact, "Publish an MX record that names a mail host.", fields)]
    if all(":" in one for one in addresses):
        fact = "The mail hosts of {domain} have only IPv6: not everybody reaches them."
        return [
            Finding("mx", True, fact, "Give one of them an IPv4 address.", fields, is_amber=True)
        ]
    if len(addresses) == 1:
        fact = "{domain} has one mail host only: while it is down, answers and bounces wait."
        remedy = "A second MX helps; most senders try again for days."
        return [Finding("mx", True, fact, remedy, fields, is_amber=True)]
    return [Finding("mx", True, "{domain} takes mail.", fields=fields)]


def _is_generic(name: str, address: str) -> bool:
    """Whether a name spells the address, in any order: `static.7.2.0.192.provider.example`."""
    is_new = ":" in address
    exploded = ipaddress.ip_address(address).exploded
    parts = [one.lstrip("0") or "0" for one in exploded.split(":" if is_new else ".")]
    spelt = [one.lstrip("0") or "0" for one in re.findall(r"[0-9a-f]+" if is_new else r"\d+", name)]
    return all(spelt.count(one) >= parts.count(one) for one in parts if one != "0" or not is_new)


async def _ptr(names: Dns, settings: Settings, ehlo_name: str) -> list[Finding]:
    """DO-4: our own server's address has a name, and the name has the address."""
    host = urlsplit(settings.base_url).hostname or ""
    mine = [one for one in await names.addresses(host) if ipaddress.ip_address(one).is_global]
    for address in mine:
        fields: dict[str, object] = {"address": address, "host": ehlo_name}
        found = await names.names_of(address)
        confirmed = [one for one in found if address in await names.addresses(one)]
        if not confirmed:
            fact = "{address} has no name of its own (PTR), or one that does not lead back to it."
            remedy = "Set the reverse name of {address} at your provider to {host}."
            return [Finding("ptr", False, fact, remedy, fields)]
        if ehlo_name.lower() not in (one.lower() for one in confirmed):
            fact = "{address} is called {name}, but the server greets as {host}."
            remedy = "Give both the same name."
            fields["name"] = confirmed[0]
            return [Finding("ptr", True, fact, remedy, fields, is_amber=True)]
        if _is_generic(ehlo_name.lower(), address):
            fact = "{address} is called {host}, as its provider numbers its hosts."
            remedy = "Give it a name of your own, at your provider and in your mail server."
            return [Finding("ptr", True, fact, remedy, fields, is_amber=True)]
    return []
