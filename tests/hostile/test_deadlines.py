"""Heads and bodies that do not come, or never end (L-3, IN-17)."""

import asyncio
import contextlib
import itertools
import json
import tracemalloc

import pytest

from fediletter import limits
from tests.federation.peer import TYPE

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _connected(siege):
    port = int(siege.shop.base_url.rpartition(":")[2])
    return await asyncio.open_connection("127.0.0.1", port)


async def _ended(reader) -> bytes:
    """What was answered until the connection ended; empty: it just ended."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


def _head(siege, path="/ap/inbox", **more) -> bytes:
    lines = {"Host": siege.shop.base_url.partition("//")[2], "Content-Type": TYPE} | more
    first = "POST" if "Content-Length" in lines else "GET"
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{first} {path} HTTP/1.1\r\n{text}\r\n".encode()


@pytest.mark.rule("L-3")
@pytest.mark.parametrize("begun", [b"", b"POST /ap/inbox HTTP/1.1\r\nHost: ", b"second"])
async def test_a_head_that_does_not_come_ends_its_connection(siege, monkeypatch, begun):
    assert (limits.HEAD_SECONDS, limits.BODY_SECONDS) == (10.0, 30.0)
    monkeypatch.setattr("fediletter.web.serving.heads.HEAD_SECONDS", 0.3)
    before = await siege.state()
    reader, writer = await _connected(siege)
    if begun == b"second":
        # The head after one that was answered has a deadline of its own.
        writer.write(_head(siege, "/ap/instance"))
        assert b" 200 " in await reader.readline()
        begun = b"GET /ap/inst"
    writer.write(begun)

    answer = await _ended(reader)

    assert b"HTTP/1.1" not in answer
    writer.close()
    assert await siege.state() == before
    assert (await siege.shop.client.get("/ap/instance")).status_code == 200


@pytest.mark.rule("L-3")
async def test_a_head_within_its_time_and_what_follows_it_are_waited_for(siege, monkeypatch):
    monkeypatch.setattr("fediletter.web.serving.heads.HEAD_SECONDS", 1.0)
    reader, writer = await _connected(siege)
    whole = _head(siege, **{"Content-Length": "2"})
    for part in (whole[:10], whole[10:30], whole[30:]):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)  # The body has its own deadline, not that of the head.
    writer.write(b"{}")

    assert (await reader.readline()).split()[1] == b"401"
    writer.close()


@pytest.mark.rule("L-4")
@pytest.mark.rule("IN-17")
async def test_a_head_without_an_end_is_not_remembered(siege):
    reader, writer = await _connected(siege)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
    sent = 0
    tracemalloc.start()
    try:
        with contextlib.suppress(ConnectionError):
            while sent < 20 << 20:
                writer.write(b"x-%d: " % sent + b"y" * 4000 + b"\r\n")
                await writer.drain()
                sent += 4000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sent < 20 << 20
    assert peak < 5 << 20
    await _ended(reader)
    writer.close()


@pytest.mark.rule("L-3")
@pytest.mark.rule("IN-17")
async def test_a_body_that_does_not_come_is_408_and_the_end_and_changes_nothing(siege, monkeypatch):
    monkeypatch.setattr("fediletter.web.fediverse.peers.BODY_SECONDS", 0.3)
    before = await siege.state()
    reader, writer = await _connected(siege)
    writer.write(_head(siege, **{"Content-Length": "1000"}) + b"{")

    answer = await _ended(reader)

    assert answer.split()[1] == b"408"
    assert b"connection: close" in answer.lower()
    writer.close()
    assert await siege.state() == before


@pytest.mark.rule("IN-17")
@pytest.mark.parametrize("way", ["announced", "chunked", "kept"])
async def test_a_request_costs_less_than_five_mebibytes_whatever_its_body(siege, way):
    """Announced too large, endless by chunks, and the largest that is kept."""
    ana = siege.somebody()
    pad = ["x" * 340_000] * 3
    body = json.dumps(siege.follow(ana) | {"pad": pad}).encode()
    assert len(body) > 1_000_000
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    headers = siege.headers(ana, body) | {"X-Forwarded-For": "198.51.100.77"}
    headers |= {
        "announced": {"Content-Length": str(40 << 20)},
        "chunked": {"Transfer-Encoding": "chunked"},
        "kept": {"Content-Length": str(len(body))},
    }[way]
    await siege.settled()
    size = 64 << 10  # More at once would lie in the client's buffer, which is measured too.
    part = b" " * size
    parts = {
        "announced": itertools.repeat(part, 640),
        "chunked": itertools.repeat(b"%x\r\n%s\r\n" % (len(part), part), 640),
        "kept": [body[at : at + size] for at in range(0, len(body), size)],
    }[way]
    reader, writer = await _connected(siege)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    tracemalloc.start()
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(f"POST /ap/inbox HTTP/1.1\r\n{head}\r\n".encode())
            for one in parts:
                writer.write(one)
                await writer.drain()
        status = (await reader.readline()).split()[1]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    writer.close()

    assert status == (b"202" if way == "kept" else b"413")
    assert peak < 5 << 20
