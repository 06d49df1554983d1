"""Documents stand at their own ids and nowhere else, and caches keep them for whom they are."""

import pytest

from storage.schema import post
from tests.federation.peer import TYPE
from tests.fediletter.test_documents_of_letters import _signed_get
from tests.fediletter.test_inbox import follow_shop, send, world
from tests.shop import until

__all__ = ["world"]

JSON = {"Accept": TYPE}


@pytest.mark.rule("R10")
@pytest.mark.parametrize("path", ["/ap/inbox/", "/ap/shop/inbox/"])
async def test_an_inbox_with_a_slash_after_it_is_not_there_and_redirects_nobody(shop, path):
    answer = await shop.client.post(path, content=b"{}", headers={"Content-Type": TYPE})

    assert answer.status_code == 404
    assert "location" not in answer.headers


async def test_an_id_with_a_slash_after_it_is_another_address(shop):
    letter = await shop.publish()
    for url in ("/ap/shop/", f"{letter.object_id}/"):
        assert (await shop.client.get(url, headers=JSON)).status_code == 404, url


@pytest.mark.rule("R10")
@pytest.mark.parametrize("path", ["/ap/shop/blocks", "/ap/shop/issues", "/ap/a/b/c/d/e"])
async def test_what_is_not_there_is_404_at_once_and_redirects_nobody(shop, path):
    for url in (path, f"{path}/"):
        answer = await shop.client.get(url, headers=JSON)
        assert (answer.status_code, "location" in answer.headers) == (404, False), url


async def test_an_object_stands_below_its_own_kind_alone(shop):
    letter = await shop.publish()
    token = letter.object_id.rpartition("/")[2]
    for kind in ("notes", "others"):
        assert (await shop.client.get(f"/ap/shop/{kind}/{token}", headers=JSON)).status_code == 404

    def withdraw_a_note(tx):
        chosen = post.update().where(post.c.public_id == token)
        tx.execute(chosen.values(kind="note", state="withdrawn"))

    await shop.services.store.write(withdraw_a_note)
    assert (await shop.client.get(f"/ap/shop/notes/{token}", headers=JSON)).status_code == 410
    for kind in ("issues", "others"):
        assert (await shop.client.get(f"/ap/shop/{kind}/{token}", headers=JSON)).status_code == 404


async def test_the_profile_varies_by_what_is_accepted(shop):
    for name in ("shop", "Shop"):
        people = await shop.client.get(f"/@{name}", headers={"Accept": "text/html"})
        servers = await shop.client.get(f"/@{name}", headers=JSON)

        assert people.status_code == 200
        assert "Accept" in people.headers["vary"].split(", ")
        assert servers.headers["location"] == f"{shop.base_url}/ap/shop"


@pytest.mark.rule("P16")
async def test_what_stands_around_a_letter_for_followers_is_kept_by_no_cache(shop, world):
    letter = await shop.publish("Entre nous", audience="followers", to_web=False, to_email=False)
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)

    for name in ("likes", "shares", "replies", "context"):
        url = f"{letter.object_id}/{name}"
        allowed = await _signed_get(shop, url, ana.signer)
        refused = await shop.client.get(url, headers=JSON)

        assert allowed.status_code == 200, name
        assert allowed.headers["vary"] == "Accept, Signature"
        assert "no-store" in allowed.headers["cache-control"]
        assert refused.status_code == 404, name
        assert refused.headers["cache-control"] == "no-store"
