"""Rules of mail that no other test names: when again, how long at most, never twice."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from fediletter.limits import MAIL_GIVES_UP, MAIL_STEPS
from fediletter.mail import smtp
from fediletter.mail.courier import Accepted, Envelope, Halt, InDoubt
from fediletter.mail.parts import parse
from fediletter.mail.reports import read_report
from fediletter.mail.smtp import SmtpMailer
from fediletter.outbound import publish as publishing
from fediletter.outbound.backoff import mail_again
from storage import posts, throttles
from storage.schema import bounce, delivery, throttle
from tests.fediletter.dump import settled
from tests.fediletter.mail.sink import HOLD, ListCourier, Sink
from tests.fediletter.test_digest import Calendar
from tests.fediletter.test_relay_trouble import idle, state_of, until_state
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until

ANA, BO = "ana@readers.test", "bo@readers.test"


@pytest.mark.rule("L-91")
@pytest.mark.rule("TR-17")
def test_each_step_of_the_schedule_is_kept_within_a_fifth_and_ends_after_four_days():
    created = now = Calendar().now()
    waits = []
    while (at := mail_again(len(waits) + 1, created_at=created, now=now)) is not None:
        waits.append(at - now)
        now = at

    minutes = [5, 15, 30, 60, 120, 240, 480, 960]
    wanted = [*(timedelta(minutes=one) for one in minutes), *[timedelta(days=1)] * 9]
    assert [timedelta(minutes=one) for one in minutes] == list(MAIL_STEPS)
    assert 9 <= len(waits) <= 12
    for wait, step in zip(waits, wanted, strict=False):
        assert 0.8 * step <= wait <= 1.2 * step
    assert now - created <= MAIL_GIVES_UP == timedelta(days=4)
    assert len({wait for wait in waits if wait > timedelta(hours=19)}) > 1  # Not all at a time.


@pytest.mark.slow
@pytest.mark.rule("L-91")
@pytest.mark.rule("TR-17")
async def test_what_is_put_off_for_four_days_has_failed_and_counts_as_later(tmp_path):
    busy = {("RCPT", number): "451 4.2.1 greylisted" for number in range(1, 99)}
    sink, clock = Sink(busy), Calendar()
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", clock=clock, smtp_url=f"smtp://127.0.0.1:{sink.port}"
        ) as shop,
    ):
        await add_active(shop, ANA)
        await shop.publish("Du lin", "x")
        for tried, step in enumerate(MAIL_STEPS[:3], start=1):
            await until(lambda tried=tried: attempts(sink) == tried)
            await until(lambda: idle(shop))
            clock.ahead += step * 0.7  # Nobody is earlier than the step allows.
            await until(lambda: idle(shop))
            assert attempts(sink) == tried
            clock.ahead += step * 0.6
        await until(lambda: attempts(sink) == 4)
        await until(lambda: idle(shop))
        clock.ahead += timedelta(days=5)
        await until_state(shop, lambda found: found.mail.failed == 1)

        _, found = await state_of(shop)
        assert found.refusals[0].answer.startswith("given up: 451")
        classes = sa.select(bounce.c.class_)
        assert await shop.services.store.read(lambda tx: tx.scalar(classes)) == "later"


def attempts(sink):
    return sum(one.startswith("RCPT") for one in sink.commands)


@pytest.mark.rule("L-92")
@pytest.mark.rule("TR-5")
@pytest.mark.parametrize(
    ("step", "limit", "seconds"),
    [
        ("EHLO", "SMTP_COMMAND_SECONDS", 60),
        ("MAIL", "SMTP_COMMAND_SECONDS", 60),
        ("DATA", "SMTP_DATA_SECONDS", 120),
        ("DOT", "SMTP_DOT_SECONDS", 600),
    ],
)
async def test_no_answer_is_waited_for_longer_than_its_limit(monkeypatch, step, limit, seconds):
    assert getattr(smtp, limit) == seconds
    monkeypatch.setattr(smtp, limit, 0.2)
    monkeypatch.setattr(
        smtp, "_ENVELOPE_SECONDS", tuple(0.2 if s == seconds else s for s in (60, 60, 120))
    )
    sink = Sink({(step, 1): HOLD}, extensions=())
    courier = ListCourier(sink, [ANA])

    async with sink.running(), asyncio.timeout(10):
        halt = await SmtpMailer(sink.relay()).run(courier)

    if step == "DOT":
        assert isinstance(courier.result(ANA), InDoubt)
    else:
        assert isinstance(halt, Halt) or courier.results
        assert sink.messages == []


@pytest.mark.rule("TR-14")
async def test_a_large_message_before_a_reader_that_is_busy_does_not_stop_the_session():
    content = b"Subject: x\r\n\r\n" + (b"lin " * 18 + b"\r\n") * 6_000

    class Two(ListCourier):
        async def following(self):
            found = await super().following()
            return found and Envelope(found.id, found.sender, found.recipient, content)

        async def advance(self, ended, start):
            await asyncio.sleep(0.05)  # While the relay writes.
            return await super().advance(
                ended and (self._known(ended[0]), ended[1]), start and self._known(start)
            )

        def _known(self, envelope):
            offered = self._offered
            return offered if offered is not None and offered.id == envelope.id else envelope

    sink = Sink(a_reply_per_octet=True)
    courier = Two(sink, [ANA, BO])
    async with sink.running(), asyncio.timeout(30):
        halt = await SmtpMailer(sink.relay()).run(courier)

    assert halt is None
    assert sink.recipients == [ANA, BO]
    assert all(len(body) == len(content) for _, body in sink.messages)
    assert all(isinstance(result, Accepted) for _, result in courier.results)


@pytest.mark.rule("TR-15")
async def test_chunks_are_never_used_though_a_relay_offers_them():
    sink = Sink(extensions=("PIPELINING", "CHUNKING", "BINARYMIME"))
    async with sink.running(), asyncio.timeout(10):
        await SmtpMailer(sink.relay()).run(ListCourier(sink, [ANA, BO]))

    assert sink.recipients == [ANA, BO]
    assert not any(one.upper().startswith("BDAT") for one in sink.commands)


@pytest.mark.slow
@pytest.mark.rule("TR-24")
@pytest.mark.rule("RE-5")
async def test_neither_an_edit_nor_going_on_nor_a_restart_nor_a_second_process_sends_again(
    tmp_path,
):
    sink = Sink()
    async with sink.running():
        options = {"smtp_url": f"smtp://127.0.0.1:{sink.port}"}
        async with running_shop(tmp_path / "shop", **options) as shop:
            csrf = await shop.log_in()
            await add_active(shop, ANA, BO)
            await shop.publish("Du lin", "x")
            await until(lambda: len(sink.messages) == 2)
            post = await shop.services.store.read(posts.post_by_slug, "du-lin")
            draft = posts.Draft(post.title, post.summary, "y", post.language)
            await publishing.revise(shop.services, post.id, draft, [], version=post.version)
            await shop.post(f"/desk/letters/{post.id}/resume", csrf=csrf)
            mailing = sa.select(sa.func.max(delivery.c.mailing_id))
            number = await shop.services.store.read(lambda tx: tx.scalar(mailing))
            await shop.post("/desk/mail", csrf=csrf, action="resume", subject=str(number))
            await shop.post("/desk/mail", csrf=csrf, action="domain", subject="readers.test")
            for one in (1, 2):
                await shop.post("/desk/mail", csrf=csrf, action="again", subject=str(one))
            await settled(shop)
            async with running_shop(tmp_path / "shop", **options):
                await until(lambda: idle(shop))
        async with running_shop(tmp_path / "shop", **options) as shop:
            await until(lambda: idle(shop))
            await settled(shop)

    assert sorted(sink.recipients) == [ANA, BO]


@pytest.mark.rule("BO-10")
@pytest.mark.rule("EM-14")
async def test_a_confirmation_carries_a_tag_of_its_own_and_says_that_a_machine_sent_it(tmp_path):
    sink = Sink()
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        await shop.client.post("/subscribe", data={"email": ANA})
        await until(lambda: sink.messages)
        (sender,) = [one for one in sink.commands if one.startswith("MAIL FROM")]
        tag = sender.partition("bounce+")[2].partition("@")[0]
        number = shop.services.tokens.read_bounce(tag)
        of_notice = sa.select(delivery.c.notice_id).where(delivery.c.id == number)
        assert await shop.services.store.read(lambda tx: tx.scalar(of_notice)) is not None

    assert b"Auto-Submitted: auto-generated" in sink.messages[0][1]
    assert b"X-Auto-Response-Suppress: OOF, AutoReply" in sink.messages[0][1]


BLOCK = """From: MAILER-DAEMON@mx.test
Subject: failure
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.test

Final-Recipient: rfc822; ana@readers.test
{fields}

--b--
"""


@pytest.mark.rule("BO-1")
@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown", "gone"),
        ("Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown", "gone"),
        ("Action: failed\nDiagnostic-Code: smtp; 550 5.1.1 unknown", "gone"),
        ("Action: failed\nStatus: nonsense\nDiagnostic-Code: smtp; 550 5.1.1 unknown", "gone"),
        ("Action: failed\nStatus: 5.1.1", "gone"),
        ("Action: failed\nOriginal-Recipient: rfc822;x@y.test\nStatus: 5.2.2", "full"),
        ("Action: delayed\nStatus: 4.4.1", "note"),
        ("X-Nothing: at all", "note"),
    ],
)
def test_a_report_that_lacks_a_field_is_read_by_the_others(fields, kind):
    verdict = read_report(parse(BLOCK.replace("{fields}", fields).encode()))

    assert verdict is not None
    assert verdict.kind == kind


@pytest.mark.rule("BO-12")
def test_the_operators_guide_tells_which_complaint_loops_there_are():
    guide = (Path(__file__).parents[2] / "deploy" / "README.md").read_text(encoding="utf-8")

    for name in ("Complaint Feedback Loop", "JMRP", "Signal Spam", "Postmaster Tools"):
        assert name in guide


@pytest.mark.rule("L-80")
@pytest.mark.rule("PR-2")
async def test_addresses_of_visitors_are_cut_and_gone_after_a_month(tmp_path):
    async with running_shop(tmp_path / "shop", trusted_proxies="127.0.0.0/8") as shop:
        for last in (7, 8):
            headers = {"X-Forwarded-For": f"203.0.113.{last}"}
            await shop.client.post("/subscribe", data={"email": ANA}, headers=headers)
        keys = sa.select(throttle.c.key)
        kept = [row[0] for row in await shop.services.store.read(lambda tx: tx.rows(keys))]
        assert not any("203.0.113.7" in key or "203.0.113.8" in key for key in kept)
        later = shop.services.clock.now() + timedelta(days=30)
        await shop.services.store.write(throttles.forget, now=later)
        kept = [row[0] for row in await shop.services.store.read(lambda tx: tx.rows(keys))]
        assert not any("203.0.113" in key for key in kept)
