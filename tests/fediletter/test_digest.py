"""The monthly digest: instead of letters, once, with a reader's own topics."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from html import unescape

import pytest

from fediletter.clock import SystemClock
from fediletter.outbound import publish as publishing
from fediletter.outbound.digest import compose_digest, digest_due
from storage import digests, posts
from storage.fan_outs import due_fan_outs
from storage.newsletters import get_newsletter
from storage.progress import queue_status
from storage.subscribers import change_subscriber, choose_topics, find_subscriber
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until

ANA, BO, CLO = "ana@readers.test", "bo@readers.test", "clo@readers.test"


class Calendar(SystemClock):
    """The machine's clock, which a test moves forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead

    def move_to_next_month(self, *, hour: int = 8) -> None:
        now = self.now()
        first = (now.replace(day=28) + timedelta(days=4)).replace(
            day=1, hour=hour, minute=0, second=0, microsecond=0
        )
        self.ahead += first - now


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(tmp_path / "shop", clock=Calendar()) as running:
        yield running


async def a_month_later(shop, *, hour=8):
    shop.services.clock.move_to_next_month(hour=hour)
    await digest_due(shop.services)


async def reader(shop, address, *, rhythm="monthly", topics=(), language="fr"):
    await add_active(shop, address)

    def work(tx):
        found = find_subscriber(tx, address)
        change_subscriber(tx, found.id, rhythm=rhythm, language=language)
        choose_topics(tx, found.id, topics, now=datetime.now(UTC))

    await shop.services.store.write(work)


async def settled(shop):
    """Nothing waits any more."""

    async def idle():
        found = await shop.services.store.read(queue_status, now=shop.services.clock.now())
        return found.mail.waiting == 0 and not await shop.services.store.read(open_fan_outs)

    await until(idle)


def open_fan_outs(tx):
    return due_fan_outs(tx, now=datetime.now(UTC) + timedelta(days=60))


def mails(shop, address):
    return [mail for mail in shop.mailbox() if mail.to == address]


@pytest.mark.slow
async def test_who_asked_for_a_month_at_a_time_gets_one_digest_and_no_letter(shop):
    await reader(shop, ANA)
    await reader(shop, BO, rhythm="every")
    await shop.publish("Du lin", "Bonjour", summary="Une accroche sur le lin.")
    await shop.publish("Du cuir", "Bonjour")
    await until(lambda: len(mails(shop, BO)) == 2)
    assert mails(shop, ANA) == []

    await a_month_later(shop)
    await until(lambda: mails(shop, ANA))
    await settled(shop)

    (digest,) = mails(shop, ANA)
    assert digest.subject.startswith("Les lettres de ")
    assert digest.text.index("Du lin") < digest.text.index("Du cuir")
    assert "Une accroche sur le lin." in digest.text
    assert f"{shop.base_url}/letters/du-cuir" in digest.text
    assert re.search(r"<h2[^>]*>Du lin</h2>", digest.html)
    (preheader,) = re.findall(r'<div class="preheader"[^>]*>([^<]*)</div>', digest.html)
    assert 40 <= len(unescape(preheader)) <= 130
    assert preheader.startswith("Du lin · Du cuir · ")
    assert "&lt;" not in digest.html
    assert len(mails(shop, BO)) == 2


@pytest.mark.rule("HD-16")
async def test_a_digest_says_that_a_clock_sent_it_and_a_letter_does_not(shop):
    await reader(shop, ANA)
    await reader(shop, BO, rhythm="every")
    await shop.publish()
    await a_month_later(shop)
    await until(lambda: mails(shop, ANA) and mails(shop, BO))

    (digest,), (letter,) = mails(shop, ANA), mails(shop, BO)

    assert dict(digest.headers).get("Auto-Submitted") == "auto-generated"
    assert dict(letter.headers).get("Auto-Submitted") is None
    assert dict(digest.headers).get("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"
    assert dict(digest.headers).get("Archived-At") is None


async def test_a_digest_lists_a_readers_own_topics_in_their_language(shop):
    for title, topic in (("Du lin", "Lin"), ("Du cuir", "Cuir")):
        await shop.publish(title, "x", topics=(topic,))
    await shop.publish("Pour tous", "x")
    await reader(shop, ANA, topics=("lin",))
    await reader(shop, BO, topics=("cuir",), language="en")

    await a_month_later(shop)
    await until(lambda: mails(shop, ANA) and mails(shop, BO))

    (ana,), (bo,) = mails(shop, ANA), mails(shop, BO)
    listed = {"Du lin", "Du cuir", "Pour tous"}
    assert {title for title in listed if title in ana.text} == {"Du lin", "Pour tous"}
    assert {title for title in listed if title in bo.text} == {"Du cuir", "Pour tous"}
    assert bo.subject.startswith("The letters of ")
    assert dict(bo.headers).get("Content-Language") == "en"


async def test_nobody_gets_a_letter_and_again_in_a_digest(shop):
    await reader(shop, ANA, rhythm="every")
    await shop.publish("Du lin", "x")
    await until(lambda: len(mails(shop, ANA)) == 1)
    await reader_changes(shop, ANA, rhythm="monthly")
    await shop.publish("Du cuir", "x")
    await settled(shop)
    assert len(mails(shop, ANA)) == 1

    await a_month_later(shop)
    await until(lambda: len(mails(shop, ANA)) == 2)

    digest = next(mail for mail in mails(shop, ANA) if dict(mail.headers).get("Auto-Submitted"))
    assert "Du cuir" in digest.text
    assert "Du lin" not in digest.text


async def reader_changes(shop, address, **values):
    def work(tx):
        change_subscriber(tx, find_subscriber(tx, address).id, **values)

    await shop.services.store.write(work)


async def test_a_month_without_letters_and_a_reader_without_topics_of_it_get_nothing(shop):
    await reader(shop, ANA)
    await a_month_later(shop)
    await settled(shop)
    assert shop.mailbox() == []
    await shop.publish("Du cuir", "x", topics=("Cuir",))
    await shop.draft("Du lin", "x", topics=("Lin",))
    await reader(shop, BO, topics=("lin",))

    await a_month_later(shop)
    await until(lambda: mails(shop, ANA))
    await settled(shop)

    assert [mail.to for mail in shop.mailbox()] == [ANA]


@pytest.mark.rule("RE-11")
async def test_two_schedulers_send_one_digest_and_one_that_was_down_sends_it_late(shop):
    await reader(shop, ANA)
    await shop.publish("Du lin", "x")
    shop.services.clock.move_to_next_month(hour=23)

    await asyncio.gather(*(digest_due(shop.services) for _ in range(5)))
    await digest_due(shop.services)
    await until(lambda: mails(shop, ANA))
    await settled(shop)

    assert len(mails(shop, ANA)) == 1


async def test_no_digest_in_the_first_hours_of_a_month_nor_of_a_letter_held_back(shop):
    await reader(shop, ANA)
    await shop.publish("Du lin", "x", second_thoughts_ms=40 * 86_400_000)

    month = datetime.now(UTC)
    await a_month_later(shop, hour=6)
    await digest_due(shop.services)
    assert await shop.services.store.read(digests.is_open, month.year * 100 + month.month)
    shop.services.clock.ahead += timedelta(hours=2)
    await digest_due(shop.services)

    assert shop.mailbox() == []


async def test_a_letter_withdrawn_before_the_digest_is_not_in_it(shop):
    await reader(shop, ANA)
    await shop.publish("Du lin", "x")
    await shop.publish("Du cuir", "x")
    await settled(shop)
    post = await shop.services.store.read(posts.post_by_slug, "du-lin")
    await publishing.withdraw(shop.services, post.id)

    await a_month_later(shop)
    await until(lambda: mails(shop, ANA))

    assert "Du lin" not in mails(shop, ANA)[0].text


@pytest.mark.rule("MI-8")
async def test_a_month_of_many_letters_is_listed_by_titles_alone_below_what_gmail_shows(shop):
    post = await shop.draft("Du lin", "x", summary="é" * 500)
    letter = await shop.services.store.read(get_newsletter)
    now = datetime.now(UTC)

    def made(count, title):
        shown = [
            replace(post, title=f"{n:03} " + title, slug=f"letter-{n}", published_at=now)
            for n in range(count)
        ]
        world = (letter, shop.services.links, shop.settings, "fr")
        raw = compose_digest(shown, *world)[1]
        page = message_from_bytes(re.sub(rb"\x00[a-z-]+\x00", b"x", raw), policy=policy.default)
        return raw, page.get_body(("html",)).get_content()

    for title in ("Du lin", "é" * 146, "🧵" * 146):
        raw, html = made(digests.MOST, title)
        assert len(html.encode()) <= 100_000
        assert len(raw) <= 300_000
        assert all(f"/letters/letter-{n}" in html for n in range(digests.MOST))
        assert "é" * 500 not in html
    assert "é" * 500 in made(3, "Du lin")[1]
