"""FT-14, FT-15: the same said fifty times at once, everything twice, in every order."""

import asyncio
import itertools
from typing import Any

import sqlalchemy as sa

from storage.schema import received
from tests.faults.bench import Bench, Load, expect
from tests.faults.peers import Peers

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
_AT_LEAST = 50


async def _applied(bench: Bench, seconds: float = 120) -> None:
    async def none_waits() -> bool:
        query = sa.select(sa.func.count()).where(received.c.state == "waiting")
        return not await bench.store.read(lambda tx: tx.scalar(query))

    await bench.until(none_waits, seconds, "what was received is applied")


async def _rows(bench: Bench, table: str, where: str = "1 = 1") -> list[tuple[Any, ...]]:
    query = sa.text(f"SELECT count(*) FROM {table} WHERE {where}")
    return await bench.store.read(lambda tx: tx.rows(query))


async def _count(bench: Bench, table: str, where: str = "1 = 1") -> int:
    return int((await _rows(bench, table, where))[0][0])


async def repeats(bench: Bench) -> None:
    """FT-14: one activity 50 times in parallel, then very many twice in random order.

    A round is a person: each follows, every second takes it back, and all is said twice.
    """
    await bench.start(Load(mail=0, followers=0))
    peers = Peers(bench, hosts=100, first_host=0)  # L-30: a host may bring 100 followers an hour.
    people = max(bench.rounds, _AT_LEAST)
    await peers.introduce(people)
    server = await bench.serve()
    one = peers.follow(0)
    statuses = await asyncio.gather(*(peers.send(one) for _ in range(50)))
    expect(set(statuses) == {202}, f"statuses {sorted(set(statuses))}")
    await _applied(bench)
    expect(await _count(bench, "follower") == 1, "one Follow, many followers")
    accepts = sum(sum(got.values()) for got in bench.fediverse.arrived.values())

    async def accepted() -> bool:
        return bool(bench.fediverse.arrived)

    await bench.until(accepted, 30, "an Accept")
    expect(accepts <= 1, "more than one Accept")

    # A Follow and, of every second person, its Undo: twice each, in any order.
    said = [peers.follow(number) for number in range(1, people)]
    said += [
        peers.activity(number, "Undo", peers.follow(number)[1]) for number in range(1, people, 2)
    ]
    asked = said * 2
    bench.random.shuffle(asked)
    gate = asyncio.Semaphore(32)

    async def send(signed: Any) -> int:
        async with gate:
            return await peers.send(signed)

    statuses = await asyncio.gather(*map(send, asked))
    expect(set(statuses) <= {202, 429}, f"statuses {sorted(set(statuses))}")
    bench.account.notes |= {"requests": len(asked), "throttled": statuses.count(429)}
    expect(429 not in statuses, "throttled: the bench sends more than L-15 lets a host")
    await _applied(bench, 300)
    left = 1 + len(range(2, people, 2))
    expect(await _count(bench, "follower") == left, "a Follow or an Undo counted twice or never")
    expect(await _count(bench, "received") == 1 + len(said), "a copy was kept")
    expect(await server.end() == 0, "no good end")


async def orders(bench: Bench) -> None:
    """FT-15: what belongs together arrives in all orders; the end is always the same."""
    await bench.start(Load(mail=0, followers=0))
    peers = Peers(bench, hosts=20, first_host=0)
    await peers.introduce(100)
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    issue = await bench.store.read(
        lambda tx: tx.scalar(sa.text("SELECT object_uri FROM activity WHERE type = 'Create'"))
    )
    person = 0
    for order in itertools.permutations(("Follow", "Undo")):
        person += 1
        parts = {"Follow": peers.follow(person)}
        parts["Undo"] = peers.activity(person, "Undo", parts["Follow"][1])
        await _say(bench, peers, [parts[name] for name in order])
        expect(await _count(bench, "follower") == 0, f"after {order}: still a follower")
    for order in itertools.permutations(("Create", "Update", "Delete")):
        person += 1
        parts = _reply(peers, person, issue)
        await _say(bench, peers, [parts[name] for name in order])
        shown = await _count(bench, "reply", "state <> 'deleted'")
        expect(shown == 0, f"after {order}: a deleted reply is there")
    for order in itertools.permutations(("Create", "Update")):
        person += 1
        parts = _reply(peers, person, issue)
        # Documents may be fetched: they say what the newest version says.
        note = parts["Update"][1]["object"]
        bench.fediverse.documents[note["id"].removeprefix("http://")] = note
        await _say(bench, peers, [parts[name] for name in order])
        newest = await _count(bench, "reply", "content_html LIKE '%corrected%'")
        expect(newest == 1, f"after {order}: not the corrected reply")
        await bench.store.write(lambda tx: tx.execute(sa.text("DELETE FROM reply")) and None)
    for order in itertools.permutations(("Like", "Undo")):
        person += 1
        parts = {"Like": peers.activity(person, "Like", issue)}
        parts["Undo"] = peers.activity(person, "Undo", parts["Like"][1])
        await _say(bench, peers, [parts[name] for name in order])
        expect(await _count(bench, "reaction") == 0, f"after {order}: a reaction is left")
    bench.account.notes["orders"] = person
    expect(await server.end() == 0, "no good end")


def _reply(peers: Peers, person: int, issue: str) -> dict[str, Any]:
    actor = peers.peer(person).id
    note = {
        "id": f"{actor}/notes/1",
        "type": "Note",
        "attributedTo": actor,
        "inReplyTo": issue,
        "to": [PUBLIC],
        "cc": [],
        "content": "<p>first</p>",
        "published": "2026-11-24T09:00:00Z",
    }
    newer = note | {"content": "<p>corrected</p>", "updated": "2026-11-24T10:00:00Z"}
    return {
        "Create": peers.activity(person, "Create", note, to=[PUBLIC]),
        "Update": peers.activity(person, "Update", newer, to=[PUBLIC]),
        "Delete": peers.activity(
            person, "Delete", {"id": note["id"], "type": "Tombstone"}, to=[PUBLIC]
        ),
    }


async def _say(bench: Bench, peers: Peers, said: list[Any]) -> None:
    for one in said:
        expect(await peers.send(one) == 202, "not 202")
        await _applied(bench)
