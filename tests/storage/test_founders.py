"""People of the desk, on both databases: counters that nobody overtakes, the last founder."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fediletter.errors import AppError
from fediletter.founders import people
from storage import factors, founders
from storage.throttles import clear, hit

NOW = datetime(2026, 11, 24, tzinfo=UTC)


async def test_of_fifty_at_once_as_many_as_may_are_let_through(store):
    async def once() -> bool:
        return await store.write(hit, "x", most=20, span=timedelta(hours=1), now=NOW)

    assert sum(await asyncio.gather(*(once() for _ in range(50)))) == 20
    later = NOW + timedelta(hours=1)
    assert await store.write(hit, "x", most=1, span=timedelta(hours=1), now=later)
    assert not await store.write(hit, "x", most=1, span=timedelta(hours=1), now=later)
    await store.write(clear, "x")
    assert await store.write(hit, "x", most=1, span=timedelta(hours=1), now=later)


async def _founder(store, email):
    return await store.write(
        founders.add_founder, email=email, role="founder", password_hash="x", now=NOW
    )


async def test_two_founders_who_remove_each_other_at_once_leave_one(store):
    ids = [await _founder(store, f"{name}@shop.test") for name in "ab"]

    done = await asyncio.gather(
        *(store.write(people.remove, one) for one in ids), return_exceptions=True
    )

    assert [type(one) for one in done if one is not None] == [AppError]
    assert len(await store.read(founders.all_founders)) == 1


async def test_a_recovery_code_shown_fifty_times_at_once_serves_once(store):
    person = await _founder(store, "a@shop.test")
    await store.write(factors.set_recovery_codes, person, [b"one", b"two"])

    used = await asyncio.gather(
        *(store.write(factors.use_recovery_code, person, b"one", now=NOW) for _ in range(50))
    )

    assert sum(used) == 1
    assert await store.read(factors.recovery_hashes, person) == [b"two"]


@pytest.mark.rule("WE-2")
async def test_with_a_role_go_sessions_and_links(store):
    person = await _founder(store, "a@shop.test")
    await _founder(store, "b@shop.test")
    await store.write(founders.add_session, b"s", person, csrf="c", label="", now=NOW)
    token = await store.write(people.reset, "a@shop.test", now=NOW)

    await store.write(people.change_role, person, "editor")

    assert await store.read(founders.find_session, b"s") is None
    with pytest.raises(AppError):
        await store.read(people.open_link, token, now=NOW)
