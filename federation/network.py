"""The one door to outbound HTTP.

Behind httpx's responses and errors stands a transport of our own, where three things meet that must
not be apart: the address that was checked is the address that is connected to; octets, seconds and
redirects are bounded; and a lane of deliveries keeps its one connection. No cookies, no proxies, no
redirects. Identity encoding is asked for; one layer of gzip is undone here, bounded, and never by
the library: httpx makes a gigabyte of a megabyte (FE-13).

Sources: security.md section 3 (FE-1 to FE-18), L-41, L-42, L-44; performance.md §2.
"""

import asyncio
import contextlib
import socket
import ssl
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx

from federation.addresses import NetworkPolicy, check_addresses, check_url, literal_address
from federation.errors import ForbiddenAddress
from federation.limits import (
    ANSWER_BYTES,
    REQUESTS_AT_ONCE,
    REQUESTS_PER_HOST,
    STEP_SECONDS,
    TOTAL_SECONDS,
)
from federation.origins import Url, parse_url
from federation.wire import Answer, Wire, WireError, WireTimeout

__all__ = ["Client", "Network", "NetworkPolicy"]

_LOOK_UPS_AT_ONCE = 16
_SESSIONS = 2000  # TLS sessions kept, one a host

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class Network:
    """Hands out clients that may reach only what the policy allows.

    Args:
        policy: Where requests may go.
        resolver: Host and port to addresses; the system's by default.
        transport: Instead of connections at all: for tests without sockets.
    """

    def __init__(
        self,
        policy: NetworkPolicy,
        resolver: Resolver | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.policy = policy
        self._resolve = resolver or _SystemResolver()
        self._instead = transport
        self._slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._hosts: dict[str, _Turnstile] = {}  # Of requests under way: no more than those.
        self._context: _ResumingContext | None = None
        self.redirects_followed = 0  # By this process; for whoever watches it (FE-6).

    @contextlib.asynccontextmanager
    async def connection(self) -> "AsyncIterator[Client]":
        """A client that keeps one connection while requests go to one origin."""
        client = Client(self, self._instead)
        try:
            yield client
        finally:
            await client.aclose()

    async def open(self, url: Url) -> Wire:
        """A checked connection to the host of a URL.

        Raises:
            ForbiddenAddress: The policy forbids it.
            httpx.ConnectError: It cannot be had.
            httpx.ConnectTimeout: Not in time.
        """
        check_url(url, self.policy)
        addresses = await self._addresses(url)
        trouble: Exception = OSError("no address")
        for address in addresses[:2]:
            try:
                return await self._connect(url, address)
            except TimeoutError as late:
                raise httpx.ConnectTimeout("no connection in time") from late
            except (OSError, ssl.SSLError) as refused:
                trouble = refused
        words = "the certificate is not valid" if isinstance(trouble, ssl.SSLError) else "refused"
        raise httpx.ConnectError(words) from trouble

    async def _addresses(self, url: Url) -> list[str]:
        literal = literal_address(url.host)
        if literal is not None:
            return check_addresses(url, [literal], self.policy)
        try:
            async with asyncio.timeout(STEP_SECONDS):
                found = await self._resolve(url.host, url.port)
        except TimeoutError as late:
            raise httpx.ConnectTimeout("no name in time") from late
        except OSError as unknown:
            raise httpx.ConnectError("the name has no address") from unknown
        return check_addresses(url, found, self.policy)

    async def _connect(self, url: Url, address: str) -> Wire:
        loop = asyncio.get_running_loop()
        secure = url.scheme == "https"
        line = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            line.setblocking(False)
            async with asyncio.timeout(STEP_SECONDS):
                await loop.sock_connect(line, (address, url.port))
            async with asyncio.timeout(STEP_SECONDS):
                _, wire = await loop.create_connection(
                    Wire,
                    sock=line,
                    ssl=self._tls() if secure else None,
                    server_hostname=url.host if secure else None,
                )
        except BaseException:
            line.close()
            raise
        return wire

    def _tls(self) -> "_ResumingContext":
        if self._context is None:
            self._context = _ResumingContext()
        return self._context

    @contextlib.asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        """A turn among the requests under way: overall, and to one host (L-44).

        Raises:
            httpx.PoolTimeout: Others kept this host's turns for as long as a request may take.
        """
        here = self._hosts.get(host)
        if here is None:
            here = self._hosts[host] = _Turnstile()
        here.users += 1
        try:
            await here.take()
            try:
                async with self._slots:
                    yield
            finally:
                here.turns.release()
        finally:
            here.users -= 1
            if not here.users:
                del self._hosts[host]

    def from_outside(self) -> "Network":
        """The same door, through which our own host is looked at as others see it."""
        policy = replace(self.policy, own_hosts=frozenset())
        return Network(policy, self._resolve, self._instead)


class _Turnstile:
    """Turns of one host, and how many hold or want one."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(REQUESTS_PER_HOST)
        self.users = 0

    async def take(self) -> None:
        """A turn. Raises httpx.PoolTimeout."""
        if not self.turns.locked():  # As a rule; a clock for each request costs as much as a look.
            await self.turns.acquire()
            return
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                await self.turns.acquire()
        except TimeoutError as late:
            raise httpx.PoolTimeout("others are asking this host") from late


class _ResumingContext(ssl.SSLContext):
    """TLS 1.2 or newer, certificates checked, sessions resumed by host.

    asyncio has no parameter for a session; it asks the context for each connection's TLS object,
    which is where one can be given.
    """

    def __new__(cls) -> "_ResumingContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self) -> None:
        super().__init__()
        self.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load_default_certs()
        self._sessions: OrderedDict[str, ssl.SSLSession] = OrderedDict()

    def wrap_bio(  # type: ignore[override]
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject:
        session = self._sessions.get(server_hostname or "")
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, host: str, tls: object) -> None:
        """Keep the session of a connection that has carried an answer."""
        # Read once: each time it is copied, which takes as long as half a signature.
        session = tls.session if isinstance(tls, ssl.SSLObject) else None
        if session is not None:
            self._sessions[host] = session
            self._sessions.move_to_end(host)
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)


class Client:
    """One connection, kept while requests go to one origin; made by `Network.connection` alone.

    It speaks httpx's responses and errors, without httpx's client in front: cookies, redirects,
    proxies and automatic decoding are what FE-6, FE-7 and FE-13 forbid, and cost more than a
    delivery itself.
    """

    def __init__(self, network: Network, instead: httpx.AsyncBaseTransport | None) -> None:
        self._network = network
        self._instead = instead
        self._wire: Wire | None = None
        self._origin: tuple[str, str, int] | None = None

    async def get(
        self, url: Url | str, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A GET.

        Raises:
            ForbiddenAddress: The policy forbids the address, or a header holds a line break.
            BadUrl: Not a URL.
            httpx.TransportError: No usable answer came.
        """
        return await self._request("GET", url, headers or {}, b"")

    async def head(
        self, url: Url | str, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A HEAD. Raises as `get`."""
        return await self._request("HEAD", url, headers or {}, b"")

    async def post(
        self, url: Url | str, *, content: bytes, headers: Mapping[str, str]
    ) -> httpx.Response:
        """A POST. Raises as `get`."""
        return await self._request("POST", url, headers, content)

    async def aclose(self) -> None:
        """Let the connection go."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _request(
        self, method: str, url: Url | str, headers: Mapping[str, str], content: bytes
    ) -> httpx.Response:
        url = parse_url(url) if isinstance(url, str) else url
        fields = {
            "Host": url.authority,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
            "User-Agent": self._network.policy.user_agent,
            **headers,
        }
        if content:
            fields["Content-Length"] = str(len(content))
        if self._instead is not None:
            request = httpx.Request(method, str(url), headers=fields, content=content)
            response = await self._instead.handle_async_request(request)
            await response.aread()
            return response
        octets = _octets_of(method, url, fields, content)
        async with self._network.slot(url.authority):
            answer = await self._ask(url, octets, is_head=method == "HEAD")
        decoded, body = _decoded(answer)
        return httpx.Response(answer.status, headers=decoded, content=body)

    async def _ask(self, url: Url, octets: bytes, *, is_head: bool) -> Answer:
        loop = asyncio.get_running_loop()
        end = loop.time() + TOTAL_SECONDS
        try:
            if self._wire is not None and self._wire.is_open and self._origin == url.origin:
                try:
                    return await self._wire.ask(octets, is_head=is_head)
                except WireError as stale:
                    if not stale.unused:
                        raise
                    # Closed while idle: the peer has seen nothing of this request.
            await self.aclose()
            async with asyncio.timeout_at(end):
                self._wire = await self._network.open(url)
            self._origin = url.origin
            answer = await self._wire.ask(octets, is_head=is_head, seconds=end - loop.time())
        except TimeoutError as late:
            raise httpx.ConnectTimeout("no connection in time") from late
        except WireTimeout as late:
            raise httpx.ReadTimeout(str(late)) from late
        except WireError as broken:
            raise httpx.RemoteProtocolError(str(broken)) from broken
        if url.scheme == "https":
            self._network._tls().remember(url.host, self._wire.tls)
        return answer


def _decoded(answer: Answer) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Fields and body of an answer, with one layer of gzip undone (FE-13).

    Raises:
        httpx.RemoteProtocolError: Encoded otherwise, or too large.
    """
    if not any(name.lower() == b"content-encoding" for name, _ in answer.headers):
        return answer.headers, answer.body
    encodings = [
        value.strip().lower()
        for name, field in answer.headers
        if name.lower() == b"content-encoding"
        for value in field.split(b",")
    ]
    encodings = [one for one in encodings if one != b"identity"]
    headers = [pair for pair in answer.headers if pair[0].lower() != b"content-encoding"]
    if not encodings or not answer.body:
        return headers, answer.body
    if encodings not in ([b"gzip"], [b"x-gzip"]):
        raise httpx.RemoteProtocolError("an encoding that is not accepted")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = unpacker.decompress(answer.body, ANSWER_BYTES + 1)
    except zlib.error as wrong:
        raise httpx.RemoteProtocolError("not gzip") from wrong
    if len(body) > ANSWER_BYTES or not unpacker.eof or unpacker.unused_data:
        raise httpx.RemoteProtocolError("gzip that is too large or broken")
    return headers, body


def _octets_of(method: str, url: Url, fields: Mapping[str, str], content: bytes) -> bytes:
    lines = [f"{method} {url.target} HTTP/1.1", *(f"{name}: {one}" for name, one in fields.items())]
    try:
        head = "\r\n".join(lines).encode("ascii")
    except UnicodeEncodeError as wrong:
        raise ForbiddenAddress("a header that is not ASCII") from wrong
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
        raise ForbiddenAddress("a header with a line break")
    return head + b"\r\n\r\n" + content


class _SystemResolver:
    """getaddrinfo in threads of its own, so that slow names hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, thread_name_prefix="names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads,
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))
