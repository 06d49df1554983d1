"""The doctor's look at mail, against a server of names by script."""

import socket
import ssl
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from federation.network import Network, NetworkPolicy
from fediletter.checks.mail import _is_generic, mail_findings
from fediletter.checks.sample import sample_findings
from fediletter.cli import cli
from fediletter.mail import dns as door
from fediletter.mail.dns import dmarc_of, spf_of
from fediletter.words import words
from storage import dkim
from storage.schema import newsletter
from tests.fediletter.mail.names import names
from tests.fediletter.mail.sink import Sink
from tests.fediletter.mail.test_dkim import signed_issue
from tests.fediletter.test_digest import Calendar
from tests.peers.certificates import make_certificates
from tests.peers.test_postfix import add_active
from tests.shop import free_port, running_shop

GOOD = {
    ("shop.test", "TXT"): ['"v=spf1 mx ip4:192.0.2.0/24 -all"', '"other"'],
    ("shop.test", "MX"): ["10 mx.shop.test."],
    ("mx.shop.test", "A"): ["192.0.2.1", "192.0.2.2"],
    ("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=none; rua=mailto:a@shop.test"'],
    ("_mta-sts.shop.test", "TXT"): ['"v=STSv1; id=1"'],
    ("_smtp._tls.shop.test", "TXT"): ['"v=TLSRPTv1; rua=mailto:a@shop.test"'],
}


POLICY = "version: STSv1\r\nmode: enforce\r\nmx: *.shop.test\r\nmax_age: 604800\r\n"


def web(text):
    """Pages of our domain as others see them."""

    def answer(request):
        is_policy = str(request.url) == "https://mta-sts.shop.test/.well-known/mta-sts.txt"
        return httpx.Response(200 if is_policy and text else 404, text=text or "")

    return Network(NetworkPolicy("fediletter/tests"), transport=httpx.MockTransport(answer))


async def look(tmp_path, changes=None, *, key=None, policy=POLICY, mx_port=None, **settings):
    zone = {name: value for name, value in (GOOD | (changes or {})).items() if value}
    sink = Sink(extensions=("PIPELINING", "SIZE 1000"))
    async with (
        sink.running(),
        names(zone) as (resolver, _),
        running_shop(
            tmp_path / "shop", workers=False, smtp_url=f"smtp://127.0.0.1:{sink.port}", **settings
        ) as shop,
    ):
        if key is not None:
            now = shop.services.clock.now()
            await shop.services.store.write(dkim.add_key, key, now=now)
            await shop.services.store.write(dkim.use_key, key.selector, now=now)
        services = replace(shop.services, network=web(policy))
        port = mx_port or free_port()
        return {one.name: one for one in await mail_findings(services, resolver, mx_port=port)}


def colour(finding):
    return "red" if not finding.is_good else "amber" if finding.is_amber else "green"


async def test_a_domain_in_order_is_green_and_names_what_the_relay_offers(tmp_path):
    found = await look(tmp_path)

    assert {name: colour(one) for name, one in found.items()} == {
        "mail": "green",
        "relay": "green",  # Says what it does without.
        "spf": "green",
        "dkim": "amber",  # The relay signs, or nobody does.
        "dmarc": "green",
        "mx": "green",
        "mta-sts": "green",
    }
    assert found["mail"].fields["offered"] == "PIPELINING, SIZE"
    assert found["relay"].fields["missing"] == "DSN, SMTPUTF8"


@pytest.mark.parametrize(
    ("name", "expected", "changes"),
    [
        pytest.param(*one, marks=pytest.mark.rule(rule))
        for rule, *one in [
            ("DO-1", "spf", "red", {("shop.test", "TXT"): ['"nothing"']}),
            ("DO-1", "spf", "red", {("shop.test", "TXT"): ['"v=spf1 -all"', '"v=spf1 mx -all"']}),
            ("DO-1", "spf", "red", {("shop.test", "TXT"): ['"v=spf1 ip4:1.2.3 -all"']}),
            ("DO-1", "spf", "red", {("shop.test", "TXT"): ['"v=spf1 nonsense -all"']}),
            (
                "DO-1",
                "spf",
                "red",
                {
                    ("shop.test", "TXT"): ['"v=spf1 include:loop.test -all"'],
                    ("loop.test", "TXT"): ['"v=spf1 include:loop.test -all"'],
                },
            ),
            ("DO-1", "spf", "red", {("shop.test", "TXT"): ['"v=spf1 a:x.a a:y.a a:z.a -all"']}),
            ("DO-1", "spf", "amber", {("shop.test", "TXT"): ['"v=spf1 mx ?all"']}),
            ("DO-1", "spf", "amber", {("shop.test", "TXT"): ['"v=spf1 mx"']}),
            ("DO-3", "dmarc", "red", {("_dmarc.shop.test", "TXT"): []}),
            ("DO-3", "dmarc", "red", {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=maybe"']}),
            (
                "DO-3",
                "dmarc",
                "red",
                {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; rua=mailto:a@shop.test"']},
            ),
            (
                "DO-3",
                "dmarc",
                "red",
                {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']},
            ),
            ("DO-3", "dmarc", "amber", {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=none"']}),
            (
                "DO-3",
                "dmarc",
                "amber",
                {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=none; rua=mailto:a@b.c; pct=50"']},
            ),
            ("DO-5", "mx", "red", {("shop.test", "MX"): ["0 ."]}),
            ("ID-2", "mx", "red", {("shop.test", "MX"): ["0 ."]}),
            ("DO-5", "mx", "red", {("shop.test", "MX"): []}),
            (
                "DO-5",
                "mx",
                "amber",
                {("mx.shop.test", "A"): [], ("mx.shop.test", "AAAA"): ["2001:db8::1"]},
            ),
            (
                "DO-3",
                "dmarc",
                "amber",
                {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=none; rua=mailto:a@reports.example"']},
            ),
            ("DO-5", "mx", "amber", {("mx.shop.test", "A"): ["192.0.2.1"]}),
            ("DO-6", "mta-sts", "amber", {("_mta-sts.shop.test", "TXT"): []}),
            ("DO-6", "mta-sts", "amber", {("_smtp._tls.shop.test", "TXT"): []}),
            ("DO-6", "mta-sts", "red", {("shop.test", "MX"): ["10 mail.elsewhere.example."]}),
        ]
    ],
)
async def test_each_fault_has_its_colour_and_one_thing_to_do(tmp_path, name, expected, changes):
    found = (await look(tmp_path, changes))[name]

    assert colour(found) == expected
    assert found.remedy
    found.fact.format(**found.fields)
    found.remedy.format(**found.fields)


@pytest.mark.rule("DO-3")
async def test_after_a_month_of_green_a_policy_that_forbids_nothing_is_amber(tmp_path):
    clock = Calendar()
    none = {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=none; rua=mailto:a@shop.test"']}
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        settings = replace(shop.settings, smtp_url=f"smtp://127.0.0.1:{free_port()}")
        services = replace(shop.services, clock=clock, settings=settings, network=web(POLICY))

        async def seen(days, zone):
            clock.ahead = timedelta(days=days)
            async with names(GOOD | zone) as (resolver, _):
                (found,) = [
                    one for one in await mail_findings(services, resolver) if one.name == "dmarc"
                ]
                return colour(found)

        absent = {("_dmarc.shop.test", "TXT"): []}
        assert [await seen(day, none) for day in (0, 29)] == ["green", "green"]
        assert await seen(29.5, absent) == "red"  # From here the month begins anew.
        assert [await seen(day, none) for day in (30, 59, 61)] == ["green", "green", "amber"]
        reject = {("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=reject; rua=mailto:a@shop.test"']}
        assert await seen(62, reject) == "green"


@pytest.mark.rule("DO-15")
@pytest.mark.parametrize(("score", "expected"), [("0.4", "green"), ("3.4", "red")])
async def test_the_newest_letter_is_looked_at_by_our_rules_and_by_spamassassin(
    tmp_path, monkeypatch, score, expected
):
    program = tmp_path / "spamassassin"
    program.write_text(
        "#!/bin/sh\ncat > $0.seen\n"
        f"echo 'X-Spam-Status: No, score={score} required=5.0 tests=ONE,TWO autolearn=no'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        assert await sample_findings(shop.services) == []  # Before the first letter.
        text = "Voir [bank.example](https://shop.example/).\n\n![](https://x.example/a.png)"
        await shop.publish("Du lin", text)
        found = await sample_findings(shop.services)

    *rules, spam = found
    assert {colour(one) for one in rules} == {"amber"}
    assert any("shows one address and leads to another" in one.fact for one in rules)
    assert (spam.name, colour(spam)) == ("spam", expected)
    assert spam.fields["tests"] == "ONE,TWO"
    seen = (tmp_path / "spamassassin.seen").read_bytes()
    assert seen.startswith(b"Received: from shop.test ")
    assert b"List-Unsubscribe-Post" in seen


KEY = dkim.StoredKey("fl-2026a", "rsa", "v=DKIM1; k=rsa; p=QUJD", b"sealed")


@pytest.mark.rule("DO-2")
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ('"v=DKIM1; k=rsa; p=QU" "JD"', "green"),
        ('"v=DKIM1; k=rsa; t=y; p=QUJD"', "amber"),
        ('"v=DKIM1; k=rsa; p=QUJE"', "red"),
        ('"v=DKIM1; k=rsa; p="', "red"),
        ('"v=DKIM1; k=ed25519; p=QUJD"', "red"),
        (None, "red"),
    ],
)
async def test_the_record_of_our_own_key_must_be_ours(tmp_path, record, expected):
    name = ("fl-2026a._domainkey.shop.test", "TXT")
    found = await look(tmp_path, {name: [record] if record else []}, key=KEY)

    assert colour(found["dkim"]) == expected


async def test_a_resolver_that_is_silent_is_named_and_not_taken_for_an_answer(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(door, "_SECONDS", 0.3)
    found = await look(tmp_path, {("_dmarc.shop.test", "TXT"): ["silence"]})

    assert colour(found["dmarc"]) == "red"
    assert "could not be looked up" in found["dmarc"].fact
    assert colour(found["mx"]) == "green"


@pytest.mark.rule("DO-3")
async def test_dmarc_is_looked_for_up_the_tree_with_at_most_eight_questions():
    deep = "a.b.c.d.e.f.g.h.i.j.shop.test"
    async with names({("_dmarc.shop.test", "TXT"): ['"v=DMARC1; p=reject"']}) as (resolver, asked):
        found = await dmarc_of(resolver, deep)
        assert found is not None
        assert found.domain == "shop.test"
        assert len(asked) <= 8
        asked.clear()
        assert await dmarc_of(resolver, "a.b.c.d.e.f.g.h.i.j.other.example") is None
        assert len(asked) <= 8


@pytest.mark.rule("DO-1")
async def test_spf_is_followed_through_includes_and_redirects():
    zone = {
        ("shop.test", "TXT"): ['"v=spf1 include:one.test redirect=two.test"'],
        ("one.test", "TXT"): ['"v=spf1 ip4:192.0.2.0/24 -all"'],
        ("two.test", "TXT"): ['"v=spf1 ip6:2001:db8::/32 a:mx.test ~all"'],
        ("mx.test", "A"): ["198.51.100.1"],
    }
    async with names(zone) as (resolver, _):
        found = await spf_of(resolver, "shop.test")

    assert found.end == "~all"
    assert found.look_ups == 3
    assert set(found.networks) == {"192.0.2.0/24", "2001:db8::/32", "198.51.100.1"}


@pytest.mark.rule("DO-1")
async def test_spf_permits_the_neighbours_it_names_and_nobody_it_denies():
    zone = {
        ("shop.test", "TXT"): ['"v=spf1 a/28 mx:mx.test/24//64 ?ip4:203.0.113.0/24 -all"'],
        ("shop.test", "A"): ["192.0.2.33"],
        ("mx.test", "MX"): ["10 one.test."],
        ("one.test", "A"): ["198.51.100.1"],
        ("one.test", "AAAA"): ["2001:db8::1"],
    }
    async with names(zone) as (resolver, _):
        found = await spf_of(resolver, "shop.test")

    assert set(found.networks) == {"192.0.2.32/28", "198.51.100.0/24", "2001:db8::/64"}
    assert (found.look_ups, found.problem, found.end) == (2, "", "-all")


@pytest.mark.rule("DK-1")
@pytest.mark.parametrize(
    ("sender", "code", "said"),
    [("news@shop.example", 0, "one-click too"), ("news@other.example", 1, "not the domain")],
)
def test_a_received_letter_tells_who_signed_it(tmp_path, monkeypatch, sender, code, said):
    monkeypatch.setenv("FEDILETTER_MAIL_FROM", sender)
    monkeypatch.setenv("FEDILETTER_LANGUAGE", "en")
    (tmp_path / "letter.eml").write_bytes(signed_issue())

    got = CliRunner().invoke(
        cli, ["--data", str(tmp_path), "dkim", "look", str(tmp_path / "letter.eml")]
    )

    assert got.exit_code == code
    assert said in got.output


@pytest.mark.rule("DO-9")
@pytest.mark.rule("TR-25")
@pytest.mark.parametrize(
    ("is_open", "there", "extra", "expected"),
    [
        ("yes", False, (), "red"),
        ("yes", True, ("SMTPUTF8",), None),
        ("no", True, (), "red"),  # Let in while the form was open.
        ("no", True, ("SMTPUTF8",), None),
        ("no", False, (), None),
    ],
)
async def test_a_relay_that_cannot_reach_whom_the_form_lets_in_is_red(
    tmp_path, is_open, there, extra, expected
):
    sink = Sink(extensions=("PIPELINING", "SIZE 1000", *extra))
    async with (
        sink.running(),
        names(GOOD) as (resolver, _),
        running_shop(
            tmp_path / "shop",
            workers=False,
            smtp_url=f"smtp://127.0.0.1:{sink.port}",
            international_addresses=is_open,
        ) as shop,
    ):
        await add_active(shop, "ana@example.org", *(["José@exemple.fr"] if there else []))
        found = {one.name: one for one in await mail_findings(shop.services, resolver)}

    assert (colour(found["smtputf8"]) if "smtputf8" in found else None) == expected


@pytest.mark.rule("DO-9")
@pytest.mark.parametrize("language", ["fr", "en"])
async def test_a_relay_that_does_not_answer_is_red_in_either_language(tmp_path, language):
    async with (
        names(GOOD) as (resolver, _),
        running_shop(
            tmp_path / "shop", workers=False, smtp_url=f"smtp://127.0.0.1:{free_port()}"
        ) as shop,
    ):
        found = {one.name: one for one in await mail_findings(shop.services, resolver)}

    assert colour(found["mail"]) == "red"
    words_of = words(language).gettext
    said = words_of(found["mail"].fact, **found["mail"].fields)
    assert ("ne peut pas" in said or "inutilisable" in said) == (language == "fr"), said
    assert "127.0.0.1" in said


@pytest.mark.rule("DO-3")
async def test_reports_may_go_elsewhere_if_that_place_agreed_and_strict_alignment_is_kept(tmp_path):
    found = await look(
        tmp_path,
        {
            ("_dmarc.shop.test", "TXT"): [
                '"v=DMARC1; p=reject; adkim=s; aspf=s; rua=mailto:a@reports.example"'
            ],
            ("shop.test._report._dmarc.reports.example", "TXT"): ['"v=DMARC1"'],
        },
    )

    assert colour(found["dmarc"]) == "green"


@pytest.mark.rule("DO-6")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (POLICY, "green"),
        (POLICY.replace("enforce", "testing"), "amber"),
        (POLICY.replace("*.shop.test", "mx.other.test"), "red"),
        (POLICY.replace("*.shop.test", "*.test"), "red"),  # A star is one label.
        ("", "red"),
    ],
)
async def test_the_policy_for_tls_must_be_readable_and_name_our_hosts(tmp_path, policy, expected):
    assert colour((await look(tmp_path, policy=policy))["mta-sts"]) == expected


@pytest.mark.rule("DO-6")
@pytest.mark.parametrize(("host", "expected"), [("localhost", "green"), ("mx.shop.test", "red")])
async def test_a_mail_host_that_must_be_written_to_by_tls_has_a_certificate_of_its_name(
    tmp_path, monkeypatch, host, expected
):
    authority, own, key = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    sink = Sink(extensions=("STARTTLS",), tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    sink.tls.load_cert_chain(own, key)
    zone = {("shop.test", "MX"): [f"10 {host}."], (host, "A"): ["127.0.0.1"]}
    async with sink.running():
        policy = POLICY + "mx: localhost\r\n"
        found = await look(tmp_path, zone, policy=policy, mx_port=sink.port)

    assert colour(found["mta-sts"]) == expected
    assert found["mta-sts"].fields.get("host", host) == host


@pytest.mark.rule("DO-4")
@pytest.mark.parametrize(
    ("names_of_it", "address_of_name", "expected"),
    [
        (["relay.shop.test."], "51.15.20.30", "amber"),  # Greets by another name.
        ([f"{socket.getfqdn()}."], "51.15.20.30", None),
        (["relay.shop.test."], "51.15.20.31", "red"),
        ([], "51.15.20.30", "red"),
    ],
)
async def test_our_own_server_has_a_name_that_leads_back_to_it(
    tmp_path, names_of_it, address_of_name, expected
):
    name = names_of_it[0].rstrip(".") if names_of_it else "relay.shop.test"
    found = await look(
        tmp_path,
        {
            ("letters.shop.test", "A"): ["51.15.20.30"],
            ("shop.test", "TXT"): ['"v=spf1 ip4:51.15.20.30 -all"'],
            ("30.20.15.51.in-addr.arpa", "PTR"): names_of_it,
            (name, "A"): [address_of_name],
        },
        base_url="https://letters.shop.test",
    )

    assert (colour(found["ptr"]) if "ptr" in found else None) == expected


@pytest.mark.rule("DO-1")
async def test_spf_must_permit_our_own_server(tmp_path):
    zone = {("letters.shop.test", "A"): ["51.15.20.30"]}
    found = await look(tmp_path, zone, base_url="https://letters.shop.test")

    assert colour(found["spf"]) == "red"
    assert found["spf"].fields["mechanism"] == "ip4:51.15.20.30"


@pytest.mark.rule("DO-14")
@pytest.mark.parametrize(
    ("script", "expected", "refused"),
    [
        ({}, "green", None),
        ({("RCPT", 2): "550 5.1.1 nobody"}, "amber", "abuse@shop.test"),
        ({("RCPT", 1): "451 later"}, "green", None),
    ],
)
async def test_whoever_has_trouble_with_us_can_write(tmp_path, script, expected, refused):
    zone = {("mx.shop.test", "A"): ["127.0.0.1"]}
    host = Sink(script)
    async with host.running():
        found = await look(tmp_path, zone, mx_port=host.port)

    assert colour(found["postmaster"]) == expected
    assert found["postmaster"].fields.get("refused") == refused
    assert host.messages == []
    assert not any(one.startswith("DATA") for one in host.commands)


@pytest.mark.rule("DO-15")
async def test_a_name_that_no_letter_can_bear_is_red(tmp_path):
    sink = Sink(extensions=("PIPELINING", "SIZE 1000"))
    async with (
        sink.running(),
        names(GOOD) as (resolver, _),
        running_shop(
            tmp_path / "shop", workers=False, smtp_url=f"smtp://127.0.0.1:{sink.port}"
        ) as shop,
    ):

        def rename(tx):
            tx.execute(sa.update(newsletter).values(sender_name="Ana =?utf-8?q?x?="))

        assert "letter" not in {one.name for one in await mail_findings(shop.services, resolver)}
        await shop.services.store.write(rename)
        found = {one.name: one for one in await mail_findings(shop.services, resolver)}

    assert colour(found["letter"]) == "red"


@pytest.mark.rule("DO-4")
@pytest.mark.parametrize(
    ("name", "address", "is_generic"),
    [
        ("static.30.20.15.51.clients.provider.example", "51.15.20.30", True),
        ("ip-051-015-020-030.provider.example", "51.15.20.30", True),
        ("2001-db8-0-0-0-0-0-1a.v6.provider.example", "2001:db8::1a", True),
        ("mail30.shop.test", "51.15.20.30", False),
        ("a30-20-15.provider.example", "51.15.20.15", False),
        ("mail.shop.test", "2001:db8::1a", False),
    ],
)
def test_a_name_that_spells_the_address_is_its_providers(name, address, is_generic):
    assert _is_generic(name, address) is is_generic
