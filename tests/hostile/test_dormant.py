"""D06 with a clock that days pass on: seven failing days, one probe a day, back at a word."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from starlette.responses import Response

from fediletter.clock import SystemClock
from storage.schema import fan_out, lane
from storage.wakeup import LANES
from tests.hostile.siege import besieged
from tests.shop import until


class Turned(SystemClock):
    """The machine's clock, some days ahead."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.mark.slow
@pytest.mark.rule("D06")
async def test_a_host_that_fails_on_seven_days_is_probed_once_a_day_until_it_speaks(tmp_path):
    clock = Turned()
    async with besieged(tmp_path, clock=clock) as siege:
        ana = siege.somebody()
        await siege.send(ana, siege.follow(ana))
        assert await siege.follows(ana)
        host = ana.id.split("/")[2]
        key = lane.c.key == f"ap:{host}"
        real, down, looked = siege.shop.services.network._resolve, [True], []

        async def resolve(name, port):
            if name != host.partition(":")[0]:
                return await real(name, port)
            looked.append(name)
            if down[0]:
                raise OSError("no such name")
            return await real(name, port)

        siege.shop.services.network._resolve = resolve

        async def at():
            query = sa.select(lane.c.failing_days, lane.c.dormant_at, lane.c.leased_by).where(key)
            return await siege.shop.services.store.read(lambda tx: tx.row(query))

        async def tried(count: int) -> None:
            await siege.shop.services.store.write(lambda tx: tx.wake(LANES))
            await until(lambda: len(looked) >= count)

            async def freed():
                return (await at())[2] is None

            await until(freed)

        # A letter, and every day another: each day fails.
        for day in range(7):
            count = len(looked)
            await siege.letter()
            await tried(count + 1)
            days, dormant, _ = await at()
            assert days == day + 1
            assert (dormant is not None) == (day == 6)
            clock.ahead += timedelta(days=1)

        # Dormant: one request a day, whatever waits.
        for _ in range(3):
            count = len(looked)
            await tried(count + 1)
            await siege.letter()
            await siege.shop.services.store.write(lambda tx: tx.wake(LANES))
            await asyncio.sleep(0.5)
            assert len(looked) == count + 1
            clock.ahead += timedelta(days=1, minutes=1)

        # It follows anew: from this moment it gets what waits.
        down.clear()
        down.append(False)
        siege.posted.clear()
        again = siege.follow(ana)
        assert (await siege.send(ana, again, now=clock.now())).status_code == 202
        await until(lambda: [one for _, one in siege.posted if one["type"] == "Accept"])
        await until(lambda: [one for _, one in siege.posted if one["type"] == "Create"])
        await siege.idle_lanes()
        assert (await at())[:2] == (0, None)


@pytest.mark.slow
@pytest.mark.rule("D06")
async def test_a_host_with_five_errors_in_a_row_rests_as_a_whole_then_one_is_tried(tmp_path):
    clock = Turned()
    async with besieged(tmp_path, clock=clock) as siege:
        ana = siege.somebody()
        await siege.send(ana, siege.follow(ana))
        assert await siege.follows(ana)
        inbox = f"{ana.id}/inbox"
        key = lane.c.key == f"ap:{inbox.split('/')[2]}"
        siege.posted.clear()

        def asked() -> int:
            return sum(url == inbox for url, _ in siege.posted)

        async def letters(count: int, *, tried: bool = True) -> None:
            for _ in range(count):
                before = asked()
                await siege.letter()
                await until(fanned_out)
                await until(lambda before=before: asked() == before + tried)
                await siege.idle_lanes()

        async def fanned_out() -> bool:
            left = sa.select(fan_out.c.id).where(fan_out.c.done_at.is_(None)).limit(1)
            return await siege.shop.services.store.read(lambda tx: tx.row(left)) is None

        # Another answer between them begins the count anew.
        for status, count in ((500, 4), (202, 1), (503, 5)):
            siege.answers[inbox] = Response(status_code=status)
            await letters(count)
        await letters(3, tried=False)
        assert asked() == 10, "it rests as a whole"
        row = await siege.shop.services.store.read(
            lambda tx: tx.row(sa.select(lane.c.ready_at, lane.c.last_error).where(key))
        )
        rest = datetime.fromtimestamp(row[0] / 1000, UTC) - clock.now()
        assert timedelta(minutes=20) < rest < timedelta(minutes=40)
        assert row[1] == "answered 503"

        clock.ahead = timedelta(minutes=45)
        await siege.shop.services.store.write(lambda tx: tx.wake(LANES))
        await until(lambda: asked() == 11)
        await siege.idle_lanes()
        assert asked() == 11, "one is tried"
