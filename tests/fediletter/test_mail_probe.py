"""The doctor's probe: over a relay by SMTP, back through the LMTP door; or not."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from click.testing import CliRunner

from fediletter.cli import cli
from fediletter.mail_probe import probe_findings
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import Vault
from fediletter.workers.timetable import Timetable
from storage.schema import bounce, delivery, probe, reply
from tests.fediletter.mail.sink import Sink
from tests.fediletter.test_digest import Calendar
from tests.lmtp import hand_over, lmtp_address
from tests.peers.postfix import running_postfix
from tests.shop import free_port, running_shop, until


class Hurried(Calendar):
    """Minutes pass while it is asked to wait."""

    waited = 0.0

    def monotonic(self):
        return super().monotonic() + self.waited

    async def sleep(self, seconds):
        self.waited += 20 * seconds
        await asyncio.sleep(0)


class Loop:
    """A relay that hands everything over to the door behind it."""

    def __init__(self):
        self.shop = None
        self.taken = []
        self.top = b""  # What it writes above.
        self.sender = ""  # Instead of ours.

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        self.taken.append(envelope)
        (recipient,) = envelope.rcpt_tos
        sender = self.sender or envelope.mail_from
        return await hand_over(self.shop, recipient, self.top + envelope.content, sender=sender)


@contextlib.asynccontextmanager
async def looped(tmp_path):
    loop = Loop()
    control = Controller(loop, hostname="127.0.0.1", port=free_port())
    control.start()
    try:
        async with running_shop(
            tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{control.port}", lmtp=lmtp_address()
        ) as loop.shop:
            yield loop.shop, loop
    finally:
        control.stop()


async def kept(shop):
    """Rows that any other mail would leave behind."""

    def count(tx):
        return [
            tx.scalar(sa.select(sa.func.count()).select_from(one))
            for one in (bounce, delivery, reply)
        ]

    return await shop.services.store.read(count)


async def counted(shop):
    query = sa.select(sa.func.count()).select_from(probe)
    return await shop.services.store.read(lambda tx: tx.scalar(query))


async def tidied(shop, later):
    clock = Calendar()
    clock.ahead = later
    await Timetable(replace(shop.services, clock=clock), lambda: True)._tidy()


@pytest.mark.rule("DO-10")
async def test_a_probe_comes_back_and_concerns_nobody(tmp_path):
    async with looped(tmp_path) as (shop, loop):
        (found,) = await probe_findings(shop.services)

        assert (found.name, found.is_good, found.is_amber) == ("probe", True, False)
        (sent,) = loop.taken
        assert sent.rcpt_tos == [sent.mail_from]
        assert sent.mail_from.startswith("bounce+")
        assert b"Auto-Submitted: auto-generated" in sent.content
        assert await kept(shop) == [0, 0, 0]


@pytest.mark.rule("DO-8")
@pytest.mark.rule("DO-11")
@pytest.mark.rule("DO-12")
@pytest.mark.parametrize(
    ("top", "sender", "said"),
    [
        (b"", "x@mailer.example", {"where": "mailer.example"}),
        (
            b"Authentication-Results: mx.test; spf=fail; dkim=pass\r\n",
            "",
            {"name": "SPF", "result": "fail"},
        ),
        (b"Received: from a by b; Tue, 24 Nov 2020 09:45:00 +0000\r\n", "", {"minutes"}),
    ],
)
async def test_a_probe_tells_what_its_way_did_to_it(tmp_path, top, sender, said):
    async with looped(tmp_path) as (shop, loop):
        loop.top, loop.sender = top, sender
        came, changed = await probe_findings(shop.services)

    assert (came.name, came.is_good) == ("probe", True)
    assert (changed.is_good, bool(changed.remedy)) == (False, True)
    assert set(changed.fields) == set(said)
    assert not isinstance(said, dict) or changed.fields == said


@pytest.mark.rule("DO-10")
async def test_a_probe_that_does_not_come_is_red_after_five_minutes(tmp_path):
    sink = Sink()
    clock = Hurried()
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}", lmtp=lmtp_address()
        ) as shop,
    ):
        (found,) = await probe_findings(replace(shop.services, clock=clock))

        assert (found.name, found.is_good) == ("probe", False)
        assert "within 5 minutes" in found.fact
        assert clock.waited == pytest.approx(300, abs=20)
        ((recipient, _),) = sink.messages
        # Whoever has not our key cannot say that it came; an older probe is not this one.
        forged = Tokens(Vault(bytes(range(32)))).probe(1)
        assert (await hand_over(shop, f"bounce+{forged}@shop.test", "Subject: x\n\nx")).startswith(
            "250"
        )
        assert await counted(shop) == 0
        assert (await hand_over(shop, recipient.upper(), "Subject: x\n\nx")).startswith("250")
        assert await counted(shop) == 1
        await tidied(shop, timedelta(minutes=4))
        assert await counted(shop) == 1
        await tidied(shop, timedelta(minutes=6))
        assert await counted(shop) == 0
        (found,) = await probe_findings(replace(shop.services, clock=clock))
        assert not found.is_good


@pytest.mark.rule("DO-10")
@pytest.mark.parametrize(
    "script", [{("RCPT", 1): "550 5.7.1 no relaying"}, {("MAIL", 1): "550 5.7.1 no relaying"},
               {("RCPT", 1): "451 4.7.1 no relaying"}, {("DOT", 1): "554 5.7.1 no relaying"}]
)  # fmt: skip
async def test_a_probe_that_the_relay_refuses_is_red_at_once_with_its_words(tmp_path, script):
    sink = Sink(script)
    async with (
        sink.running(),
        running_shop(
            tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}", lmtp=lmtp_address()
        ) as shop,
    ):
        (found,) = await probe_findings(shop.services)

    assert not found.is_good
    assert "no relaying" in found.fields["reason"]
    assert sink.commands.count("QUIT") <= 1


@pytest.mark.rule("DO-10")
async def test_without_a_relay_or_a_door_a_probe_says_what_is_missing(tmp_path):
    async with running_shop(
        tmp_path / "shop", workers=False, smtp_url=f"smtp://127.0.0.1:{free_port()}",
        lmtp=lmtp_address(),
    ) as shop:  # fmt: skip
        (silent,) = await probe_findings(shop.services)
        closed = replace(shop.services.settings, lmtp=None)
        (doorless,) = await probe_findings(replace(shop.services, settings=closed))

    assert not silent.is_good
    assert silent.fields["reason"]
    assert not doorless.is_good
    assert "FEDILETTER_LMTP" in doorless.remedy


@pytest.mark.rule("DO-10")
@pytest.mark.parametrize(("language", "said"), [("fr", "est revenu."), ("en", "came back.")])
async def test_check_probes_when_it_is_asked_to(tmp_path, monkeypatch, language, said):
    async def nothing(_services):  # These ask names of the outside.
        return []

    for look in ("mail_findings", "public_findings", "_outside"):
        monkeypatch.setattr(f"fediletter.checks.{look}", nothing)
    async with looped(tmp_path) as (shop, loop):
        settings = shop.settings
        environ = {
            "FEDILETTER_BASE_URL": settings.base_url,
            "FEDILETTER_MAIL_FROM": settings.mail_from,
            "FEDILETTER_SMTP_URL": settings.smtp_url,
            "FEDILETTER_LMTP": settings.lmtp,
            "FEDILETTER_LANGUAGE": language,
            "LANG": f"{language}.UTF-8",
        }

        async def check(*more):
            words = ["--data", str(settings.data), "check", *more]
            run = CliRunner().invoke
            return (await asyncio.to_thread(run, cli, words, env=environ)).output

        assert said not in await check()
        assert loop.taken == []
        assert said in await check("--probe")
        assert len(loop.taken) == 1


@pytest.mark.slow
@pytest.mark.rule("DO-10")
async def test_a_probe_goes_round_through_postfix(tmp_path):
    door = lmtp_address()
    async with (
        running_postfix(door, free_port()) as postfix,
        running_shop(tmp_path / "shop", smtp_url=postfix.url, lmtp=door) as shop,
    ):
        (found,) = await probe_findings(shop.services)

        assert found.is_good
        await until(lambda: counted(shop))
        assert await kept(shop) == [0, 0, 0]
