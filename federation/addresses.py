"""Which hosts, addresses and ports a request may reach.

The blocks are written out: the standard library's `is_private` and `is_global` are wrong for
several of them (security.md section 3).

Sources: security.md FE-1 to FE-5, FE-9; IANA special-purpose address registries.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from federation.errors import ForbiddenAddress
from federation.origins import Url

IPNetwork = IPv4Network | IPv6Network
IPAddress = IPv4Address | IPv6Address

_FORBIDDEN_V4 = [
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = [
    IPv6Network(block)
    for block in (
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]
_NEVER_PUBLIC = frozenset(
    {"localhost", "local", "internal", "onion", "i2p", "arpa", "test", "example", "invalid"}
)
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """Where requests may go.

    Args:
        user_agent: Sent with each request.
        allow: Blocks that may be reached although they are not public, there also by plain http
            and at any port: for laboratories and tests.
        own_hosts: Our own, as in the Host header: answered from storage, never fetched (FE-17).
        ports: At which other servers may be reached (FE-9).
    """

    user_agent: str
    allow: tuple[IPNetwork, ...] = ()
    own_hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset({443})


def is_public(address: IPAddress) -> bool:
    """Whether an address is one that the whole Internet may reach."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _FORBIDDEN_V4)
    return address in _GLOBAL_V6 and not any(address in block for block in _FORBIDDEN_V6)


def check_url(url: Url, policy: NetworkPolicy) -> None:
    """Refuse what needs no name look-up to be refused.

    Raises:
        ForbiddenAddress: Our own host, plain http, an odd port, an address instead of a name, or a
            name that no public host has.
    """
    if url.authority in policy.own_hosts:
        raise ForbiddenAddress("our own host")
    if policy.allow:
        return  # Decided by the addresses, in `check_addresses`.
    if _is_odd(url, policy):
        raise ForbiddenAddress("only https at the usual port")
    labels = url.host.split(".")
    if ":" in url.host or len(labels) < 2 or labels[-1] in _NEVER_PUBLIC:
        raise ForbiddenAddress("not a public host name")
    if _NUMBER.fullmatch(labels[-1]):
        raise ForbiddenAddress("an address instead of a name")


def check_addresses(url: Url, addresses: Iterable[str], policy: NetworkPolicy) -> list[str]:
    """The addresses to connect to: all that a name resolved to, or none.

    Raises:
        ForbiddenAddress: One of them is forbidden (FE-4), or none is there.
    """
    parsed = [ip_address(address.partition("%")[0]) for address in addresses]
    if not parsed:
        raise ForbiddenAddress("the name has no address")
    allowed = [any(_is_in(address, block) for block in policy.allow) for address in parsed]
    odd = _is_odd(url, policy)
    for address, is_allowed in zip(parsed, allowed, strict=True):
        if not is_allowed and (odd or not is_public(address)):
            raise ForbiddenAddress("not a public address")
    return [str(address) for address in parsed]


def _is_odd(url: Url, policy: NetworkPolicy) -> bool:
    return url.scheme != "https" or url.port not in policy.ports


def literal_address(host: str) -> str | None:
    """The address that a host is, if it is not a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """Blocks from their usual form. Raises ValueError."""
    return tuple(ip_network(text, strict=False) for text in texts)


def _is_in(address: IPAddress, block: IPNetwork) -> bool:
    return address.version == block.version and address in block
