"""A server that answers 401 again and again: key or clock is wrong, and the founders hear of it."""

from datetime import timedelta

import sqlalchemy as sa
from starlette.responses import Response

from storage.schema import delivery
from storage.wakeup import LANES
from tests.hostile.siege import besieged
from tests.hostile.test_dormant import Turned
from tests.shop import EMAIL, until


async def test_three_401_end_a_delivery_and_warn_the_founders_once(tmp_path):
    clock = Turned()
    async with besieged(tmp_path, clock=clock) as siege:
        peers = [siege.somebody(), siege.somebody("b.peer.example")]
        for one in peers:
            await siege.send(one, siege.follow(one))
            assert await siege.follows(one)
            siege.answers[f"{one.id}/inbox"] = Response(status_code=401)
        await siege.letter()

        async def answers() -> set:
            rows = sa.select(delivery.c.state, delivery.c.answer, delivery.c.attempts).where(
                delivery.c.answer.contains("signature") | (delivery.c.state == "waiting")
            )
            return set(await siege.shop.services.store.read(lambda tx: tx.rows(rows)))

        for attempt in (1, 2):

            async def tried(attempt=attempt) -> bool:
                return await answers() == {("waiting", "answered 401", attempt)}

            await until(tried)
            await siege.idle_lanes()
            clock.ahead += timedelta(minutes=20)
            await siege.shop.services.store.write(lambda tx: tx.wake(LANES))

        async def ended() -> bool:
            return {one[0] for one in await answers()} == {"failed"}

        await until(ended)
        (mail,) = await siege.shop.mail_to(EMAIL)
        assert mail.subject == "Un serveur n’accepte pas notre signature"
        assert any(one.id.split("/")[2] in mail.text for one in peers)
        assert "/desk/audit" in mail.text
