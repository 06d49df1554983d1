"""Heads of requests, lists in objects, host names; the sanitiser's time."""

import asyncio
import threading

import pytest

from fediletter import limits
from fediletter.newsletter.html import from_remote
from tests.federation.peer import TYPE
from tests.hostile.test_object_threats import answered, replies

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MARKUP = '<p>Gar<b>de</b> <img src=x onerror="a()">&lt;script&gt;</p>'


async def _status(siege, head: bytes) -> tuple[int, bytes]:
    """Status and body of a raw request."""
    host = siege.shop.base_url.partition("//")[2]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.partition(":")[2]))
    writer.write(head.replace(b"HOST", host.encode()))
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.rule("L-4")
async def test_a_head_of_16_kib_or_100_lines_is_the_largest(siege):
    assert (limits.HEAD_BYTES, limits.HEAD_LINES) == (16 << 10, 100)
    first = b"GET /ap/instance HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n"
    before = await siege.state()

    def lines(count):
        return first + b"".join(b"x-%d: 1\r\n" % n for n in range(count - 2)) + b"\r\n"

    def octets(count):
        return first + b"x: " + b"y" * count + b"\r\n\r\n"

    assert (await _status(siege, lines(100)))[0] == 200
    assert (await _status(siege, octets(16_000)))[0] == 200
    # Few octets and many lines, one long line, many long lines, a long address.
    for head in (
        lines(101),
        octets(16_400),
        first + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 900) for n in range(20)) + b"\r\n",
        first.replace(b"/ap/instance", b"/ap/instance?" + b"q" * 16_400) + b"\r\n",
    ):
        status, body = await _status(siege, head)
        assert (status, len(body) <= 200) == (431, True), head[:60]
    post = b"POST /ap/inbox HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nContent-Length: 2\r\n"
    post += b"Content-Type: %s\r\nSignature: %s\r\n\r\n{}" % (TYPE.encode(), b"s" * 16_400)
    assert (await _status(siege, post))[0] == 413
    assert await siege.state() == before


@pytest.mark.rule("L-23")
async def test_attachments_and_tags_of_an_answer_are_kept_within_caps(siege):
    letter, ana = await siege.letter(), siege.somebody()
    many = {
        "attachment": [
            {"type": "Document", "url": f"{siege.base}/FILE-{n}.png", "name": f"FILE-{n}"}
            for n in range(500)
        ],
        "tag": [
            {"type": "Hashtag", "name": f"#TAG-{n}", "href": f"{siege.base}/TAG-{n}"}
            for n in range(500)
        ],
    }

    note = await answered(siege, ana, letter, content="<p>Avec images</p>", **many)

    (kept,) = [one for one in await replies(siege) if one["uri"] == note["id"]]
    assert kept["content_html"] == "<p>Avec images</p>"
    state = "\n".join(await siege.effects())
    assert state.count("FILE-") <= 16
    assert state.count("TAG-") <= 64
    assert not [url for url in siege.fetched if "FILE-" in url or "TAG-" in url]


@pytest.mark.rule("L-24")
async def test_host_names_end_at_253_characters_and_63_in_a_label(siege):
    end = ".peer.example"
    longest = ".".join(["a" * 63] * 3 + ["b" * (253 - 192 - len(end))]) + end
    assert len(longest) == 253

    for host in ("c" * 63 + end, longest):
        ana = siege.somebody(host)
        assert (await siege.send(ana, siege.follow(ana))).status_code == 202
        assert await siege.follows(ana), host
    asked = len(siege.fetched)
    for host in ("c" * 64 + end, "d" + longest, "e." + "f" * 62 + longest[63:], "g.." + end):
        eve = siege.somebody(host)
        await siege.refused(siege.send(eve, siege.follow(eve)), 401)
    assert len(siege.fetched) == asked


@pytest.mark.rule("L-29")
@pytest.mark.rule("HT-5")
@pytest.mark.parametrize("fails", [False, True])
async def test_what_the_sanitiser_cannot_do_in_time_is_shown_as_text(siege, monkeypatch, fails):
    assert limits.SANITISER_SECONDS == 1.0
    letter, ana = await siege.letter(), siege.somebody()
    let_go, threads = threading.Event(), []

    def slow(markup):
        threads.append(threading.current_thread())
        if fails:
            raise ValueError("a mistake in the sanitiser")
        let_go.wait(20)
        return from_remote(markup)

    monkeypatch.setattr("fediletter.inbound.reply.from_remote", slow)
    monkeypatch.setattr("fediletter.inbound.reply.SANITISER_SECONDS", 0.3)
    try:
        create = siege.activity(ana, "Create", siege.note(ana, letter, content=_MARKUP))
        assert (await siege.send(ana, create)).status_code == 202
        # The server answers others all the while: the event loop is not held.
        async with asyncio.timeout(10):
            assert (await siege.shop.client.get("/ap/instance")).status_code == 200
            assert await siege.outcome(create) == ("done", None)
    finally:
        let_go.set()

    assert threading.main_thread() not in threads
    (kept,) = [one for one in await replies(siege) if one["uri"] == create["object"]["id"]]
    assert "<script" not in kept["content_html"]
    assert "<img" not in kept["content_html"]
    assert "Gar" in kept["content_html"]
    assert "&lt;script&gt;" in kept["content_html"]
