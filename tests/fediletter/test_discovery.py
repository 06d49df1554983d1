"""How other servers find us: WebFinger by any spelling, the instance actor, NodeInfo's counts."""

import pytest

from storage import posts
from storage.schema import post
from tests.federation.peer import TYPE

JSON = {"Accept": TYPE}


@pytest.mark.rule("P02")
async def test_webfinger_takes_addresses_in_upper_case(shop):
    host = shop.base_url.partition("//")[2]
    for resource in (
        f"ACCT:Shop@{host}",
        f"{shop.base_url.upper()}/ap/shop",
        f"{shop.base_url}/ap/Shop",
        f"{shop.base_url}/@SHOP",
    ):
        answer = await shop.client.get(f"/.well-known/webfinger?resource={resource}")
        assert answer.status_code == 200, resource
        assert answer.json()["links"][0]["href"] == f"{shop.base_url}/ap/shop"
    for resource in (f"{shop.base_url}/ap/other/shop", f"{shop.base_url}/Shop"):
        answer = await shop.client.get(f"/.well-known/webfinger?resource={resource}")
        assert answer.status_code == 404, resource


async def test_the_base_url_leads_to_the_instance_actor(shop):
    answer = await shop.client.get(f"/.well-known/webfinger?resource={shop.base_url}/")
    links = {link["rel"]: link["href"] for link in answer.json()["links"]}
    actor = (await shop.client.get("/ap/instance", headers=JSON)).json()

    assert links["https://www.w3.org/ns/activitystreams#Service"] == actor["id"] == links["self"]
    assert f"acct:{actor['webfinger']}" == answer.json()["subject"]


@pytest.mark.rule("P07")
async def test_nodeinfo_counts_answers_apart_from_letters(shop):
    await shop.publish()
    said, answers = await shop.services.store.read(posts.count_published)
    letter = await shop.draft("Réponse", audience="public")

    def work(tx):
        tx.execute(
            post.update().where(post.c.id == letter.id).values(kind="note", state="published")
        )

    await shop.services.store.write(work)
    document = (await shop.client.get("/nodeinfo/2.1")).json()

    assert (said, answers) == (1, 0)
    assert document["usage"]["localPosts"] == 1
    assert document["usage"]["localComments"] == 1
    assert document["software"]["homepage"] == document["software"]["repository"]
    assert "homepage" not in (await shop.client.get("/nodeinfo/2.0")).json()["software"]
