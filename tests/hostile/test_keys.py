"""Whose key it is, and what finding it may cost: IN-9 to IN-12, IN-35, FE-17."""

import asyncio
import itertools
import json
import threading

import pytest
import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from federation.actors import actor_from
from fediletter.inbound.keys import snapshot_of
from storage.blocks import block
from storage.peers import keep_actor
from storage.schema import received
from tests.federation.peer import OTHER_RSA, RSA, TYPE, Peer
from tests.shop import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.rule("IN-9")
@pytest.mark.rule("L-10")
async def test_an_unknown_key_costs_two_fetches_and_then_none(siege):
    ana = siege.somebody()
    forged = Peer(ana.id, OTHER_RSA)
    siege.show(f"{ana.id}/key", {"id": f"{ana.id}/key", "owner": ana.id, "publicKeyPem": "x"})
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(forged, body)
    headers["signature"] = headers["signature"].replace("#main-key", "/key")
    siege.fetched.clear()

    answers = await asyncio.gather(*(siege.post(headers, body) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {401}
    assert siege.fetched == [f"{ana.id}/key", ana.id]

    await siege.refused(siege.post(headers, body), 401)
    assert len(siege.fetched) == 2, "the failure is remembered"


@pytest.mark.rule("IN-9")
@pytest.mark.rule("FE-1")
@pytest.mark.rule("FE-5")
@pytest.mark.parametrize(
    "place",
    [
        "http://inside.example/users/x",
        "http://metadata.example/latest/meta-data",
        "http://mixed.example/users/x",
        "http://hidden.example/users/x",
        "http://127.0.0.2:8000/x",
        "http://10.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://0x7f.0.0.2/x",
        "http://2130706434/x",
        "http://localhost/x",
    ],
)
async def test_a_key_at_a_forbidden_address_is_401_and_never_connected_to(siege, place):
    victim = Peer(place)
    connected = len(siege.connected)

    await siege.refused(siege.send(victim, siege.follow(victim)), 401)

    assert len(siege.connected) == connected


@pytest.mark.rule("FE-17")
async def test_a_key_at_our_own_host_is_never_asked_for(siege):
    ours = Peer(f"{siege.shop.base_url}/ap/shop")
    connected = len(siege.connected)

    await siege.refused(siege.send(ours, siege.follow(ours)), 401)

    assert len(siege.connected) == connected


class Turns:
    """Answers one after the other; the last one again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def __call__(self, scope, receive, send):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await answer(scope, receive, send)


def detour(siege, place: str, document: dict, *before: Response) -> int:
    """Show a document behind three redirects and other answers; how many requests that costs."""
    hops = [place, *(f"{place}/hop/{number}" for number in range(3))]
    for here, there in itertools.pairwise(hops):
        siege.documents[here] = Response(status_code=302, headers={"Location": there})
    shown = JSONResponse(document, headers={"Content-Type": TYPE})
    siege.documents[hops[-1]] = Turns(*before, shown)
    return 4 + len(before)


def with_own_key(siege, ana: Peer, name: str) -> dict:
    """The actor's document, listing a key that has an address of its own."""
    key = {"id": f"{ana.id}/{name}", "owner": ana.id, "publicKeyPem": RSA.public.text}
    return siege.document(ana) | {"publicKey": key}


@pytest.mark.rule("FE-15")
@pytest.mark.rule("L-43")
@pytest.mark.parametrize("cost", [10, 11])
async def test_a_key_and_its_owner_cost_ten_requests_together_and_not_one_more(siege, cost):
    ana, no = siege.somebody(), Response(status_code=401)
    document = with_own_key(siege, ana, "key")
    spent = detour(siege, f"{ana.id}/key", document["publicKey"], no)
    spent += detour(siege, ana.id, document, no)
    assert spent == 10
    if cost == 11:
        first = siege.documents[ana.id]
        siege.documents[ana.id] = Turns(no, first)
    siege.fetched.clear()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)
    headers["signature"] = headers["signature"].replace("#main-key", "/key")

    if cost == 11:
        await siege.refused(siege.post(headers, body), 401)
    else:
        assert (await siege.post(headers, body)).status_code == 202
        assert await siege.follows(ana)
    assert len(siege.fetched) == 10


@pytest.mark.rule("FE-15")
@pytest.mark.rule("L-43")
@pytest.mark.parametrize("cost", [10, 11])
async def test_what_its_key_cost_is_not_left_for_what_an_activity_needs_later(siege, cost):
    ana, no = siege.somebody(), Response(status_code=401)
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    assert await siege.follows(ana)
    document = with_own_key(siege, ana, "newer") | {"name": "Ana nouvelle"}
    spent = detour(siege, f"{ana.id}/newer", document["publicKey"], no)
    later = detour(siege, ana.id, document, *[no] * (cost - 10))
    way = siege.documents[ana.id]
    siege.documents[ana.id] = Turns(JSONResponse(document, headers={"Content-Type": TYPE}), way)
    assert spent + 1 + later == cost
    siege.fetched.clear()
    before = set(await siege.effects())
    update = siege.activity(ana, "Update", document)
    body = json.dumps(update).encode()
    headers = siege.headers(ana, body)
    headers["signature"] = headers["signature"].replace("#main-key", "/newer")

    assert (await siege.post(headers, body)).status_code == 202

    told = ("done", None)
    if cost == 11:
        told = ("failed", "what was fetched cannot be used: too many requests for one thing")
    assert await siege.outcome(update) == told
    assert len(siege.fetched) == 10
    assert set(await siege.effects()) == before, "no more than the account's own row"


@pytest.mark.rule("FE-15")
@pytest.mark.rule("L-43")
async def test_a_server_that_is_away_is_asked_ten_times_in_all_for_one_activity(siege):
    ana = siege.somebody()
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    await siege.settled()
    siege.show(ana.id, {}, status=503)
    update = siege.activity(ana, "Update", siege.document(ana))
    assert (await siege.send(ana, update)).status_code == 202
    await siege.settled()
    assert await siege.outcome(update) == ("waiting", "no answer at present: answered 503")
    mine = sa.update(received).where(received.c.activity_uri == update["id"])
    siege.fetched.clear()

    for attempts in (8, 9):
        again = mine.values(attempts=attempts, not_before=0)
        await siege.shop.services.store.write(lambda tx, again=again: tx.execute(again))
        await siege.settled()

    assert len(siege.fetched) == 2
    assert (await siege.outcome(update))[0] == "failed"


@pytest.mark.rule("IN-9")
@pytest.mark.rule("IN-21")
@pytest.mark.rule("L-10")
async def test_the_key_of_a_deleted_account_is_asked_for_once_though_it_is_served(siege):
    ana = siege.somebody()
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    assert await siege.follows(ana)
    assert (await siege.send(ana, siege.activity(ana, "Delete", ana.id))).status_code == 202
    assert not await siege.follows(ana)
    siege.fetched.clear()

    for _ in range(3):
        await siege.refused(siege.send(ana, siege.follow(ana)), 401)
    answer = siege.activity(ana, "Create", siege.note(ana, await siege.letter()))
    await siege.refused(siege.send(ana, answer), 401)

    assert siege.fetched == [ana.id]
    assert RSA.public.text not in str([line for line in await siege.state() if ana.id in line]), (
        "neither words nor keys of it come back"
    )


@pytest.mark.rule("IN-10")
@pytest.mark.parametrize("listed", ["one", "many"])
async def test_an_owner_may_list_a_key_by_its_address_alone(siege, listed):
    ana = siege.somebody()
    document = with_own_key(siege, ana, "key")
    siege.show(f"{ana.id}/key", document["publicKey"])
    links = f"{ana.id}/key" if listed == "one" else [f"{ana.id}/older", f"{ana.id}/key"]
    siege.show(ana.id, document | {"publicKey": links})
    siege.fetched.clear()
    for _ in range(2):
        body = json.dumps(siege.follow(ana)).encode()
        headers = siege.headers(ana, body)
        headers["signature"] = headers["signature"].replace("#main-key", "/key")
        assert (await siege.post(headers, body)).status_code == 202

    assert await siege.follows(ana)
    assert siege.fetched == [f"{ana.id}/key", ana.id], "then it is kept"


@pytest.mark.rule("IN-10")
@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "{ana}/other"},
        {"owner": "{ana}-else"},
        {"owner": "http://b.peer.example/users/x"},
        {"publicKeyPem": None},
        {"listed": "{ana}/other"},
    ],
    ids=["id", "owner", "host", "no key", "not listed"],
)
async def test_a_key_that_is_listed_by_its_address_must_be_what_is_there(siege, wrong):
    ana = siege.somebody()
    document = with_own_key(siege, ana, "key")
    wrong = {name: value and value.replace("{ana}", ana.id) for name, value in wrong.items()}
    listed = wrong.pop("listed", f"{ana.id}/key")
    siege.show(f"{ana.id}/key", document["publicKey"] | wrong)
    siege.show(ana.id, document | {"publicKey": listed})
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)
    headers["signature"] = headers["signature"].replace("#main-key", "/key")

    await siege.refused(siege.post(headers, body), 401)


@pytest.mark.rule("IN-10")
@pytest.mark.rule("V11")
async def test_a_key_document_that_names_another_owner_proves_nothing(siege):
    ana, victim = siege.somebody(), siege.somebody()
    siege.show(
        f"{ana.id}/key",
        {"id": f"{ana.id}/key", "owner": victim.id, "publicKeyPem": OTHER_RSA.public.text},
    )
    body = json.dumps(siege.follow(victim)).encode()
    headers = siege.headers(Peer(victim.id, OTHER_RSA), body)
    headers["signature"] = headers["signature"].replace(f"{victim.id}#main-key", f"{ana.id}/key")
    await siege.refused(siege.post(headers, body), 401)

    elsewhere = siege.somebody("b.peer.example")
    siege.show(
        f"{elsewhere.id}/key",
        {"id": f"{elsewhere.id}/key", "owner": ana.id, "publicKeyPem": OTHER_RSA.public.text},
    )
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(Peer(ana.id, OTHER_RSA), body)
    headers["signature"] = headers["signature"].replace(f"{ana.id}#main-key", f"{elsewhere.id}/key")
    await siege.refused(siege.post(headers, body), 401)


@pytest.mark.rule("IN-11")
async def test_an_actor_id_that_shows_another_actor_is_401(siege):
    ana, victim = siege.somebody(), siege.somebody("b.peer.example")
    siege.show(ana.id, siege.document(victim))

    await siege.refused(siege.send(ana, siege.follow(ana)), 401)

    uploaded = f"{siege.base}/media/{ana.id[-3:]}.json"
    forged = siege.document(Peer(victim.id.replace("b.peer", "a.peer"), OTHER_RSA))
    forged["publicKey"]["id"] = f"{uploaded}#k"
    siege.show(uploaded, forged)
    body = json.dumps(siege.follow(Peer(forged["id"]))).encode()
    headers = siege.headers(Peer(forged["id"], OTHER_RSA), body)
    headers["signature"] = headers["signature"].replace(f"{forged['id']}#main-key", f"{uploaded}#k")
    await siege.refused(siege.post(headers, body), 401)


@pytest.mark.rule("IN-12")
@pytest.mark.parametrize("key_id", ["acct:ana@a.peer.example", "ana", "ftp://a.peer.example/k", ""])
async def test_a_key_id_that_is_no_address_is_refused_without_a_fetch(siege, key_id):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)
    headers["signature"] = headers["signature"].replace(f"{ana.id}#main-key", key_id)

    await siege.refused(siege.post(headers, body), 401)
    assert ana.id not in siege.fetched


@pytest.mark.rule("IN-35")
@pytest.mark.rule("L-12")
@pytest.mark.rule("L-13")
async def test_a_weak_or_huge_key_is_401_and_not_kept(siege):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    pem = weak.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in (pem, "x" * 9000, "-----BEGIN PUBLIC KEY-----\n", "z6Mk", ""):
        ana = siege.somebody()
        document = siege.document(ana)
        document["publicKey"]["publicKeyPem"] = text
        siege.show(ana.id, document)
        await siege.refused(siege.send(ana, siege.follow(ana)), 401)

    ana = siege.somebody()
    document = siege.document(ana)
    many = [document["publicKey"] | {"id": f"{ana.id}#k{number}"} for number in range(10)]
    siege.show(ana.id, document | {"publicKey": [*many, document["publicKey"]]})
    await siege.refused(siege.send(ana, siege.follow(ana)), 401)


@pytest.mark.rule("IN-36")
async def test_a_key_at_hand_proves_only_while_it_is_kept_and_may_speak(siege):
    ana = siege.somebody()
    for _ in range(3):
        answer = await siege.send(ana, siege.activity(ana, "Like", "https://else.example/1"))
        assert answer.status_code == 202
    newer = Peer(ana.id, OTHER_RSA)
    siege.show(ana.id, siege.document(newer))
    store, now = siege.shop.services.store, siege.shop.services.clock.now()
    await store.write(keep_actor, snapshot_of(actor_from(siege.document(newer))), now=now)

    await siege.refused(siege.send(ana, siege.activity(ana, "Like", "https://else.example/1")), 401)

    for _ in range(2):
        answer = await siege.send(newer, siege.activity(newer, "Like", "https://else.example/1"))
        assert answer.status_code == 202
    await store.write(block, "actor", ana.id, note="", now=now)
    like = siege.activity(newer, "Like", "https://else.example/1")
    await siege.refused(siege.send(newer, like), 403)


async def test_what_comes_at_the_same_time_is_kept_by_one_statement(siege):
    ana, store = siege.somebody(), siege.shop.services.store
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    def likes(count: int):
        return (siege.activity(ana, "Like", "https://else.example/1") for _ in range(count))

    for like in likes(2):
        await siege.send(ana, like)
    await siege.settled()
    held = threading.Event()
    busy = store.submit(lambda _tx: held.wait(30))
    sa.event.listen(store.engine, "before_cursor_execute", note)
    try:
        sending = [asyncio.create_task(siege.send(ana, like)) for like in likes(20)]
        await until(lambda: len(siege.receiver._proven._waiting) == 19)
        held.set()
        answers = await asyncio.gather(*sending)
    finally:
        held.set()
        sa.event.remove(store.engine, "before_cursor_execute", note)

    assert {answer.status_code for answer in answers} == {202}
    assert busy.result()
    assert sum("INSERT INTO received" in one for one in statements) == 2
    assert sum("FROM remote_key" in one for one in statements) == 2, "keys are at hand"
