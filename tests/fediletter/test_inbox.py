"""Inboxes through real HTTP: what is proven is kept and applied, what is not changes nothing."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from federation.keys import RsaPrivateKey
from storage import conversations, followers
from tests.federation.peer import OTHER_RSA, RSA, TYPE, Peer
from tests.fediletter.dump import dump, settled
from tests.shop import Shop, free_port, until

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"


@dataclass
class World:
    """A server elsewhere with people on it."""

    base: str
    people: dict[str, RsaPrivateKey] = field(default_factory=lambda: {"ana": RSA, "bo": OTHER_RSA})
    gone: set[str] = field(default_factory=set)
    received: list[dict] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    more: dict[str, dict] = field(default_factory=dict)  # What documents say beside.
    at: list[str] = field(default_factory=list)  # Whose inbox; "" for the shared one.

    def peer(self, name: str) -> Peer:
        return Peer(f"{self.base}/users/{name}", self.people[name])

    async def actor(self, request):
        name = request.path_params["name"]
        self.fetched.append(name)
        if name in self.gone:
            return Response(status_code=410)
        document = self.peer(name).document()
        document["endpoints"] = {"sharedInbox": f"{self.base}/inbox"}
        document |= self.more.get(name, {})
        return JSONResponse(document, headers={"Content-Type": TYPE})

    async def inbox(self, request):
        self.at.append(request.path_params.get("name", ""))
        self.received.append(json.loads(await request.body()))
        return Response(status_code=202)

    def app(self):
        return Starlette(
            routes=[
                Route("/users/{name}", self.actor),
                Route("/users/{name}/inbox", self.inbox, methods=["POST"]),
                Route("/inbox", self.inbox, methods=["POST"]),
            ]
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    port = free_port()
    here = World(f"http://127.0.0.1:{port}")
    server = uvicorn.Server(
        uvicorn.Config(here.app(), host="127.0.0.1", port=port, log_config=None)
    )
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield here
    server.should_exit = True
    await task


async def send(shop: Shop, peer: Peer, activity: dict | bytes, *, inbox="/ap/shop/inbox", **kw):
    url = shop.base_url + inbox
    request = peer.request(url, activity, now=datetime.now(UTC), **kw)
    return await shop.client.post(inbox, content=request.body, headers=dict(request.headers))


def activity(peer: Peer, type: str, object, number=1, **more) -> dict:
    return {
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": f"{peer.id}/acts/{type}/{number}",
        "type": type,
        "actor": peer.id,
        "object": object,
    } | more


def follow_shop(shop: Shop, peer: Peer, number=1) -> dict:
    return activity(peer, "Follow", f"{shop.base_url}/ap/shop", number)


async def follower_count(shop: Shop) -> int:
    own = await shop.services.keyring.newsletter()
    return await shop.services.store.read(followers.count_followers, own.id)


async def unchanged(shop: Shop, sending) -> int:
    """The status of a request that must change nothing."""
    await settled(shop)
    before = await shop.services.store.read(dump)
    status = (await sending).status_code
    await settled(shop)
    assert await shop.services.store.read(dump) == before
    return status


@pytest.mark.rule("I01")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
async def test_a_follow_is_kept_and_accepted_at_the_personal_inbox(shop, world, scheme):
    ana = world.peer("ana")
    follow = follow_shop(shop, ana)

    answer = await send(shop, ana, follow, scheme=scheme)
    await until(lambda: world.received)

    assert answer.status_code == 202
    assert world.received[0]["type"] == "Accept"
    assert world.received[0]["object"]["id"] == follow["id"]
    assert await follower_count(shop) == 1


@pytest.mark.rule("I02")
async def test_a_second_follow_is_accepted_under_its_new_id_and_counts_once(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await send(shop, ana, follow_shop(shop, ana, 2), inbox="/ap/inbox")
    await until(lambda: len(world.received) == 2)

    assert await follower_count(shop) == 1
    assert world.received[1]["object"]["id"].endswith("/2")


@pytest.mark.rule("I03")
@pytest.mark.parametrize("embedded", [True, False])
async def test_an_undo_removes_the_follower_with_or_without_the_follow(shop, world, embedded):
    ana = world.peer("ana")
    follow = follow_shop(shop, ana)
    await send(shop, ana, follow)
    await until(lambda: world.received)

    await send(shop, ana, activity(ana, "Undo", follow if embedded else follow["id"]))

    await until(_is_zero(shop))


def _is_zero(shop):
    async def look():
        return await follower_count(shop) == 0

    return look


@pytest.mark.rule("I04")
@pytest.mark.rule("IN-27")
async def test_an_undo_by_somebody_else_leaves_the_follower(shop, world):
    ana, bo = world.peer("ana"), world.peer("bo")
    follow = follow_shop(shop, ana)
    await send(shop, ana, follow)
    await until(lambda: world.received)

    await send(shop, bo, activity(bo, "Undo", follow))
    await send(shop, bo, activity(bo, "Undo", follow["id"], 2))
    await settled(shop)

    assert await follower_count(shop) == 1


@pytest.mark.rule("RE-8")
async def test_an_undo_that_comes_before_its_follow_wins(shop, world):
    ana = world.peer("ana")
    follow = follow_shop(shop, ana)
    await send(shop, ana, activity(ana, "Undo", follow))
    await settled(shop)

    await send(shop, ana, follow)
    await settled(shop)

    assert await follower_count(shop) == 0


@pytest.mark.rule("IN-7")
async def test_a_second_copy_is_accepted_and_changes_nothing(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)

    assert await unchanged(shop, send(shop, ana, follow_shop(shop, ana))) == 202


@pytest.mark.rule("IN-1")
@pytest.mark.rule("IN-2")
async def test_unsigned_and_badly_signed_requests_are_401_and_leave_nothing(shop, world):
    ana = world.peer("ana")
    follow = follow_shop(shop, ana)
    url = f"{shop.base_url}/ap/shop/inbox"
    signed = dict(ana.request(url, follow, now=datetime.now(UTC)).headers)

    async def post(headers, content):
        return await shop.client.post("/ap/shop/inbox", content=content, headers=headers)

    body = json.dumps(follow).encode()
    assert await unchanged(shop, post({"Content-Type": TYPE}, body)) == 401
    assert await unchanged(shop, post(signed, body + b" ")) == 401
    assert world.fetched == [], "nothing is fetched before the cheap checks pass"


async def test_a_signature_by_another_key_is_401(shop, world):
    impostor = Peer(f"{world.base}/users/ana", OTHER_RSA)

    answer = await send(shop, impostor, follow_shop(shop, impostor))

    assert answer.status_code == 401
    assert await follower_count(shop) == 0


@pytest.mark.rule("IN-13")
async def test_an_activity_of_another_actor_is_202_without_effect(shop, world):
    ana, bo = world.peer("ana"), world.peer("bo")
    await send(shop, bo, follow_shop(shop, bo))
    await until(lambda: world.received)

    assert await unchanged(shop, send(shop, bo, follow_shop(shop, ana))) == 202


@pytest.mark.rule("I09")
@pytest.mark.rule("IN-22")
async def test_a_stranger_who_deletes_itself_is_202_without_a_fetch(shop, world):
    ana = world.peer("ana")

    status = await unchanged(shop, send(shop, ana, activity(ana, "Delete", ana.id)))

    assert (status, world.fetched) == (202, [])


@pytest.mark.rule("I10")
@pytest.mark.rule("IN-24")
@pytest.mark.rule("PR-7")
async def test_a_follower_who_deletes_itself_is_forgotten(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    world.gone.add("ana")

    await send(shop, ana, activity(ana, "Delete", ana.id))

    await until(_is_zero(shop))


@pytest.mark.rule("PR-7")
async def test_who_follows_and_who_is_blocked_is_nobodys_business(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    csrf = await shop.log_in()
    await shop.post("/desk/blocks", csrf=csrf, value="spam.example")
    actor = f"/ap/{shop.settings.account_user}"
    asked = {"Accept": "application/activity+json", "Cookie": ""}

    async with httpx.AsyncClient(base_url=shop.base_url, trust_env=False) as stranger:
        for path in ("/followers", "/followers?page=1", "/followers?page=true&max_id=0"):
            answer = await stranger.get(actor + path, headers=asked)
            assert ana.id not in answer.text
            assert not {"items", "orderedItems", "first"} & set(
                re.findall(r'"(\w+)":', answer.text)
            )
        for path in (f"{actor}/blocks", f"{actor}/blocked", "/blocks", "/api/v1/instance"):
            answer = await stranger.get(path, headers=asked, follow_redirects=True)
            assert answer.status_code == 404
        answer = await stranger.get("/desk/blocks", headers=asked)
        assert (answer.status_code, "spam.example" in answer.text) == (303, False)


@pytest.mark.rule("I20")
async def test_what_is_no_activity_is_refused_by_the_table(shop, world):
    ana = world.peer("ana")
    post = shop.client.post
    assert (await send(shop, ana, b"[]")).status_code == 400
    assert (await send(shop, ana, b"{")).status_code == 400
    large = b'{"a":"' + b"x" * (1 << 20) + b'"}'
    assert (await send(shop, ana, large)).status_code == 413
    text = {"Content-Type": "text/plain"}
    assert (await post("/ap/shop/inbox", content=b"{}", headers=text)).status_code == 415
    packed = {"Content-Type": TYPE, "Content-Encoding": "gzip"}
    assert (await post("/ap/shop/inbox", content=b"{}", headers=packed)).status_code == 415
    assert (await post("/ap/nobody/inbox", content=b"{}", headers={})).status_code == 404
    assert (await shop.client.get("/ap/shop/inbox")).status_code == 405


def note(peer: Peer, answers: str, number=1, **more) -> dict:
    return {
        "id": f"{peer.id}/notes/{number}",
        "type": "Note",
        "attributedTo": peer.id,
        "inReplyTo": answers,
        "content": "<p>Bravo <script>alert(1)</script></p>",
        "published": "2026-11-24T08:00:00Z",
        "to": [PUBLIC],
    } | more


async def waiting(shop: Shop, count=1, states=("pending",)):
    async def look():
        found = await shop.services.store.read(conversations.conversation, limit=50, states=states)
        return found if len(found) == count else None

    await until(look)
    return await look()


@pytest.mark.rule("I07")
async def test_an_answer_waits_is_approved_edited_and_deleted_by_its_author(shop, world):
    ana = world.peer("ana")
    letter = await shop.publish()
    await send(shop, ana, activity(ana, "Create", note(ana, letter.object_id)))
    reply = (await waiting(shop))[0]
    page = (await shop.client.get(letter.url)).text
    assert "Bravo" not in page, "shown only after approval"

    await shop.services.store.write(conversations.decide, reply.id, state="approved")
    page = (await shop.client.get(letter.url)).text
    assert "Bravo" in page
    assert "alert(1)" not in page

    edited = note(ana, letter.object_id, content="<p>Mieux</p>", updated="2026-11-24T09:00:00Z")
    await send(shop, ana, activity(ana, "Update", edited))
    await until(_page_has(shop, letter.url, "Mieux"))
    tombstone = {"id": edited["id"], "type": "Tombstone"}
    await send(shop, ana, activity(ana, "Delete", tombstone))
    await until(_page_lacks(shop, letter.url, "Mieux"))


def _page_has(shop, url, words):
    async def look():
        return words in (await shop.client.get(url)).text

    return look


def _page_lacks(shop, url, words):
    async def look():
        return words not in (await shop.client.get(url)).text

    return look


@pytest.mark.rule("IN-20")
@pytest.mark.rule("IN-21")
async def test_nobody_writes_or_edits_in_anothers_name(shop, world):
    ana, bo = world.peer("ana"), world.peer("bo")
    letter = await shop.publish()
    await send(shop, ana, activity(ana, "Create", note(ana, letter.object_id)))
    await waiting(shop)

    await send(shop, bo, activity(bo, "Create", note(ana, letter.object_id, 2)))
    changed = note(ana, letter.object_id, content="forged", updated="2026-11-24T10:00:00Z")
    await send(shop, bo, activity(bo, "Update", changed))
    await send(shop, bo, activity(bo, "Delete", changed["id"]))
    await settled(shop)

    found = await waiting(shop)
    assert "Bravo" in found[0].content_html


@pytest.mark.rule("I05")
@pytest.mark.rule("I06")
async def test_likes_and_boosts_count_once_and_can_be_taken_back(shop, world):
    ana = world.peer("ana")
    letter = await shop.publish()
    for number in (1, 2):
        await send(shop, ana, activity(ana, "Like", letter.object_id, number))
    await send(shop, ana, activity(ana, "Announce", letter.object_id))
    await send(shop, ana, activity(ana, "Announce", "https://elsewhere.example/1", 2))
    headers = {"Accept": TYPE}

    async def total(name):
        answer = await shop.client.get(f"{letter.object_id}/{name}", headers=headers)
        return answer.json()["totalItems"]

    async def both():
        return await total("likes") == 1 and await total("shares") == 1

    await until(both)
    third = {"id": f"{ana.id}/likes/3", "type": "Like", "object": letter.object_id}
    await send(shop, ana, activity(ana, "Undo", third, 9))

    async def taken_back():
        return await total("likes") == 0 and await total("shares") == 1

    await until(taken_back)


@pytest.mark.rule("I17")
async def test_what_we_do_not_handle_is_202_and_recorded_as_ignored(shop, world):
    ana = world.peer("ana")
    for kind in ("View", "Add", "Question", "Accept"):
        assert (await send(shop, ana, activity(ana, kind, ana.id))).status_code == 202
    assert await follower_count(shop) == 0


@pytest.mark.rule("IN-36")
async def test_a_blocked_domain_is_403(shop, world):
    from storage.blocks import add_block

    host = world.base.partition("//")[2]
    await shop.services.store.write(add_block, "domain", host, note="", now=datetime.now(UTC))
    ana = world.peer("ana")

    assert await unchanged(shop, send(shop, ana, follow_shop(shop, ana))) == 403


@pytest.mark.rule("V14")
async def test_a_key_that_cannot_be_fetched_now_is_503_with_retry_after(shop):
    peer = Peer(f"http://127.0.0.1:{free_port()}/users/ana", RSA)

    answer = await send(shop, peer, follow_shop(shop, peer))

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "300"


@pytest.mark.rule("D01")
@pytest.mark.rule("RE-7")
async def test_followers_of_one_host_get_one_copy_and_then_update_and_delete(shop, world):
    for name in ("ana", "bo"):
        await send(shop, world.peer(name), follow_shop(shop, world.peer(name)))
    await until(lambda: len(world.received) == 2)
    world.received.clear()

    letter = await shop.publish("Du lin", "Bonjour", topics=["Lin"])
    await until(lambda: world.received)
    create = world.received[0]
    assert create["object"]["type"] == "Article"
    assert create["to"] == create["object"]["to"] == [PUBLIC]
    assert create["cc"] == create["object"]["cc"]
    assert "updated" not in create["object"]
    assert create["object"]["tag"][0]["name"] == "#lin"

    from fediletter.outbound import publish as publishing
    from storage import posts
    from storage.posts import Draft

    public_id = letter.object_id.rpartition("/")[2]
    post = await shop.services.store.read(posts.post_by_public_id, public_id)
    new = Draft("Du lin, corrigé", "Une lettre.", "Bonjour", "fr")
    await publishing.revise(shop.services, post.id, new, [], version=post.version)
    await until(lambda: len(world.received) == 2)
    update = world.received[1]["object"]
    assert (world.received[1]["type"], update["name"]) == ("Update", "Du lin, corrigé")
    assert update["updated"] > update["published"] == create["object"]["published"]

    await publishing.withdraw(shop.services, post.id)
    await until(lambda: len(world.received) == 3)
    assert world.received[2]["type"] == "Delete"
    assert world.received[2]["object"]["type"] == "Tombstone"
    assert world.received[2]["object"]["formerType"] == "Article"
    answer = await shop.client.get(letter.object_id, headers={"Accept": TYPE})
    assert (answer.status_code, answer.json()["type"]) == (410, "Tombstone")
    assert (await shop.client.get(letter.url)).status_code == 410
