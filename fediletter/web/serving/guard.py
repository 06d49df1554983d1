"""What holds for every request before a handler sees it, and for every response after.

Hosts, sizes, cross-site posts, the address of the one who asks, and the exact headers of
security.md 6.1. Plain ASGI: it costs little and looks into no body.

Sources: security.md 5.3, 6.1, WE-7, WE-8, WE-9, WE-13, WE-17, L-2, L-4, L-5, L-16.
"""

import ipaddress
import logging
import sys
import time
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from fediletter.limits import (
    AUDIO_BYTES,
    DESK_FORM_BYTES,
    HEAD_BYTES,
    HEAD_LINES,
    INBOX_BYTES,
    LIST_BYTES,
    PAGES_PER_CALLER,
    PUBLIC_FORM_BYTES,
    UPLOAD_BYTES,
)
from fediletter.rates import Rates
from fediletter.settings import IPNetwork, Settings

_PUBLIC = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; script-src 'none'; "
    "frame-ancestors 'none'"
)
_DESK = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
_PREVIEW = (
    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline' 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox"
)
_DOCUMENT = "default-src 'none'; frame-ancestors 'none'; sandbox"
_TOKEN_PAGES = (
    "/account/",
    "/confirm/",
    "/data/",
    "/preferences/",
    "/showing/",
    "/stay/",
    "/unsubscribe/",
)
_OF_LETTERS = (*_TOKEN_PAGES, "/media/", "/static/")  # Where letters lead, for years (UN-2).
_AT_THE_DOOR = ("/desk/login", "/desk/setup/")  # With what was typed when a session ended.
_FOR_SERVERS = ("/ap/", "/.well-known/", "/nodeinfo/")
_FOR_OPERATORS = ("/healthz", "/metrics")  # Asked for by address, not by name.
# Posts that come without a page of ours: from servers, and from providers' machines.
_NO_ORIGIN_NEEDED = ("/ap/", "/unsubscribe/", "/subscribe")
_NOT_PAGES = (
    *(*_FOR_SERVERS, "/desk", "/static/", "/media/"),
    *(*_FOR_OPERATORS, "/favicon.ico", "/robots.txt"),
)
_log = logging.getLogger("fediletter.web")


class Guard:
    """Wraps the app."""

    def __init__(self, app: Starlette, settings: Settings) -> None:
        self.app = app
        self._hosts = frozenset({settings.host.encode(), settings.account_host.encode()})
        self._origin = settings.base_url
        self._former = frozenset(host.encode() for host in settings.former_hosts)
        self._proxies = settings.trusted_proxies
        self._secure = settings.is_secure
        self._pages = Rates(*PAGES_PER_CALLER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, hand on, add the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal, headers=self.fields_for(scope["path"]))
            return
        path: str = scope["path"]
        if self._has_moved(path, scope["headers"]):
            await _moved(send, self._origin, scope)
            return
        client = self._client(scope, scope["headers"])
        state = scope.setdefault("state", {})
        state["client_prefix"] = prefix_of(client)
        state["caller"] = caller_of(client)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in self.fields_for(path) if pair[0] not in present),
                ]
            await send(message)

        bounded = _bounded(receive, _most(path), _length(scope["headers"]))
        await self.app(scope, bounded, with_headers)

    def refusal(self, scope: Scope) -> tuple[int, bytes] | None:
        """Why a request may not be answered: status and words; None if it may."""
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        return (
            _too_large_head(scope)
            or self._refusal(method, path, headers)
            or self._too_often(method, path, self._client(scope, headers))
        )

    def _refusal(
        self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> tuple[int, bytes] | None:
        found = dict(headers)
        if not path.startswith("/"):
            return 400, b"bad request"
        host = found.get(b"host", b"").lower()
        elsewhere = host not in self._hosts and host not in self._former
        # An inbox says itself, with 401, that a signature was made for another host (IN-4).
        if elsewhere and path not in _FOR_OPERATORS and not path.endswith("/inbox"):
            return 421, b"another host"
        if method in ("GET", "HEAD", "OPTIONS"):
            return None
        if path.startswith(_FOR_SERVERS) and _length(headers) > INBOX_BYTES:
            return 413, b"too large"
        if host in self._former and not path.startswith(_OF_LETTERS):
            return 421, b"another host"
        if not path.startswith(_NO_ORIGIN_NEEDED) and not self._is_ours(found):
            return 403, b"this form can only be sent from this site"
        return None

    def _has_moved(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """A page asked for at a host of before; what letters link to is never redirected (UN-2)."""
        if not self._former or path.startswith(_OF_LETTERS):
            return False
        return dict(headers).get(b"host", b"").lower() in self._former

    def _too_often(self, method: str, path: str, client: str) -> tuple[int, bytes] | None:
        """Whether an address asks for more pages than a reader could read (L-16).

        Documents for servers, files of pages and the desk are not counted; what is sent to a page
        of a token is (EM-9), but for leaving, which comes from few addresses in bursts (UN-1). Nor
        is this machine itself: a proxy that nobody told us of must not share one reader's limit
        among all.
        """
        if method == "POST":
            is_counted = path.startswith(_TOKEN_PAGES) and not path.startswith("/unsubscribe/")
        else:
            is_counted = method in ("GET", "HEAD") and not path.startswith(_NOT_PAGES)
        if not is_counted or _is_local(client):
            return None
        wait = self._pages.hit(caller_of(client), at=time.monotonic())
        return None if wait is None else (429, b"too often")

    def _is_ours(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a browser says that the form stood on a page of ours (WE-7)."""
        site = headers.get(b"sec-fetch-site")
        origin = headers.get(b"origin")
        if origin is not None:
            host = headers.get(b"host", b"").lower()
            if host in self._former:
                return urlsplit(origin).netloc.lower() == host
            return origin.decode("latin-1") == self._origin
        if site is not None:
            return site in (b"same-origin", b"none")
        referer = headers.get(b"referer", b"").decode("latin-1")
        parts = urlsplit(referer)
        return f"{parts.scheme}://{parts.netloc}" == self._origin

    def _client(self, scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The address that asks; forwarded ones only from proxies that are trusted (WE-13)."""
        peer = scope["client"][0] if scope.get("client") else "127.0.0.1"
        if not _is_in(peer, self._proxies):
            return str(peer)
        forwarded = [
            part.strip()
            for name, value in headers
            if name == b"x-forwarded-for"
            for part in value.decode("latin-1").split(",")
        ]
        for address in reversed(forwarded):
            if not _is_in(address, self._proxies):
                return address
        return str(peer)

    def fields_for(self, path: str) -> list[tuple[bytes, bytes]]:
        """The headers of every response of a path (security.md 6.1)."""
        found = [
            (b"content-security-policy", _policy(path).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (
                b"permissions-policy",
                b"camera=(), microphone=(), geolocation=(), browsing-topics=()",
            ),
        ]
        if self._secure:
            found.append((b"strict-transport-security", b"max-age=31536000"))
        if not path.startswith("/desk/frames/"):
            found.append((b"x-frame-options", b"DENY"))
        if path.startswith(_FOR_SERVERS):  # security.md 2.3, 5.3
            found += [
                (b"cross-origin-resource-policy", b"cross-origin"),
                (b"content-disposition", b"inline"),
            ]
        if path.startswith("/desk") or path.startswith(_TOKEN_PAGES):
            found += [
                (b"cache-control", b"no-store"),
                (b"cross-origin-resource-policy", b"same-origin"),
                (b"x-robots-tag", b"noindex"),
            ]
        return found


@lru_cache(maxsize=256)  # Of who asks now: to read an address takes longer than to answer a page.
def prefix_of(address: str) -> str:
    """An address cut to /24 or /48, as limits count it (PR-2)."""
    parsed = _parsed(address)
    if parsed is None:
        return "unknown"
    width = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network(f"{parsed}/{width}", strict=False))


def caller_of(address: str) -> str:
    """An address as rates count it, in memory alone: whole, or the /64 of IPv6 (L-14)."""
    parsed = _parsed(address)
    if parsed is None:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False))


def _is_local(address: str) -> bool:
    parsed = _parsed(address)
    return parsed is None or parsed.is_loopback  # None: a Unix socket.


@lru_cache(maxsize=256)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _too_large_head(scope: Scope) -> tuple[int, bytes] | None:
    """Whether what stands before the body is more than L-4.

    Counted here, since the faster of the server's two parsers has no limit that we could set.
    """
    headers = scope["headers"]
    octets = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"])
    octets += sum(len(name) + len(value) + 4 for name, value in headers)
    if octets <= HEAD_BYTES and len(headers) <= HEAD_LINES:
        return None
    # To servers by the table of security.md 2.1, which has one status for what is too large.
    return 413 if scope["path"].endswith("/inbox") else 431, b"the head of the request is too large"


def _policy(path: str) -> str:
    if path.startswith("/desk/frames/"):
        return _PREVIEW
    if path.startswith("/desk"):
        return _DESK
    if path.startswith((*_FOR_SERVERS, "/media/")):
        return _DOCUMENT
    return _PUBLIC


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """How many octets a body announces; 0 if it does not say, too many if it says nonsense."""
    length = dict(headers).get(b"content-length", b"0")
    return int(length) if length.isdigit() and len(length) < 19 else sys.maxsize


def _bounded(receive: Receive, most: int, announced: int) -> Receive:
    """What is announced as too much is refused before an octet of it is read (L-2, WE-17).

    The rest is counted as it comes: a chunked body announces no length.
    """
    left = most

    async def counted() -> Message:
        nonlocal left
        if announced > most:
            raise HTTPException(413)
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413)
        return message

    return counted


def _most(path: str) -> int:
    if path.startswith("/ap/"):
        return INBOX_BYTES
    if path.startswith(_AT_THE_DOOR):
        return DESK_FORM_BYTES + PUBLIC_FORM_BYTES
    if path == "/desk/readers/import":
        return DESK_FORM_BYTES + LIST_BYTES
    if path.startswith(("/desk/letters", "/desk/media")):
        return DESK_FORM_BYTES + UPLOAD_BYTES + AUDIO_BYTES
    return DESK_FORM_BYTES + UPLOAD_BYTES if path.startswith("/desk") else PUBLIC_FORM_BYTES


def _is_in(address: str, networks: Iterable[IPNetwork]) -> bool:
    parsed = _parsed(address)
    if parsed is None:
        return False
    return any(parsed.version == block.version and parsed in block for block in networks)


async def _answer(
    send: Send, status: int, body: bytes, *, headers: list[tuple[bytes, bytes]]
) -> None:
    headers += [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 429:
        headers.append((b"retry-after", b"300"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _moved(send: Send, origin: str, scope: Scope) -> None:
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    headers = [
        (b"location", origin.encode() + scope["raw_path"] + query),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 301, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
