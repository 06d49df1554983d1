"""The publish sheet's channels, and the receipt of what went where."""

import re
from itertools import product

import pytest
import sqlalchemy as sa

from fediletter.outbound import publish as publishing
from storage import posts
from storage.schema import delivery
from tests.fediletter.test_delivery_view import published_to_readers
from tests.shop import running_shop, until

CHOICES = [
    one for one in product((True, False), repeat=3) if any(one) and not (one[1] and not one[0])
]


async def published_from_the_sheet(shop, csrf, post, **form):
    answer = await shop.post(
        f"/desk/letters/{post.id}/publish",
        csrf=csrf,
        version=str(post.version),
        channels="chosen",
        when="now",
        window="0",
        **form,
    )
    return answer


@pytest.mark.parametrize(("web", "fediverse", "email"), CHOICES)
async def test_a_letter_goes_where_the_sheet_says_and_nowhere_else(shop, web, fediverse, email):
    await shop.subscribe("ana@example.org")
    csrf = await shop.log_in()
    post = await shop.draft("Du lin", "Bonjour.")
    ticked = {"to_web": web, "to_fediverse": fediverse, "to_email": email}
    yes = {name: "yes" for name, on in ticked.items() if on}

    answer = await published_from_the_sheet(shop, csrf, post, **yes)

    assert answer.status_code == 303, answer.text
    view = f"{answer.headers['location']}.json"

    async def done():
        return (await shop.client.get(view)).json()["finished"]

    await until(done)
    letter = await shop.services.store.read(posts.get_post, post.id)
    links = shop.services.links
    page = await shop.client.get(links.letter(letter.slug))
    feed = (await shop.client.get("/feed.atom")).text
    asked = {"Accept": "application/activity+json"}
    outbox = (
        await shop.client.get(f"/ap/{shop.settings.account_user}/outbox", headers=asked)
    ).json()
    assert (page.status_code == 200, "Du lin" in feed) == (web, web)
    assert (outbox["totalItems"] == 1) == fediverse
    assert ([m.subject for m in shop.mailbox()].count("Du lin") == 1) == email


@pytest.mark.parametrize(
    "yes", [{}, {"to_fediverse": "yes"}, {"to_fediverse": "yes", "to_email": "yes"}]
)
async def test_no_channel_or_the_fediverse_without_its_page_is_refused_beside_the_boxes(shop, yes):
    csrf = await shop.log_in()
    post = await shop.draft("Du lin", "Bonjour.")

    answer = await published_from_the_sheet(shop, csrf, post, **yes)

    assert answer.status_code == 422
    assert '<fieldset aria-invalid="true" aria-describedby="p-channels">' in answer.text
    assert 'id="p-channels"' in answer.text
    again = await shop.services.store.read(posts.get_post, post.id)
    assert (again.state, again.version) == ("draft", post.version)


async def test_while_a_letter_is_on_its_way_there_is_no_receipt(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        await shop.log_in()
        post = await shop.draft()
        await publishing.publish(shop.services, post.id, version=post.version)

        answer = await shop.client.get(f"/desk/letters/{post.id}/receipt")

    assert answer.status_code == 303
    assert answer.headers["location"] == f"/desk/letters/{post.id}/delivery"


async def test_the_receipt_counts_readers_and_tells_refusals_weight_and_requests(shop):
    await shop.log_in()
    post = await published_to_readers(shop)

    async def done():
        state = (await shop.client.get(f"/desk/letters/{post.id}/delivery.json")).json()
        return state["finished"]

    await until(done)

    def refuse_one(tx):
        first = tx.scalar(
            sa.select(sa.func.min(delivery.c.id)).where(delivery.c.mailing_id.is_not(None))
        )
        tx.execute(
            sa.update(delivery)
            .where(delivery.c.id == first)
            .values(state="failed", answer="550 5.1.1 no such reader")
        )

    await shop.services.store.write(refuse_one)

    receipt = (await shop.client.get(f"/desk/letters/{post.id}/receipt")).text

    facts = dict(
        re.findall(r"<div><dt>([^<]+)</dt><dd>(.*?)</dd></div>", re.sub(r"\s+", " ", receipt))
    )
    told = {name: re.sub("<[^>]+>", " ", value).strip() for name, value in facts.items()}
    assert told["Par courriel"] == "1 personne", told
    assert "550 5.1.1 no such reader" in told["Refusé"]
    assert told["Demandes à quelqu’un d’autre à l’ouverture"] == "0"
    weight = float(
        re.match(r"[\d,]+", told["Poids d’une lettre, sans ses images"])[0].replace(",", ".")
    )
    assert 3 < weight < 102
