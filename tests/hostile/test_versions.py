"""What a peer says in several versions, of several objects, or to several people."""

import pytest
import sqlalchemy as sa

from fediletter.outbound.answers import answer
from storage import conversations
from storage.schema import reaction, reply

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def kept(siege, uri: str):
    """Text, visibility and state of an answer."""
    await siege.settled()
    query = sa.select(reply.c.content_html, reply.c.visibility, reply.c.state)
    return await siege.shop.services.store.read(lambda tx: tx.row(query.where(reply.c.uri == uri)))


async def sent(siege, ana, note, type="Create"):
    said = siege.activity(ana, type, note)
    assert (await siege.send(ana, said)).status_code == 202
    return await siege.outcome(said)


@pytest.mark.rule("IN-16")
@pytest.mark.rule("RE-8")
async def test_of_two_objects_neither_has_an_effect(siege):
    ana, letter = siege.somebody(), await siege.letter()
    one, two = siege.note(ana, letter), siege.note(ana, letter)
    assert await sent(siege, ana, one) == ("done", None)
    follow, like = siege.follow(ana), siege.activity(ana, "Like", letter)
    await siege.send(ana, follow)
    await siege.send(ana, like)
    await siege.settled()
    newer = one | {"content": "<p>Changed</p>", "updated": "2030-01-01T00:00:00Z"}

    for type, objects in (
        ("Create", [two, siege.note(ana, letter)]),
        ("Update", [newer, two]),
        ("Undo", [follow, like]),
        ("Undo", [like, follow]),
    ):
        await siege.ignored(siege.send(ana, siege.activity(ana, type, objects)))
    assert await sent(siege, ana, [two]) == ("done", None)


async def test_an_older_update_that_comes_last_changes_nothing(siege):
    ana, letter = siege.somebody(), await siege.letter()
    note = siege.note(ana, letter)
    second = note | {"content": "<p>Second</p>", "updated": "2026-11-24T12:00:00Z"}
    first = note | {"content": "<p>First</p>", "updated": "2026-11-24T11:00:00Z"}

    assert await sent(siege, ana, second, "Update") == ("done", None)
    told = await sent(siege, ana, first, "Update")

    assert "Second" in (await kept(siege, note["id"]))[0]
    assert told == ("ignored", "is not newer than what is here")


@pytest.mark.rule("IN-32")
async def test_an_answer_that_is_narrowed_is_shown_no_more(siege):
    ana, letter = siege.somebody(), await siege.letter()
    note = siege.note(ana, letter)
    assert await sent(siege, ana, note) == ("done", None)
    store = siege.shop.services.store
    ids = await store.read(
        lambda tx: tx.scalar(sa.select(reply.c.id).where(reply.c.uri == note["id"]))
    )
    await store.write(conversations.decide, ids, state="approved")

    newer = note | {"to": [f"{ana.id}/followers"], "updated": "2030-01-01T00:00:00Z"}
    assert await sent(siege, ana, newer, "Update") == ("done", None)
    assert (await kept(siege, note["id"]))[1] not in conversations.SHOWN

    silent = note | {"content": "<p>Later</p>", "updated": "2031-01-01T00:00:00Z"}
    del silent["to"]
    assert await sent(siege, ana, silent, "Update") == ("done", None)
    assert (await kept(siege, note["id"]))[1] not in conversations.SHOWN


@pytest.mark.rule("IN-26")
async def test_a_boost_of_an_answer_to_one_person_is_not_counted(siege):
    ana = siege.somebody()
    note = siege.note(ana, await siege.letter(), to=[f"{siege.shop.base_url}/ap/shop"])
    assert await sent(siege, ana, note) == ("done", None)
    store = siege.shop.services.store
    theirs = await store.read(conversations.reply_by_uri, note["id"])
    await answer(siege.shop.services, theirs.id, "Entre nous.", founder_id=None)
    await siege.settled()
    said = [one for one in siege.got if one["type"] == "Create"][-1]["object"]

    boost = siege.activity(ana, "Announce", said["id"])
    assert (await siege.send(ana, boost)).status_code == 202

    assert await siege.outcome(boost) == ("ignored", "is about nothing of ours")
    assert (
        await store.read(
            lambda tx: tx.row(sa.select(reaction).where(reaction.c.uri == boost["id"]))
        )
        is None
    )
