"""The desk's page of mail that came back: every button, by real HTTP, there and back."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from storage import bounces, suppressions
from storage.mailings import decide_uncertain
from storage.schema import audit, delivery, lane, mailing
from tests.fediletter.mail.sink import CLOSE, Sink
from tests.fediletter.sent import bounce_address, mails, reader, sent_to, suppression
from tests.lmtp import hand_over, lmtp_address, report
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until

ANA = "ana@reader.test"


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(
        tmp_path / "shop", lmtp=lmtp_address(), second_thoughts="10m"
    ) as running:
        yield running


async def press(shop, csrf, action, subject, **more):
    answer = await shop.post("/desk/mail", csrf=csrf, action=action, subject=str(subject), **more)
    assert answer.status_code == 303, answer.text
    return (await shop.client.get("/desk/mail")).text


async def states(shop):
    query = sa.select(delivery.c.id, delivery.c.state).where(delivery.c.mailing_id.is_not(None))
    return dict(await shop.services.store.read(lambda tx: tx.rows(query.order_by(delivery.c.id))))


async def waiting_letter(shop, *addresses):
    """A letter that is held back: its mailing's id."""
    await add_active(shop, *addresses)
    await shop.publish("Du lin", "x", second_thoughts_ms=0)
    return await shop.services.store.read(lambda tx: tx.scalar(sa.select(mailing.c.id)))


async def test_a_paused_letter_goes_on_from_the_page(tmp_path):
    refused = {("MAIL", number): "553 5.7.1 not your address" for number in range(1, 20)}
    sink = Sink(refused)
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        csrf = await shop.log_in()
        mailing_id = await waiting_letter(shop, ANA, "bo@reader.test")

        leased = sa.select(sa.func.count()).where(lane.c.leased_by.is_not(None))

        async def paused():
            return bool(await shop.services.store.read(suppressions.paused_mailings))

        async def at_rest():
            return not await shop.services.store.read(lambda tx: tx.scalar(leased))

        await until(paused)
        await until(at_rest)  # Another lane's letter may be being refused still, and pause again.
        page = (await shop.client.get("/desk/mail")).text
        assert "Du lin" in page
        assert "553 5.7.1" in page
        sink.script = {}

        page = await press(shop, csrf, "resume", mailing_id)

        assert "553 5.7.1" not in page
        await until(lambda: len(sink.messages) == 2)


async def test_a_provider_that_refuses_is_tried_again_from_the_page(tmp_path):
    sink = Sink()
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        csrf = await shop.log_in()
        await add_active(shop, ANA, "bo@reader.test")
        refused = {("RCPT", number): "550 5.7.1 blocked by reputation" for number in (1, 2)}
        sink.script = refused
        await shop.publish("Du lin", "x")

        async def failed():
            return list((await states(shop)).values()).count("failed") == 2

        await until(failed)
        sink.script = {}

        def stop(tx):
            tx.execute(
                sa.update(delivery)
                .where(delivery.c.mailing_id.is_not(None))
                .values(state="waiting", ended_at=None)
            )
            return bounces.put_off(
                tx, ["%@reader.test"], until=datetime.now(UTC) + timedelta(days=300)
            )

        assert await shop.services.store.write(stop) == 2
        page = (await shop.client.get("/desk/mail")).text
        assert "<strong>reader.test</strong>" in page

        page = await press(shop, csrf, "domain", "reader.test")

        assert "<strong>reader.test</strong>" not in page
        await until(lambda: len(sink.messages) == 2)


@pytest.mark.rule("TR-22")
async def test_what_may_have_arrived_is_left_and_after_all_sent_again(tmp_path):
    sink = Sink({("DOT", 1): CLOSE})
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}", uncertain="hold"
        ) as shop,
    ):
        csrf = await shop.log_in()
        await waiting_letter(shop, ANA)

        async def doubtful():
            return list((await states(shop)).values()) == ["uncertain"]

        await until(doubtful)
        (number,) = await states(shop)
        page = (await shop.client.get("/desk/mail")).text
        assert "attend votre décision" in page

        page = await press(shop, csrf, "leave", number)
        assert "laissé ainsi" in page
        assert (await states(shop))[number] == "cancelled"
        await until(lambda: lanes_are_free(shop))
        assert len(sink.messages) == 1

        page = await press(shop, csrf, "again", number)
        await until(lambda: len(sink.messages) == 2)

        async def arrived():
            return (await states(shop))[number] == "delivered"

        await until(arrived)
        assert "laissé ainsi" not in (await shop.client.get("/desk/mail")).text
        assert not await shop.services.store.write(
            decide_uncertain, number, again=True, now=datetime.now(UTC)
        )


async def lanes_are_free(shop):
    held = sa.select(lane.c.id).where(lane.c.leased_by.is_not(None))
    return not await shop.services.store.read(lambda tx: tx.rows(held))


@pytest.mark.rule("BO-9")
@pytest.mark.rule("EM-11")
async def test_a_suppression_is_lifted_with_a_reason_which_is_kept_beside_its_field(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        (ana,) = await sent_to(shop, ANA)
        await hand_over(shop, bounce_address(shop, ana), report())
        csrf = await shop.log_in()
        page = (await shop.client.get("/desk/mail")).text
        assert "l’adresse n’existe pas" in page
        person = await reader(shop, ANA)
        form = {"csrf": csrf, "action": "lift", "subject": str(person.id)}

        wrong = await shop.post("/desk/mail", **form, note=" ")
        assert wrong.status_code == 422
        assert f'aria-describedby="p-note-{person.id}"' in wrong.text
        await press(shop, csrf, "lift", 10**9, note="nobody")  # Of nobody: nothing happens.
        await press(shop, csrf, "lift", ANA, note="by address")
        assert await suppression(shop, ANA) == "gone"

        page = await press(shop, csrf, "lift", person.id, note="Elle nous a écrit")
        assert ANA not in page
        assert await suppression(shop, ANA) is None
        await shop.publish("Du cuir", "y")
        await until(lambda: len(mails(shop, ANA)) == 2)
        rows = await shop.services.store.read(
            lambda tx: tx.rows(sa.select(audit.c.action, audit.c.detail_json))
        )
        assert any(row[0] == "mail lift" for row in rows)
        assert not any("Elle nous" in str(row) for row in rows)


async def test_an_unknown_action_changes_nothing_and_without_the_token_nothing_happens(shop):
    csrf = await shop.log_in()
    assert "Personne\u00a0: chaque lettre" in (await shop.client.get("/desk/mail")).text
    await press(shop, csrf, "explode", "1")
    assert (await shop.post("/desk/mail", action="resume", subject="1")).status_code == 403
    count = sa.select(sa.func.count()).where(audit.c.action.like("mail %"))
    assert not await shop.services.store.read(lambda tx: tx.scalar(count))
