"""A reader's mail on the page of its letter: only if its writer says so, by real HTTP and LMTP."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from storage.farewells import forget_subscriber
from storage.personal import everything_on
from storage.schema import audit, consent_text, publish_ask, reply
from storage.subscribers import find_subscriber, suppress
from tests.accounts import EDITOR, add_person, browser_of, csrf_in, log_in
from tests.fediletter.sent import mails, sent_to
from tests.lmtp import hand_over, lmtp_address
from tests.shop import running_shop

ANA = "ana@reader.test"
LETTER = "/letters/du-lin"


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as running:
        yield running


async def write_back(shop, text="J'adore le lin.", *, name="Ana", answers=True):
    """Ana's mail below the letter: its id."""
    await sent_to(shop, ANA)
    answered = dict(mails(shop, ANA)[0].headers)["Message-ID"] if answers else "<none@x.test>"
    raw = (
        f"From: {name} <{ANA}>\nSubject: Re: Du lin\nMessage-ID: <r1@reader.test>\n"
        f"In-Reply-To: {answered}\nContent-Type: text/plain; charset=utf-8\n\n"
        f"{text}\n\nLe 24 nov., Atelier a écrit :\n> Bonjour\n"
    )
    assert (await hand_over(shop, "news@shop.test", raw, sender=ANA)).startswith("250")
    return await value(shop, sa.select(reply.c.id))


async def value(shop, query):
    return await shop.services.store.read(lambda tx: tx.scalar(query))


async def ask(shop, reply_id, csrf):
    """The founder asks; the link in the mail."""
    answer = await shop.post(f"/desk/answers/{reply_id}/ask", csrf=csrf)
    assert answer.status_code == 303, answer.text
    mail = next(one for one in await shop.mail_to(ANA, count=2) if "/showing/" in one.text)
    assert dict(mail.headers)["Auto-Submitted"] == "auto-generated"
    assert "List-Unsubscribe" not in dict(mail.headers)
    assert "lin." not in mail.text
    return re.search(r"/showing/\S+", mail.text)[0]


async def approve(shop, reply_id, csrf):
    return await shop.post(f"/desk/answers/{reply_id}", csrf=csrf, action="approve")


async def test_an_editor_asks_the_writer_as_part_of_answering(shop):
    reply_id = await write_back(shop)
    await add_person(shop)
    async with browser_of(shop) as client:
        await log_in(client, EDITOR)
        page = (await client.get("/desk/answers?state=all")).text
        assert f'formaction="/desk/answers/{reply_id}/ask"' in page

        form = {"csrf": csrf_in(page)}
        asked = await client.post(f"/desk/answers/{reply_id}/ask", data=form)

    assert asked.status_code == 303
    await shop.mail_to(ANA, count=2)


@pytest.mark.rule("EM-7")
async def test_a_mail_is_shown_only_after_its_writer_agreed_and_until_they_take_it_back(shop):
    reply_id = await write_back(shop)
    csrf = await shop.log_in()
    assert (await approve(shop, reply_id, csrf)).status_code == 409
    assert "adore le lin" not in (await shop.client.get(LETTER)).text

    link = await ask(shop, reply_id, csrf)
    for method in ("GET", "HEAD", "GET"):  # Robots look; looking changes nothing.
        looked = await shop.client.request(method, link)
        assert looked.status_code in (200, 405)
    page = (await shop.client.get(link)).text
    assert "adore le lin." in page
    assert ANA not in page
    assert 'value="Ana"' in page
    assert (await approve(shop, reply_id, csrf)).status_code == 409
    assert "adore le lin" not in (await shop.client.get(LETTER)).text

    assert (await shop.post(link, action="agree", name="Ana du moulin")).status_code == 200
    assert "adore le lin" not in (await shop.client.get(LETTER)).text  # Still the founders' choice.
    desk = (await shop.client.get("/desk/answers?state=all")).text
    assert "Ana du moulin" in desk
    assert (await approve(shop, reply_id, csrf)).status_code == 303
    shown = (await shop.client.get(LETTER)).text
    assert "adore le lin." in shown
    assert "Ana du moulin" in shown
    assert ANA not in shown
    assert "reader.test" not in shown
    user = shop.settings.account_user
    public_id = re.search(r"/ap/[^/]+/issues/(\w+)", shown)[1]
    found = await shop.client.get(f"/ap/{user}/issues/{public_id}/replies")
    assert json.loads(found.text).get("totalItems", 0) == 0  # A Message-ID is no id of an object.

    assert (await shop.post(link, action="withdraw")).status_code == 200
    assert "adore le lin" not in (await shop.client.get(LETTER)).text
    assert (await approve(shop, reply_id, csrf)).status_code == 409
    kinds = await shop.services.store.read(
        lambda tx: [row[0] for row in tx.rows(sa.select(audit.c.action).order_by(audit.c.id))]
    )
    assert [one for one in kinds if "writer" in one or one == "ask to show"] == [
        *("ask to show", "writer agrees", "writer withdraws")
    ]


@pytest.mark.rule("OP-5")
@pytest.mark.rule("PR-4")
async def test_the_consent_is_kept_with_its_wording_and_time_and_given_to_its_person(shop):
    reply_id = await write_back(shop)
    link = await ask(shop, reply_id, await shop.log_in())
    before = datetime.now(UTC)

    await shop.post(link, action="agree", name="Ana")

    row = await shop.services.store.read(
        lambda tx: tx.row(
            sa.select(publish_ask.c.agreed_at, consent_text.c.text, consent_text.c.language).join(
                consent_text, consent_text.c.version == publish_ask.c.text_version
            )
        )
    )
    assert row[0] >= int(before.timestamp() * 1000)
    assert "«\u00a0Du lin\u00a0», où tout le monde" in row[1]
    assert "« Ana »" in row[1]
    assert row[2] == "fr"
    person = await shop.services.store.read(find_subscriber, ANA)
    kept = (await shop.services.store.read(everything_on, person.id))["answers"][0]
    assert kept["agreed_at"]
    assert "tout le monde" in kept["wording"]


async def test_nobody_is_asked_twice_nor_after_a_complaint_nor_where_no_page_shows_it(shop):
    reply_id = await write_back(shop)
    csrf = await shop.log_in()
    await ask(shop, reply_id, csrf)

    again = await shop.post(f"/desk/answers/{reply_id}/ask", csrf=csrf)

    assert again.status_code == 409
    assert "déjà été posée" in again.text or "already" in again.text
    assert len(mails(shop, ANA)) == 2
    assert "/ask" not in (await shop.client.get("/desk/answers")).text

    def unask(tx):
        tx.execute(sa.delete(publish_ask))
        suppress(
            tx, shop.services.tokens.hash_address(ANA), "complaint", now=shop.services.clock.now()
        )

    await shop.services.store.write(unask)
    assert (await shop.post(f"/desk/answers/{reply_id}/ask", csrf=csrf)).status_code == 409
    await shop.services.store.write(lambda tx: tx.execute(sa.update(reply).values(mention=True)))
    assert (await shop.post(f"/desk/answers/{reply_id}/ask", csrf=csrf)).status_code == 409
    assert await value(shop, sa.select(sa.func.count()).select_from(publish_ask)) == 0


@pytest.mark.rule("EM-9")
@pytest.mark.rule("UN-8")
async def test_a_link_of_another_purpose_or_a_changed_one_opens_nothing(shop):
    reply_id = await write_back(shop)
    link = await ask(shop, reply_id, await shop.log_in())
    key = await value(shop, sa.select(publish_ask.c.key))
    tokens = shop.services.tokens

    for wrong in (tokens.unsubscribe(key), tokens.preferences(key, 1), f"{link[9:-2]}AA", "x"):
        assert (await shop.client.get(f"/showing/{wrong}")).status_code == 404
        assert (await shop.post(f"/showing/{wrong}", action="agree", name="x")).status_code == 404
    assert (await shop.client.get(f"/unsubscribe/{tokens.showing(key)}")).status_code == 404

    answer = await shop.client.get(link)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Robots-Tag"] == "noindex"


@pytest.mark.parametrize("name", ["", "  ", "ana@reader.test", "x" * 81])
async def test_a_name_that_cannot_be_shown_is_refused_beside_its_field(shop, name):
    reply_id = await write_back(shop, name="")
    link = await ask(shop, reply_id, await shop.log_in())
    assert (
        'name="name" type="text" maxlength="80" autocomplete="name" required value=""'
        in (await shop.client.get(link)).text
    )  # The local part of an address is no name.

    answer = await shop.post(link, action="agree", name=name)

    assert answer.status_code == 422
    assert 'aria-describedby="name-problem"' in answer.text
    assert f'value="{name}"' in answer.text
    assert not await value(shop, sa.select(reply.c.publish_consent))


async def test_after_a_month_nobody_can_agree_any_more_but_take_back_what_they_agreed_to(shop):
    reply_id = await write_back(shop)
    link = await ask(shop, reply_id, await shop.log_in())
    past = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)
    late = sa.update(publish_ask).values(expires_at=past)
    await shop.post(link, action="agree", name="Ana")
    await shop.services.store.write(lambda tx: tx.execute(late))

    assert (await shop.post(link, action="withdraw")).status_code == 200
    assert not await value(shop, sa.select(reply.c.publish_consent))
    assert (await shop.post(link, action="agree", name="Ana")).status_code == 410
    assert not await value(shop, sa.select(reply.c.publish_consent))
    assert "adore" in (await shop.client.get(link)).text


@pytest.mark.rule("PR-5")
async def test_a_writer_who_has_themselves_erased_takes_the_consent_along(shop):
    reply_id = await write_back(shop)
    csrf = await shop.log_in()
    link = await ask(shop, reply_id, csrf)
    await shop.post(link, action="agree", name="Ana")
    await approve(shop, reply_id, csrf)
    assert "adore le lin" in (await shop.client.get(LETTER)).text
    person = await shop.services.store.read(find_subscriber, ANA)

    await shop.services.store.write(forget_subscriber, person.id)

    assert (await shop.client.get(link)).status_code == 404
    assert await value(shop, sa.select(sa.func.count()).select_from(publish_ask)) == 0
