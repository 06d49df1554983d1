"""Activities and collections at their ids: as public as the post that they are about."""

import pytest

from fediletter.outbound import publish as publishing
from storage import posts
from storage.posts import Draft
from tests.federation.peer import TYPE
from tests.fediletter.test_documents_of_letters import _signed_get
from tests.fediletter.test_inbox import follow_shop, send, world
from tests.shop import until

__all__ = ["world"]

JSON = {"Accept": TYPE}


async def _edited(shop, world, letter, audience):
    """The Update of a letter, as a follower's server got it."""
    find = posts.post_by_public_id
    post = await shop.services.store.read(find, letter.object_id.rpartition("/")[2])
    new = Draft("Corrigé", "Une lettre.", "Mot secret", "fr", audience=audience)
    await publishing.revise(shop.services, post.id, new, [], version=post.version)
    await until(lambda: world.received[-1]["type"] == "Update")
    return post, world.received[-1]["id"]


@pytest.mark.rule("P16")
async def test_an_edit_of_a_letter_for_followers_is_theirs_alone(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    letter = await shop.publish("Entre nous", audience="followers", to_web=False, to_email=False)
    _, update = await _edited(shop, world, letter, "followers")

    assert (await shop.client.get(update, headers=JSON)).status_code == 404
    for url in (update, f"{letter.object_id}/likes", f"{letter.object_id}/replies"):
        found = await _signed_get(shop, url, ana.signer, "cavage")
        assert found.status_code == 200
        assert found.headers["vary"] == "Accept, Signature", url
        assert "no-store" in found.headers["cache-control"], url


@pytest.mark.rule("P12")
async def test_the_words_of_an_edit_go_with_a_withdrawn_letter(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    letter = await shop.publish(to_email=False)
    post, update = await _edited(shop, world, letter, "public")
    assert "Mot secret" in (await shop.client.get(update, headers=JSON)).text

    await publishing.withdraw(shop.services, post.id)
    await until(lambda: world.received[-1]["type"] == "Delete")

    gone = await shop.client.get(update, headers=JSON)
    assert (gone.status_code, gone.json()["type"]) == (410, "Tombstone")
    delete = await shop.client.get(world.received[-1]["id"], headers=JSON)
    assert delete.json()["type"] == "Delete"


async def test_featured_is_a_letter_that_peers_can_have(shop):
    letter = await shop.publish("Pour tous", to_email=False)
    await shop.publish("Sur le site seul", to_email=False, to_fediverse=False)

    featured = (await shop.client.get("/ap/shop/featured", headers=JSON)).json()

    assert featured["orderedItems"] == [letter.object_id]
