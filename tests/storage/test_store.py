"""Transactions: whole or not at all, readers that cannot write, many works in one commit."""

import asyncio
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from storage.errors import Conflict, NotThere
from storage.newsletters import get_newsletter, revision, touch
from storage.posts import Draft, create_draft, get_post, save_draft
from storage.schema import newsletter
from storage.store import safe_journal_mode
from storage.wakeup import LANES


async def test_what_raises_is_rolled_back_and_its_neighbours_are_not(store):
    def wrong(tx):
        touch(tx)
        raise Conflict("no")

    before = await store.read(revision)
    results = await asyncio.gather(
        *(store.write(touch if number % 2 else wrong) for number in range(20)),
        return_exceptions=True,
    )

    assert sum(isinstance(one, Conflict) for one in results) == 10
    assert await store.read(revision) == before + 10


async def test_a_reader_cannot_write(store):
    with pytest.raises(DBAPIError):
        await store.read(touch)


async def test_a_wake_up_comes_after_the_commit(store):
    bell = store.wakeups.listen(LANES)

    def work(tx):
        tx.wake(LANES)

    await store.write(work)
    await asyncio.wait_for(bell.wait(), 5)


async def held_up(store):
    """Works that keep every writer until the gate opens; the gate and their futures."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def work(_tx):
        begun.release()
        gate.wait(20)

    works = [store.submit(work) for _ in store._writers]
    for _ in works:
        await asyncio.to_thread(begun.acquire)
    return gate, works


@pytest.mark.parametrize(("seconds", "passed"), [(3600.0, True), (0.0, False)])
async def test_whoever_waits_passes_what_nobody_waits_for_until_its_turn_has_come(
    store, monkeypatch, seconds, passed
):
    monkeypatch.setattr("storage.store._BEHIND_SECONDS", seconds)
    order = []
    gate, works = await held_up(store)
    behind = [
        asyncio.ensure_future(store.write_behind(lambda _tx: order.append("behind")))
        for _ in range(9)
    ]
    await asyncio.sleep(0)  # They stand in the queue.
    before = [asyncio.ensure_future(store.write(lambda _tx: order.append("first")))]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*behind, *before, *map(asyncio.wrap_future, works))

    # On PostgreSQL a few begin at the same moment.
    assert (order.index("first") < len(store._writers)) == passed


@pytest.mark.parametrize(("seconds", "commits"), [(3600.0, 1), (0.0, 10)])
async def test_works_share_a_commit_while_it_is_young(store, monkeypatch, seconds, commits):
    if store.engine.dialect.name != "sqlite":
        return  # There each has its own.
    monkeypatch.setattr("storage.store._GATHER_SECONDS", seconds)
    said = []
    event.listen(
        store.engine, "before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement)
    )
    gate, works = await held_up(store)
    more = [store.submit(touch) for _ in range(9)]
    gate.set()
    await asyncio.gather(*map(asyncio.wrap_future, works + more))

    assert said.count("COMMIT") == commits


async def test_what_was_handed_in_before_the_end_is_written(store):
    gate, _ = await held_up(store)
    before = await store.read(revision)
    late = [store.write_behind(touch) for _ in range(5)]
    tasks = [asyncio.ensure_future(one) for one in late]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(asyncio.to_thread(store.close))
    gate.set()
    await asyncio.gather(*tasks, closing)

    with store.engine.connect() as connection:
        assert connection.execute(sa.select(newsletter.c.revision)).scalar() == before + 5


async def test_a_save_on_top_of_an_older_version_is_refused_and_keeps_the_newer_text(store, time):
    draft = Draft("Un", "", "Texte", "fr")
    post_id = await store.write(create_draft, draft, public_id="p", slug="un", now=time.now)
    await store.write(
        save_draft, post_id, Draft("Deux", "", "Texte", "fr"), version=1, now=time.now
    )

    with pytest.raises(Conflict):
        await store.write(
            save_draft, post_id, Draft("Trois", "", "Texte", "fr"), version=1, now=time.now
        )

    assert (await store.read(get_post, post_id)).title == "Deux"


async def test_there_is_one_newsletter(store):
    await store.write(lambda tx: tx.execute(sa.delete(newsletter)))

    with pytest.raises(NotThere):
        await store.read(get_newsletter)


@pytest.mark.rule("RE-2")
def test_the_write_ahead_log_is_used_only_where_it_is_safe():
    assert safe_journal_mode((3, 40, 1)) == "PERSIST"
    assert safe_journal_mode((3, 51, 2)) == "PERSIST"
    assert safe_journal_mode((3, 44, 6)) == "WAL"
    assert safe_journal_mode((3, 51, 3)) == "WAL"
