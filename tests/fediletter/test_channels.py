"""One reader, any channel: who follows and who has mail, counted once and served once."""

import html
import json
import re
from datetime import timedelta

import pytest

from fediletter.outbound import mailing
from fediletter.outbound import publish as publishing
from storage import posts
from storage.subscribers import change_subscriber, find_subscriber
from tests.fediletter.dump import settled
from tests.fediletter.test_digest import Calendar
from tests.fediletter.test_inbox import activity, follow_shop, send, world
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until

__all__ = ["world"]

ANA, BO, CY = "ana@reader.test", "bo@reader.test", "cy@reader.test"


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(tmp_path / "shop", clock=Calendar()) as running:
        yield running


async def follow(shop, world, name="ana"):
    peer = world.peer(name)
    await send(shop, peer, follow_shop(shop, peer))
    await until(lambda: world.received)
    world.received.clear()
    return peer


def mails(shop, address, title):
    return [one for one in shop.mailbox() if one.to == address and one.subject == title]


def letters(world, title):
    return [one for one in world.received if one["type"] == "Create" and title in json.dumps(one)]


def updates(world):
    return [one for one in world.received if one["type"] == "Update"]


async def preferences_of(shop, address):
    person = await shop.services.store.read(find_subscriber, address)
    return f"/preferences/{shop.services.tokens.preferences(person.key, person.epoch)}"


async def link_in_message(world):
    """The link in the private message that came to the account."""
    await until(lambda: world.received)
    (message,) = world.received
    world.received.clear()
    assert message["to"] == [f"{world.base}/users/ana"]
    return re.search(r'href="[^"]*(/account/[\w-]+)"', message["object"]["content"])[1]


async def test_a_subscriber_who_follows_gets_a_letter_once_and_by_mail_again_when_they_unfollow(
    shop, world
):
    await shop.subscribe(ANA)
    peer = await follow(shop, world)
    page = await preferences_of(shop, ANA)
    handle = f"@ana@{world.base.removeprefix('http://')}"
    assert (await shop.post(page, channel="claim", handle=handle)).status_code == 200
    link = await link_in_message(world)
    for _ in range(2):  # Looking is not agreeing.
        assert (await shop.client.get(link)).status_code == 200
    await shop.publish("Avant", "x")
    await until(lambda: letters(world, "Avant") and mails(shop, ANA, "Avant"))

    assert (await shop.post(link)).status_code == 200
    await shop.publish("Une fois", "x")
    await until(lambda: letters(world, "Une fois"))
    await settled(shop)
    assert mails(shop, ANA, "Une fois") == []
    assert len(letters(world, "Une fois")) == 1

    undo = activity(peer, "Undo", follow_shop(shop, peer), number=9)
    assert (await send(shop, peer, undo)).status_code == 202
    await settled(shop)
    await shop.publish("De nouveau", "x")
    await until(lambda: mails(shop, ANA, "De nouveau"))
    assert letters(world, "De nouveau") == []


async def test_a_follower_adds_mail_gets_both_only_if_they_want_both(shop, world):
    await follow(shop, world)
    await shop.publish("Suivie", "x")
    await until(lambda: letters(world, "Suivie"))
    world.received.clear()
    await shop.subscribe(ANA)  # An ordinary form: now they have both.
    handle = f"@ana@{world.base.removeprefix('http://')}"
    await shop.post(await preferences_of(shop, ANA), channel="claim", handle=handle)
    await shop.post(await link_in_message(world))
    await shop.publish("Aussi par courriel", "x", to_fediverse=False)
    await until(lambda: mails(shop, ANA, "Aussi par courriel"))
    await shop.publish("Pas deux fois", "x")
    await until(lambda: letters(world, "Pas deux fois"))
    await settled(shop)
    assert mails(shop, ANA, "Pas deux fois") == []

    await shop.post(await preferences_of(shop, ANA), channel="part")
    await shop.publish("Les deux", "x")
    await until(lambda: letters(world, "Les deux") and mails(shop, ANA, "Les deux"))


async def test_a_stranger_who_claims_an_account_silences_nobody(shop, world):
    await shop.subscribe(ANA)
    await shop.subscribe(BO)
    await follow(shop, world)
    handle = f"@ana@{world.base.removeprefix('http://')}"
    await shop.post(await preferences_of(shop, BO), channel="claim", handle=handle)
    await link_in_message(world)  # It reaches the account's owner, who does nothing.

    await shop.publish("A tous", "x")

    await until(lambda: all(mails(shop, one, "A tous") for one in (ANA, BO)))
    await until(lambda: letters(world, "A tous"))


async def test_the_sheet_counts_who_gets_it_by_mail_now_and_who_later(shop, world):
    await add_active(shop, ANA, BO, CY)

    async def change(address, **values):
        person = await shop.services.store.read(find_subscriber, address)
        await shop.services.store.write(change_subscriber, person.id, **values)

    await change(BO, rhythm="monthly")
    await change(CY, held_until=shop.services.clock.now() + timedelta(days=3))
    csrf = await shop.log_in()
    post = await shop.draft("Du lin", "Bonjour")

    page = html.unescape((await shop.client.get(f"/desk/letters/{post.id}/publish")).text)

    assert "1 abonnement par courriel · 1 plus tard dans un résumé" in page
    assert csrf


async def test_the_receipt_counts_each_reader_and_server_once_whatever_was_corrected(shop, world):
    await follow(shop, world)
    await add_active(shop, ANA, BO)
    await shop.log_in()
    await shop.publish("Du lin", "Le lin coûte 10 euros.")
    await until(lambda: letters(world, "Du lin") and mails(shop, BO, "Du lin"))
    post = await shop.services.store.read(posts.post_by_slug, "du-lin")
    for number, body in enumerate(("onze", "douze"), start=1):
        draft = posts.Draft(post.title, post.summary, body, post.language)
        await publishing.revise(shop.services, post.id, draft, [], version=post.version)
        post = await shop.services.store.read(posts.post_by_slug, "du-lin")
        await until(lambda number=number: len(updates(world)) >= number)
    await mailing.send_correction(shop.services, post.id)
    await until(lambda: len([one for one in shop.mailbox() if "Correction" in one.subject]) == 2)
    await settled(shop)

    receipt = html.unescape((await shop.client.get(f"/desk/letters/{post.id}/receipt")).text)

    told = dict(re.findall(r"<div><dt>([^<]+)</dt><dd>([^<]*)</dd></div>", receipt))
    assert told["Par courriel"] == "2 personnes"
    assert told["Fédivers"] == "1 serveur"
