"""Transactions: whole or not at all, readers that cannot write, many works in one commit."""

import asyncio

import pytest
import sqlalchemy as sa
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
