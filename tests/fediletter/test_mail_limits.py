"""How much mail one address gets, and how long one is kept that takes none."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from fediletter.newsletter import retention
from storage.schema import bounce, delivery, subscriber
from storage.subscribers import find_subscriber, suppression_of
from tests.fediletter.dump import settled
from tests.fediletter.mail.sink import Sink
from tests.fediletter.sent import bounce_address, mails, sent_to
from tests.fediletter.test_digest import Calendar
from tests.lmtp import hand_over, lmtp_address, report
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until

ANA = "ana@reader.test"


async def person(shop, address=ANA):
    return await shop.services.store.read(find_subscriber, address)


async def ask(shop):
    assert (await shop.client.post("/subscribe", data={"email": ANA})).status_code == 200
    await settled(shop)


@pytest.mark.rule("L-71")
async def test_a_confirmation_that_came_back_ends_the_request_and_counts_against_its_address(
    tmp_path,
):
    clock = Calendar()
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address(), clock=clock) as shop:
        for sent in (1, 2):  # Each mail counts, and each report as well: three in thirty days.
            await ask(shop)
            await until(lambda sent=sent: len(mails(shop, ANA)) == sent)
            await settled(shop)
            tag = await tag_of_newest(shop)
            assert (await hand_over(shop, tag, report())).startswith("250")
            assert await person(shop) is None
            await ask(shop)  # The same day: nothing.
            assert len(mails(shop, ANA)) == sent
            clock.ahead += timedelta(days=2)
        await ask(shop)
        assert len(mails(shop, ANA)) == 2
        clock.ahead += timedelta(days=30)
        await ask(shop)
        await until(lambda: len(mails(shop, ANA)) == 3)


async def tag_of_newest(shop):
    number = await shop.services.store.read(
        lambda tx: tx.scalar(
            sa.select(sa.func.max(delivery.c.id)).where(delivery.c.notice_id.is_not(None))
        )
    )
    return bounce_address(shop, number)


@pytest.mark.rule("L-75")
@pytest.mark.rule("EM-14")
async def test_an_address_gets_at_most_five_automatic_mails_a_day_whatever_is_asked(tmp_path):
    clock = Calendar()
    async with running_shop(tmp_path / "shop", clock=clock) as shop:
        await shop.subscribe(ANA)
        await settled(shop)
        one = await person(shop)
        link = f"/preferences/{shop.services.tokens.preferences(one.key, one.epoch)}"
        before = len(mails(shop, ANA))
        for what in ("export", "erase", "change-address", "export", "erase", "export") * 2:
            answer = await shop.post(link, data=what)
            assert answer.status_code < 400, answer.text
        await ask(shop)
        await shop.client.post("/preferences", data={"email": ANA})
        await settled(shop)

        assert before + 5 >= len(mails(shop, ANA)) > before
        assert len(mails(shop, ANA)) == 5
        clock.ahead += timedelta(days=1, minutes=1)
        await shop.post(link, data="export")
        await until(lambda: len(mails(shop, ANA)) == 6)


@pytest.mark.rule("L-81")
@pytest.mark.rule("PR-6")
async def test_a_dead_address_is_suppressed_at_once_and_its_person_forgotten_after_half_a_year(
    tmp_path,
):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        (ana,) = await sent_to(shop, ANA)
        assert (await hand_over(shop, bounce_address(shop, ana), report())).startswith("250")
        assert (await person(shop)).state == "suppressed"
        now, tokens = shop.services.clock.now(), shop.services.tokens

        for days, there in ((179, True), (181, False)):
            moment = now + timedelta(days=days)
            await shop.services.store.write(retention.purge, tokens, now=moment)
            assert (await person(shop) is not None) is there
        count = sa.select(sa.func.count()).select_from(bounce)
        assert await shop.services.store.read(lambda tx: tx.scalar(count)) == 0
        hashed = tokens.hash_address(ANA)
        assert await shop.services.store.read(suppression_of, hashed) == "gone"
        await ask(shop)  # Only they can lift it: they are asked at that address.
        await shop.mail_to(ANA, count=2)


@pytest.mark.rule("EM-17")
@pytest.mark.rule("TR-6")
async def test_each_message_holds_its_own_readers_token_and_nobody_elses(tmp_path):
    sink = Sink()
    names = [f"r{number}@readers.test" for number in range(12)]
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        await add_active(shop, *names)
        await shop.publish("Du lin", "Bonjour")
        await until(lambda: len(sink.messages) == len(names))
        keys = await shop.services.store.read(
            lambda tx: dict(tx.rows(sa.select(subscriber.c.email, subscriber.c.key)))
        )
        tokens = shop.services.tokens
        for recipient, content in sink.messages:
            found = {
                tokens.read_unsubscribe(one)
                for one in re.findall(r"/unsubscribe/([\w-]{36})", content.decode())
            }
            assert found == {bytes(keys[recipient])}
            others = [name for name in names if name != recipient]
            assert not any(name in content.decode() for name in others)
    assert sum(one.startswith("RCPT") for one in sink.commands) == len(names)
    assert sorted(sink.recipients) == sorted(names)
