"""The one door to DNS beyond addresses: TXT, MX, PTR, for the doctor.

A name that is not there is an answer; a server that is silent is none.

Sources: RFC 7208 (SPF), 7489 and its successor 9989 (DMARC), 6376 (DKIM), 7505 (null MX);
email.md 12.1.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver
import dns.reversename

_SECONDS = 5.0
_MECHANISM = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)([:/].*)?", re.IGNORECASE)
_DMARC_QUERIES, _DMARC_LABELS = 8, 7  # RFC 9989: the tree walk.


class NoAnswer(Exception):
    """No server of names answered in time: nothing is known."""


class Dns:
    """Asks for records.

    Args:
        server: Address and port of a resolver; the system's by default.
    """

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        if server is not None:
            self._resolver.nameservers = [server[0]]
            self._resolver.port = server[1]
        self._resolver.lifetime = _SECONDS

    async def txt(self, name: str) -> list[str]:
        """TXT records, each as one text; empty if there is none.

        Raises:
            NoAnswer: No server answered.
        """
        return [
            b"".join(record.strings).decode("ascii", "replace")
            for record in await self._ask(name, "TXT")
        ]

    async def mx(self, name: str) -> list[str]:
        """Hosts that take mail, the preferred first; `['']` says that none does (null MX)."""
        records = sorted(await self._ask(name, "MX"), key=lambda record: record.preference)
        return [str(record.exchange).rstrip(".") for record in records]

    async def addresses(self, name: str) -> list[str]:
        """IPv4 and IPv6 addresses of a host."""
        found = [*await self._ask(name, "A"), *await self._ask(name, "AAAA")]
        return [record.address for record in found]

    async def names_of(self, address: str) -> list[str]:
        """Names that an address says it has (PTR)."""
        reverse = dns.reversename.from_address(address).to_text()
        return [str(record.target).rstrip(".") for record in await self._ask(reverse, "PTR")]

    async def _ask(self, name: str, kind: str) -> Sequence[Any]:
        try:
            return list(await self._resolver.resolve(name, kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as wrong:
            raise NoAnswer(name) from wrong


@dataclass(frozen=True, slots=True)
class Spf:
    """What an SPF record says, followed through its includes."""

    records: int  # How many stand at the domain; one is right.
    end: str = ""  # `-all`, `~all`, `?all`, `+all` or empty.
    look_ups: int = 0
    void: int = 0  # Look-ups that found nothing.
    problem: str = ""  # A part that cannot be read.
    networks: tuple[str, ...] = ()


async def spf_of(names: Dns, domain: str) -> Spf:
    """Read the SPF record of a domain (RFC 7208), at most a little beyond its limits."""
    found = [one for one in await names.txt(domain) if re.match(r"(?i)v=spf1( |$)", one)]
    if len(found) != 1:
        return Spf(len(found))
    walk = _SpfWalk(names)
    end = await walk.read(found[0], domain)
    return Spf(1, end, walk.look_ups, walk.void, walk.problem, tuple(walk.networks))


class _SpfWalk:
    def __init__(self, names: Dns) -> None:
        self._names = names
        self.look_ups = 0
        self.void = 0
        self.problem = ""
        self.networks: list[str] = []

    async def read(self, record: str, domain: str) -> str:
        end, redirect = "", ""
        for term in record.split()[1:]:
            if term.lower().startswith("redirect="):
                redirect = term.partition("=")[2]
                continue
            if re.match(r"[a-z][a-z0-9_.-]*=", term, re.IGNORECASE):
                continue
            found = _MECHANISM.fullmatch(term)
            if not found:
                self.problem = self.problem or term
            elif found[2].lower() == "all":
                end = (found[1] or "+") + "all"
            else:
                before = len(self.networks)
                await self._mechanism(found[2].lower(), (found[3] or "").lstrip(":"), domain)
                if found[1] not in ("", "+"):  # What it names is not permitted.
                    del self.networks[before:]
        if redirect and not end:
            return await self._include(redirect)
        return end

    async def _mechanism(self, name: str, value: str, domain: str) -> None:
        if name in ("ip4", "ip6"):
            try:
                self.networks.append(str(ipaddress.ip_network(value, strict=False)))
            except ValueError:
                self.problem = self.problem or f"{name}:{value}"
        elif name == "include":
            await self._include(value)
        else:
            await self._hosts(name, value, domain)

    async def _include(self, domain: str) -> str:
        self.look_ups += 1
        if self.look_ups > 20:
            return ""
        texts = [one for one in await self._names.txt(domain) if one.lower().startswith("v=spf1")]
        if not texts:
            self.void += 1
            return ""
        return await self.read(texts[0], domain)

    async def _hosts(self, name: str, value: str, otherwise: str) -> None:
        """Addresses of hosts, each with its neighbours where a length is given (§5.3, §5.4)."""
        self.look_ups += 1
        host, *lengths = re.split(r"//?", value)
        domain = host or otherwise
        if self.look_ups > 20 or name in ("exists", "ptr"):
            return
        hosts = await self._names.mx(domain) if name == "mx" else [domain]
        addresses = [
            one for host in hosts[:10] if host for one in await self._names.addresses(host)
        ]
        self.void += not addresses
        wide = dict(zip(re.findall(r"//?", value), lengths, strict=True))
        for one in addresses:
            length = wide.get("//" if ":" in one else "/")
            try:
                self.networks.append(
                    str(ipaddress.ip_network(f"{one}/{length}", strict=False)) if length else one
                )
            except ValueError:
                self.problem = self.problem or f"{name}:{value}"


@dataclass(frozen=True, slots=True)
class Dmarc:
    """A DMARC record found by the walk up the tree, and where."""

    domain: str
    records: int
    tags: dict[str, str]


async def dmarc_of(names: Dns, domain: str) -> Dmarc | None:
    """The record that applies to a From domain; None if there is none (RFC 9989 §4.10)."""
    labels = domain.split(".")
    for _ in range(_DMARC_QUERIES):
        at = ".".join(labels)
        found = [
            one for one in await names.txt(f"_dmarc.{at}") if re.match(r"v=DMARC1\s*(;|$)", one)
        ]
        if found:
            return Dmarc(at, len(found), _tags(found[0]))
        # From a deep name straight to what may still be an organisation.
        labels = labels[-_DMARC_LABELS:] if len(labels) > _DMARC_LABELS + 1 else labels[1:]
        if len(labels) < 1:
            return None
    return None


def _tags(record: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in record.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def dkim_record(names: Dns, selector: str, domain: str) -> dict[str, str] | None:
    """The tags of a DKIM key record; None if there is none."""
    found = await names.txt(f"{selector}._domainkey.{domain}")
    return _tags(found[0]) if found else None
