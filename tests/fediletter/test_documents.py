"""What other servers read: discovery, actors, the Article and its limits."""

import json
import re

import pytest

from federation.keys import public_key

JSON = {"Accept": "application/activity+json"}
LD = 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'


@pytest.mark.rule("P01")
@pytest.mark.rule("P02")
async def test_webfinger_finds_the_account_under_every_alias(shop):
    host = shop.base_url.partition("//")[2]
    get = shop.client.get
    for resource in (
        f"acct:shop@{host}",
        f"acct%3AShop%40{host}",
        f"@shop@{host}",
        f"{shop.base_url}/ap/shop",
        f"{shop.base_url}/@shop",
    ):
        answer = await get(f"/.well-known/webfinger?resource={resource}")
        assert answer.status_code == 200, resource
        assert answer.headers["content-type"] == "application/jrd+json"
        assert answer.headers["access-control-allow-origin"] == "*"
        document = answer.json()
        assert document["subject"] == f"acct:shop@{host}"
        own = [link for link in document["links"] if link["rel"] == "self"]
        assert own == [
            {
                "rel": "self",
                "type": "application/activity+json",
                "href": f"{shop.base_url}/ap/shop",
            }
        ]
    assert (await get("/.well-known/webfinger")).status_code == 400
    assert (await get(f"/.well-known/webfinger?resource=acct:no@{host}")).status_code == 404


@pytest.mark.rule("P03")
async def test_webfinger_finds_the_instance_actor(shop):
    host = shop.base_url.partition("//")[2]

    answer = await shop.client.get(f"/.well-known/webfinger?resource=acct:127.0.0.1@{host}")

    assert answer.json()["links"][0]["href"] == f"{shop.base_url}/ap/instance"


@pytest.mark.rule("P04")
@pytest.mark.parametrize(
    "accept", ["application/activity+json", "application/ld+json", LD, f"{LD}, text/html;q=0.1"]
)
async def test_the_actor_is_json_for_servers(shop, accept):
    answer = await shop.client.get("/ap/shop", headers={"Accept": accept, "Signature": "garbage"})

    assert answer.headers["content-type"] == "application/activity+json"
    assert answer.headers["vary"] == "Accept"
    assert answer.json()["@context"][0] == "https://www.w3.org/ns/activitystreams"


@pytest.mark.rule("P04")
async def test_the_actor_is_a_page_for_people(shop):
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

    answer = await shop.client.get("/ap/shop", headers={"Accept": browser})

    assert answer.status_code == 302
    assert answer.headers["location"] == f"{shop.base_url}/@shop"
    assert (await shop.client.get("/@shop")).status_code == 200


@pytest.mark.rule("P06")
async def test_the_actors_key_is_one_object_with_an_rsa_key(shop):
    for path in ("/ap/shop", "/ap/instance"):
        actor = (await shop.client.get(path, headers=JSON)).json()
        key = actor["publicKey"]
        assert key["id"] == actor["id"] + "#main-key"
        assert key["owner"] == actor["id"]
        assert public_key(key["publicKeyPem"]).kind == "rsa"
        assert public_key(actor["assertionMethod"][0]["publicKeyMultibase"]).kind == "ed25519"
        assert actor["endpoints"]["sharedInbox"] == f"{shop.base_url}/ap/inbox"


@pytest.mark.rule("P07")
async def test_nodeinfo_leads_to_both_versions(shop):
    links = (await shop.client.get("/.well-known/nodeinfo")).json()["links"]
    for link in links[:2]:
        document = (await shop.client.get(link["href"])).json()
        assert document["software"]["name"] == "fediletter"
        assert document["protocols"] == ["activitypub"]
    assert links[2]["href"] == f"{shop.base_url}/ap/instance"


@pytest.mark.rule("P08")
@pytest.mark.rule("R4")
async def test_the_article_is_what_peers_can_read(shop):
    letter = await shop.publish("Du lin", "Bonjour **lin**", summary="Une accroche", topics=["Lin"])
    article = (await shop.client.get(letter.object_id, headers=JSON)).json()
    create = (await shop.client.get(f"{letter.object_id}/activity", headers=JSON)).json()

    assert create["object"] == {k: v for k, v in article.items() if k != "@context"}
    assert article["type"] == "Article"
    assert (article["name"], article["summary"]) == ("Du lin", "Une accroche")
    assert article["content"].startswith("<h2>Du lin</h2>")
    assert isinstance(article["url"], str)
    assert article["attributedTo"] == f"{shop.base_url}/ap/shop"
    assert _depth(create) <= 7
    assert len(json.dumps(create)) < 1 << 20


def _depth(value) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(one) for one in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(one) for one in value), default=0)
    return 0


@pytest.mark.rule("P09")
async def test_a_title_never_looks_like_markup(shop):
    letter = await shop.publish("Tips <b>& tricks</b>", "Bonjour")

    name = (await shop.client.get(letter.object_id, headers=JSON)).json()["name"]

    assert "<b" not in name
    assert "&amp;" not in name


@pytest.mark.rule("P10")
async def test_a_very_long_letter_is_cut_with_a_link_to_the_rest(shop):
    letter = await shop.publish("Long", "Un paragraphe de lin.\n\n" * 7000, to_email=False)

    article = (await shop.client.get(letter.object_id, headers=JSON)).json()

    assert 89_000 < len(article["content"]) <= 90_000
    assert article["content"].endswith(f'<a href="{letter.url}">Lire la suite</a></p>')
    assert "contentMap" not in article, "long contents stand in a document once"
    assert article["nameMap"] == {"fr": "Long"}


@pytest.mark.slow
@pytest.mark.rule("P10")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param("lin " * 30_000, id="one paragraph"),
        pytest.param("- une toile de lin\n" * 5000, id="one list"),
        pytest.param("> - > une toile\n\n" * 5000, id="lists in quotes"),
        pytest.param("```\n" + "lin\n" * 30_000 + "```", id="one listing"),
        pytest.param("x" * 100_000, id="one word"),
    ],
)
async def test_what_is_cut_is_whole_html_all_the_same(shop, body):
    letter = await shop.publish("Long", body, to_email=False)

    content = (await shop.client.get(letter.object_id, headers=JSON)).json()["content"]

    more = f'<p><a href="{letter.url}">Lire la suite</a></p>'
    assert content.endswith(more)
    assert len(content) <= 90_000
    assert "x" in body or len(content) > 80_000, "as much as possible is kept"
    opened = []
    for closing, name in re.findall(r"<(/?)([a-z0-9]+)[^>]*>", content):
        if closing:
            assert opened.pop() == name
        else:
            opened.append(name)
    assert opened == []
    assert "<<" not in content
    assert re.search("<[^>]*<", content) is None


async def test_hashtags_are_defined_wherever_they_stand(shop):
    await shop.publish("Du lin", "Bonjour", topics=["Lin"])
    for path in ("/ap/shop/tags", "/ap/shop/outbox?page=true"):
        document = (await shop.client.get(path, headers=JSON)).json()
        assert document["@context"][0] == "https://www.w3.org/ns/activitystreams"
        assert document["@context"][1]["Hashtag"] == "as:Hashtag", path


async def test_content_has_no_element_and_attribute_beyond_the_subset(shop):
    letter = await shop.publish("Du lin", '~~Non~~ [oui](https://shop.example/ "Titre")')

    content = (await shop.client.get(letter.object_id, headers=JSON)).json()["content"]

    assert content.endswith('<p><del>Non</del> <a href="https://shop.example/">oui</a></p>\n')


@pytest.mark.rule("P13")
async def test_collections_say_how_many_and_not_who(shop):
    letter = await shop.publish()
    get = shop.client.get
    followers = (await get("/ap/shop/followers", headers=JSON)).json()
    assert followers["totalItems"] == 0
    assert "first" not in followers
    assert (await get("/ap/shop/followers?page=true", headers=JSON)).status_code == 404
    featured = (await get("/ap/shop/featured", headers=JSON)).json()
    assert featured["orderedItems"] == [letter.object_id]
    outbox = (await get("/ap/shop/outbox", headers=JSON)).json()
    assert outbox["totalItems"] == 1
    page = (await get(outbox["first"], headers=JSON)).json()
    assert page["orderedItems"][0]["object"]["id"] == letter.object_id


@pytest.mark.rule("P15")
async def test_the_page_of_a_letter_has_what_cards_are_made_of(shop):
    letter = await shop.publish("Du lin", "Bonjour", summary="Une accroche")
    page = (await shop.client.get(letter.url)).text

    assert (
        f'<link rel="alternate" type="application/activity+json" href="{letter.object_id}">' in page
    )
    assert '<meta property="og:title" content="Du lin">' in page
    assert '<meta property="og:description" content="Une accroche">' in page
    assert f'<meta name="fediverse:creator" content="@{shop.handle}">' in page
    assert '"headline": "Du lin"' in page
    answer = await shop.client.get(letter.url, headers=JSON)
    assert (answer.status_code, answer.headers["location"]) == (302, letter.object_id)


async def test_drafts_are_nowhere(shop):
    post = await shop.draft("Secret", "Rien")
    for path in (f"/letters/{post.slug}", f"/ap/shop/issues/{post.public_id}"):
        assert (await shop.client.get(path, headers=JSON)).status_code == 404
    assert "Secret" not in (await shop.client.get("/")).text
