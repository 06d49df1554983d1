"""The table of security.md 2.1, row by row through real HTTP, and FEDERATION.md, which tells it.

A row that refuses leaves the database as it was. 408 is the one answer beside the table: IN-17 lets
a connection be closed whose body does not come, and this is said before it closes, so that an
honest sender tries again.
"""

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.blocks import block, remove_block
from storage.topics import all_topics
from tests.federation.peer import OTHER_RSA, TYPE, Peer

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = Path(__file__).parents[2] / "FEDERATION.md"
_IN_SENTENCES = {"408": "tests/hostile/test_deadlines.py", "429": "below", "503": "below"}


def _follow(siege, ana) -> bytes:
    return json.dumps(siege.follow(ana)).encode()


def _kept(siege, ana):
    return siege.send(ana, siege.follow(ana))


def _unsupported(siege, ana):
    return siege.send(ana, siege.activity(ana, "Travel", f"{siege.shop.base_url}/ap/shop"))


def _of_another(siege, ana):
    return siege.send(ana, siege.follow(siege.somebody()))


def _stranger_deletes(siege, ana):
    return siege.send(ana, siege.activity(ana, "Delete", ana.id))


def _raw(body: bytes):
    return lambda siege, ana: siege.post(siege.headers(ana, body), body)


def _odd(**fields):
    return lambda siege, ana: siege.send(ana, siege.follow(ana) | fields)


def _headers(**changes):
    """A good request with some of its header fields changed; None removes one."""

    def send(siege, ana):
        body = _follow(siege, ana)
        headers = siege.headers(ana, body) | changes
        return siege.post({name: one for name, one in headers.items() if one is not None}, body)

    return send


def _twice(siege, ana):
    body = _follow(siege, ana)
    headers = siege.headers(ana, body)
    return siege.post([*headers.items(), ("digest", headers["digest"])], body)


def _forged(siege, ana):
    return siege.send(Peer(ana.id, OTHER_RSA), siege.follow(ana))


def _late(minutes):
    moment = timedelta(minutes=minutes)
    return lambda siege, ana: siege.send(ana, siege.follow(ana), now=datetime.now(UTC) + moment)


def _swapped(siege, ana):
    body = _follow(siege, ana)
    return siege.post(siege.headers(ana, body), body + b" ")


def _weak(siege, ana):
    body = _follow(siege, ana)
    headers = siege.headers(ana, body)
    full = "(request-target) host date digest content-type"
    headers["signature"] = headers["signature"].replace(full, "host date")
    return siege.post(headers, body)


def _not_the_owners(siege, ana):
    eve = siege.somebody()
    siege.show(f"{eve.id}/key", {"id": f"{eve.id}/key", "owner": ana.id, "publicKeyPem": "x"})
    body = _follow(siege, ana)
    headers = siege.headers(Peer(ana.id, OTHER_RSA), body)
    headers["signature"] = headers["signature"].replace(f"{ana.id}#main-key", f"{eve.id}/key")
    return siege.post(headers, body)


def _at(inbox):
    return lambda siege, ana: siege.send(ana, siege.follow(ana), inbox=inbox)


def _method(name, path="/ap/inbox"):
    headers = {"Origin": "https://elsewhere.example"}
    return lambda siege, ana: siege.shop.client.request(name, path, headers=headers)


def _deep(siege, ana):
    return _raw(b'{"a":' * 33 + b"1" + b"}" * 33)(siege, ana)


def _large(siege, ana):
    return siege.post({"Content-Type": TYPE}, b" " * ((1 << 20) + 1))


def _large_head(siege, ana):
    return siege.post({"Content-Type": TYPE, "Signature": "s" * 16_400}, b"{}")


ROWS = [
    (202, "committed", _kept),
    (202, "an unsupported type", _unsupported),
    (202, "mis-attributed", _of_another),
    (202, "a stranger deletes itself", _stranger_deletes),
    (400, "not JSON", _raw(b"{")),
    (400, "not an object", _raw(b"[]")),
    (400, "a name twice", _raw(b'{"a":1,"a":1}')),
    (400, "an actor that is no id", _odd(actor=7)),
    (400, "a type that is no text", _odd(type=[7])),
    (400, "an id of another host", _odd(id="https://victim.example/1")),
    (400, "structure beyond its limits", _deep),
    (400, "no syntax of a signature", _headers(signature='keyId="x"')),
    (400, "a field of trust twice", _twice),
    (401, "no signature", _headers(signature=None)),
    (401, "a bad signature", _forged),
    (401, "too old", _late(-66)),
    (401, "too new", _late(66)),
    (401, "another digest", _swapped),
    (401, "no digest", _headers(digest=None)),
    (401, "weak coverage", _weak),
    (401, "a key that is not its actor's", _not_the_owners),
    (404, "no such inbox", _at("/ap/nobody/inbox")),
    (404, "an inbox in other letters", _at("/ap/SHOP/inbox")),
    (405, "GET", _method("GET")),
    (405, "PUT at a personal inbox", _method("PUT", "/ap/shop/inbox")),
    (405, "DELETE", _method("DELETE")),
    (413, "a body too large", _large),
    (413, "a head too large", _large_head),
    (415, "another media type", _headers(**{"content-type": "text/plain"})),
    (415, "no media type", _headers(**{"content-type": None})),
    (415, "a coding", _headers(**{"content-encoding": "identity"})),
]


@pytest.mark.parametrize(("status", "row", "sending"), ROWS, ids=[f"{s} {r}" for s, r, _ in ROWS])
async def test_a_row_of_the_table(siege, status, row, sending):
    ana = siege.somebody()
    # To judge a signature, its actor is asked for, and remembered.
    look = siege.effects if row == "a bad signature" else siege.state
    before = await look()

    answer = await sending(siege, ana)

    assert answer.status_code == status
    assert len(answer.content) <= 200
    assert (row == "committed") == (await siege.follows(ana))
    if status != 202 or row == "a stranger deletes itself":
        assert await look() == before
    if status == 405:
        assert answer.headers["allow"] == "POST"


async def test_a_second_copy_is_202(siege):
    ana = siege.somebody()
    follow = siege.follow(ana)
    assert (await siege.send(ana, follow)).status_code == 202
    before = await siege.state()

    assert (await siege.send(ana, follow)).status_code == 202
    assert await siege.state() == before


async def test_a_blocked_actor_and_a_blocked_host_are_403(siege):
    write, now = siege.shop.services.store.write, datetime.now(UTC)
    ana, bo = siege.somebody(), siege.somebody("blocked.peer.example")
    host = bo.id.split("/")[2]
    await write(block, "actor", ana.id, note="", now=now)
    await write(block, "domain", host.partition(":")[0], note="", now=now)

    for one in (ana, bo):
        await siege.refused(siege.send(one, siege.follow(one)), 403)
    await write(remove_block, host.partition(":")[0])


@pytest.mark.rule("L-14")
async def test_the_301st_request_that_nobody_proves_within_five_minutes_is_429(siege):
    caller = "203.0.113.200"
    for _ in range(300):
        answer = await siege.post({"Content-Type": TYPE}, b"{}", caller=caller)
        assert answer.status_code == 401

    before = await siege.state()
    answer = await siege.post({"Content-Type": TYPE}, b"{}", caller=caller)
    assert (answer.status_code, int(answer.headers["retry-after"]) <= 300) == (429, True)
    assert await siege.state() == before


@pytest.mark.rule("V14")
@pytest.mark.parametrize("away", [500, 502, 503, 429])
async def test_a_key_that_cannot_be_had_at_present_is_503_with_a_time(siege, away):
    ana = siege.somebody()
    siege.show(ana.id, {}, status=away)
    before = await siege.state()

    answer = await siege.send(ana, siege.follow(ana))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "300")
    assert await siege.state() == before


@pytest.mark.slow
@pytest.mark.rule("RE-13")
async def test_a_database_that_is_away_is_503_with_a_time(siege):
    """Held by another program for longer than we wait for it (RE-2)."""
    ana = siege.somebody()
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    before = await siege.state()
    path = siege.shop.settings.database_url.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    siege.shop.client.timeout = 15
    try:
        again = siege.activity(ana, "Like", f"{siege.shop.base_url}/ap/shop/issues/x")
        answer = await siege.send(ana, again)
    finally:
        other.execute("ROLLBACK")
        other.close()

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    siege.errors.found.clear()  # The database's trouble is logged, and wanted here.
    assert await siege.state() == before
    assert (await siege.send(ana, again)).status_code == 202


async def test_no_actor_is_ever_deleted_so_410_is_said_of_none(siege):
    """A topic that was hidden keeps its actor, its key and its followers (R9)."""
    await siege.shop.publish("Du fil", "Bonjour", topics=["Fil"], to_email=False)
    ana = siege.somebody()
    topic = f"{siege.shop.base_url}/ap/fil"
    follow = siege.activity(ana, "Follow", topic)
    assert (await siege.send(ana, follow, inbox="/ap/fil/inbox")).status_code == 202
    assert await siege.outcome(follow) == ("done", None)
    csrf = await siege.shop.log_in()
    page = (await siege.shop.client.get("/desk/topics")).text
    number = re.search(r'name="topic_id" value="(\d+)"', page)[1]

    fields = {"topic_id": number, "name": "Fil", "hidden": "yes"}
    hidden = await siege.shop.post("/desk/topics", csrf=csrf, **fields)

    assert hidden.status_code == 303
    public = await siege.shop.services.store.read(all_topics, public_only=True)
    assert "Fil" not in [one.name for one in public]
    actor = await siege.shop.client.get("/ap/fil", headers={"Accept": TYPE})
    assert actor.status_code == 200
    assert actor.json()["id"] == topic
    undo = siege.activity(ana, "Undo", follow)
    assert (await siege.send(ana, undo, inbox="/ap/fil/inbox")).status_code == 202
    assert await siege.outcome(undo) == ("done", None)
    assert not await siege.follows(ana)


async def test_federation_md_tells_exactly_these_statuses():
    table = DOCUMENT.read_text(encoding="utf-8").partition("| status | when |")[2]
    told = [
        number
        for line in table.partition("\n\n")[0].splitlines()[2:]
        for number in re.findall(r"\d{3}", line.split("|")[1])
    ]
    tested = {str(status) for status, _, _ in ROWS} | {"403", "429", "503", "408"}

    assert sorted(told) == sorted(tested)
