"""The look before a letter leaves."""

import asyncio
import html

import pytest

from fediletter.newsletter.preflight import Facts, find
from fediletter.outbound.preflight import dead_links, preflight
from tests.peers.test_postfix import add_active
from tests.shop import running_shop

GOOD = Facts(
    title="Du lin et du cuir",
    summary="Ce que nous avons appris du lin cette saison, et un sac qui en vient.",
    topics=1,
    body_html="<p>" + "Bonjour. " * 40 + '<a href="https://a.example/">Le site</a></p>',
    addresses=("https://a.example/",),
    mail_bytes=20_000,
    to_web=True,
    to_fediverse=True,
    to_email=True,
    has_cover=False,
    cover_alt="",
    has_postal_address=True,
    mail_now=3,
    mail_monthly=1,
    followers=2,
)


def changed(**fields) -> Facts:
    from dataclasses import replace

    return replace(GOOD, **fields)


def grave(facts: Facts) -> set[tuple[str, str]]:
    return {(one.name, one.severity) for one in find(facts) if one.severity != "note"}


def test_a_good_letter_has_nothing_to_repair_and_says_what_each_channel_does():
    assert grave(GOOD) == set()
    assert grave(changed(image_bytes=(200_000,) * 5)) == set()
    notes = {one.name: one.fields for one in find(GOOD)}
    assert notes["mail"] == {"count": 3, "monthly": 1}
    assert notes["fediverse"] == {"count": 2}
    assert "web" in notes


@pytest.mark.parametrize(
    ("fields", "name", "severity"),
    [
        ({"title": " "}, "title", "stop"),
        ({"title": "x" * 61}, "subject", "warning"),
        ({"title": "Re: lin"}, "subject", "stop"),
        ({"title": "SOLDES DE LIN"}, "subject", "stop"),
        ({"summary": ""}, "summary", "warning"),
        ({"topics": 0}, "topic", "note"),
        ({"body_html": ""}, "body", "stop"),
        ({"body_html": GOOD.body_html + '<img src="/a.jpg">'}, "alt", "warning"),
        ({"has_cover": True}, "alt", "warning"),
        ({"body_html": '<p>x</p><img src="/a.jpg" alt="b">'}, "images", "warning"),
        ({"addresses": ("/letters/x",)}, "link", "warning"),
        ({"addresses": ("www.b.example",)}, "link", "warning"),
        ({"body_html": GOOD.body_html + '<a href="http://b.example">x</a>'}, "link", "warning"),
        ({"body_html": GOOD.body_html + '<a href="https://10.1.2.3/">x</a>'}, "link", "warning"),
        (
            {"body_html": GOOD.body_html + '<a href="https://b.example">www.a.example</a>'},
            "link",
            "stop",
        ),
        (
            {"body_html": GOOD.body_html + '<a href="https://b.example/notes">notes.md</a>'},
            "link",
            "warning",
        ),
        ({"mail_bytes": 90_001}, "size", "warning"),
        ({"mail_bytes": 100_001}, "size", "stop"),
        ({"image_bytes": (200_001,)}, "weight", "warning"),
        ({"image_bytes": (190_000,) * 6}, "weight", "warning"),
        ({"has_postal_address": False}, "address", "warning"),
        ({"to_web": False, "to_fediverse": False, "to_email": False}, "channels", "stop"),
    ],
)
def test_each_thing_to_look_at_is_said_with_its_weight(fields, name, severity):
    assert (name, severity) in {(one.name, one.severity) for one in find(changed(**fields))}


def test_an_address_shown_as_it_is_and_places_in_the_letter_are_no_reason_to_warn():
    body = GOOD.body_html + '<a href="https://www.a.example/x">a.example/x</a>'
    assert grave(changed(body_html=body, addresses=("#s-1", "mailto:ana@a.example"))) == set()


def test_a_name_in_capitals_is_not_shouting_and_what_is_not_mailed_may_be_anything():
    assert grave(changed(title="L’ONU DIT")) == set()
    assert grave(changed(title="ACCESSIBILITÉ")) == set()
    body = GOOD.body_html + '<a href="https://b.example">www.a.example</a>'
    shouting = changed(title="SOLDES DE LIN", body_html=body, to_email=False)
    assert grave(shouting) == {("link", "warning")}


async def test_the_sheet_shows_findings_and_follows_links_only_when_asked(shop):
    await add_active(shop, "ana@readers.test")
    await shop.log_in()
    there = f"{shop.base_url}/privacy"
    gone = f"{shop.base_url}/nowhere"
    body = f"[a]({there}) [b]({gone}) [c](http://127.0.0.1:9/) [d](#s-1)"
    post = await shop.draft("Du lin", body)

    page = (await shop.client.get(f"/desk/letters/{post.id}/publish")).text
    followed = (await shop.client.get(f"/desk/letters/{post.id}/publish?links=1")).text

    assert "Lecteurs maintenant\u00a0: 1" in page
    assert "Aucune adresse postale" in page
    assert "(404)" not in page
    assert f"{gone} mène à une page qui n’existe pas (404)" in followed
    assert "http://127.0.0.1:9/ ne mène à aucune page" in followed
    assert f"{there} mène à une page" not in followed
    assert f"{there} ne mène" not in followed
    assert "#s-1" not in followed[followed.index('id="before"') : followed.index('id="previews"')]


async def test_links_are_asked_for_a_bounded_time(shop, monkeypatch):
    import contextlib

    from fediletter.outbound import preflight as module

    over = asyncio.Event()

    async def never(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read()  # Until whoever asks has had enough.
        writer.transport.abort()
        over.set()

    monkeypatch.setattr(module, "_SECONDS", 0.3)
    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    post = await shop.draft("Du lin", f"[a](http://127.0.0.1:{port}/)")
    try:
        assert await dead_links(shop.services, post) == []
        await over.wait()
    finally:
        server.close()
    assert await preflight(shop.services, post)


@pytest.mark.rule("FE-1")
async def test_a_link_to_a_private_address_is_never_asked(tmp_path):
    asked = []

    async def note(reader, writer):
        asked.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running_shop(tmp_path / "shop", allow_addresses="") as shop:
        hosts = ("127.0.0.1", "localhost", "[::1]", "0x7f000001", "2130706433")
        body = " ".join(f"[{number}](https://{host}:{port}/)" for number, host in enumerate(hosts))
        post = await shop.draft("Du lin", f"{body} [m](https://169.254.169.254/latest/)")

        found = await dead_links(shop.services, post)

    assert asked == []
    assert {one.name for one in found} == {"dead link"}
    assert len(found) == len(hosts) + 1


async def test_every_finding_stands_on_the_sheet_before_anything_leaves(tmp_path):
    async with running_shop(tmp_path / "shop", second_thoughts="10m") as shop:
        await shop.log_in()
        body = "![](/media/x.jpg) [ici](/letters/x) [là](http://b.example) " + "lin " * 60
        post = await shop.draft("Re: " + "lin " * 20, body, summary="")

        page = html.unescape((await shop.client.get(f"/desk/letters/{post.id}/publish")).text)

        for words in (
            "caractères. Comme objet, les téléphones en montrent",
            "commence comme une réponse",
            "pas d’accroche",
            "Sans sujet",
            "Images sans description",
            "Le lien /letters/x n’indique pas de site",
            "http://b.example",
            "Web\u00a0: ",
            "Fédivers\u00a0: ",
        ):
            assert words in page, words
        assert shop.mailbox() == []
