"""A relay that is down, refuses us, or refuses what we send: said once, nothing lost, goes on."""

import asyncio
import logging
import re
import ssl
from datetime import timedelta
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from fediletter.cli import cli
from fediletter.limits import UNCERTAIN_HELD
from fediletter.mail import smtp
from fediletter.mail.courier import Accepted, Failed, Halt
from fediletter.outbound.backoff import uncertain_again
from fediletter.outbound.pace import Pace
from fediletter.outbound.relay_watch import RelayWatch
from fediletter.settings import MailRate
from storage import progress
from storage.ids import MailingId
from storage.lanes import mail_lane_of
from storage.posts import post_by_slug
from storage.schema import lane
from tests.fediletter.mail.sink import CLOSE, HOLD, WAIT, Sink
from tests.fediletter.test_digest import Calendar
from tests.peers.certificates import make_certificates
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until

TEN = [f"reader{number}@readers.test" for number in range(10)]


async def state_of(shop):
    post = await shop.services.store.read(post_by_slug, "du-lin")
    return post, await shop.services.store.read(progress.progress_of, post.id)


def until_state(shop, condition):
    async def met():
        return condition((await state_of(shop))[1])

    return until(met)


def rests(caplog):
    return [one for one in caplog.records if one.getMessage() == "mail rests"]


@pytest.mark.slow
@pytest.mark.rule("RE-4")
async def test_a_relay_that_is_down_is_named_once_and_everything_leaves_when_it_is_back(
    tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    sink, clock = Sink(), Calendar()
    async with sink.running():
        pass  # Its port is free again.
    port = sink.port
    async with running_shop(
        tmp_path / "shop", clock=clock, smtp_url=f"smtp://127.0.0.1:{port}"
    ) as shop:
        await add_active(shop, *TEN)
        await shop.publish("Du lin", "x")
        await until_state(
            shop,
            lambda found: (
                found.mail.waiting == 10
                and all("does not answer" in (one.last_error or "") for one in found.waiting_hosts)
                and len(found.waiting_hosts) > 1
            ),
        )
        assert len(rests(caplog)) == 1

        async with sink.running(port):
            clock.ahead += timedelta(minutes=2)
            await until_state(shop, lambda found: found.mail.delivered == 10)

    assert sorted(sink.recipients) == TEN
    assert len(rests(caplog)) == 1
    assert sum(one.getMessage() == "mail goes on" for one in caplog.records) == 1


class Hands(Calendar):
    """Both of the machine's clocks go forward when a test says so."""

    def monotonic(self):
        return super().monotonic() + self.ahead.total_seconds()


FULL = {("MAIL", number): "452 4.3.1 no room" for number in range(1, 99)}
WRONG_LOGIN = {("AUTH", number): "535 5.7.8 no" for number in range(1, 99)}
SILENT = {("EHLO", number): HOLD for number in range(1, 99)}


@pytest.mark.slow
@pytest.mark.rule("TR-1")
@pytest.mark.rule("TR-2")
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("full", "il est plein ou occupé"),
        ("slow", "a interrompu la conversation"),
        ("login", "refuse le nom ou le mot de passe"),
        ("certificate", "certificat digne de confiance"),
    ],
)
async def test_whatever_a_relay_has_mail_rests_says_so_once_and_goes_on_by_itself(
    tmp_path, caplog, monkeypatch, trouble, words
):
    caplog.set_level(logging.INFO)
    authority, own, key = make_certificates(tmp_path)
    sink, clock = Sink(), Hands()
    scheme, user = "smtp", ""
    match trouble:
        case "full":
            sink.script = FULL
        case "slow":
            sink.script = SILENT
            monkeypatch.setattr(smtp, "SMTP_COMMAND_SECONDS", 0.3)
        case "login":
            sink.script, sink.extensions, user = WRONG_LOGIN, ("AUTH PLAIN",), "u:p@"
        case _:
            sink.tls, sink.implicit = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), True
            sink.tls.load_cert_chain(own, key)
            scheme = "smtps"
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", clock=clock, smtp_url=f"{scheme}://{user}127.0.0.1:{sink.port}"
        ) as shop,
    ):
        await shop.log_in()
        await add_active(shop, *TEN)
        assert "ne répond pas" not in (await shop.client.get("/desk")).text
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: any(one.last_error for one in found.waiting_hosts))
        await until(lambda: idle(shop))

        for path in ("/desk", "/desk/mail"):
            page = (await shop.client.get(path, headers={"Accept-Language": "fr"})).text
            assert page.count('role="alert"') == 1, path
            assert words in page
            assert "10 mails attendent depuis le" in page
        said = await asyncio.to_thread(status_of, shop)
        assert sum("leave by themselves" in line for line in said) == 1
        assert not any(line.startswith("resting: mail") for line in said)
        assert len(rests(caplog)) == 1
        assert sink.messages == []
        _, found = await state_of(shop)
        assert (found.mail.waiting, found.mail.failed) == (10, 0)

        sink.script = {}
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        clock.ahead += timedelta(minutes=16)
        await until_state(shop, lambda found: found.mail.delivered == 10)
        await until(lambda: idle(shop))
        assert 'role="alert"' not in (await shop.client.get("/desk")).text
        assert not any("leave by" in line for line in await asyncio.to_thread(status_of, shop))

    assert sorted(sink.recipients) == TEN
    assert len(rests(caplog)) == 1
    assert sum(one.getMessage() == "mail goes on" for one in caplog.records) == 1


def status_of(shop):
    arguments = ["--data", str(shop.settings.data), "status"]
    answer = CliRunner().invoke(cli, arguments, env={"LANG": "en"}, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output.splitlines()


async def test_a_relay_that_answers_an_octet_at_a_time_gets_everything_once(tmp_path):
    sink = Sink(a_reply_per_octet=True)
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        await add_active(shop, *TEN)
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: found.mail.delivered == 10)

    assert sorted(sink.recipients) == TEN


@pytest.mark.slow
@pytest.mark.rule("TR-5")
async def test_a_cap_by_the_day_is_a_pause_over_restarts_and_not_a_failure(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    sink, clock = Sink(), Hands()
    async with sink.running():
        options = {"smtp_url": f"smtp://127.0.0.1:{sink.port}", "mail_rate": "100/s 4/d"}
        for start in range(2):  # Killed and begun anew: the day goes on.
            async with running_shop(tmp_path / "shop", clock=clock, **options) as shop:
                if start == 0:
                    await add_active(shop, *TEN)
                    await shop.publish("Du lin", "x")
                    await until_state(shop, lambda found: found.mail.delivered == 4)
                await until(lambda: idle(shop))
                _, found = await state_of(shop)
                assert (found.mail.delivered, found.mail.waiting, found.mail.failed) == (4, 6, 0)
                assert len(sink.messages) == 4
                said = await asyncio.to_thread(status_of, shop)
                assert sum("As many mails have left" in line for line in said) == 1
        async with running_shop(tmp_path / "shop", clock=clock, **options) as shop:
            for most in (8, 10):
                clock.ahead += timedelta(days=1, minutes=1)
                await until_state(shop, lambda found, most=most: found.mail.delivered == most)
                await until(lambda: idle(shop))
                assert len(sink.messages) == most

    assert sorted(sink.recipients) == TEN
    assert not any(sink.discarded)


@pytest.mark.rule("TR-5")
async def test_messages_a_second_are_spread_over_all_connections():
    class Clock(Calendar):
        moment = 1000.0

        def monotonic(self):
            return self.moment

        async def sleep(self, seconds):
            waits.append(seconds)

    waits: list[float] = []
    pace = Pace(Clock(), (MailRate(5, timedelta(seconds=1)),))

    for _ in range(4):
        await pace.turn()

    assert waits == pytest.approx([0.2, 0.4, 0.6])


@pytest.mark.rule("TR-18")
async def test_a_relay_that_asks_for_patience_gets_half_the_connections_and_twice_the_gaps():
    pace = Pace(Calendar(), ())
    assert (pace.connections, pace.gap_seconds) == (5, 0.0)
    pace.met_limit()
    first = pace.connections, pace.gap_seconds
    pace.met_limit()
    second = pace.connections, pace.gap_seconds
    pace.met_limit()

    assert (first[0], second[0], pace.connections) == (2, 1, 1)
    assert second[1] == 2 * first[1] == pace.gap_seconds
    async with pace.connection():
        waiting = asyncio.ensure_future(pace.connection().__aenter__())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        for _ in range(100):
            pace.accepted()
        assert pace.connections == 2
        for _ in range(99):
            pace.accepted()
        assert pace.connections == 2
        pace.accepted()
        assert (pace.connections, pace.gap_seconds) == (5, 0.0)
    await asyncio.wait_for(waiting, 5)


@pytest.mark.slow
@pytest.mark.rule("TR-18")
async def test_after_4xx_answers_a_single_connection_carries_what_is_left(tmp_path):
    later = {("RCPT", number): "451 4.7.1 slower" for number in (1, 2, 3)}
    sink, clock = Sink(later), Hands()
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", clock=clock, smtp_url=f"smtp://127.0.0.1:{sink.port}"
        ) as shop,
    ):
        await add_active(shop, *TEN)
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: found.mail.delivered == 7)
        _, found = await state_of(shop)
        assert (found.mail.waiting, found.mail.failed) == (3, 0)
        clock.ahead += timedelta(minutes=7)
        await until_state(shop, lambda found: found.mail.delivered == 10)

    assert sorted(sink.recipients) == TEN


@pytest.mark.rule("TR-9")
async def test_a_relay_that_refuses_our_sender_pauses_the_letter_until_a_founder_goes_on(tmp_path):
    refused = {("MAIL", number): "553 5.7.1 not your address" for number in range(1, 9)}
    sink = Sink(refused)
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        csrf = await shop.log_in()
        await add_active(shop, *TEN)
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: found.paused is not None)
        post, found = await state_of(shop)
        assert found.mail.failed == 0
        page = (await shop.client.get(f"/desk/letters/{post.id}/delivery")).text
        assert "553 5.7.1 not your address" in page

        await until(lambda: idle(shop))
        connections = sink.connections
        await until(lambda: idle(shop))
        assert sink.connections == connections  # Paused work is not tried again and again.
        sink.script = {}
        await shop.post(f"/desk/letters/{post.id}/resume", csrf=csrf)
        await until_state(shop, lambda found: found.mail.delivered == 10)

    assert sorted(sink.recipients) == TEN


async def idle(shop):
    import sqlalchemy as sa

    from storage.schema import lane

    await asyncio.sleep(0.3)
    held = sa.select(lane.c.id).where(lane.c.leased_by.is_not(None))
    return not await shop.services.store.read(lambda tx: tx.rows(held))


async def test_the_same_refusal_of_the_letter_for_three_readers_pauses_it(tmp_path):
    refused = {("DOT", number): f"554 5.7.1 spam, id A{number}B" for number in range(1, 30)}
    sink = Sink(refused)
    # Each at a domain of their own: one that refuses would be left alone for half an hour.
    readers = (f"ana@d{number}.test" for number in range(999))
    in_one_lane = [one for one in readers if mail_lane_of(one) == mail_lane_of("ana@d0.test")][:20]
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        await add_active(shop, *in_one_lane)
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: found.paused is not None)
        await until(lambda: idle(shop))
        _, found = await state_of(shop)

        assert 3 <= found.mail.failed <= 4  # One was on its way when the third came back.
        assert found.mail.waiting == 20 - found.mail.failed
        assert "spam" in found.paused


@pytest.mark.slow
@pytest.mark.rule("TR-22")
@pytest.mark.rule("RE-6")
@pytest.mark.parametrize("decision", ["again", "leave"])
async def test_with_hold_a_letter_that_may_have_arrived_waits_for_a_founder(tmp_path, decision):
    sink = Sink({("DOT", 1): CLOSE})
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}", uncertain="hold"
        ) as shop,
    ):
        csrf = await shop.log_in()
        await add_active(shop, "ana@readers.test")
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: found.mail.uncertain == 1)
        post, found = await state_of(shop)
        (letter,) = found.uncertain
        page = (await shop.client.get(f"/desk/letters/{post.id}/delivery")).text
        assert "peut-être arrivé" in page

        await until(lambda: idle(shop))
        await shop.post(
            f"/desk/letters/{post.id}/uncertain",
            csrf=csrf,
            delivery=str(letter.id),
            action=decision,
        )
        expected = (1, 0) if decision == "again" else (0, 1)
        await until_state(
            shop, lambda found: (found.mail.delivered, found.mail.cancelled) == expected
        )

    ids = [re.search(rb"Message-ID: (\S+)", content)[1] for _, content in sink.messages]
    dates = [re.search(rb"Date: ([^\r]+)", content)[1] for _, content in sink.messages]
    assert len(ids) == (2 if decision == "again" else 1)
    assert len(set(ids)) == len(set(dates)) == 1  # A repeat is told by both (HD-1, HD-6).


@pytest.mark.rule("TR-2")
def test_after_a_refused_login_nobody_logs_in_for_a_quarter_of_an_hour():
    clock = Calendar()
    watch = RelayWatch(clock)
    assert watch.quiet is None
    watch.halted(Halt("the relay refuses the login: 535", login_refused=True))
    assert timedelta(minutes=14, seconds=59) < watch.quiet <= timedelta(minutes=15)
    assert watch.trouble
    clock.ahead += timedelta(minutes=15)
    assert watch.quiet is None
    watch.went_well()
    assert watch.trouble == ""


@pytest.mark.rule("RE-12")
def test_a_clock_set_back_by_a_day_costs_one_login_and_no_day_of_silence():
    clock = Calendar()
    watch = RelayWatch(clock)
    watch.halted(Halt("the relay refuses the login: 535", login_refused=True))

    clock.ahead -= timedelta(days=1)

    assert watch.quiet is None


@pytest.mark.slow
@pytest.mark.rule("RE-9")
async def test_a_reader_at_whom_the_relay_talks_nonsense_holds_nobody_up(tmp_path):
    sink = Sink({("RCPT", 2): "hello there", ("RCPT", 4): CLOSE})
    readers = [f"reader{number}@readers.test" for number in range(40)]
    in_one_lane = [one for one in readers if mail_lane_of(one) == mail_lane_of(readers[0])][:10]
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        await add_active(shop, *in_one_lane)
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: found.mail.delivered == 10)

    assert sorted(sink.recipients) == sorted(in_one_lane)


@pytest.mark.slow
@pytest.mark.rule("TR-2")
async def test_a_wrong_password_is_tried_by_each_lane_at_most_once(tmp_path, caplog):
    refused = {("AUTH", number): "535 5.7.8 no" for number in range(1, 99)}
    sink, clock = Sink(refused, extensions=("AUTH PLAIN",)), Calendar()
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", clock=clock, smtp_url=f"smtp://u:p@127.0.0.1:{sink.port}"
        ) as shop,
    ):
        await add_active(shop, *TEN)
        await shop.publish("Du lin", "x")
        await until_state(shop, lambda found: any(one.last_error for one in found.waiting_hosts))
        await until(lambda: idle(shop))
        for _ in range(3):
            clock.ahead += timedelta(minutes=20)
            await until(lambda: idle(shop))

        assert sum(command.startswith("AUTH") for command in sink.commands) <= 5
        assert len(rests(caplog)) == 1
        _, found = await state_of(shop)
        assert found.mail.waiting == 10


def test_refusals_of_readers_or_of_different_words_do_not_count_together():
    watch, mailing = RelayWatch(Calendar()), MailingId(1)
    spam = Failed("554 5.7.1 spam id 1")
    assert not any(watch.refused(mailing, Failed("550 gone", at_rcpt=True)) for _ in range(9))
    assert not any(watch.refused(None, spam) for _ in range(9))
    assert [watch.refused(mailing, spam) for _ in range(2)] == [False, False]
    assert not watch.refused(mailing, Accepted("250 ok"))
    assert [watch.refused(mailing, spam) for _ in range(3)] == [False, False, True]


@pytest.mark.rule("TR-22")
@pytest.mark.rule("TR-23")
def test_a_letter_in_doubt_waits_longer_than_the_longest_answer():
    now = Calendar().now()

    assert uncertain_again(now, hold=False) - now == timedelta(minutes=25)
    assert uncertain_again(now, hold=True) == UNCERTAIN_HELD


@pytest.mark.rule("TR-23")
@pytest.mark.rule("RE-14")
async def test_who_is_told_to_end_waits_for_the_answer_to_a_final_dot(tmp_path, monkeypatch):
    monkeypatch.setattr("fediletter.workers.supervisor.TERMINATION_SECONDS", 0.1)
    sink = Sink({("DOT", 1): WAIT})
    async with sink.running():
        smtp_url = f"smtp://127.0.0.1:{sink.port}"
        async with running_shop(tmp_path / "shop", smtp_url=smtp_url) as shop:
            await add_active(shop, "ana@readers.test")
            await shop.publish("Du lin", "x")
            await until(lambda: (WAIT, 1) in sink.events)
            asyncio.get_running_loop().call_later(0.8, sink.go_on.set)
        async with running_shop(tmp_path / "shop", workers=False, smtp_url=smtp_url) as shop:
            _, found = await state_of(shop)

    assert (found.mail.delivered, found.mail.uncertain) == (1, 0)


@pytest.mark.slow
@pytest.mark.rule("HD-1")
async def test_a_mail_that_waited_for_the_relay_bears_the_time_at_which_it_leaves(tmp_path):
    sink, clock = Sink(), Calendar()
    async with sink.running():
        pass  # Its port is free again.
    smtp_url = f"smtp://127.0.0.1:{sink.port}"
    async with running_shop(tmp_path / "shop", clock=clock, smtp_url=smtp_url) as shop:
        await shop.client.post("/subscribe", data={"email": "ana@readers.test"})
        await until(lambda: shop.services.store.read(has_failed))
        async with sink.running(sink.port):
            clock.ahead += timedelta(hours=3)
            await until(lambda: sink.messages)
            now = clock.now()

    (_, content), *_ = sink.messages
    left = parsedate_to_datetime(message_from_bytes(content)["Date"])
    assert abs(now - left) < timedelta(minutes=1)


def has_failed(tx):
    return tx.rows(sa.select(lane.c.id).where(lane.c.failures > 0))
