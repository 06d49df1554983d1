"""Who names the newsletter without answering it: kept for the founders, shown on no page."""

import pytest
import sqlalchemy as sa

from fediletter.inbound import reply as inbound_reply
from storage import blocks, conversations
from storage.schema import newsletter
from tests.federation.peer import TYPE
from tests.hostile.siege import PUBLIC
from tests.hostile.test_object_threats import answered, replies
from tests.shop import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Accept": TYPE}


def mention(siege, ana, *, of=None, **more) -> dict:
    """A note that names an actor of ours in its tags, as Mastodon writes it."""
    actor = of or f"{siege.shop.base_url}/ap/shop"
    note = siege.note(ana, "", content="<p>@shop Quand le lin ?</p>") | {
        "to": [PUBLIC],
        "cc": [actor],
        "tag": [{"type": "Mention", "href": actor, "name": "@shop"}],
        "url": f"{ana.id}/pages/1",
    }
    del note["inReplyTo"]
    return note | more


async def said(siege, ana, note, *, outcome=("done", None)) -> dict:
    create = siege.activity(ana, "Create", note)
    assert (await siege.send(ana, create)).status_code == 202
    assert await siege.outcome(create) == outcome
    return note


async def kept(siege, note) -> dict | None:
    return next((one for one in await replies(siege) if one["uri"] == note["id"]), None)


async def test_a_shop_without_a_letter_keeps_it_too_and_shows_nothing_of_where(siege):
    """The first of the module: its shop has no letter yet."""
    ana = siege.somebody()
    note = await said(siege, ana, mention(siege, ana))
    await said(siege, ana, mention(siege, ana))
    csrf = await siege.shop.log_in()
    assert (await siege.shop.client.get("/desk/answers")).text.count("vous mentionne") == 2
    row = await kept(siege, note)
    await siege.shop.post(f"/desk/answers/{row['id']}/answer", csrf=csrf, text="Bientôt.")
    await until(lambda: any("Bientôt" in str(one) for one in siege.got))

    for path in ("/ap/shop/notes/foyer", "/ap/shop/notes/foyer/replies", "/@shop/foyer"):
        assert (await siege.shop.client.get(path, headers=JSON)).status_code == 404, path
    await siege.letter()
    later = await said(siege, ana, mention(siege, ana))
    assert (await kept(siege, later))["post_id"] != row["post_id"]


@pytest.mark.parametrize("where", ["tag", "to", "cc", "thread"])
async def test_a_note_that_names_us_anywhere_is_kept_and_shown_to_the_founder(siege, where):
    letter, ana = await siege.letter(), siege.somebody()
    shop = f"{siege.shop.base_url}/ap/shop"
    bare = {"tag": [], "to": [PUBLIC], "cc": []}
    places = {
        "tag": bare | {"tag": [{"type": "Mention", "href": shop}]},
        "to": bare | {"to": [shop]},
        "cc": bare | {"cc": [shop]},
        "thread": {"inReplyTo": f"{siege.base}/somebody/elses/note"},
    }
    note = await said(
        siege, ana, mention(siege, ana, content=f"<p>Ici {where}</p>") | places[where]
    )

    row = await kept(siege, note)
    assert (row["mention"], row["state"]) == (True, "pending")
    await siege.shop.log_in()
    page = (await siege.shop.client.get("/desk/answers")).text
    article = page.partition(f'id="r-{row["id"]}"')[2].partition("</article>")[0]
    assert f"Ici {where}" in article
    assert (
        f'<a href="{note["url"]}" rel="nofollow noopener noreferrer">vous mentionne</a>' in article
    )
    assert 'value="approve"' not in article
    for public in ("/", "/letters/du-lin", f"{letter.removeprefix(siege.shop.base_url)}/replies"):
        assert "Ici" not in (await siege.shop.client.get(public)).text
    found = (await siege.shop.client.get(f"{letter}/replies", headers=JSON)).json()
    assert note["id"] not in str(found)


async def test_a_topic_can_be_named_and_the_instance_actor_cannot(siege):
    ana = siege.somebody()
    await siege.shop.publish("Du cuir", "Bonjour", topics=["Cuir"], to_email=False)
    names = (await siege.shop.client.get("/desk/topics")).text
    assert "cuir" in names
    topic, instance = (f"{siege.shop.base_url}/ap/{name}" for name in ("cuir", "instance"))

    note = await said(siege, ana, mention(siege, ana, of=topic))
    assert (await kept(siege, note))["mention"] is True
    for other in (instance, f"{siege.shop.base_url}/ap/nobody", "https://b.example/ap/shop"):
        await siege.ignored(
            siege.send(ana, siege.activity(ana, "Create", mention(siege, ana, of=other)))
        )


async def test_the_founders_answer_threads_below_the_mention_and_shows_below_no_letter(siege):
    letter, ana = await siege.letter(), siege.somebody()
    note = await said(siege, ana, mention(siege, ana, context=f"{siege.base}/contexts/7"))
    row = await kept(siege, note)
    csrf = await siege.shop.log_in()

    answer = await siege.shop.post(f"/desk/answers/{row['id']}/answer", csrf=csrf, text="Mardi.")
    assert answer.status_code == 303

    await until(lambda: any(one["type"] == "Create" and "Mardi" in str(one) for one in siege.got))
    own = next(one["object"] for one in siege.got if "Mardi" in str(one))
    assert (own["type"], own["inReplyTo"]) == ("Note", note["id"])
    assert own["context"] == own["conversation"] == note["context"]
    assert own["to"] == [PUBLIC]
    assert ana.id in own["cc"]
    assert own["tag"][0]["href"] == ana.id
    page = await siege.shop.client.get(own["url"])
    assert page.status_code == 200
    assert "Quand le lin" not in page.text
    for name in ("replies", "context"):
        assert own["id"] not in str(
            (await siege.shop.client.get(f"{letter}/{name}", headers=JSON)).json()
        )
    assert "Mardi" not in (await siege.shop.client.get("/letters/du-lin")).text

    # What is said below it stays with it: no answer of the letter beside which it is kept.
    below = await answered(siege, siege.somebody(), own["id"])
    assert ((await kept(siege, below))["mention"], (await kept(siege, below))["parent_id"]) == (
        True,
        row["id"],
    )


async def test_even_people_approved_before_are_not_shown_and_nobody_can_approve_it(siege):
    ana = siege.somebody()
    letter = await siege.letter()
    write = siege.shop.services.store.write
    await write(lambda tx: tx.execute(sa.update(newsletter).values(approve_known=True)))
    first = await kept(siege, await answered(siege, ana, letter))
    await write(conversations.decide, first["id"], state="approved")
    assert (await kept(siege, await answered(siege, ana, letter)))["state"] == "approved"
    note = await said(siege, ana, mention(siege, ana))
    row = await kept(siege, note)
    assert row["state"] == "pending"
    csrf = await siege.shop.log_in()
    before = await siege.effects()

    await siege.shop.post(f"/desk/answers/{row['id']}", csrf=csrf, action="approve")
    assert {line for line in await siege.effects() if not line.startswith("audit")} == {
        line for line in before if not line.startswith("audit")
    }
    await siege.shop.post(f"/desk/answers/{row['id']}", csrf=csrf, action="hide")
    assert (await kept(siege, note))["state"] == "hidden"


@pytest.mark.rule("IN-21")
@pytest.mark.rule("IN-23")
async def test_edits_and_deletions_by_its_author_are_followed_and_by_nobody_else(siege):
    ana, bo = siege.somebody(), siege.somebody()
    note = await said(siege, ana, mention(siege, ana))
    newer = note | {"content": "<p>Vendredi ?</p>", "updated": "2030-01-01T00:00:00Z"}

    await siege.ignored(siege.send(bo, siege.activity(bo, "Update", newer)))
    await siege.ignored(siege.send(bo, siege.activity(bo, "Delete", note["id"])))
    await siege.send(ana, siege.activity(ana, "Update", newer))
    assert (await kept(siege, note))["content_html"] == "<p>Vendredi ?</p>"
    await siege.send(ana, siege.activity(ana, "Delete", note["id"]))
    assert await kept(siege, note) is None
    again = siege.activity(ana, "Create", note)
    await siege.ignored(siege.send(ana, again))


@pytest.mark.rule("L-25")
@pytest.mark.rule("IN-33")
async def test_mentions_have_the_limits_of_answers_and_take_no_room_from_them(siege, monkeypatch):
    letter = await siege.letter()
    ana, bo = siege.somebody(), siege.somebody()
    monkeypatch.setattr(inbound_reply, "REPLIES_PER_ACTOR_HOUR", 2)
    for _ in range(2):
        await said(siege, ana, mention(siege, ana))
    await siege.ignored(siege.send(ana, siege.activity(ana, "Create", mention(siege, ana))))

    monkeypatch.setattr(inbound_reply, "REPLIES_PER_ISSUE", 2)
    await siege.ignored(siege.send(bo, siege.activity(bo, "Create", mention(siege, bo))))
    assert (await kept(siege, await answered(siege, bo, letter)))["mention"] is False


@pytest.mark.rule("IN-20")
@pytest.mark.rule("IN-36")
async def test_what_names_us_is_no_way_around_owners_and_blocks(siege):
    ana, bo = siege.somebody(), siege.somebody("b.peer.example")
    for forged in ({"attributedTo": bo.id}, {"id": f"{bo.id}/notes/1"}, {"type": "Person"}):
        create = siege.activity(ana, "Create", mention(siege, ana) | forged)
        await siege.ignored(siege.send(ana, create))

    note = await said(siege, bo, mention(siege, bo))
    csrf = await siege.shop.log_in()
    await siege.shop.post(
        f"/desk/answers/{(await kept(siege, note))['id']}", csrf=csrf, action="block"
    )
    await siege.refused(siege.send(bo, siege.activity(bo, "Create", mention(siege, bo))), 403)
    await siege.shop.services.store.write(blocks.remove_block, bo.id)


@pytest.mark.rule("IN-32")
async def test_what_is_written_to_us_alone_is_answered_in_private(siege):
    ana = siege.somebody()
    shop = f"{siege.shop.base_url}/ap/shop"
    note = await said(siege, ana, mention(siege, ana, to=[shop], cc=[]))
    row = await kept(siege, note)
    assert row["visibility"] == "direct"
    csrf = await siege.shop.log_in()

    await siege.shop.post(f"/desk/answers/{row['id']}/answer", csrf=csrf, text="Entre nous.")

    await until(lambda: any("Entre nous" in str(one) for one in siege.got))
    own = next(one["object"] for one in siege.got if "Entre nous" in str(one))
    assert (own["to"], own["cc"]) == ([ana.id], [])
    assert (await siege.shop.client.get(own["id"], headers=JSON)).status_code == 404
