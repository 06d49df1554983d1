"""Topics that can be followed: an actor each, which announces the letters of its topic."""

import pytest

from fediletter.outbound import publish as publishing
from fediletter.outbound.topics import give_actors
from storage import posts
from storage.posts import Draft
from tests.federation.peer import TYPE
from tests.fediletter.test_inbox import PUBLIC, activity, follow_shop, send, world
from tests.shop import until

__all__ = ["world"]

JSON = {"Accept": TYPE}


async def _topics(shop, *names):
    """Make topics by a draft that carries them."""
    await shop.draft("Brouillon", topics=names)
    await give_actors(shop.services)


def _follow_topic(shop, peer, name="lin"):
    return activity(peer, "Follow", f"{shop.base_url}/ap/{name}", f"{name}-1")


async def test_a_topic_is_found_followed_and_left(shop, world):
    await _topics(shop, "Lin")
    host = shop.base_url.partition("//")[2]
    found = (await shop.client.get(f"/.well-known/webfinger?resource=acct:lin@{host}")).json()
    assert found["subject"] == f"acct:lin@{host}"
    assert found["links"][0]["href"] == f"{shop.base_url}/ap/lin"
    actor = (await shop.client.get("/ap/lin", headers=JSON)).json()
    assert (actor["type"], actor["preferredUsername"]) == ("Service", "lin")
    assert actor["publicKey"]["id"] == f"{shop.base_url}/ap/lin#main-key"
    assert actor["url"] == f"{shop.base_url}/topics/lin"
    again = await shop.client.get(f"/.well-known/webfinger?resource={actor['url']}")
    assert again.json() == found
    assert (await shop.client.get("/@lin")).headers["location"] == actor["url"]
    for name in ("outbox", "followers", "following", "featured", "tags"):
        assert (await shop.client.get(f"/ap/lin/{name}", headers=JSON)).status_code == 200

    ana = world.peer("ana")
    await send(shop, ana, _follow_topic(shop, ana), inbox="/ap/lin/inbox")
    await until(lambda: world.received)
    assert world.received[0]["type"] == "Accept"
    assert world.received[0]["actor"] == f"{shop.base_url}/ap/lin"

    await send(shop, ana, activity(ana, "Undo", _follow_topic(shop, ana)))

    async def gone():
        return (await shop.client.get("/ap/lin/followers", headers=JSON)).json()["totalItems"] == 0

    await until(gone)


@pytest.mark.rule("RE-7")
async def test_a_host_gets_each_activity_once_whoever_follows_what_there(shop, world):
    await _topics(shop, "Lin", "Cuir")
    ana, bo = world.peer("ana"), world.peer("bo")
    await send(shop, ana, follow_shop(shop, ana))
    for peer in (ana, bo):
        await send(shop, peer, _follow_topic(shop, peer), inbox="/ap/inbox")
    await until(lambda: len(world.received) == 3)
    world.received.clear()
    world.at.clear()

    letter = await shop.publish("Du lin", topics=["Lin"])
    await until(lambda: len(world.received) == 2)

    create, announce = world.received
    assert world.at == ["", ""], "once each, to the inbox that the host shares"
    assert (create["type"], announce["type"]) == ("Create", "Announce")
    assert announce["actor"] == f"{shop.base_url}/ap/lin"
    assert announce["object"] == letter.object_id
    assert announce["to"] == [PUBLIC]
    assert f"{shop.base_url}/ap/lin/followers" in announce["cc"]
    page = (await shop.client.get("/ap/lin/outbox?page=true", headers=JSON)).json()
    assert [one["id"] for one in page["orderedItems"]] == [announce["id"]]

    await shop.publish("Du cuir", topics=["Cuir"])
    await until(lambda: len(world.received) == 3)
    assert world.received[2]["type"] == "Create", "nobody there follows this topic"


async def test_an_edit_of_topics_and_a_withdrawal_take_the_announce_back(shop, world):
    await _topics(shop, "Lin", "Cuir")
    ana = world.peer("ana")
    for name in ("lin", "cuir"):
        await send(shop, ana, _follow_topic(shop, ana, name), inbox=f"/ap/{name}/inbox")
    await until(lambda: len(world.received) == 2)
    world.received.clear()
    letter = await shop.publish("Du lin", topics=["Lin"])
    await until(lambda: world.received)
    announce = world.received[0]
    post = await shop.services.store.read(
        posts.post_by_public_id, letter.object_id.rpartition("/")[2]
    )
    cuir = next(
        one.row.topic_id for one in await shop.services.keyring.all() if one.row.username == "cuir"
    )

    new = Draft("Du cuir", "Une lettre.", "Bonjour", "fr")
    await publishing.revise(shop.services, post.id, new, [cuir], version=post.version)
    await until(lambda: len(world.received) == 4)

    kinds = {one["type"]: one for one in world.received[1:]}
    assert kinds.keys() == {"Update", "Undo", "Announce"}
    assert kinds["Undo"]["object"]["id"] == announce["id"]
    assert kinds["Undo"]["actor"] == f"{shop.base_url}/ap/lin"
    assert kinds["Announce"]["actor"] == f"{shop.base_url}/ap/cuir"

    await publishing.withdraw(shop.services, post.id)
    await until(lambda: len(world.received) == 6)
    assert {one["type"] for one in world.received[4:]} == {"Undo", "Delete"}
    for name in ("lin", "cuir"):
        outbox = (await shop.client.get(f"/ap/{name}/outbox", headers=JSON)).json()
        assert outbox["totalItems"] == 0


async def test_names_never_clash_and_the_page_says_whom_to_follow(shop):
    await _topics(shop, "Shop", "Inbox", "Cuir végétal", "Instance")

    host = shop.base_url.partition("//")[2]
    for slug, name in (
        ("shop", "shop_2"),
        ("inbox", "inbox_2"),
        ("instance", "instance_2"),
        ("cuir-vegetal", "cuir_vegetal"),
    ):
        assert f"@{name}@{host}" in (await shop.client.get(f"/topics/{slug}")).text
        actor = (await shop.client.get(f"/ap/{name}", headers=JSON)).json()
        assert actor["url"] == f"{shop.base_url}/topics/{slug}"
    assert (await shop.client.get("/ap/shop", headers=JSON)).json()["type"] == "Person"


async def test_a_letter_stopped_in_time_was_never_listed(shop, world):
    await _topics(shop, "Lin")
    post = await shop.draft("Du lin", topics=["Lin"], second_thoughts_ms=600_000)
    await publishing.publish(shop.services, post.id, version=post.version)

    assert await publishing.stop(shop.services, post.id)

    for name in ("shop", "lin"):
        outbox = (await shop.client.get(f"/ap/{name}/outbox", headers=JSON)).json()
        assert outbox["totalItems"] == 0
