"""Who speaks for whom: replays, other people's activities, deletions, blocks (security.md 2.2)."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest

from federation.keys import Ed25519PrivateKey
from storage.blocks import add_block, remove_block
from tests.federation.peer import OTHER_RSA, Peer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.rule("IN-7")
@pytest.mark.rule("L-7")
async def test_a_replay_inside_the_window_changes_nothing_even_fifty_at_once(siege):
    ana = siege.somebody()
    follow = siege.follow(ana)
    assert (await siege.send(ana, follow)).status_code == 202
    await siege.settled()
    before = await siege.state()

    answers = await asyncio.gather(*(siege.send(ana, follow) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert await siege.state() == before


@pytest.mark.rule("IN-8")
async def test_somebody_elses_use_of_an_id_does_not_drop_the_true_activity(siege):
    ana, bo = siege.somebody(), siege.somebody()
    follow = siege.follow(ana)
    await siege.ignored(siege.send(bo, follow))
    await siege.ignored(siege.send(bo, siege.activity(bo, "Like", "x", id=follow["id"])))

    assert (await siege.send(ana, follow)).status_code == 202

    assert await siege.outcome(follow) == ("done", None)
    assert any(ana.id in line for line in await siege.effects() if line.startswith("activity: "))


@pytest.mark.rule("IN-13")
async def test_another_actors_activity_is_202_and_a_foreign_id_400(siege):
    ana, bo = siege.somebody(), siege.somebody()
    await siege.send(bo, siege.follow(bo))

    await siege.refused(siege.send(bo, siege.follow(ana)), 202)
    await siege.refused(siege.send(bo, siege.follow(bo, id="https://victim.example/acts/1")), 400)
    missing = siege.activity(bo, "Create", {})
    del missing["id"]
    await siege.refused(siege.send(bo, missing), 400)


@pytest.mark.rule("IN-14")
@pytest.mark.parametrize("name", ["@graph", "@included", "@reverse"])
async def test_graph_keywords_are_400_and_linked_data_signatures_count_for_nothing(siege, name):
    ana, bo = siege.somebody(), siege.somebody()
    await siege.send(bo, siege.follow(bo))
    signed = {"signature": {"type": "RsaSignature2017", "creator": f"{ana.id}#main-key"}}

    await siege.refused(siege.send(ana, siege.follow(ana) | {name: []}), 400)
    await siege.refused(siege.send(bo, siege.follow(ana) | signed), 202)
    context = {"@context": [f"{siege.base}/contexts/evil", {"actor": "object"}]}
    assert (await siege.send(bo, siege.follow(bo) | context)).status_code == 202
    assert not [url for url in siege.fetched if "/contexts/" in url]


@pytest.mark.rule("IN-14")
@pytest.mark.rule("V16")
async def test_a_forwarded_activity_counts_by_its_actors_own_proof_alone(siege):
    ana, bo = siege.somebody(), siege.somebody()
    letter = await siege.letter()
    await siege.send(bo, siege.follow(bo))
    create = siege.activity(ana, "Create", siege.note(ana, letter))

    await siege.refused(siege.send(bo, create), 202)
    wrong = siege.proven(ana, create, Ed25519PrivateKey.generate())
    await siege.ignored(siege.send(bo, wrong))
    await siege.ignored(siege.send(bo, siege.proven(bo, create)))
    proven = siege.proven(ana, create)
    await siege.ignored(siege.send(bo, proven | {"summary": "added on the way"}))

    assert (await siege.send(bo, proven)).status_code == 202

    assert await siege.outcome(create) == ("done", None)
    replies = [line for line in await siege.effects() if line.startswith("reply: ")]
    assert any(create["object"]["id"] in line for line in replies)


@pytest.mark.rule("IN-22")
@pytest.mark.rule("I09")
async def test_deletes_of_strangers_are_202_without_a_fetch_or_a_write(siege):
    times = []
    for _ in range(20):
        ana = siege.somebody()
        start = time.monotonic()
        await siege.refused(siege.send(ana, siege.activity(ana, "Delete", ana.id)), 202)
        times.append(time.monotonic() - start)
        assert ana.id not in siege.fetched


@pytest.mark.rule("IN-24")
@pytest.mark.parametrize(
    ("status", "answer", "removed"), [(410, 202, True), (404, 202, False), (200, 401, False)]
)
async def test_a_delete_that_nobody_can_prove_counts_only_with_a_410(
    siege, status, answer, removed
):
    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    forged = Peer(ana.id, OTHER_RSA)
    if status == 200:
        await siege.refused(siege.send(forged, siege.activity(ana, "Delete", ana.id)), 401)
    else:
        siege.show(ana.id, {}, status=status)
        body = json.dumps(siege.activity(ana, "Delete", ana.id)).encode()
        headers = siege.headers(forged, body)
        headers["signature"] = headers["signature"].replace("#main-key", "#other-key")
        assert (await siege.post(headers, body)).status_code == answer

    assert await siege.follows(ana) is not removed
    kept = [line for line in await siege.state() if line.startswith("received: ")]
    later = [line for line in kept if ana.id in line and "'Delete, unproven'" in line]
    assert len(later) == (status == 404), "looked at again a day later"


@pytest.mark.rule("IN-24")
@pytest.mark.parametrize("status", [410, 404])
async def test_the_look_a_day_later_removes_only_on_proof(siege, status):
    import sqlalchemy as sa

    from storage.schema import received
    from storage.wakeup import RECEIVED

    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    siege.show(ana.id, {}, status=404)
    delete = json.dumps(siege.activity(ana, "Delete", ana.id)).encode()
    headers = siege.headers(ana, delete)
    headers["signature"] = headers["signature"].replace("#main-key", "#other-key")
    assert (await siege.post(headers, delete)).status_code == 202
    assert await siege.follows(ana)
    siege.show(ana.id, {}, status=status)

    def a_day_passes(tx):
        theirs = sa.and_(received.c.signer == ana.id, received.c.state == "waiting")
        tx.execute(sa.update(received).where(theirs).values(not_before=0))
        tx.wake(RECEIVED)

    await siege.shop.services.store.write(a_day_passes)

    assert await siege.follows(ana) is (status == 404)


@pytest.mark.rule("IN-25")
@pytest.mark.parametrize("type", ["Accept", "Reject"])
async def test_an_accept_of_what_we_never_asked_is_ignored(siege, type):
    ana = siege.somebody()
    follow = {"type": "Follow", "actor": f"{siege.shop.base_url}/ap/shop", "object": ana.id}

    await siege.ignored(siege.send(ana, siege.activity(ana, type, follow)))


@pytest.mark.rule("IN-36")
async def test_a_blocked_host_or_actor_is_403_and_what_waits_of_it_is_dropped(siege):
    write = siege.shop.services.store.write
    ana, bo = siege.somebody("bad.peer.example"), siege.somebody()
    await write(add_block, "domain", "bad.peer.example", note="", now=datetime.now(UTC))
    await write(add_block, "actor", bo.id, note="", now=datetime.now(UTC))
    await siege.refused(siege.send(ana, siege.follow(ana)), 403)
    await siege.refused(siege.send(bo, siege.follow(bo)), 403)
    cy = siege.somebody()
    body = json.dumps(siege.follow(cy)).encode()
    headers = siege.headers(ana, body)
    await siege.refused(siege.post(headers, body), 403)
    assert not {ana.id, bo.id} & set(siege.fetched)

    await write(remove_block, "bad.peer.example")
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
