"""One URL parser for checks, signing and requests; who may speak for what.

A URL that means one host to the check and another to the request is how servers are fooled, so
there is one strict parser and no repair. Origins are compared parsed, never as prefixes.

Sources: security.md IN-34, FE-5, L-9; FEP-fe34; RFC 3986; RFC 5891.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import idna

from federation.errors import BadUrl
from federation.limits import URL_LENGTH

# What a URL may consist of, written out: anything else is read differently by different parsers.
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed absolute URL.

    `host` is lower case, in A-label form, IPv6 literals without brackets; `target` is path and
    query as they go on the request line; `fragment` is without its '#'.
    """

    scheme: str
    host: str
    port: int
    target: str
    fragment: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """As in the Host header: the port only where it is not the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        fragment = f"#{self.fragment}" if self.fragment else ""
        return f"{self.scheme}://{self.authority}{self.target}{fragment}"


@lru_cache(maxsize=4096)
def parse_url(text: str) -> Url:
    """Parse an absolute http or https URL.

    Whether plain http or the host is acceptable is decided where a request is made
    (`federation.network`); here only what is ambiguous is refused.

    Raises:
        BadUrl: Too long, relative, another scheme, credentials, backslash, white space or control
            characters, a host that is no name or address, a strange port.
    """
    if len(text) > URL_LENGTH:
        raise BadUrl("longer than 2048")
    if not text.isascii():
        text = _with_ascii_host(text)
    if not _PLAIN.fullmatch(text):
        raise BadUrl("a character that does not belong")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as wrong:
        raise BadUrl("not a URL") from wrong
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        raise BadUrl("not an absolute http(s) URL without credentials")
    if port == 0 or parts.netloc.endswith(":"):
        raise BadUrl("not a port")
    return Url(
        parts.scheme,
        _host(host),
        port or _DEFAULT_PORTS[parts.scheme],
        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        parts.fragment,
    )


def _with_ascii_host(text: str) -> str:
    found = re.match(r"(https?://)([^/?#@\\\s:]+)(.*)", text, re.DOTALL)
    if not found:
        raise BadUrl("not a URL")
    try:
        host = idna.encode(found[2], uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as wrong:
        raise BadUrl("not a host name") from wrong
    return f"{found[1]}{host}{found[3]}"


@lru_cache(maxsize=4096)
def _host(text: str) -> str:
    host = text.lower()
    if ":" in host:  # An IPv6 literal; urlsplit has checked the brackets.
        return host
    if len(host) > 253 or host.endswith("."):
        raise BadUrl("not a host name")
    if not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise BadUrl("not a host name")
    return host


def origin_of(text: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL. Raises BadUrl."""
    return parse_url(text).origin


def host_of(text: str) -> str:
    """Host of a URL as in the Host header: with its port where that is not the default."""
    return parse_url(text).authority


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port; False if either is none."""
    try:
        return origin_of(one) == origin_of(other)
    except BadUrl:
        return False


def without_fragment(text: str) -> str:
    """The URL of the document that holds a fragment."""
    return text.partition("#")[0]


def is_related_host(one: str, other: str) -> bool:
    """Whether two hosts are the same, or one is a parent domain of the other (IN-30)."""
    first, second = one.lower(), other.lower()
    return first == second or first.endswith("." + second) or second.endswith("." + first)


# Below these, beside a country's two letters, names are given to anybody.
_GIVEN_OUT = frozenset("ac co com edu gen go gob gov govt ind ltd me net ne nom or org plc".split())


def parent_domain(host: str) -> str | None:
    """The domain that somebody registered, above or at a host; None for an address.

    A guess without the list of public suffixes: two labels, three below such as `co.uk`. It is
    good enough to count by (L-31), not to trust by.

    Args:
        host: As in the Host header.
    """
    name = host.partition(":")[0]
    labels = name.split(".")
    if host.startswith("[") or len(labels) < 2 or labels[-1].isdigit():
        return None
    size = 3 if len(labels[-1]) == 2 and labels[-2] in _GIVEN_OUT else 2
    return ".".join(labels[-size:])
