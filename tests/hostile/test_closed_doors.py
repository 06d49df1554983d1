"""Nothing goes to whom the founders blocked, nor to the inbox of whoever blocked us."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from fediletter.outbound.polls import publish_poll
from storage import blocks
from storage.schema import poll
from storage.times import to_ms

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def voted(siege, ana) -> None:
    """A poll in which somebody has voted who follows nothing."""
    shop = siege.shop
    end = datetime.now(UTC) + timedelta(days=1)
    await publish_poll(shop.services, "Quoi ?", ["Lin", "Cuir"], multiple=False, ends_at=end)
    outbox = (await shop.client.get("/ap/shop/outbox?page=true")).json()
    question = outbox["orderedItems"][0]["object"]["id"]
    vote = siege.note(ana, question, name="Lin", content=None)
    create = siege.activity(ana, "Create", vote)
    assert (await siege.send(ana, create)).status_code == 202
    assert await siege.outcome(create) == ("done", None)
    siege.posted.clear()


async def told_of_the_end(siege, ana) -> list[str]:
    """Types of what goes to somebody's own inbox when all polls end."""
    past = to_ms(datetime.now(UTC) - timedelta(hours=1))
    end = sa.update(poll).where(poll.c.closed_at.is_(None)).values(ends_at=past)
    await siege.shop.services.store.write(lambda tx: tx.execute(end))
    await siege.settled()
    return [said["type"] for url, said in siege.posted if url == f"{ana.id}/inbox"]


async def done(siege, ana, type, object) -> dict:
    said = siege.activity(ana, type, object)
    assert (await siege.send(ana, said)).status_code == 202
    await siege.settled()
    return said


async def test_a_voter_whom_the_founders_blocked_hears_no_result(siege):
    ana = siege.somebody("blocked.peer.example")
    await voted(siege, ana)
    now = datetime.now(UTC)
    store = siege.shop.services.store
    await store.write(blocks.block, "domain", "blocked.peer.example", note="", now=now)

    assert await told_of_the_end(siege, ana) == []

    await store.write(blocks.remove_block, "blocked.peer.example")


async def test_whoever_blocks_us_gets_nothing_until_the_block_is_undone(siege):
    ana = siege.somebody("c.peer.example")
    await voted(siege, ana)
    block = await done(siege, ana, "Block", f"{siege.shop.base_url}/ap/shop")

    assert await told_of_the_end(siege, ana) == []

    await done(siege, ana, "Undo", block)
    await voted(siege, ana)
    assert await told_of_the_end(siege, ana) == ["Update"]


async def test_a_block_that_was_undone_before_it_came_closes_nothing(siege):
    ana = siege.somebody("d.peer.example")
    block = siege.activity(ana, "Block", f"{siege.shop.base_url}/ap/shop")
    await done(siege, ana, "Undo", block)
    assert (await siege.send(ana, block)).status_code == 202
    assert await siege.outcome(block) == ("ignored", "was undone before it came")

    await voted(siege, ana)
    assert await told_of_the_end(siege, ana) == ["Update"]
