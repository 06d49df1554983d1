"""A letter by mail: tried on oneself, corrected on purpose, stopped in every channel."""

import re
from datetime import UTC, datetime

import pytest

from fediletter.errors import AppError
from fediletter.outbound import mailing
from fediletter.outbound import publish as publishing
from storage import posts
from tests.fediletter.dump import dump, settled
from tests.peers.test_postfix import add_active
from tests.shop import EMAIL, running_shop, until

ANA, BO = "ana@readers.test", "bo@readers.test"
JSON = {"Accept": "application/activity+json"}


def mails(shop, address):
    return [mail for mail in shop.mailbox() if mail.to == address]


async def get(shop, slug):
    return await shop.services.store.read(posts.post_by_slug, slug)


async def change(shop, post, body):
    draft = posts.Draft(post.title, post.summary, body, post.language)
    await publishing.revise(shop.services, post.id, draft, [], version=post.version)
    return await get(shop, post.slug)


@pytest.mark.rule("HD-23")
async def test_a_founder_gets_a_test_whose_links_belong_to_nobody(shop):
    await add_active(shop, ANA)
    csrf = await shop.log_in()
    post = await shop.draft("Du lin", "Bonjour **lin**.")

    answer = await shop.post(f"/desk/letters/{post.id}/test", csrf=csrf)

    assert answer.status_code == 303
    mail = (await shop.mail_to(EMAIL))[0]
    headers = dict(mail.headers)
    assert mail.subject == "[Test] Du lin"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert {"List-ID", "Archived-At", "Precedence"} <= set(headers)
    await settled(shop)
    link = re.search(r"/unsubscribe/[\w-]+", headers["List-Unsubscribe"])[0]
    before = await shop.services.store.read(dump)
    assert "lettre d’essai" in (await shop.client.get(link)).text
    click = await shop.client.post(link, data={"List-Unsubscribe": "One-Click"})
    assert click.status_code == 200
    assert await shop.services.store.read(dump) == before
    assert mails(shop, ANA) == []
    assert (await get(shop, post.slug)).state == "draft"


async def test_a_change_goes_to_pages_and_peers_and_by_mail_only_on_purpose(shop):
    await add_active(shop, ANA)
    csrf = await shop.log_in()
    published = await shop.publish("Du lin", "Le lin coûte 10 euros.")
    await until(lambda: len(mails(shop, ANA)) == 1)
    await add_active(shop, BO)  # Came later: had no letter, needs no correction.
    post = await change(shop, await get(shop, "du-lin"), "Le lin coûte 12 euros.")
    await settled(shop)
    assert "12 euros" in (await shop.client.get(published.url)).text
    assert "12 euros" in (await shop.client.get(published.object_id, headers=JSON)).text
    assert len(mails(shop, ANA)) == 1

    page = (await shop.client.get(f"/desk/letters/{post.id}/delivery")).text
    assert f"/desk/letters/{post.id}/correction" in page
    await shop.post(f"/desk/letters/{post.id}/correction", csrf=csrf)
    await until(lambda: len(mails(shop, ANA)) == 2)

    correction = next(mail for mail in mails(shop, ANA) if "Correction" in mail.subject)
    assert correction.subject == "Correction : Du lin"
    assert "Ceci corrige une lettre que vous avez reçue" in correction.text
    assert "12 euros" in correction.text
    again = await shop.post(f"/desk/letters/{post.id}/correction", csrf=csrf)
    assert again.status_code == 409
    page = (await shop.client.get(f"/desk/letters/{post.id}/delivery")).text
    assert f"/desk/letters/{post.id}/correction" not in page
    await settled(shop)
    assert len(mails(shop, ANA)) == 2
    assert mails(shop, BO) == []


async def test_an_unchanged_letter_is_not_corrected_and_a_second_change_may_be(shop):
    await add_active(shop, ANA)
    await shop.publish("Du lin", "un")
    await until(lambda: len(mails(shop, ANA)) == 1)
    post = await get(shop, "du-lin")
    with pytest.raises(AppError, match="nothing to correct"):
        await mailing.send_correction(shop.services, post.id)

    for body in ("deux", "trois"):
        post = await change(shop, post, body)
        await mailing.send_correction(shop.services, post.id)

    await until(lambda: len(mails(shop, ANA)) == 3)


async def test_stop_within_second_thoughts_stops_mail_and_peers_and_page_and_feeds(tmp_path):
    async with running_shop(tmp_path / "shop", second_thoughts="10m") as shop:
        await add_active(shop, ANA)
        csrf = await shop.log_in()
        published = await shop.publish("Trop vite", "Oups.")
        post = await get(shop, "trop-vite")

        answer = await shop.post(f"/desk/letters/{post.id}/stop", csrf=csrf)

        assert answer.headers["location"] == f"/desk/letters/{post.id}"
        assert (await get(shop, post.slug)).state == "draft"
        for path in (published.url, published.object_id):
            assert (await shop.client.get(path, headers=JSON)).status_code in (404, 410)
        for path in ("/", "/feed.atom", "/feed.json", "/ap/shop/outbox?page=true"):
            assert "Trop vite" not in (await shop.client.get(path)).text
        assert await waiting(shop) == 0
        assert mails(shop, ANA) == []


async def waiting(shop):
    from storage.fan_outs import due_fan_outs

    later = datetime(2100, 1, 1, tzinfo=UTC)
    return len(await shop.services.store.read(due_fan_outs, now=later))


@pytest.mark.parametrize(("window", "open_ones"), [(0, False), (600_000, True)])
async def test_a_letter_has_its_own_window(shop, window, open_ones):
    await add_active(shop, ANA)
    await shop.publish("Du lin", "x", second_thoughts_ms=window)

    if open_ones:
        assert await waiting(shop) > 0
    else:
        await until(lambda: mails(shop, ANA))


@pytest.mark.rule("MI-8")
async def test_a_letter_beyond_what_gmail_shows_is_not_mailed(shop):
    post = await shop.draft("Long", "Un paragraphe de lin.\n\n" * 2500)

    with pytest.raises(AppError, match="too long for a mail"):
        await publishing.publish(shop.services, post.id, version=post.version)

    assert (await get(shop, post.slug)).state == "draft"
    await shop.publish("Long ailleurs", "Un paragraphe de lin.\n\n" * 2500, to_email=False)
