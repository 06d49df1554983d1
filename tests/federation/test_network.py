"""The one door to outbound HTTP, with real sockets on loopback."""

import asyncio
import gzip
from ipaddress import ip_address, ip_network

import httpx
import pytest

from federation.addresses import NetworkPolicy, check_addresses, check_url, is_public
from federation.delivery import Delivered, Gone, Parcel, Refused, TryLater, deliver
from federation.errors import ForbiddenAddress
from federation.keys import Signer
from federation.network import Network
from federation.origins import parse_url
from tests.federation.peer import NOW, RSA

LABORATORY = NetworkPolicy("test", allow=(ip_network("127.0.0.0/8"),))
SIGNER = Signer("https://shop.example/ap/shop#main-key", RSA)


class Scripted:
    """A server that answers requests one after the other with what it was given."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/inbox"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                lower = head.lower()
                length = 0
                if b"content-length:" in lower:
                    length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer == b"hang up":
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def send(server: Scripted, **kwargs):
    network = Network(LABORATORY)
    async with network.connection() as client:
        return await deliver(
            client, Parcel.of(b"{}"), server.url, SIGNER, scheme=kwargs.get("scheme"), now=NOW
        )


@pytest.mark.rule("FE-1")
@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("1.1.1.1", True),
        ("10.0.0.5", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("2606:4700::1", True),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("fc00::1", False),
        ("3fff::1", False),
    ],
)
def test_addresses_that_are_not_public_are_known(text, public):
    assert is_public(ip_address(text)) is public


@pytest.mark.rule("FE-5")
@pytest.mark.parametrize(
    "url",
    [
        "http://m.example.org/",
        "https://m.example.org:8443/",
        "https://localhost/",
        "https://printer/",
        "https://shop.internal/",
        "https://127.0.0.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://[::1]/",
    ],
)
def test_hosts_that_no_public_server_has_are_refused_without_a_look_up(url):
    with pytest.raises(ForbiddenAddress):
        check_url(parse_url(url), NetworkPolicy("test"))


@pytest.mark.rule("FE-4")
def test_one_forbidden_address_among_many_refuses_the_name():
    url = parse_url("https://m.example.org/")

    with pytest.raises(ForbiddenAddress):
        check_addresses(url, ["1.1.1.1", "10.0.0.1"], NetworkPolicy("test"))
    assert check_addresses(url, ["1.1.1.1"], NetworkPolicy("test")) == ["1.1.1.1"]


@pytest.mark.rule("FE-3")
async def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to():
    asked = []

    async def resolver(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.99"]

    async with Scripted(answer(202)) as server:
        port = parse_url(server.url).port
        network = Network(LABORATORY, resolver)
        async with network.connection() as client:
            response = await client.get(f"http://peer.example.org:{port}/")

    assert (response.status_code, asked) == (202, ["peer.example.org"])
    assert f"host: peer.example.org:{port}".encode() in server.requests[0].lower()


@pytest.mark.rule("FE-17")
async def test_our_own_host_is_never_asked():
    policy = NetworkPolicy("t", LABORATORY.allow, frozenset({"127.0.0.1:8000"}))
    async with Network(policy).connection() as client:
        with pytest.raises(ForbiddenAddress):
            await client.get("http://127.0.0.1:8000/")


@pytest.mark.rule("FE-7")
async def test_cookies_are_neither_kept_nor_sent():
    async with Scripted(answer(200, "Set-Cookie: a=b"), answer(200)) as server:
        async with Network(LABORATORY).connection() as client:
            await client.get(server.url)
            await client.get(server.url)

    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.rule("FE-12")
@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000,
    ],
)
async def test_an_oversize_or_malformed_answer_ends_the_connection(reply):
    async with Scripted(reply) as server:
        async with Network(LABORATORY).connection() as client:
            with pytest.raises(httpx.TransportError):
                await client.get(server.url)


async def test_chunks_are_read():
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with Scripted(reply, answer(200)) as server:
        async with Network(LABORATORY).connection() as client:
            assert (await client.get(server.url)).content == b"abcde"
            assert (await client.get(server.url)).status_code == 200

    assert server.connections == 1, "the connection is kept while the lane has work"


@pytest.mark.rule("FE-13")
async def test_identity_is_asked_for_and_an_encoded_answer_is_no_document():
    packed = gzip.compress(b"{}")
    async with Scripted(answer(200, "Content-Encoding: gzip", body=packed)) as server:
        async with Network(LABORATORY).connection() as client:
            response = await client.get(server.url)

    assert b"accept-encoding: identity" in server.requests[0].lower()
    assert response.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_a_good_answer_is_delivered(status):
    reply = b"HTTP/1.1 204 X\r\n\r\n" if status == 204 else answer(status)
    async with Scripted(reply) as server:
        assert await send(server) == Delivered(status, "cavage")


async def test_a_peer_that_refuses_the_draft_is_knocked_at_once_by_rfc_9421():
    async with Scripted(answer(401), answer(202)) as server:
        assert await send(server) == Delivered(202, "rfc9421")

    assert b"signature-input" not in server.requests[0].lower()
    assert b"signature-input" in server.requests[1].lower()


@pytest.mark.rule("D03")
async def test_retry_after_is_honoured():
    async with Scripted(answer(429, "Retry-After: 120")) as server:
        outcome = await send(server)

    assert isinstance(outcome, TryLater)
    assert (outcome.after.total_seconds(), outcome.answered) == (120, True)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, Refused), (404, Gone), (410, Gone), (301, Gone), (500, TryLater), (501, Refused)],
)
async def test_each_status_has_its_meaning(status, kind):
    async with Scripted(answer(status, "Location: http://127.0.0.1:1/")) as server:
        assert isinstance(await send(server), kind)

    assert len(server.requests) == 1, "no redirect is followed"


async def test_a_peer_that_hangs_up_or_is_not_there_is_tried_later():
    async with Scripted(b"hang up") as server:
        outcome = await send(server)
    assert isinstance(outcome, TryLater)
    assert not outcome.answered

    outcome = await send(server)
    assert isinstance(outcome, TryLater)


@pytest.mark.rule("FE-8")
@pytest.mark.rule("D07")
async def test_an_inbox_at_a_private_address_is_refused_without_a_connection():
    async with Scripted(answer(202)) as server:
        async with Network(NetworkPolicy("test")).connection() as client:
            outcome = await deliver(
                client, Parcel.of(b"{}"), server.url, SIGNER, scheme=None, now=NOW
            )

    assert isinstance(outcome, Refused)
    assert server.connections == 0
