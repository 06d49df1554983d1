"""Complaints, through real LMTP: whose they are, what ends, what is only told."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from fediletter.newsletter import bounces as rules
from fediletter.services import house_of
from storage import bounces, subscribers
from storage.schema import delivery, mailing
from tests.fediletter.sent import (
    NOW,
    add_readers,
    bounce_address,
    deliver,
    reader,
    sent_to,
    suppression,
)
from tests.fediletter.test_digest import Calendar
from tests.lmtp import hand_over, lmtp_address
from tests.shop import running_shop, until


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as running:
        yield running


@pytest.fixture
async def quiet(tmp_path):
    """A shop that does not work: its rows are written by the test, at whatever time."""
    async with running_shop(tmp_path / "quiet", workers=False) as running:
        yield running


ARF = """From: feedback@provider.test
To: abuse@shop.test
Subject: FW: Du lin
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="arf"

--arf
Content-Type: text/plain

This is an email abuse report.

--arf
Content-Type: message/feedback-report

Feedback-Type: {type}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <{mail_from}>
Original-Rcpt-To: <redacted@reader.test>

--arf
Content-Type: message/rfc822

From: Atelier <news@shop.test>
To: redacted
Subject: Du lin
Message-ID: <{message_id}>
List-Unsubscribe: <{unsubscribe}>

Bonjour
--arf--
"""


def arf(type="abuse", mail_from="x@y.test", message_id="a@b.test", unsubscribe="https://x.test/"):
    return ARF.format(
        type=type, mail_from=mail_from, message_id=message_id, unsubscribe=unsubscribe
    )


async def test_a_complaint_ends_everything_and_nobody_is_told(shop):
    told = ("envelope", "mail from", "message id", "token")
    addresses = [f"r{n}@d{n}.test" for n in range(len(told))]
    sent = await sent_to(shop, *addresses)
    # Four of four would stop the mailing and tell the founders.
    before = [mail for mail in shop.mailbox() if mail.to != "founder@shop.test"]

    for how, delivery_id, address in zip(told, sent, addresses, strict=True):
        person = await reader(shop, address)
        message_id = await shop.services.store.read(message_id_of, delivery_id)
        token = shop.services.tokens.unsubscribe(person.key)
        text = {
            "envelope": arf(),
            "mail from": arf(mail_from=bounce_address(shop, delivery_id)),
            "message id": arf(message_id=message_id),
            "token": arf(unsubscribe=shop.services.links.unsubscribe(token)),
        }[how]
        to = bounce_address(shop, delivery_id) if how == "envelope" else "news@shop.test"
        assert (await hand_over(shop, to, text)).startswith("250")

    for address in addresses:
        assert (await reader(shop, address)).state == "left"
        assert await suppression(shop, address) == "complaint"
    await shop.client.post("/subscribe", data={"email": addresses[0]})
    await asyncio.sleep(0.3)
    assert [mail for mail in shop.mailbox() if mail.to != "founder@shop.test"] == before


def message_id_of(tx, delivery_id):
    return tx.scalar(sa.select(delivery.c.message_id).where(delivery.c.id == delivery_id))


async def test_other_feedback_is_told_to_founders_and_suppresses_nobody(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")

    for kind in ("fraud", "virus", "other", "auth-failure"):
        await hand_over(shop, bounce_address(shop, ana), arf(type=kind))

    assert (await reader(shop, "ana@reader.test")).state == "active"
    await until(lambda: any(mail.to == "founder@shop.test" for mail in shop.mailbox()))


@pytest.mark.rule("UN-7")
async def test_not_spam_takes_the_complaint_back_and_no_leave_of_ones_own(shop):
    ana, bo = await sent_to(shop, "ana@reader.test", "bo@reader.test")
    leaver = shop.services.tokens.unsubscribe((await reader(shop, "bo@reader.test")).key)
    await shop.client.post(f"/unsubscribe/{leaver}")
    for one in (ana, bo):
        await hand_over(shop, bounce_address(shop, one), arf())

    for one in (ana, bo):
        await hand_over(shop, bounce_address(shop, one), arf(type="not-spam"))

    assert (await reader(shop, "ana@reader.test")).state == "active"
    assert await suppression(shop, "ana@reader.test") is None
    assert (await reader(shop, "bo@reader.test")).state == "left"
    assert await suppression(shop, "bo@reader.test") == "left"


@pytest.mark.rule("UN-7")
async def test_not_spam_after_a_day_lets_the_reader_join_again_and_no_more(tmp_path):
    clock = Calendar()
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address(), clock=clock) as shop:
        (ana,) = await sent_to(shop, "ana@reader.test")
        await hand_over(shop, bounce_address(shop, ana), arf())
        clock.ahead = timedelta(hours=25)

        await hand_over(shop, bounce_address(shop, ana), arf(type="not-spam"))

        assert (await reader(shop, "ana@reader.test")).state == "left"
        assert await suppression(shop, "ana@reader.test") == "left"


async def test_the_form_of_jmrp_is_a_complaint(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    text = (
        "From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        f"Return-Path: <{bounce_address(shop, ana)}>\nSubject: Du lin\n\nx\n--b--\n"
    )

    await hand_over(shop, "news@shop.test", text)

    assert await suppression(shop, "ana@reader.test") == "complaint"


async def test_three_complaints_in_a_thousand_stop_the_mailing(quiet):
    ids = await add_readers(quiet, *(f"r{n}@d{n}.test" for n in range(40)))
    house = house_of(quiet.services)

    def work(tx):
        first, mailing_id = deliver(tx, ids[0], NOW)
        sent = [first] + [deliver(tx, one, NOW, mailing_id=mailing_id)[0] for one in ids[1:]]
        paused = []
        for delivery_id, one in list(zip(sent, ids, strict=True))[:3]:
            key = subscribers.key_of(tx, one)
            rules.complain(tx, bounces.sent_by_id(tx, delivery_id), key, house, now=NOW)
            paused.append(tx.scalar(sa.select(mailing.c.paused_at)) is not None)
        return paused

    assert await quiet.services.store.write(work) == [False, False, True]
