"""The shop beside a server that we did not write: Fedify, the library under Ghost and Hollo.

A 202 says nothing: each step is read off at the far side: what Fedify has verified and keeps, what
the shop's pages show.
"""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route

from fediletter.outbound import answers
from fediletter.outbound import publish as publishing
from fediletter.outbound.polls import publish_poll
from storage import conversations, followers, polls, posts
from storage.posts import Draft
from storage.schema import received, remote_actor
from tests.peers.certificates import make_certificates
from tests.peers.fedify_peer import running_fedify
from tests.shop import free_port, running_shop, until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("first_knock", ["cavage", "rfc9421"])
async def test_a_reader_on_fedify_gets_everything_and_answers(tmp_path: Path, first_knock):
    certificates = make_certificates(tmp_path)
    async with (
        running_shop(tmp_path / "shop", certificates=certificates) as shop,
        running_fedify(certificates[0], first_knock=first_knock) as peer,
    ):
        await _refuses_the_unsigned(peer)
        await _finds_and_follows(shop, peer)
        letter = await _receives(shop, peer)
        await _answers(shop, peer, letter)
        await _takes_back(shop, peer, letter)
        await _is_answered(shop, peer, letter)
        await _votes_and_quotes(shop, peer, letter)
        await _speaks_by_another_hand(shop, peer, letter)
        await _sees_edit_and_withdrawal(shop, peer, letter)
        await _reports_moves_and_leaves(shop, peer, letter)


@pytest.mark.rule("V15")
@pytest.mark.parametrize("only", ["cavage", "rfc9421"])
async def test_a_server_that_knows_one_scheme_alone_is_knocked_as_it_likes(tmp_path: Path, only):
    """Documents and deliveries reach it; the scheme that it took is knocked with from then on."""
    certificates = make_certificates(tmp_path)
    async with (
        running_shop(tmp_path / "shop", certificates=certificates) as shop,
        running_fedify(certificates[0], first_knock=only, only=only) as peer,
    ):
        await _finds_and_follows(shop, peer)
        await shop.publish("Du lin", "Bonjour", to_email=False)
        await peer.received("Create")
        before = (await peer.ask("knocks"))["knocks"]
        await shop.publish("Du cuir", "Bonjour", to_email=False)
        assert len(await peer.received("Create", 2)) == 2
        knocks = (await peer.ask("knocks"))["knocks"]

        first = [one["scheme"] for one in before if one["method"] == "POST"]
        assert first[0] == "cavage", "draft-cavage knocks first (federation.md 7)"
        assert [one["scheme"] for one in knocks[len(before) :]] == [only], "remembered"
        asked = [one["scheme"] for one in before if one["method"] == "GET"]
        assert only in asked


async def test_fedify_finds_the_handle_on_another_host_than_the_server(tmp_path: Path):
    certificates = make_certificates(tmp_path)
    apex = free_port()
    account = f"shop@localhost:{apex}"
    async with (
        running_shop(tmp_path / "shop", certificates=certificates, account=account) as shop,
        _apex(apex, certificates, shop.base_url),
        running_fedify(certificates[0], first_knock="cavage") as peer,
    ):
        found = await peer.ask("lookup", target=f"@{account}")
        assert found["id"] == f"{shop.base_url}/ap/shop"
        assert found["document"]["webfinger"] == account
        await peer.ask("follow", target=f"@{account}")
        assert (await peer.received("Accept"))[0]["actor"] == f"{shop.base_url}/ap/shop"


@contextlib.asynccontextmanager
async def _apex(port, certificates, server):
    """The founders' own site, which hands /.well-known/ to the letter's server."""

    async def elsewhere(request):
        return RedirectResponse(f"{server}{request.url.path}?{request.url.query}", 301)

    app = Starlette(routes=[Route("/.well-known/{name}", elsewhere)])
    config = uvicorn.Config(
        app, host="localhost", port=port, log_config=None,
        ssl_certfile=certificates[1], ssl_keyfile=certificates[2],
    )  # fmt: skip
    site = uvicorn.Server(config)
    task = asyncio.create_task(site.serve())
    await until(lambda: site.started or task.done())
    try:
        yield
    finally:
        site.should_exit = True
        await task


async def _refuses_the_unsigned(peer):
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        headers = {"Accept": "application/activity+json"}
        assert (await client.get(peer.actor, headers=headers)).status_code == 401


async def _finds_and_follows(shop, peer):
    found = await peer.ask("lookup", target=f"@{shop.handle}")
    assert (found["id"], found["type"]) == (f"{shop.base_url}/ap/shop", "Person")
    about = await peer.ask("nodeinfo", origin=shop.base_url)
    assert about == {"found": [["fediletter", ["activitypub"]]] * 2}

    await peer.ask("follow", target=f"@{shop.handle}")
    accept = (await peer.received("Accept"))[0]

    assert accept["actor"] == f"{shop.base_url}/ap/shop"
    own = await shop.services.keyring.newsletter()
    listed = await shop.services.store.read(followers.list_followers, own.id, limit=9)
    assert [one.uri for one in listed] == [peer.actor]


async def _receives(shop, peer):
    letter = await shop.publish(
        "Du lin « normand »", "Bonjour **lin**.", summary="Une accroche", topics=["Lin"]
    )
    create = (await peer.received("Create"))[0]
    article = create["object"]
    assert article["type"] == "Article"
    assert article["name"] == "Du lin « normand »"
    assert article["summary"] == "Une accroche"
    assert "<strong>lin</strong>" in str(article["content"])
    assert article["url"] == letter.url
    judged = await peer.ask("proven", id=create["id"])
    assert judged == {"proven": True, "changed": False}, "Fedify checks our integrity proof"
    looked_up = await peer.ask("lookup", target=letter.url)
    assert (looked_up["id"], looked_up["type"]) == (letter.object_id, "Article")
    return letter


async def _answers(shop, peer, letter):
    like = await peer.ask("like", object=letter.object_id)
    boost = await peer.ask("boost", object=letter.object_id)
    peer.said = (like["id"], boost["id"])
    reply = await peer.ask("reply", object=letter.object_id, content="Bravo depuis Fedify")
    post = await _post(shop, letter)

    async def waits():
        return await shop.services.store.read(conversations.conversation, limit=9)

    await until(waits, seconds=30)
    kept = (await waits())[0]
    assert kept.uri == reply["object"]
    assert "Bravo depuis Fedify" in kept.content_html
    await shop.services.store.write(conversations.decide, kept.id, state="approved")
    assert "Bravo depuis Fedify" in (await shop.client.get(letter.url)).text

    async def counted():
        found = await shop.services.store.read(conversations.reactions_of, post.id)
        return found == {"like": 1, "announce": 1}

    await until(counted, seconds=30)
    await peer.ask("editReply", id=reply["id"], object=letter.object_id, content="Mieux dit")
    await until(_page(shop, letter, "Mieux dit", True), seconds=30)
    await peer.ask("deleteReply", id=reply["id"], object=letter.object_id)
    await until(_page(shop, letter, "Mieux dit", False), seconds=30)


def _page(shop, letter, words, there):
    async def look():
        return (words in (await shop.client.get(letter.url)).text) is there

    return look


async def _sees_edit_and_withdrawal(shop, peer, letter):
    post = await _post(shop, letter)
    new = Draft("Du lin, corrigé", "Une accroche", "Bonjour", "fr")
    await publishing.revise(shop.services, post.id, new, [], version=post.version)
    assert (await _about(peer, "Update", letter))["name"] == "Du lin, corrigé"

    await publishing.withdraw(shop.services, post.id)
    assert (await _about(peer, "Delete", letter))["type"] == "Tombstone"


async def _about(peer, type, letter):
    """The object of an activity about the letter: polls and profiles are updated as well."""

    async def found():
        objects = [one["object"] for one in await peer.received(type)]
        return [one for one in objects if one["id"] == letter.object_id]

    await until(found, seconds=30)
    return (await found())[0]


async def _takes_back(shop, peer, letter):
    post = await _post(shop, letter)

    async def counts():
        return await shop.services.store.read(conversations.reactions_of, post.id)

    async def counted(expected):
        async def look():
            return await counts() == expected

        await until(look, seconds=30)

    for said in peer.said:
        await peer.ask("undo", id=said)
    await counted({})
    react = await peer.ask("react", object=letter.object_id)
    await counted({"like": 1})
    await peer.ask("undo", id=react["id"])
    await counted({})


async def _is_answered(shop, peer, letter):
    told = await peer.ask("reply", object=letter.object_id, content="Ouvert lundi ?")

    async def kept():
        return await shop.services.store.read(conversations.reply_by_uri, told["object"])

    await until(kept, seconds=30)
    reply = await kept()
    await shop.services.store.write(conversations.decide, reply.id, state="approved")
    await answers.answer(shop.services, reply.id, "Oui, **lundi**.", founder_id=None)
    note = (await peer.received("Create", 2))[1]["object"]
    assert (note["type"], note["inReplyTo"]) == ("Note", told["object"])
    assert "<strong>lundi</strong>" in str(note["content"])
    assert (await peer.ask("lookup", target=note["id"]))["type"] == "Note"


async def _votes_and_quotes(shop, peer, letter):
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    poll_id = await publish_poll(
        shop.services, "Quels jours ?", ["Lundi", "Mardi"], multiple=True, ends_at=ends_at
    )
    question = (await peer.received("Create", 3))[2]["object"]
    assert question["type"] == "Question"
    await peer.ask("vote", object=question["id"], name="Mardi")

    async def voted():
        poll = await shop.services.store.read(polls.get_poll, poll_id)
        return [option.votes for option in poll.options] == [0, 1]

    await until(voted, seconds=30)
    await peer.ask("quote", object=letter.object_id)
    accept = (await peer.received("Accept", 2))[1]
    stamp = accept["result"]
    stamp = stamp if isinstance(stamp, str) else stamp["id"]
    found = await peer.ask("lookup", target=stamp)
    assert found["type"] == "QuoteAuthorization"


async def _speaks_by_another_hand(shop, peer, letter):
    honest = {"object": letter.object_id, "content": "par un autre chemin"}
    forged = await peer.ask("carried", forged="yes", **honest)
    carried = await peer.ask("carried", **honest)
    assert carried["status"] == 202

    async def kept():
        return await shop.services.store.read(conversations.reply_by_uri, carried["id"])

    await until(kept, seconds=30)
    assert (await kept()).actor_uri == peer.actor
    assert await shop.services.store.read(conversations.reply_by_uri, forged["id"]) is None


async def _reports_moves_and_leaves(shop, peer, letter):
    shop_actor = f"@{shop.handle}"
    store = shop.services.store
    own = await shop.services.keyring.newsletter()
    await peer.ask("flag", target=shop_actor, object=letter.object_id, content="Trop de lin")
    await peer.ask("move", target=shop_actor)

    async def noted():
        reports = await store.read(conversations.reports, limit=9, settled=False)
        moved = sa.select(remote_actor.c.moved_to).where(remote_actor.c.uri == peer.actor)
        target = await store.read(lambda tx: tx.scalar(moved))
        return [one.comment for one in reports] == ["Trop de lin"] and target == peer.courier

    await until(noted, seconds=30)
    assert await store.read(followers.count_followers, own.id) == 1, "a Move moves nobody (IN-31)"
    await peer.ask("block", target=shop_actor)

    async def left():
        return await store.read(followers.count_followers, own.id) == 0

    await until(left, seconds=30)
    failed = sa.select(sa.func.count()).where(received.c.state == "failed")
    assert await store.read(lambda tx: tx.scalar(failed)) == 0


async def _post(shop, letter):
    public_id = letter.object_id.rpartition("/")[2]
    return await shop.services.store.read(posts.post_by_public_id, public_id)
