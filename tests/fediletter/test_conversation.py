"""Answers, polls and quotes through real HTTP: what followers say to us, and what we say back."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from fediletter.outbound import answers
from fediletter.outbound.polls import publish_poll, tell_tallies
from fediletter.outbound.publish import withdraw
from storage import conversations, polls, posts, quotes
from storage.schema import newsletter, poll, received, vote
from tests.federation.peer import TYPE
from tests.fediletter.test_inbox import (
    PUBLIC,
    activity,
    follow_shop,
    note,
    send,
    waiting,
    world,
)
from tests.shop import until

__all__ = ["world"]

JSON = {"Accept": TYPE}


async def _done(shop, count):
    """Wait until so many received activities are over; their reasons."""

    def look(tx):
        return tx.rows(sa.select(received.c.state, received.c.reason).order_by(received.c.id))

    async def over():
        rows = await shop.services.store.read(look)
        return len(rows) >= count and all(state != "waiting" for state, _ in rows)

    await until(over)
    return [tuple(row) for row in await shop.services.store.read(look)]


async def _replied(shop, world, **more):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    letter = await shop.publish()
    await until(lambda: any(one["type"] == "Create" for one in world.received))
    await send(shop, ana, activity(ana, "Create", note(ana, letter.object_id, **more)))
    return ana, letter, (await waiting(shop))[0]


# --- answers ---------------------------------------------------------------------------------


async def test_a_founders_answer_threads_and_is_edited_and_withdrawn(shop, world):
    ana, letter, reply = await _replied(shop, world, context=f"{world.base}/contexts/1")
    await shop.services.store.write(conversations.decide, reply.id, state="approved")
    world.received.clear()

    await answers.answer(shop.services, reply.id, "Oui, **lundi**.", founder_id=None)
    await until(lambda: world.received)

    (create,) = world.received
    said = create["object"]
    assert (create["type"], said["type"]) == ("Create", "Note")
    assert said["inReplyTo"] == f"{ana.id}/notes/1"
    assert said["to"] == create["to"] == [PUBLIC]
    assert said["cc"] == create["cc"] == [f"{shop.base_url}/ap/shop/followers", ana.id]
    host = world.base.partition("//")[2]
    assert said["tag"] == [{"type": "Mention", "href": ana.id, "name": f"@ana@{host}"}]
    assert said["context"] == said["conversation"] == f"{world.base}/contexts/1"
    assert "<strong>lundi</strong>" in said["content"]
    assert f'<a href="{ana.id}" class="u-url mention">@ana</a> Oui' in said["content"]
    stored = (await shop.client.get(said["id"], headers=JSON)).json()
    assert {k: v for k, v in stored.items() if k != "@context"} == said
    page = (await shop.client.get(letter.url)).text
    assert "<strong>lundi</strong>" in page
    assert "lundi" in (await shop.client.get(said["url"])).text
    for name in ("replies", "context"):
        found = (await shop.client.get(f"{letter.object_id}/{name}", headers=JSON)).json()
        assert said["id"] in (found.get("items") or found["orderedItems"])

    post = await shop.services.store.read(posts.post_by_public_id, said["id"].rpartition("/")[2])
    await answers.revise_answer(shop.services, post.id, "Mardi.", version=1, founder_id=None)
    await until(lambda: len(world.received) == 2)
    assert world.received[1]["type"] == "Update"
    assert world.received[1]["object"]["updated"] > said["published"]
    await answers.withdraw_answer(shop.services, post.id, founder_id=None)
    await until(lambda: len(world.received) == 3)
    assert world.received[2]["object"]["formerType"] == "Note"
    assert (await shop.client.get(said["id"], headers=JSON)).status_code == 410
    assert "ardi" not in (await shop.client.get(letter.url)).text


@pytest.mark.rule("IN-32")
async def test_an_answer_to_a_private_message_goes_to_its_writer_alone(shop, world):
    bo = world.peer("bo")
    await send(shop, bo, follow_shop(shop, bo))
    await until(lambda: world.received)
    ana, letter, reply = await _replied(shop, world, to=[f"{shop.base_url}/ap/shop"])
    world.received.clear()
    world.at.clear()

    await answers.answer(shop.services, reply.id, "Entre nous.", founder_id=None)
    await until(lambda: world.received)

    said = world.received[0]["object"]
    assert (said["to"], said["cc"]) == ([ana.id], [])
    assert world.at == ["ana"], "to the personal inbox, and nowhere else"
    assert (await shop.client.get(said["id"], headers=JSON)).status_code == 404
    assert "Entre nous" not in (await shop.client.get(letter.url)).text


async def test_what_is_said_below_our_answer_stays_in_the_letters_conversation(shop, world):
    ana, _letter, reply = await _replied(shop, world)
    await shop.services.store.write(conversations.decide, reply.id, state="approved")
    await answers.answer(shop.services, reply.id, "Oui.", founder_id=None)
    (own,) = await shop.services.store.read(conversations.answers_to, [reply.id])
    uri = shop.services.links.post_object("note", own.public_id)

    await send(shop, ana, activity(ana, "Create", note(ana, uri, 2), 2))

    found = (await waiting(shop))[0]
    assert (found.post_title, found.parent_id) == ("Du lin", reply.id)


async def test_the_desk_answers_from_its_page(shop, world):
    _, _, reply = await _replied(shop, world)
    csrf = await shop.log_in()
    page = (await shop.client.get("/desk/answers")).text
    assert f'action="/desk/answers/{reply.id}/answer"' in page

    empty = await shop.post(f"/desk/answers/{reply.id}/answer", csrf=csrf, text=" ")
    assert empty.status_code == 422
    answer = await shop.post(f"/desk/answers/{reply.id}/answer", csrf=csrf, text="Merci.")
    assert answer.status_code == 303

    assert "Merci." in (await shop.client.get("/desk/answers")).text


async def test_people_approved_before_are_shown_at_once_if_the_founder_chose_so(shop, world):
    ana, letter, reply = await _replied(shop, world)
    await shop.services.store.write(conversations.decide, reply.id, state="approved")

    def choose(tx):
        tx.execute(sa.update(newsletter).values(approve_known=True))

    await shop.services.store.write(choose)
    again = note(ana, letter.object_id, 2, content="Encore moi")
    await send(shop, ana, activity(ana, "Create", again, 2))
    bo = world.peer("bo")
    await send(shop, bo, activity(bo, "Create", note(bo, letter.object_id, content="Inconnu")))
    await waiting(shop)

    async def shown():
        page = (await shop.client.get(letter.url)).text
        return "Encore moi" in page and "Inconnu" not in page

    await until(shown)


# --- polls -----------------------------------------------------------------------------------


def _vote(peer, question, *names, number=1, ids=True):
    notes = [
        {
            "type": "Note",
            "name": name,
            "attributedTo": peer.id,
            "inReplyTo": question,
            "to": question.rpartition("/notes/")[0],
        }
        | ({"id": f"{peer.id}/votes/{number}/{index}"} if ids else {})
        for index, name in enumerate(names)
    ]
    return activity(peer, "Create", notes if len(notes) > 1 else notes[0], f"v{number}")


async def _asked(shop, world, *, multiple=False):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    world.received.clear()
    post_id = await publish_poll(
        shop.services,
        "Quelle lettre ensuite ?",
        ["Lin", "Cuir", "Laine"],
        multiple=multiple,
        ends_at=datetime.now(UTC) + timedelta(days=1),
    )
    await until(lambda: world.received)
    return ana, post_id, world.received[0]["object"]


async def _counts(shop, post_id):
    found = await shop.services.store.read(polls.get_poll, post_id)
    return [option.votes for option in found.options], found.voters


@pytest.mark.rule("I11")
async def test_a_single_choice_counts_once_and_never_shows_as_a_reply(shop, world):
    ana, post_id, question = await _asked(shop, world)
    assert (question["type"], question["votersCount"]) == ("Question", 0)
    assert [option["name"] for option in question["oneOf"]] == ["Lin", "Cuir", "Laine"]
    assert "updated" not in question
    assert question["url"].endswith(question["id"].rpartition("/")[2])

    await send(shop, ana, _vote(ana, question["id"], "Cuir"))
    await _done(shop, 2)
    await send(shop, ana, _vote(ana, question["id"], "Lin", number=2))
    await send(shop, ana, _vote(ana, question["id"], "Soie", number=3))
    reasons = (await _done(shop, 4))[2:]

    assert await _counts(shop, post_id) == ([0, 1, 0], 1)
    assert reasons == [("ignored", "has voted before"), ("ignored", "is no answer of this poll")]
    assert (await shop.services.store.read(conversations.count_pending)) == 0
    found = (await shop.client.get(question["id"], headers=JSON)).json()
    assert [one["replies"]["totalItems"] for one in found["oneOf"]] == [0, 1, 0]
    assert "Cuir" in (await shop.client.get(question["url"])).text


@pytest.mark.rule("I11")
async def test_a_vote_after_the_end_is_ignored_and_the_poll_closes(shop, world):
    ana, post_id, question = await _asked(shop, world)
    ended = datetime.now(UTC) - timedelta(minutes=3)

    def end(tx):
        tx.execute(sa.update(poll).values(ends_at=int(ended.timestamp()) * 1000))

    await shop.services.store.write(end)
    await send(shop, ana, _vote(ana, question["id"], "Cuir"))
    await _done(shop, 2)
    await tell_tallies(shop.services)
    await tell_tallies(shop.services)

    await until(lambda: len(world.received) > 1)
    assert await _counts(shop, post_id) == ([0, 0, 0], 0)
    closing = [one for one in world.received if one["type"] == "Update"]
    assert len(closing) == 1
    assert closing[0]["object"]["closed"] == closing[0]["object"]["endTime"]
    assert "updated" not in closing[0]["object"]


@pytest.mark.rule("I12")
async def test_several_votes_in_one_activity_count_each_once(shop, world):
    ana, post_id, question = await _asked(shop, world, multiple=True)
    assert len(question["anyOf"]) == 3

    await send(shop, ana, _vote(ana, question["id"], "Lin", "Laine", "Lin", ids=False))
    await _done(shop, 2)
    await send(shop, ana, _vote(ana, question["id"], "Laine", "Cuir", number=2, ids=False))
    await _done(shop, 3)

    assert await _counts(shop, post_id) == ([1, 1, 1], 1)


@pytest.mark.rule("I13")
async def test_tallies_go_out_at_most_every_three_minutes(shop, world):
    ana, _, question = await _asked(shop, world)
    bo = world.peer("bo")
    await send(shop, ana, _vote(ana, question["id"], "Cuir"))
    await _done(shop, 2)
    await tell_tallies(shop.services)
    await until(lambda: len(world.received) == 2)
    await send(shop, bo, _vote(bo, question["id"], "Lin"))
    await _done(shop, 3)
    await tell_tallies(shop.services)
    await tell_tallies(shop.services)

    tally = world.received[1]
    assert tally["type"] == "Update"
    assert tally["id"] != world.received[0]["id"]
    assert [one["replies"]["totalItems"] for one in tally["object"]["oneOf"]] == [0, 1, 0]
    assert tally["object"]["votersCount"] == 1
    assert "updated" not in tally["object"]
    assert len(world.received) == 2, "bo's vote waits for the three minutes"

    def later(tx):
        tx.execute(sa.update(poll).values(tallied_at=poll.c.tallied_at - 180_000))

    await shop.services.store.write(later)
    await tell_tallies(shop.services)
    await until(lambda: len(world.received) == 3)
    assert world.received[2]["object"]["votersCount"] == 2


async def test_nobody_votes_in_anothers_name_and_the_gone_lose_their_votes(shop, world):
    ana, post_id, question = await _asked(shop, world)
    bo = world.peer("bo")
    forged = _vote(bo, question["id"], "Lin")
    forged["object"]["attributedTo"] = ana.id
    await send(shop, bo, forged)
    await _done(shop, 2)
    assert await _counts(shop, post_id) == ([0, 0, 0], 0)

    await send(shop, ana, _vote(ana, question["id"], "Lin"))
    await _done(shop, 3)
    await send(shop, ana, activity(ana, "Delete", ana.id))
    await _done(shop, 4)

    assert await _counts(shop, post_id) == ([0, 0, 0], 0)
    assert await shop.services.store.read(lambda tx: tx.rows(sa.select(vote.c.id))) == []


# --- quotes ----------------------------------------------------------------------------------


def _request(peer, target, number=1):
    return activity(peer, "QuoteRequest", target, number, instrument=f"{peer.id}/statuses/{number}")


@pytest.mark.rule("I16")
async def test_a_public_letter_may_be_quoted_until_the_founder_takes_it_back(shop, world):
    ana = world.peer("ana")
    letter = await shop.publish()
    article = (await shop.client.get(letter.object_id, headers=JSON)).json()
    assert article["interactionPolicy"] == {"canQuote": {"automaticApproval": [PUBLIC]}}

    request = _request(ana, letter.object_id)
    await send(shop, ana, request)
    await until(lambda: world.received)

    accept = world.received[0]
    assert (accept["type"], accept["object"]["id"]) == ("Accept", request["id"])
    assert accept["object"]["instrument"] == request["instrument"]
    stamp = (await shop.client.get(accept["result"], headers=JSON)).json()
    assert stamp["id"] == accept["result"]
    assert stamp["type"] == "QuoteAuthorization"
    assert stamp["attributedTo"] == f"{shop.base_url}/ap/shop"
    assert stamp["interactingObject"] == request["instrument"]
    assert stamp["interactionTarget"] == letter.object_id
    elsewhere = accept["result"].replace("/ap/shop/", "/ap/other/")
    assert (await shop.client.get(elsewhere, headers=JSON)).status_code == 404

    csrf = await shop.log_in()
    public_id = accept["result"].rpartition("/")[2]
    assert request["instrument"] in (await shop.client.get("/desk/quotes")).text
    await shop.post(f"/desk/quotes/{public_id}/revoke", csrf=csrf)
    await until(lambda: len(world.received) == 2)
    assert world.received[1]["type"] == "Delete"
    assert world.received[1]["object"]["id"] == accept["result"]
    assert (await shop.client.get(accept["result"], headers=JSON)).status_code == 410
    await send(shop, ana, _request(ana, letter.object_id) | {"id": f"{ana.id}/acts/again"})
    await until(lambda: len(world.received) == 3)
    assert world.received[2]["type"] == "Reject", "what was taken back stays so"


@pytest.mark.rule("I16")
async def test_a_withdrawn_or_private_letter_is_not_quoted(shop, world):
    ana = world.peer("ana")
    gone = await shop.publish("Parti")
    private = await shop.publish("Privé", audience="followers")
    post = await shop.services.store.read(
        posts.post_by_public_id, gone.object_id.rpartition("/")[2]
    )
    await withdraw(shop.services, post.id)

    await send(shop, ana, _request(ana, gone.object_id))
    await send(shop, ana, _request(ana, private.object_id, 2))
    await until(lambda: len(world.received) == 2)

    assert [one["type"] for one in world.received] == ["Reject", "Reject"]
    assert await shop.services.store.read(quotes.list_quotes, limit=5) == []


async def test_a_quote_that_its_author_deletes_is_listed_no_more(shop, world):
    ana = world.peer("ana")
    letter = await shop.publish()
    await send(shop, ana, _request(ana, letter.object_id))
    await until(lambda: world.received)

    await send(shop, ana, activity(ana, "Delete", f"{ana.id}/statuses/1"))
    await _done(shop, 2)

    assert await shop.services.store.read(quotes.list_quotes, limit=5) == []
