"""Whatever a server shows instead of an actor: no follower, no key, nothing is kept (FE-*).

The rules of the outgoing door are tested one by one in `tests/federation`; here their negatives are
seen from the door: a signed Follow whose key cannot be had leaves the database as it was.
"""

import asyncio
import gzip
import json
import ssl

import pytest
import pytest_asyncio
from starlette.responses import Response

from federation.addresses import NetworkPolicy
from tests.federation.peer import TYPE, Peer
from tests.hostile.test_object_threats import HOSTILE
from tests.peers.certificates import make_certificates

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(siege):
    """The whole database is after the test what it was before it (security.md 13, point 3)."""
    before = await siege.state()
    yield
    assert set(await siege.state()) ^ set(before) == set()


def _typed(type: str):
    return lambda siege, ana: Response(json.dumps(siege.document(ana)), media_type=type)


def _moved(target: str, status: int = 302):
    def answer(siege, ana):
        place = target.format(id=ana.id, base=siege.base)
        if target.endswith("/chain/1"):
            for number in range(1, 5):
                there = f"{siege.base}{ana.id.removeprefix(siege.base)}/chain/{number + 1}"
                siege.documents[there.replace(f"/{number + 1}", f"/{number}")] = Response(
                    status_code=302, headers={"Location": there}
                )
        return Response(status_code=status, headers={"Location": place})

    return answer


def _large(siege, ana):
    whole = siege.document(ana) | {"summary": "x" * (1 << 20)}
    return Response(json.dumps(whole), media_type=TYPE)


def _packed(siege, ana):
    whole = siege.document(ana) | {"summary": "x" * (64 << 20)}
    headers = {"Content-Encoding": "gzip"}
    return Response(gzip.compress(json.dumps(whole).encode()), headers=headers, media_type=TYPE)


def _coded(siege, ana):
    headers = {"Content-Encoding": "br"}
    return Response(json.dumps(siege.document(ana)), headers=headers, media_type=TYPE)


def _page(siege, ana):
    siege.show(f"{ana.id}.json", siege.document(ana))
    link = f'<link rel="alternate" type="application/activity+json" href="{ana.id}.json">'
    return Response(f"<html><head>{link}</head></html>", media_type="text/html")


def _owner_elsewhere(siege, ana):
    document = siege.document(ana)
    document["publicKey"]["owner"] = siege.somebody("b.peer.example").id
    return Response(json.dumps(document), media_type=TYPE)


def _without_keys(siege, ana):
    document = siege.document(ana)
    del document["publicKey"]
    return Response(json.dumps(document), media_type=TYPE)


ANSWERS = {
    "FE-6 inside": _moved("http://inside.example/users/x"),
    "FE-6 another host": _moved("http://b.peer.example/users/x"),
    "FE-6 in a circle": _moved("{id}"),
    "FE-6 nowhere": _moved("javascript:alert(1)"),
    "FE-6 too many": _moved("{id}/chain/1"),
    "FE-10 application/json": _typed("application/json"),
    "FE-10 image/png": _typed("image/png"),
    "FE-10 text/plain": _typed("text/plain"),
    "FE-10 ld+json without profile": _typed("application/ld+json"),
    "FE-12 too large": _large,
    "FE-13 a bomb": _packed,
    "FE-13 another encoding": _coded,
    "FE-14 a page that names the actor": _page,
    "IN-10 a key of another owner": _owner_elsewhere,
    "IN-10 no key": _without_keys,
    "IN-11 gone": lambda siege, ana: Response(status_code=410),
}


@pytest.mark.rule("FE-6")
@pytest.mark.rule("FE-10")
@pytest.mark.rule("FE-12")
@pytest.mark.rule("FE-13")
@pytest.mark.rule("FE-14")
@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", ANSWERS)
async def test_what_cannot_be_an_actor_leaves_nothing(siege, name):
    ana = siege.somebody()
    siege.documents[ana.id] = ANSWERS[name](siege, ana)

    answer = await siege.send(ana, siege.follow(ana))

    assert answer.status_code in (401, 503), answer.text
    assert len([url for url in siege.fetched if url.startswith(ana.id)]) <= 10  # L-43


@pytest.mark.rule("FE-2")
@pytest.mark.rule("FE-4")
@pytest.mark.rule("FE-5")
@pytest.mark.rule("FE-8")
@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "host", ["inside.example", "mixed.example", "hidden.example", "metadata.example", "0x7f.1"]
)
async def test_a_name_that_leads_inside_leaves_nothing_and_no_connection(siege, host):
    ana = siege.somebody(host)
    connected = len(siege.connected)

    assert (await siege.send(ana, siege.follow(ana))).status_code == 401
    assert len(siege.connected) == connected


@pytest.mark.rule("FE-3")
@pytest.mark.usefixtures("unchanged")
async def test_a_name_that_changes_its_address_is_asked_once_for_each_connection(
    siege, monkeypatch
):
    """It says 127.0.0.1, which may be reached here, then 10.0.0.5: the second is never reached."""
    real, asked = siege.shop.services.network._resolve, []

    async def rebinding(host, port):
        if host != "rebind.peer.example":
            return await real(host, port)
        asked.append(host)
        return ["10.0.0.5"] if len(asked) == 1 else ["127.0.0.1"]

    monkeypatch.setattr(siege.shop.services.network, "_resolve", rebinding)
    ana = siege.somebody("rebind.peer.example")
    connected = len(siege.connected)

    assert (await siege.send(ana, siege.follow(ana))).status_code == 401

    assert (len(asked), len(siege.connected)) == (1, connected)


@pytest.mark.rule("FE-7")
@pytest.mark.usefixtures("unchanged")
async def test_a_redirect_to_another_host_gets_neither_signature_nor_question(siege):
    ana, there = siege.somebody(), siege.somebody("c.peer.example")
    siege.documents[ana.id] = Response(
        status_code=301, headers={"Location": there.id, "Set-Cookie": "a=b"}
    )

    assert (await siege.send(ana, siege.follow(ana))).status_code == 401
    assert there.id not in siege.fetched


@pytest.mark.rule("FE-11")
@pytest.mark.rule("L-41")
@pytest.mark.usefixtures("unchanged")
async def test_a_server_that_never_answers_leaves_nothing(siege, monkeypatch):
    monkeypatch.setattr("federation.network.TOTAL_SECONDS", 0.5)
    ana, let_go = siege.somebody(), asyncio.Event()

    class Silent(Response):
        async def __call__(self, scope, receive, send):
            await let_go.wait()
            await super().__call__(scope, receive, send)

    siege.documents[ana.id] = Silent()
    try:
        answer = await siege.send(ana, siege.follow(ana))
    finally:
        let_go.set()

    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


@pytest.mark.rule("FE-9")
@pytest.mark.usefixtures("unchanged")
async def test_outside_of_laboratories_another_port_than_443_leaves_nothing(siege, monkeypatch):
    public = NetworkPolicy(user_agent="test", own_hosts=frozenset({"news.shop.example"}))
    monkeypatch.setattr(siege.shop.services.network, "policy", public)
    asked = len(siege.connected)

    for place in ("https://good.peer.net:8443/x", "https://good.peer.net:22/x", "http://p.net/x"):
        ana = Peer(place)
        assert (await siege.send(ana, siege.follow(ana))).status_code == 401
    assert len(siege.connected) == asked


@pytest.mark.rule("FE-18")
@pytest.mark.usefixtures("unchanged")
async def test_a_certificate_that_nobody_trusts_leaves_nothing(siege, tmp_path, monkeypatch):
    _, certificate, key = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard = []

    async def listen(reader, _writer):
        heard.append(await reader.read())

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    ana = Peer(f"https://tls.peer.example:{port}/users/x")
    async with server:
        answer = await siege.send(ana, siege.follow(ana))

    assert answer.status_code == 503
    assert [one for one in heard if one] == [], "nothing was said over it"
    siege.connected.remove(f"127.0.0.1:{port}")


@pytest.mark.rule("IN-18")
@pytest.mark.rule("L-9")
async def test_ids_that_are_too_long_are_not_cut_but_refused(siege):
    letter, ana = await siege.letter(), siege.somebody()
    for number, length in enumerate((2048, 2049)):
        base = f"{ana.id}/notes/"
        note = siege.note(ana, letter, id=base + str(number) * (length - len(base)))
        create = siege.activity(ana, "Create", note)
        if length == 2049:
            await siege.ignored(siege.send(ana, create))
        else:
            assert (await siege.send(ana, create)).status_code == 202
            assert await siege.outcome(create) == ("done", None)


@pytest.mark.rule("HT-1")
@pytest.mark.rule("HT-3")
@pytest.mark.rule("HT-4")
@pytest.mark.rule("HT-6")
@pytest.mark.rule("HT-8")
async def test_to_look_at_what_strangers_wrote_changes_nothing_and_asks_nobody(siege):
    """Pages, feeds and documents with a hostile answer below the letter."""
    letter, ana = await siege.letter(), siege.somebody()
    note = siege.note(ana, letter, content=HOSTILE)
    assert (await siege.send(ana, siege.activity(ana, "Create", note))).status_code == 202
    await siege.shop.log_in()
    before, asked = await siege.state(), len(siege.fetched)

    for path in ("/", "/letters/du-lin", "/feed.atom", "/desk/answers?state=all"):
        page = await siege.shop.client.get(path)
        assert page.status_code == 200
        for active in (
            "<script>alert",
            "onerror",
            "<iframe",
            "=https://track.example",
            "javascript:",
        ):
            assert active not in page.text

    after = [line for line in await siege.state() if not line.startswith("session: ")]
    assert after == [line for line in before if not line.startswith("session: ")]
    assert len(siege.fetched) == asked
