"""Inboxes that are gone or have moved, with the whole shop sending (federation.md section 6)."""

import pytest
from starlette.responses import Response

from tests.shop import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def told(siege, url: str, letter: str) -> bool:
    return any(place == url and letter in str(document) for place, document in siege.posted)


@pytest.mark.rule("D04")
@pytest.mark.rule("D05")
@pytest.mark.parametrize("status", [410, 404, 301])
async def test_a_follower_whose_inbox_moved_gets_the_letter_at_the_new_one(siege, status):
    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    assert await siege.follows(ana)
    new = f"{ana.id}/new-inbox"
    siege.answers[f"{ana.id}/inbox"] = Response(status_code=status, headers={"Location": new})
    siege.show(ana.id, siege.document(ana) | {"inbox": new})

    letter = await siege.letter()

    await until(lambda: told(siege, new, letter))
    await siege.settled()
    assert await siege.follows(ana)
    assert [url for url, _ in siege.posted].count(new) == 1, "not the redirect, only the actor"


@pytest.mark.rule("D04")
async def test_a_shared_inbox_that_is_gone_falls_back_to_the_personal_one(siege):
    ana = siege.somebody()
    shared = f"{siege.base}/shared{ana.id[-3:]}"
    siege.show(ana.id, siege.document(ana) | {"endpoints": {"sharedInbox": shared}})
    await siege.send(ana, siege.follow(ana))
    assert await siege.follows(ana)
    siege.answers[shared] = Response(status_code=410)

    letter = await siege.letter()

    await until(lambda: told(siege, f"{ana.id}/inbox", letter))
    assert await siege.follows(ana)


@pytest.mark.rule("D04")
@pytest.mark.parametrize(("status", "stays"), [(410, False), (404, True), (500, True)])
async def test_a_follower_goes_only_when_its_own_id_says_so(siege, status, stays):
    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    assert await siege.follows(ana)
    siege.answers[f"{ana.id}/inbox"] = Response(status_code=410)
    siege.show(ana.id, {}, status=status)

    letter = await siege.letter()

    await until(lambda: told(siege, f"{ana.id}/inbox", letter))
    assert await siege.follows(ana) is stays


async def test_a_signature_that_is_refused_three_times_is_given_up(siege):
    import sqlalchemy as sa

    from storage.schema import delivery, inbox, lane
    from storage.wakeup import LANES

    ana = siege.somebody("strict.peer.example")
    await siege.send(ana, siege.follow(ana))
    assert await siege.follows(ana)
    siege.answers[f"{ana.id}/inbox"] = Response(status_code=401)
    letter = await siege.letter()
    query = (
        sa.select(delivery.c.state, delivery.c.attempts)
        .join(inbox, inbox.c.id == delivery.c.inbox_id)
        .where(delivery.c.object_uri == letter, inbox.c.url == f"{ana.id}/inbox")
    )
    key = f"ap:strict.peer.example:{siege.base.rpartition(':')[2]}"
    read, write = siege.shop.services.store.read, siege.shop.services.store.write

    async def tried(times):
        found = await read(lambda tx: tx.row(query))
        return found is not None and found[1] >= times

    def again(tx):
        theirs = sa.and_(delivery.c.object_uri == letter, delivery.c.state == "waiting")
        tx.execute(sa.update(delivery).where(theirs).values(not_before=0))
        tx.execute(sa.update(lane).where(lane.c.key == key).values(ready_at=0))
        tx.wake(LANES)

    for times in (1, 2):
        await until(lambda times=times: tried(times))
        await siege.idle_lanes()
        await write(again)

    async def over():
        return (await read(lambda tx: tx.row(query)))[0] == "failed"

    await until(over)
