"""The doctor's probe: over a relay by SMTP, back through the LMTP door; or not."""

import asyncio
import base64
import contextlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.keys import RsaPrivateKey
from fediletter.checks.probe import probe_findings
from fediletter.cli import cli
from fediletter.clock import SystemClock
from fediletter.mail.dkim import dns_record
from fediletter.newsletter.tokens import Tokens
from fediletter.outbound.letters import DKIM_PURPOSE
from fediletter.sealing import Vault
from fediletter.workers.timetable import Timetable
from storage.dkim import StoredKey, add_key, use_key
from storage.schema import bounce, delivery, probe, reply
from tests.fediletter.mail.names import names
from tests.fediletter.mail.sink import Sink
from tests.fediletter.test_digest import Calendar
from tests.lmtp import hand_over, lmtp_address
from tests.peers.postfix import running_postfix
from tests.shop import free_port, running_shop, until

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


GOOD_KEY = dns_record(RsaPrivateKey.generate())
RECORD = ("a._domainkey.shop.test", "TXT")


def in_parts(record):
    """As a TXT record holds a long text."""
    return " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))


@pytest.fixture(autouse=True)
async def zone(monkeypatch):
    """What DNS says of our domain; a test may change it."""
    said = {RECORD: [in_parts(GOOD_KEY)]}
    async with names(said) as (resolver, _):
        monkeypatch.setattr("fediletter.checks.probe.Dns", lambda: resolver)
        yield said


class Hurried(Calendar):
    """Minutes pass while it is asked to wait."""

    waited = 0.0

    def monotonic(self):
        return super().monotonic() + self.waited

    async def sleep(self, seconds):
        self.waited += 20 * seconds
        await asyncio.sleep(0)


SIGNED = b"DKIM-Signature: v=1; d=shop.test; s=a; h=from:list-unsubscribe:list-unsubscribe-post\r\n"
TAKEN = b"Received: from relay.test by mx.shop.test with ESMTP\r\n"
PASSED = b"Authentication-Results: mx.shop.test; spf=pass; dkim=pass; dmarc=pass\r\n"


def noted(*fields):
    return b"".join(b"Authentication-Results: %s\r\n" % one for one in fields)


def received(apart):
    return f"Received: from a by mx.shop.test; {format_datetime(NOW + apart)}\r\n".encode()


class Still(SystemClock):
    """Its hand does not move, so that dates can be compared."""

    def now(self):
        return NOW


def colour_of(finding):
    return "amber" if finding.is_amber else "green" if finding.is_good else "red"


class Loop:
    """A relay that hands everything over to the door behind it."""

    def __init__(self):
        self.shop = None
        self.taken = []
        self.top = TAKEN + PASSED + SIGNED  # What it writes above.
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
    ("top", "sender", "colour", "said"),
    [
        (TAKEN + PASSED + SIGNED, "x@mailer.example", "red", {"where": "mailer.example"}),
        (
            TAKEN + noted(b"mx.shop.test; spf=fail; dkim=pass; dmarc=pass") + SIGNED,
            "",
            "red",
            {"name": "SPF", "result": "fail"},
        ),
        # A field for each program of the server; whose domain may stand for its name.
        (
            TAKEN
            + noted(b"mx.shop.test 1; spf=pass", b"shop.test; dkim=none", b"shop.test; dmarc=pass")
            + SIGNED,
            "",
            "red",
            {"name": "DKIM", "result": "none"},
        ),
        # What others wrote is not ours, wherever it stands.
        (
            noted(b"relay.test; spf=fail; dkim=fail") + TAKEN + PASSED + SIGNED,
            "",
            None,
            {},
        ),
        (
            TAKEN + noted(b"relay.test; spf=pass; dkim=pass; dmarc=pass") + SIGNED,
            "",
            "amber",
            {"names": "SPF, DKIM, DMARC"},
        ),
        # One of several signatures is enough; what a comment says is not a result.
        (
            TAKEN
            + noted(b"mx.shop.test; dkim=neutral (dkim=fail); dkim=pass; spf=pass; dmarc=pass")
            + SIGNED,
            "",
            None,
            {},
        ),
        (TAKEN + PASSED, "", "red", {"domain": "shop.test"}),
        (
            TAKEN
            + PASSED
            + b"DKIM-Signature: v=1; d=shop.test; s=a; h=from:to:list-unsubscribe\r\n",
            "",
            "red",
            {"signer": "shop.test", "selector": "a", "domain": "shop.test"},
        ),
        (
            TAKEN + PASSED + SIGNED.replace(b"shop.test", b"relay.test"),
            "",
            "red",
            {"signer": "relay.test", "selector": "a", "domain": "shop.test"},
        ),
        (received(timedelta(seconds=25)) + PASSED + SIGNED, "", None, {}),
        (received(timedelta(seconds=-40)) + PASSED + SIGNED, "", "amber", {"seconds": "40"}),
        (received(timedelta(minutes=5)) + PASSED + SIGNED, "", "amber", {"seconds": "300"}),
        (received(timedelta(minutes=5, seconds=20)) + PASSED + SIGNED, "", "red", {"minutes": "5"}),
    ],
)
async def test_a_probe_tells_what_its_way_did_to_it(tmp_path, top, sender, colour, said):
    async with looped(tmp_path) as (shop, loop):
        loop.top, loop.sender = top, sender
        services = replace(shop.services, clock=Still())
        came, *changed = await probe_findings(services)

    assert (came.name, came.is_good) == ("probe", True)
    assert [colour_of(one) for one in changed] == ([colour] if colour else [])
    assert [one.fields for one in changed] == ([said] if said else [])
    assert all(one.remedy for one in changed)


SMALL = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 (what is to be found)
SMALL_RECORD = "v=DKIM1; p=" + base64.b64encode(
    SMALL.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode("ascii")


@pytest.mark.rule("DO-2")
@pytest.mark.parametrize(
    ("record", "colour"),
    [
        (None, "red"),
        ("v=DKIM1; k=rsa; p=", "red"),
        ("v=DKIM1; k=rsa; p=QUJD", "red"),
        (SMALL_RECORD, "amber"),
        (GOOD_KEY.replace("k=rsa", "k=rsa; t=s:y"), "amber"),
    ],
)
async def test_the_record_of_a_key_that_the_probe_shows_is_looked_at(
    tmp_path, zone, record, colour
):
    zone[RECORD] = [in_parts(record)] if record else []
    async with looped(tmp_path) as (shop, _):
        _, *found = await probe_findings(shop.services)

    assert [(one.name, colour_of(one)) for one in found] == [("dkim", colour)]
    assert found[0].fields["at"] == "a._domainkey.shop.test"


@pytest.mark.rule("DO-3")
@pytest.mark.parametrize(("mode", "expected"), [("s", ["red"]), ("r", [])])
async def test_a_signature_of_the_domain_above_ours_is_not_enough_where_strictness_is_wanted(
    tmp_path, zone, mode, expected
):
    above = SIGNED.replace(b"d=shop.test", b"d=test")
    zone |= {
        ("a._domainkey.test", "TXT"): zone[RECORD],
        ("_dmarc.shop.test", "TXT"): [f'"v=DMARC1; p=reject; adkim={mode}"'],
    }
    async with looped(tmp_path) as (shop, loop):
        loop.top = TAKEN + PASSED + above
        _, *found = await probe_findings(shop.services)

    assert [(one.name, colour_of(one)) for one in found] == [("dmarc", one) for one in expected]


@pytest.mark.rule("DO-12")
async def test_a_probe_has_the_fields_of_one_click_and_our_own_keys_sign_them(tmp_path):
    async with looped(tmp_path) as (shop, loop):
        key = RsaPrivateKey.generate()
        sealed = shop.services.vault.seal(key.to_bytes(), DKIM_PURPOSE)
        stored = StoredKey("a", "rsa", dns_record(key), sealed)

        def use(tx):
            add_key(tx, stored, now=NOW)
            use_key(tx, "a", now=NOW)

        await shop.services.store.write(use)
        loop.top = TAKEN + PASSED
        found = await probe_findings(shop.services)
        (sent,) = loop.taken
        url = re.search(rb"List-Unsubscribe: <(.*?)>", sent.content)[1].decode()
        page = await shop.client.post(url, content=b"List-Unsubscribe=One-Click")

    assert [one.name for one in found] == ["probe"]
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in sent.content
    assert page.status_code == 200


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
        monkeypatch.setattr(f"fediletter.checks.everything.{look}", nothing)
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
        found, unsigned, *_ = await probe_findings(shop.services)

        assert found.is_good
        assert (unsigned.name, unsigned.is_good) == ("signature", False)  # By nobody, here.
        await until(lambda: counted(shop))
        assert await kept(shop) == [0, 0, 0]
