"""Articles and collections at their limits: audiences, edits, withdrawal, cursors (P08 to P16)."""

from datetime import UTC, datetime

import httpx
import pytest

from federation.keys import Signer
from federation.origins import parse_url
from federation.signatures import cavage, rfc9421
from fediletter.outbound import publish as publishing
from storage import conversations, posts
from storage.posts import Draft
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


async def _post_of(shop, letter):
    return await shop.services.store.read(
        posts.post_by_public_id, letter.object_id.rpartition("/")[2]
    )


@pytest.mark.rule("P08")
@pytest.mark.rule("R5")
async def test_the_create_and_its_object_say_the_same(shop):
    letter = await shop.publish(
        "Du lin", "Bonjour", topics=["Lin"], hashtags="tissage lin", article_form=""
    )
    create = (await shop.client.get(f"{letter.object_id}/activity", headers=JSON)).json()
    article = create["object"]

    assert create["to"] == article["to"] == [PUBLIC]
    assert create["cc"] == article["cc"] == [f"{shop.base_url}/ap/shop/followers"]
    assert create["published"] == article["published"]
    assert "updated" not in article
    assert article["nameMap"] == {"fr": "Du lin"}
    assert article["contentMap"] == {"fr": article["content"]}
    assert article["preview"]["type"] == "Note"
    assert letter.url in article["preview"]["content"]
    for name in ("attributedTo", "published", "tag"):
        assert article["preview"][name] == article[name]
    assert "generator" not in article["preview"]
    assert article["interactionPolicy"].keys() == {"canQuote"}
    assert [tag["name"] for tag in article["tag"]] == ["#lin", "#tissage"]
    assert article["context"] == article["conversation"]
    assert "attachment" not in article
    terms = create["@context"][-1]
    assert {"Hashtag", "interactionPolicy", "canQuote", "automaticApproval"} <= terms.keys()


@pytest.mark.rule("P11")
async def test_two_edits_in_one_second_are_strictly_later_each(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    letter = await shop.publish()
    for title in ("Un", "Deux"):
        post = await _post_of(shop, letter)
        new = Draft(title, "Une lettre.", "Bonjour", "fr", audience="followers")
        await publishing.revise(shop.services, post.id, new, [], version=post.version)
    await until(lambda: len(world.received) == 4)

    create, first, second = (one["object"] for one in world.received[1:])
    assert create["published"] == first["published"] == second["published"]
    assert create["published"] < first["updated"] < second["updated"]
    assert second["to"] == [PUBLIC], "who got it before keeps the right to it"


async def test_an_edit_keeps_the_likes_that_peers_count(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    letter = await shop.publish()
    await send(shop, ana, activity(ana, "Like", letter.object_id))

    async def liked():
        article = (await shop.client.get(letter.object_id, headers=JSON)).json()
        return article["likes"]["totalItems"] == 1

    await until(liked)
    post = await _post_of(shop, letter)
    new = Draft("Corrigé", "Une lettre.", "Bonjour", "fr")
    await publishing.revise(shop.services, post.id, new, [], version=post.version)
    await until(lambda: world.received[-1]["type"] == "Update")

    assert world.received[-1]["object"]["likes"]["totalItems"] == 1


@pytest.mark.rule("P12")
async def test_a_withdrawn_letter_is_gone_from_every_collection(shop, world):
    ana = world.peer("ana")
    letter = await shop.publish()
    await send(shop, ana, activity(ana, "Create", note(ana, letter.object_id)))
    reply = (await waiting(shop))[0]
    await shop.services.store.write(conversations.decide, reply.id, state="approved")

    await publishing.withdraw(shop.services, (await _post_of(shop, letter)).id)

    for path in (letter.object_id, f"{letter.object_id}/activity"):
        answer = await shop.client.get(path, headers=JSON)
        assert (answer.status_code, answer.json()["type"]) == (410, "Tombstone")
        assert answer.json()["formerType"] == "Article"
    for name in ("replies", "likes", "shares", "context"):
        path = f"{letter.object_id}/{name}"
        assert (await shop.client.get(path, headers=JSON)).status_code == 404
    for name in ("outbox", "featured"):
        found = (await shop.client.get(f"/ap/shop/{name}", headers=JSON)).json()
        assert found["totalItems"] == 0


@pytest.mark.rule("P14")
async def test_featured_letters_are_strings(shop):
    letter = await shop.publish()

    featured = (await shop.client.get("/ap/shop/featured", headers=JSON)).json()

    assert featured["type"] == "OrderedCollection"
    assert featured["orderedItems"] == [letter.object_id]


@pytest.mark.rule("P15")
async def test_structured_data_stands_under_a_policy_without_scripts(shop):
    letter = await shop.publish("Fin </script><script>alert(1)</script>", "Bonjour")

    answer = await shop.client.get(letter.url)

    assert "script-src 'none'" in answer.headers["content-security-policy"]
    assert answer.text.count("<script") == 1
    assert '<script type="application/ld+json">' in answer.text


@pytest.mark.rule("P16")
async def test_an_unlisted_letter_has_the_public_in_cc_and_is_in_no_list(shop):
    letter = await shop.publish("Discret", audience="unlisted")

    article = (await shop.client.get(letter.object_id, headers=JSON)).json()
    assert article["to"] == [f"{shop.base_url}/ap/shop/followers"]
    assert article["cc"] == [PUBLIC]
    assert (await shop.client.get(letter.url)).status_code == 200
    assert "Discret" not in (await shop.client.get("/")).text
    for name in ("outbox", "featured"):
        found = (await shop.client.get(f"/ap/shop/{name}", headers=JSON)).json()
        assert found["totalItems"] == 0


async def _signed_get(shop, url, signer: Signer, scheme="cavage", **kw):
    now = datetime.now(UTC)
    target = parse_url(url)
    sign = cavage.sign_get if scheme == "cavage" else rfc9421.sign_get
    headers = {"Host": target.authority, "Accept": TYPE, **sign(target, signer=signer, now=now)}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.get(url, headers=headers)


@pytest.mark.rule("P16")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
async def test_a_letter_for_followers_is_read_by_their_servers_alone(shop, world, scheme):
    letter = await shop.publish("Entre nous", audience="followers", to_web=False, to_email=False)
    url = letter.object_id
    ana, bo = world.peer("ana"), world.peer("bo")
    stranger = Signer("https://elsewhere.example/users/x#main-key", ana.key)
    assert (await _signed_get(shop, url, bo.signer, scheme)).status_code == 404
    assert world.fetched == [], "nobody there follows: nothing is fetched for their signature"

    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)

    found = await _signed_get(shop, url, bo.signer, scheme)
    assert found.status_code == 200, "bo's server has a follower; its key is fetched"
    assert found.json()["to"] == [f"{shop.base_url}/ap/shop/followers"]
    assert found.json()["cc"] == []
    assert "interactionPolicy" not in found.json()
    assert found.headers["vary"] == "Accept, Signature"
    assert "no-store" in found.headers["cache-control"]
    assert (await _signed_get(shop, url, stranger, scheme)).status_code == 404
    wrong = Signer(ana.signer.key_id, bo.key)
    assert (await _signed_get(shop, url, wrong, scheme)).status_code == 404
    assert (await shop.client.get(url, headers=JSON)).status_code == 404
    assert (await shop.client.get(letter.url)).status_code == 404
    assert (await shop.client.get(f"{url}/activity", headers=JSON)).status_code == 404
    outbox = (await shop.client.get("/ap/shop/outbox", headers=JSON)).json()
    assert outbox["totalItems"] == 0


@pytest.mark.rule("L-28")
async def test_collections_turn_pages_by_cursors_that_cannot_be_guessed(shop, monkeypatch):
    for module in ("peers", "objects"):
        monkeypatch.setattr(f"fediletter.web.fediverse.{module}.COLLECTION_PAGE", 2)
    letters = [await shop.publish(f"Lettre {number}") for number in range(5)]
    get = shop.client.get

    outbox = (await get("/ap/shop/outbox", headers=JSON)).json()
    seen, url = [], outbox["first"]
    while url:
        page = (await get(url, headers=JSON)).json()
        assert page["id"] == url
        assert len(page["orderedItems"]) <= 2
        seen += [one["object"]["id"] for one in page["orderedItems"]]
        url = page.get("next")

    assert seen == [letter.object_id for letter in reversed(letters)]
    for forged in ("1", "5", "AAAAAAAAAAAAAAAAAAAAAA", "x" * 90):
        path = f"/ap/shop/outbox?page={forged}"
        assert (await get(path, headers=JSON)).status_code == 404
    other = (await get(outbox["first"], headers=JSON)).json()["next"].partition("?")[2]
    path = f"{letters[0].object_id}/replies?{other}"
    assert (await get(path, headers=JSON)).status_code == 404, "made for another collection"


@pytest.mark.rule("L-28")
async def test_a_long_conversation_stands_on_pages_too(shop, world, monkeypatch):
    monkeypatch.setattr("fediletter.web.fediverse.objects.COLLECTION_PAGE", 2)
    letter = await shop.publish()
    ana = world.peer("ana")
    for number in range(3):
        words = note(ana, letter.object_id, number)
        await send(shop, ana, activity(ana, "Create", words, number))
    for reply in await waiting(shop, 3):
        await shop.services.store.write(conversations.decide, reply.id, state="approved")

    root = (await shop.client.get(f"{letter.object_id}/replies", headers=JSON)).json()
    first = (await shop.client.get(root["first"], headers=JSON)).json()
    last = (await shop.client.get(first["next"], headers=JSON)).json()

    assert root["totalItems"] == 3
    assert first["type"] == "CollectionPage"
    assert [len(first["items"]), len(last["items"])] == [2, 1]
    context = (await shop.client.get(f"{letter.object_id}/context", headers=JSON)).json()
    page = (await shop.client.get(context["first"], headers=JSON)).json()
    assert page["orderedItems"][0] == letter.object_id


async def test_the_profile_and_the_shop_name_each_other(shop):
    csrf = await shop.log_in()
    await shop.post(
        "/desk/settings",
        csrf=csrf,
        title="Atelier",
        language="fr",
        shop_url="https://shop.example/",
    )

    actor = (await shop.client.get("/ap/shop", headers=JSON)).json()

    assert actor["attachment"] == [
        {
            "type": "PropertyValue",
            "name": "Atelier",
            "value": '<a href="https://shop.example/" rel="me nofollow noopener">'
            "https://shop.example/</a>",
        }
    ]
    assert '<link rel="me" href="https://shop.example/">' in (await shop.client.get("/@shop")).text
    assert actor["attributionDomains"] == ["127.0.0.1"]
    assert isinstance(actor["indexable"], bool)


async def test_the_form_sets_hashtags_and_audience(shop):
    csrf = await shop.log_in()
    form = {"title": "Du lin", "body": "Bonjour", "language": "fr", "csrf": csrf}
    answer = await shop.post(
        "/desk/letters", **form, hashtags="#Lin, tissage-main #lin 42", audience="followers"
    )
    post_id = int(answer.headers["location"].rpartition("/")[2].partition("?")[0])

    post = await shop.services.store.read(posts.get_post, post_id)

    assert post.hashtags == "Lin tissagemain"
    assert (post.audience, post.to_web, post.to_email, post.to_fediverse) == (
        "followers",
        False,
        False,
        True,
    )
