"""Move: what it may change here, and all that it may not (IN-31, L-32)."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from fediletter import limits
from storage.schema import remote_actor
from tests.federation.peer import OTHER_RSA, TYPE
from tests.hostile.siege import JSONResponse

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def moved(siege, peer) -> tuple:
    query = sa.select(remote_actor.c.moved_to, remote_actor.c.moved_at)
    await siege.settled()
    return await siege.shop.services.store.read(
        lambda tx: tuple(tx.row(query.where(remote_actor.c.uri == peer.id)))
    )


async def follower(siege):
    ana = siege.somebody()
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    assert await siege.follows(ana)
    return ana


def target_of(siege, *names: str, **more):
    bo = siege.somebody("b.peer.example", OTHER_RSA)
    siege.show(bo.id, siege.document(bo) | {"alsoKnownAs": list(names)} | more)
    return bo


async def ignored(siege, ana, move, reason: str) -> None:
    """Nothing changes, not even what is kept of the actor; and the reason says why."""
    at = await moved(siege, ana)
    await siege.ignored(siege.send(ana, move))
    assert await siege.outcome(move) == ("ignored", reason)
    assert await moved(siege, ana) == at


@pytest.mark.rule("IN-31")
@pytest.mark.rule("L-32")
async def test_a_move_marks_the_old_follower_once_a_week_and_makes_no_new_one(siege):
    ana = await follower(siege)
    bo = target_of(siege, "https://other.example/x", ana.id)
    third = target_of(siege, ana.id)
    before = await siege.effects()

    move = siege.activity(ana, "Move", ana.id, target=bo.id)
    assert (await siege.send(ana, move)).status_code == 202

    assert await siege.outcome(move) == ("done", None)
    to, at = await moved(siege, ana)
    assert (to, at is not None) == (bo.id, True)
    assert set(await siege.effects()) ^ set(before) == set(), "only the actor's mark"
    assert await siege.follows(ana)
    assert not await siege.follows(bo)
    # Within seven days it moves nowhere else, and nobody is asked.
    asked = len(siege.fetched)
    again = siege.activity(ana, "Move", ana.id, target=third.id)
    await ignored(siege, ana, again, "moved already in the last seven days")
    assert len(siege.fetched) == asked
    # After them it may.
    rest = int(limits.MOVE_REST / timedelta(milliseconds=1))
    assert timedelta(days=7) == limits.MOVE_REST
    await siege.shop.services.store.write(
        lambda tx: tx.execute(
            sa.update(remote_actor)
            .where(remote_actor.c.uri == ana.id)
            .values(moved_at=remote_actor.c.moved_at - rest)
        )
    )
    later = siege.activity(ana, "Move", ana.id, target=third.id)
    await siege.send(ana, later)
    assert await siege.outcome(later) == ("done", None)
    assert (await moved(siege, ana))[0] == third.id
    assert (await siege.send(bo, siege.follow(bo))).status_code == 202
    assert await siege.follows(bo)


@pytest.mark.rule("IN-31")
async def test_nobody_moves_another_and_not_to_whom_does_not_name_him(siege):
    ana, eve = await follower(siege), await follower(siege)
    stranger = siege.somebody()
    somebody_else = "moves somebody else, or nowhere"
    no_name = "moves to an account that does not name this one"
    gone = target_of(siege)
    siege.documents[gone.id] = JSONResponse({}, 410, {"Content-Type": TYPE})
    wrong_id = target_of(siege, ana.id)
    siege.documents[wrong_id.id] = JSONResponse(
        siege.document(wrong_id) | {"id": f"{wrong_id.id}x", "alsoKnownAs": [ana.id]},
        headers={"Content-Type": TYPE},
    )

    mine = target_of(siege, eve.id, ana.id)
    for origin, target, reason in (
        (ana.id, mine.id, somebody_else),  # Eve moves Ana.
        (eve.id, None, somebody_else),
        (eve.id, eve.id, somebody_else),
        (eve.id, target_of(siege).id, no_name),
        (eve.id, target_of(siege, ana.id).id, no_name),
        (eve.id, target_of(siege, eve.id.upper()).id, no_name),
        (eve.id, target_of(siege, eve.id, movedTo=mine.id).id, no_name),
        (eve.id, gone.id, "moves to an account that is gone"),
    ):
        move = siege.activity(eve, "Move", origin, target=target)
        await ignored(siege, eve, move, reason)
    assert await moved(siege, ana) == (None, None)

    move = siege.activity(eve, "Move", eve.id, target=wrong_id.id)
    await siege.ignored(siege.send(eve, move))
    assert (await siege.outcome(move))[0] != "done"
    assert await moved(siege, eve) == (None, None)

    asked = target_of(siege, stranger.id)
    move = siege.activity(stranger, "Move", stranger.id, target=asked.id)
    await siege.ignored(siege.send(stranger, move))
    assert await siege.outcome(move) == ("ignored", "moves, and follows nothing of ours")
    assert asked.id not in siege.fetched, "no stranger makes us ask another server"
