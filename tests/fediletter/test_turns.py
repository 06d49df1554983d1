"""Whoever asks us something comes before what we send, and nothing waits for ever."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from fediletter import turns
from fediletter.turns import Turns


@pytest.fixture
def each_takes_all(monkeypatch):
    """A clock by which every look is a second after the last: one piece of work fills a pass."""
    monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=itertools.count().__next__))


async def passes_of(door: Turns, count: int) -> list[int]:
    """In which pass of the loop each of so many pieces of work had its turn."""
    current, done = 0, []
    ended = asyncio.Event()

    async def passes():
        nonlocal current
        while not ended.is_set():
            current += 1
            await asyncio.sleep(0)

    async def work():
        await door.give_way()
        done.append(current)

    counting = asyncio.create_task(passes())
    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(count))), 10)
    ended.set()
    await counting
    return done


async def test_while_nobody_asks_everything_has_its_turn_at_once(each_takes_all):
    assert len(set(await passes_of(Turns(), 50))) == 1


async def test_while_somebody_asks_a_pass_is_short_and_all_have_their_turn(each_takes_all):
    door = Turns()
    with door.asking():
        found = await passes_of(door, 20)

    assert len(found) == 20
    assert len(set(found)) == 20


async def test_who_is_answered_holds_nobody_up_any_longer(each_takes_all):
    door = Turns()
    with pytest.raises(ValueError, match="no"), door.asking():
        raise ValueError("no")

    assert len(set(await passes_of(door, 50))) == 1
