"""A letter by mail: tried on oneself, corrected on purpose, stopped in every channel."""

import gc
import re
from datetime import timedelta
from unittest.mock import ANY

import pytest
import sqlalchemy as sa

from fediletter.errors import AppError
from fediletter.outbound import mailing, send_mail
from fediletter.outbound import publish as publishing
from storage import posts
from storage.mailings import Letter
from storage.schema import subscriber
from tests.fediletter.dump import dump, settled
from tests.fediletter.test_digest import Calendar
from tests.fediletter.test_inbox import follow_shop, send, world
from tests.peers.test_postfix import add_active
from tests.shop import EMAIL, running_shop, until

__all__ = ["world"]

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

    form = {"csrf": csrf, "version": post.version, "action": "test"}
    answer = await shop.post(f"/desk/letters/{post.id}/publish", **form)

    assert answer.status_code == 200
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
    link = re.search(r"/preferences/[\w-]+", mail.text)[0]
    for answer in (
        await shop.client.get(link),
        await shop.post(link, rhythm="monthly"),
        await shop.client.get(f"{link}/agenda"),
    ):
        assert answer.status_code == 200
        assert "lettre d’essai" in answer.text
    assert await shop.services.store.read(dump) == before
    assert mails(shop, ANA) == []
    assert (await get(shop, post.slug)).state == "draft"


@pytest.mark.rule("TR-24")
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
    assert correction.subject == "Correction\u00a0: Du lin"
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


PUBLIC = ("/", "/feed.atom", "/feed.json", "/topics/lin/feed.atom", "/ap/shop/outbox?page=true")
WINDOWS = [timedelta(minutes=10), timedelta(hours=24)]


async def channels(shop, world, published):
    """Where a letter is to be seen, by channel."""
    seen = {}
    for path in PUBLIC:
        seen[path] = "Du lin" in (await shop.client.get(path)).text
    seen["page"] = (await shop.client.get(published.url)).status_code == 200
    document = await shop.client.get(published.object_id, headers=JSON)
    seen["object"] = document.status_code == 200
    seen["peers"] = any("Du lin" in str(one) for one in world.received)
    seen["mail"] = mails(shop, ANA) != []
    return {name for name, there in seen.items() if there}, set(seen)


@pytest.fixture
async def held(tmp_path, world):
    """A shop with a reader by mail and a follower, whose clock the test moves."""
    async with running_shop(tmp_path / "shop", clock=Calendar(), second_thoughts="10m") as shop:
        await send(shop, world.peer("ana"), follow_shop(shop, world.peer("ana")))
        await until(lambda: world.received)
        world.received.clear()
        await add_active(shop, ANA)
        yield shop


async def published_with(shop, window):
    milliseconds = window // timedelta(milliseconds=1)
    return await shop.publish("Du lin", "Oups.", topics=["lin"], second_thoughts_ms=milliseconds)


@pytest.mark.parametrize("window", WINDOWS)
async def test_stop_within_second_thoughts_stops_every_channel_before_anybody_saw_it(
    held, world, window
):
    published = await published_with(held, window)
    held.services.clock.ahead += window - timedelta(seconds=60)
    await publishing.publish_due(held.services)
    await settled(held)
    csrf = await held.log_in()
    post = await get(held, "du-lin")
    assert await channels(held, world, published) == (set(), ANY)
    page = (await held.client.get(f"/desk/letters/{post.id}/delivery")).text
    assert "Tout arrêter" in page
    assert (await held.client.get(f"/desk/letters/{post.id}/delivery.json")).json()["finished"] is (
        False
    )

    answer = await held.post(f"/desk/letters/{post.id}/stop", csrf=csrf)

    assert answer.headers["location"] == f"/desk/letters/{post.id}"
    assert (await get(held, "du-lin")).state == "draft"
    held.services.clock.ahead += timedelta(days=2)
    await publishing.publish_due(held.services)
    await settled(held)
    assert await channels(held, world, published) == (set(), ANY)


@pytest.mark.slow
@pytest.mark.parametrize("window", [timedelta(), *WINDOWS])
async def test_when_the_time_for_second_thoughts_is_over_every_channel_has_it_at_once(
    held, world, window
):
    published = await published_with(held, window)
    held.services.clock.ahead += window + timedelta(seconds=1)
    assert published.url.endswith("/letters/du-lin")

    await until(lambda: world.received and mails(held, ANA))

    seen, every = await channels(held, world, published)
    assert seen == every
    assert len(mails(held, ANA)) == 1


async def test_stop_after_it_left_stops_what_remains_and_the_letter_stays(held, world):
    csrf = await held.log_in()
    published = await published_with(held, timedelta())
    await until(lambda: world.received and mails(held, ANA))
    post = await get(held, "du-lin")

    answer = await held.post(f"/desk/letters/{post.id}/stop", csrf=csrf)

    assert answer.headers["location"] == f"/desk/letters/{post.id}/delivery"
    assert (await held.client.get(published.url)).status_code == 200


async def test_what_is_changed_meanwhile_is_what_leaves_and_the_address_stays(held, world):
    published = await published_with(held, timedelta(minutes=10))
    other = await published_with(held, timedelta(minutes=10))
    assert other.url.endswith("/letters/du-lin-2")
    held.services.clock.ahead += timedelta(minutes=11)

    await until(lambda: len(mails(held, ANA)) == 2)

    for one in (published, other):
        assert (await held.client.get(one.url)).status_code == 200


@pytest.mark.slow
async def test_a_letter_that_cannot_leave_when_its_time_comes_is_a_draft_and_founders_hear_of_it(
    held, world
):
    await published_with(held, timedelta(minutes=10))
    post = await get(held, "du-lin")
    draft = posts.Draft(post.title, post.summary, "Un paragraphe de lin.\n\n" * 2500, "fr")
    now = held.services.clock.now()
    await held.services.store.write(
        posts.save_draft, post.id, draft, version=post.version, now=now, founder_id=None
    )
    held.services.clock.ahead += timedelta(minutes=11)

    (alert,) = await held.mail_to(EMAIL)

    assert alert.subject == "Une lettre n’a pas pu partir"
    assert "«\u00a0Du lin\u00a0» est de nouveau un brouillon" in alert.text
    assert (await get(held, "du-lin")).state == "draft"
    assert mails(held, ANA) == []


@pytest.mark.rule("MI-8")
async def test_a_letter_beyond_what_gmail_shows_is_not_mailed(shop):
    post = await shop.draft("Long", "Un paragraphe de lin.\n\n" * 2500)

    with pytest.raises(AppError, match="too long for a mail"):
        await publishing.publish(shop.services, post.id, version=post.version)

    assert (await get(shop, post.slug)).state == "draft"
    await shop.publish("Long ailleurs", "Un paragraphe de lin.\n\n" * 2500, to_email=False)


@pytest.mark.rule("HD-5")
async def test_a_title_like_an_answer_is_no_subject_of_a_letter(shop):
    for title, words in (
        ("Re: le lin", "begins like an answer"),
        ("Fwd : le lin", "begins like an answer"),
        ("LE LIN EST LÀ", "in capitals"),
    ):
        post = await shop.draft(title, "Bonjour.")
        with pytest.raises(AppError, match=words):
            await publishing.publish(shop.services, post.id, version=post.version)
    await shop.publish("Réponse au lin", "Bonjour.")
    await shop.publish("LE LIN EST LÀ", "Bonjour.", to_email=False)


@pytest.mark.rule("HT-6")
async def test_a_link_that_shows_another_address_is_not_mailed_and_the_desk_says_why(shop):
    await add_active(shop, ANA)
    csrf = await shop.log_in()
    false = "Voir [https://bank.example](https://shop.example/)."
    post = await shop.draft("Du lin", false)

    form = {"csrf": csrf, "version": post.version, "action": "publish", "when": "now"}
    answer = await shop.post(f"/desk/letters/{post.id}/publish", **form)

    assert answer.status_code == 422
    assert answer.text.count("mène à une autre\u00a0: https://shop.example/") == 2
    assert (await get(shop, "du-lin")).state == "draft"
    await shop.publish("Sur le web", false, to_email=False)
    await settled(shop)
    assert mails(shop, ANA) == []


@pytest.mark.rule("MI-8")
async def test_a_mail_that_weighs_too_much_on_its_way_is_not_sent(shop):
    # Each of these signs has four octets, and twelve on its way: in the HTML and in the text.
    post = await shop.draft("Lourd", ("🧵" * 600 + "\n\n") * 30)

    with pytest.raises(AppError, match="would weigh"):
        await publishing.publish(shop.services, post.id, version=post.version)

    assert (await get(shop, post.slug)).state == "draft"


def table(columns):
    cells = [f"col{number}" for number in range(columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells, ["---"] * columns, cells))


@pytest.mark.rule("HT-5")
async def test_a_wide_table_is_a_link_to_the_page_and_a_narrow_one_stays(shop):
    await add_active(shop, ANA)
    await shop.log_in()
    wide = await shop.draft("Large", f"Avant.\n\n{table(5)}\n\nEntre.\n\n{table(4)}\n\nFin.")
    sheet = (await shop.client.get(f"/desk/letters/{wide.id}/publish")).text

    await publishing.publish(shop.services, wide.id, version=wide.version)
    (mail,) = await shop.mail_to(ANA)

    link = shop.services.links.letter((await get(shop, "large")).slug)
    assert "un lien vers la page le remplace" in sheet
    assert re.search(rf'<a href="{re.escape(link)}"[^>]*>Ce tableau est trop large', mail.html)
    assert "col4" not in mail.html + mail.text
    assert mail.html.count("<th ") == 4
    assert "col3: col3" in mail.text
    for part in (mail.html, mail.text):
        at = [part.index(one) for one in ("Avant.", "trop large", "Entre.", "col3", "Fin.")]
        assert at == sorted(at)
    assert "col4" in (await shop.client.get(link)).text


async def test_a_letter_by_mail_alone_leads_to_no_page(shop):
    await add_active(shop, ANA)

    await shop.publish("Entre nous", "Bonjour.", to_web=False, to_fediverse=False)

    (mail,) = await shop.mail_to(ANA)
    assert "/letters/" not in mail.html + mail.text
    assert "sur le web" not in mail.html + mail.text
    assert "Archived-At" not in dict(mail.headers)
    assert "Bonjour." in mail.text


@pytest.mark.rule("HT-5")
async def test_a_letter_without_a_page_keeps_its_wide_table(shop):
    await add_active(shop, ANA)

    await shop.publish("Large", table(5), to_web=False, to_fediverse=False)

    (mail,) = await shop.mail_to(ANA)
    assert "col4: col4" in mail.text
    assert "trop large" not in mail.html


@pytest.mark.rule("RE-17")
async def test_letters_that_have_left_are_not_kept_while_their_lane_goes_on(shop, monkeypatch):
    alive: list[int] = []
    answered = send_mail.advance

    def watched(tx, lane_id, term, *, ended, **more):
        if ended is not None and ended.id % 40 == 0:
            alive.append(sum(isinstance(one, Letter) for one in gc.get_objects()))
        return answered(tx, lane_id, term, ended=ended, **more)

    monkeypatch.setattr(send_mail, "advance", watched)
    readers = [f"reader{number}@readers.test" for number in range(160)]
    await add_active(shop, *readers)
    # All in one lane: each that is open holds those that it has looked up.
    await shop.services.store.write(
        lambda tx: tx.execute(sa.update(subscriber).values(mail_lane=0))
    )

    await shop.publish("Du lin", "Bonjour")
    await settled(shop)

    assert len(alive) == 4
    assert max(alive) < 60  # Fifty are looked up at a time.
