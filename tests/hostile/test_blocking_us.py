"""A host that answers 403 to five different activities is left alone for seven days."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from starlette.responses import Response

from fediletter.limits import BLOCKING_US
from storage.schema import lane
from storage.schema import post as letters
from tests.hostile.siege import besieged
from tests.shop import until


async def test_a_host_that_refuses_five_activities_is_left_alone_for_seven_days(tmp_path):
    assert (5, timedelta(days=7)) == BLOCKING_US
    async with besieged(tmp_path) as siege:
        ana, bo = siege.somebody(), siege.somebody("b.peer.example")
        for one in (ana, bo):
            await siege.send(one, siege.follow(one))
            assert await siege.follows(one)
        inbox = f"{ana.id}/inbox"
        key = lane.c.key == f"ap:{inbox.split('/')[2]}"

        async def at():
            query = sa.select(lane.c.ready_at, lane.c.last_error).where(key)
            return await siege.shop.services.store.read(lambda tx: tx.row(query))

        async def sent(count):
            for _ in range(count):
                await siege.letter()
                await siege.settled()

        # One that is taken begins the count anew.
        siege.answers[inbox] = Response(status_code=403)
        await sent(4)
        siege.answers[inbox] = Response(status_code=202)
        await sent(1)
        siege.answers[inbox] = Response(status_code=403)
        await sent(4)
        assert (await at())[1] == "answered 403"
        await sent(1)
        ready, error = await at()
        assert error == "blocks us: it refused several letters, one after another"
        week = datetime.fromtimestamp(ready / 1000, UTC) - datetime.now(UTC)
        assert timedelta(days=6.9) < week <= timedelta(days=7)

        # Not even when it speaks to us; others get theirs, and the founder reads why.
        await siege.send(ana, siege.activity(ana, "Like", f"{siege.shop.base_url}/ap/none"))
        siege.posted.clear()
        await siege.shop.publish("Du lin", "Bonjour", to_email=False)
        await until(lambda: [url for url, _ in siege.posted if url.startswith(bo.id)])
        await siege.idle_lanes()
        assert not [url for url, _ in siege.posted if url.startswith(ana.id)]
        assert (await at())[0] == ready
        await siege.shop.log_in()
        newest = sa.select(sa.func.max(letters.c.id))
        post_id = await siege.shop.services.store.read(lambda tx: tx.scalar(newest))
        page = await siege.shop.client.get(f"/desk/letters/{post_id}/delivery")
        assert "nous bloque\u00a0: plusieurs lettres refusées de suite" in page.text
