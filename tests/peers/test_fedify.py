"""The shop beside a server that we did not write: Fedify, the library under Ghost and Hollo.

A 202 says nothing: each step is read off at the far side: what Fedify has verified and keeps, what
the shop's pages show.
"""

from pathlib import Path

import pytest

from fediletter.outbound import publish as publishing
from storage import conversations, followers, posts
from storage.posts import Draft
from tests.peers.certificates import make_certificates
from tests.peers.fedify_peer import running_fedify
from tests.shop import running_shop, until


@pytest.mark.parametrize("first_knock", ["cavage", "rfc9421"])
async def test_a_reader_on_fedify_gets_everything_and_answers(tmp_path: Path, first_knock):
    certificates = make_certificates(tmp_path)
    async with (
        running_shop(tmp_path / "shop", certificates=certificates) as shop,
        running_fedify(certificates[0], first_knock=first_knock) as peer,
    ):
        await _finds_and_follows(shop, peer)
        letter = await _receives(shop, peer)
        await _answers(shop, peer, letter)
        await _sees_edit_and_withdrawal(shop, peer, letter)


async def _finds_and_follows(shop, peer):
    found = await peer.ask("lookup", target=f"@{shop.handle}")
    assert (found["id"], found["type"]) == (f"{shop.base_url}/ap/shop", "Person")

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
    looked_up = await peer.ask("lookup", target=letter.url)
    assert (looked_up["id"], looked_up["type"]) == (letter.object_id, "Article")
    return letter


async def _answers(shop, peer, letter):
    await peer.ask("like", object=letter.object_id)
    await peer.ask("boost", object=letter.object_id)
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
    update = (await peer.received("Update"))[0]
    assert update["object"]["name"] == "Du lin, corrigé"

    await publishing.withdraw(shop.services, post.id)
    delete = (await peer.received("Delete"))[0]
    assert delete["object"]["id"] == letter.object_id


async def _post(shop, letter):
    public_id = letter.object_id.rpartition("/")[2]
    return await shop.services.store.read(posts.post_by_public_id, public_id)
