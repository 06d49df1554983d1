"""The one door to outbound HTTP, with real sockets on loopback."""

import asyncio
import contextlib
import gzip
import ssl
import tracemalloc
from datetime import timedelta
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
from tests.peers.certificates import make_certificates

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
async def test_identity_is_asked_for_and_one_layer_of_gzip_is_undone():
    packed = gzip.compress(b"{}")
    async with Scripted(answer(200, "Content-Encoding: gzip", body=packed)) as server:
        async with Network(LABORATORY).connection() as client:
            response = await client.get(server.url)

    assert b"accept-encoding: identity" in server.requests[0].lower()
    assert response.content == b"{}"


@pytest.mark.rule("FE-13")
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(bytes((1 << 20) + 1))),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}"))),
        ("gzip", gzip.compress(b"{}")[:-4]),
        ("gzip", gzip.compress(b"{}") + b"more"),
        ("gzip", b"{}"),
        ("br", b"{}"),
        ("deflate", b"{}"),
    ],
    ids=["bomb", "twice", "cut", "more", "none", "br", "deflate"],
)
async def test_a_bomb_or_another_encoding_is_refused(encoding, body):
    async with Scripted(answer(200, f"Content-Encoding: {encoding}", body=body)) as server:
        async with Network(LABORATORY).connection() as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(server.url)


@pytest.mark.rule("FE-13")
@pytest.mark.rule("L-42")
async def test_a_bomb_takes_no_memory():
    bomb = gzip.compress(bytes(200 << 20), 1)
    assert len(bomb) < 1 << 20
    async with Scripted(answer(200, "Content-Encoding: gzip", body=bomb)) as server:
        async with Network(LABORATORY).connection() as client:
            tracemalloc.start()
            try:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get(server.url)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert peak < 8 << 20


@pytest.mark.rule("L-42")
@pytest.mark.parametrize("excess", [0, 1])
async def test_an_answer_may_have_a_mebibyte_and_not_an_octet_more(excess):
    async with Scripted(answer(200, body=bytes((1 << 20) + excess))) as server:
        async with Network(LABORATORY).connection() as client:
            if excess:
                with pytest.raises(httpx.TransportError):
                    await client.get(server.url)
            else:
                assert len((await client.get(server.url)).content) == 1 << 20


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


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (400, 503, TryLater),
        (401, 503, TryLater),
        (400, 429, TryLater),
        (401, 403, Refused),
        (400, 410, Gone),
        (400, 401, Refused),
        (401, 400, TryLater),
    ],
)
async def test_the_answer_to_the_second_knock_counts_unless_it_refuses_the_scheme_too(
    first, second, kind
):
    async with Scripted(answer(first), answer(second, "Retry-After: 120")) as server:
        outcome = await send(server)

    assert isinstance(outcome, kind)
    assert len(server.requests) == 2, "there is no third"
    if second in (429, 503):
        assert outcome.after.total_seconds() == 120


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


@pytest.mark.rule("FE-2")
@pytest.mark.parametrize(
    "hidden",
    ["::ffff:127.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"],
)
async def test_an_address_hidden_in_another_is_refused_without_a_connection(hidden):
    async def resolver(host, port):
        return [hidden]

    async with Network(NetworkPolicy("test"), resolver).connection() as client:
        with pytest.raises(ForbiddenAddress):
            await client.get("https://peer.example.org/")


@pytest.mark.rule("FE-9")
@pytest.mark.parametrize("port", [443, 80, 8443, 25, 6379])
def test_only_the_port_of_https_is_reached(port):
    url = parse_url(f"https://m.example.org:{port}/")
    if port == 443:
        check_url(url, NetworkPolicy("test"))
    else:
        with pytest.raises(ForbiddenAddress):
            check_url(url, NetworkPolicy("test"))
        listed = NetworkPolicy("test", ports=frozenset({port}))
        check_url(url, listed)
        assert check_addresses(url, ["1.1.1.1"], listed) == ["1.1.1.1"]


@contextlib.asynccontextmanager
async def stalling(*parts: bytes, gap: float):
    """A server that sends the parts of its answer with a pause before each."""

    over = asyncio.Event()
    left = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for part in parts:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), gap)
                    break
                writer.write(part)
                await writer.drain()
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        over.set()
        await left.wait()
        server.close()


@pytest.mark.rule("FE-11")
@pytest.mark.rule("L-41")
@pytest.mark.parametrize(("gap", "total"), [(0.2, 10.0), (10.0, 0.3)])
async def test_a_stalled_and_an_endless_answer_are_cut(monkeypatch, gap, total):
    monkeypatch.setattr("federation.wire.GAP_SECONDS", gap)
    monkeypatch.setattr("federation.network.TOTAL_SECONDS", total)
    drops = [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", *[b"x"] * 100]
    pause = 1.0 if gap < 1 else 0.05  # Either silent for too long, or busy for too long.
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with stalling(*drops, gap=pause) as url:
        async with Network(LABORATORY).connection() as client:
            with pytest.raises(httpx.TimeoutException):
                await client.get(url)

    assert loop.time() - start < 1.3


@pytest.mark.rule("FE-11")
@pytest.mark.rule("L-41")
async def test_a_name_that_is_not_resolved_in_time_is_given_up(monkeypatch):
    monkeypatch.setattr("federation.network.STEP_SECONDS", 0.1)

    async def resolver(host, port):
        await asyncio.sleep(30)

    async with Network(LABORATORY, resolver).connection() as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("http://peer.example.org/")


@pytest.mark.rule("FE-11")
@pytest.mark.rule("L-41")
@pytest.mark.parametrize("stalled", ["connection", "TLS"])
async def test_the_connection_and_tls_have_five_seconds_each(monkeypatch, stalled):
    loop, real, steps = asyncio.get_running_loop(), asyncio.timeout, []

    def timeout(seconds):
        steps.append(seconds)
        return real(0.1 if len(steps) == (2 if stalled == "connection" else 3) else None)

    async def resolver(host, port):
        return ["127.0.0.1"]

    async def never(line, address):
        await asyncio.sleep(30)

    async with Scripted(answer(200)) as server:  # Which waits for a head that TLS never sends.
        url = server.url.replace("http://127.0.0.1", "https://peer.example.org")
        if stalled == "connection":
            monkeypatch.setattr(loop, "sock_connect", never)
        monkeypatch.setattr(asyncio, "timeout", timeout)
        async with Network(LABORATORY, resolver).connection() as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(url)
        monkeypatch.setattr(asyncio, "timeout", real)

    assert steps == [5.0, 5.0, 5.0][: len(steps)]
    assert (len(steps), server.connections) == ((2, 0) if stalled == "connection" else (3, 1))


@pytest.mark.rule("L-44")
async def test_a_host_gets_two_requests_at_once_and_leaves_no_trace(monkeypatch):
    under_way = most = 0

    async def serve(reader, writer):
        nonlocal under_way, most
        await reader.readuntil(b"\r\n\r\n")
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        under_way -= 1
        writer.write(answer(200))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    network = Network(LABORATORY)

    async def ask():
        async with network.connection() as client:
            return (await client.get(url)).status_code

    assert await asyncio.gather(*(ask() for _ in range(8))) == [200] * 8
    assert most == 2
    assert network._hosts == {}, "nothing is kept of a host that is not being asked (FE-16)"
    monkeypatch.setattr("federation.network.TOTAL_SECONDS", 0.02)
    late = await asyncio.gather(*(ask() for _ in range(8)), return_exceptions=True)
    assert any(isinstance(one, httpx.TransportError) for one in late)
    await asyncio.sleep(0.1)
    server.close()


@pytest.mark.rule("FE-18")
async def test_a_certificate_that_nobody_trusts_ends_the_connection(tmp_path):
    _, certificate, key = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with Network(LABORATORY).connection() as client:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await client.get(f"https://127.0.0.1:{port}/")
    server.close()

    assert asked in ([], [b""]), "not an octet of the request was said"
    assert Network(LABORATORY)._tls().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.rule("D02")
async def test_another_attempt_is_the_same_activity_signed_anew():
    async with Scripted(answer(500), answer(202)) as server:
        async with Network(LABORATORY).connection() as client:
            parcel = Parcel.of(b'{"id":"https://shop.example/ap/act/1"}')
            for now in (NOW, NOW + timedelta(minutes=1)):
                await deliver(client, parcel, server.url, SIGNER, scheme=None, now=now)

    (first, one), (second, other) = (r.split(b"\r\n\r\n") for r in server.requests)
    assert one == other == parcel.body
    heads = [dict(line.split(b": ", 1) for line in h.split(b"\r\n")[1:]) for h in (first, second)]
    assert heads[0][b"Digest"] == heads[1][b"Digest"]
    assert heads[0][b"Date"] != heads[1][b"Date"]
    assert heads[0][b"Signature"] != heads[1][b"Signature"]


@pytest.mark.rule("FE-6")
@pytest.mark.rule("D05")
async def test_a_delivery_follows_no_redirect():
    async with Scripted(answer(202)) as elsewhere:
        async with Scripted(answer(301, f"Location: {elsewhere.url}")) as server:
            outcome = await send(server)

    assert isinstance(outcome, Gone)
    assert elsewhere.connections == 0


@pytest.mark.rule("IN-34")
async def test_what_is_signed_is_what_is_asked_to_the_octet():
    async with Scripted(answer(202)) as server:
        async with Network(LABORATORY).connection() as client:
            url = server.url + "/a/../b%7e[1]'?x[]=1"
            await deliver(client, Parcel.of(b"{}"), url, SIGNER, scheme=None, now=NOW)

    assert server.requests[0].startswith(b"POST /inbox/a/../b%7e[1]'?x[]=1 HTTP/1.1\r\n")
