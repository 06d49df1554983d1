"""Work made ready in one process is heard in the others, on PostgreSQL."""

import asyncio

import pytest
import sqlalchemy as sa

from storage.store import Store
from storage.wakeup import LANES, RECEIVED, STEPS, Wakeups
from tests.postgres import new_database

_BACKENDS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
)


@pytest.fixture
def two(postgres_url):
    url = new_database(postgres_url)
    stores = Store(url, Wakeups()), Store(url, Wakeups())
    yield stores
    for store in stores:
        store.close()


def announce(tx):
    tx.wake(LANES)
    tx.wake(LANES)
    tx.wake(STEPS)


async def heard(bell: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(bell.wait(), 5)
    except TimeoutError:
        return False
    bell.clear()
    return True


@pytest.mark.rule("RE-10")
async def test_another_process_hears_what_was_committed_and_only_that(two):
    here, there = two
    lanes, received = there.listen(LANES), there.listen(RECEIVED)
    assert await heard(lanes), "listening begins with a look"
    assert await heard(received)

    await here.write(announce)
    assert await heard(lanes)

    def refused(tx):
        tx.wake(RECEIVED)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 (our own, three lines above)
        await here.write(refused)
    await asyncio.sleep(0.2)
    assert not received.is_set()


@pytest.mark.slow
@pytest.mark.rule("RE-13")
async def test_a_listening_connection_that_breaks_is_made_again_and_everybody_looks(two):
    here, there = two
    lanes, received = there.listen(LANES), there.listen(RECEIVED)
    assert await heard(lanes)
    assert await heard(received)

    killed = await here.write(lambda tx: tx.scalar(sa.text(_BACKENDS)))

    assert killed == 1
    assert await heard(received), "something may have been said meanwhile"
    lanes.clear()
    await here.write(announce)
    assert await heard(lanes)
