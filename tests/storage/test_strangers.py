"""Actors whom nothing of ours is about are forgotten, at a cost that does not grow (FE-16)."""

import re

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from storage.followers import add_follower, remove_follower
from storage.lanes import inbox_for
from storage.newsletters import local_actors
from storage.peers import ActorSnapshot, Swept, forget_strangers, hear_from, keep_actor
from storage.schema import metadata, peer, remote_actor, remote_key

MOST, ROWS = 10, 5


def meet(tx, number, *, now):
    uri = f"https://h{number}.example/u"
    return keep_actor(
        tx,
        ActorSnapshot(
            *(uri, f"h{number}.example", "Person", f"{uri}/inbox", None, "u", "", None, None, None),
            keys=((f"{uri}#k", "x"),),
        ),
        now=now,
    )


def numbers_of(tx):
    found = tx.rows(sa.select(remote_actor.c.host).order_by(remote_actor.c.id))
    return [int(re.sub(r"\D", "", host)) for (host,) in found]


@pytest.mark.rule("FE-16")
async def test_the_newest_stay_and_whoever_something_is_about(store, time):
    def work(tx):
        (own,) = (one.id for one in local_actors(tx))
        swept = Swept()
        for number in range(100):
            actor_id = meet(tx, number, now=time.now)
            hear_from(tx, [f"h{number}.example"], now=time.now)
            if number in (3, 40):
                host = f"h{number}.example"
                inbox_id = inbox_for(tx, f"https://{host}/u/inbox", host=host, shared=False)
                follow = {"follow_uri": f"https://{host}/f", "state": "accepted", "now": time.now}
                add_follower(tx, own, actor_id, inbox_id, **follow)
            if number % 2:
                swept = forget_strangers(tx, swept, most=MOST, rows=ROWS)
        kept = numbers_of(tx)
        hosts = tx.scalar(sa.select(sa.func.count()).select_from(peer))
        keys = tx.scalar(sa.select(sa.func.count()).select_from(remote_key))
        # Somebody leaves, and is a stranger among the older ones: found in turn.
        remove_follower(tx, "https://h3.example/u")
        for _ in range(3):
            swept = forget_strangers(tx, swept, most=MOST, rows=ROWS)
        return kept, hosts, keys, numbers_of(tx)

    kept, hosts, keys, later = await store.write(work)

    assert kept == [3, 40, *range(90, 100)]
    assert (hosts, keys) == (12, 12)
    assert later == [40, *range(90, 100)]


@pytest.mark.rule("FE-16")
async def test_a_process_that_begins_finds_what_another_left(store, time):
    def work(tx):
        for number in range(100):
            meet(tx, number, now=time.now)
        swept, looks = Swept(), 0
        while len(numbers_of(tx)) > MOST:
            swept = forget_strangers(tx, swept, most=MOST, rows=ROWS)
            looks += 1
        return looks

    assert await store.write(work) == 90 // ROWS


def test_whatever_is_about_a_remote_actor_is_found_by_an_index():
    for table in metadata.sorted_tables:
        for column in table.c:
            if any(key.column is remote_actor.c.id for key in column.foreign_keys):
                firsts = {next(iter(index.columns)).name for index in table.indexes}
                assert column.name in firsts, table.name


@pytest.mark.rule("FE-16")
async def test_a_look_costs_as_many_statements_whoever_is_there(store, time):
    ran: list[str] = []
    event.listen(
        store.engine, "before_cursor_execute", lambda _c, _u, statement, *_: ran.append(statement)
    )

    def look(tx, swept):
        ran.clear()
        return forget_strangers(tx, swept, most=MOST, rows=ROWS), len(ran)

    def fill(tx, numbers):
        for number in numbers:
            meet(tx, number, now=time.now)

    await store.write(fill, range(30))
    swept, few = await store.write(look, Swept())
    await store.write(fill, range(30, 600))
    _, many = await store.write(look, swept)

    assert many <= few + 2
