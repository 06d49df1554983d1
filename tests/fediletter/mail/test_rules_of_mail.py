"""Rules of email.md that speak of every kind of mail, held against each of them."""

import asyncio
import re
import socket
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from fediletter.errors import SettingsError
from fediletter.mail.compose import CannotCompose, Sender, checked_subject, compose_issue
from fediletter.mail.courier import Accepted, Envelope
from fediletter.mail.smtp import SmtpMailer
from fediletter.media.uploads import Upload, store_image
from fediletter.newsletter.html import from_markdown
from fediletter.newsletter.preflight import Facts, find
from fediletter.outbound.backoff import mail_again
from fediletter.settings import load
from storage.media import get_media
from tests.fediletter.mail.kinds import every_kind
from tests.fediletter.mail.sink import ListCourier, Sink
from tests.fediletter.mail.test_compose import letter, parsed, plain, reader
from tests.shop import running_shop
from tests.web.desk_shop import picture

FROM = "news@shop.example"
LISTED = ("letter", "test", "digest")  # What people are subscribed to.


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Every kind of mail, parsed, by name."""

    async def made():
        folder = tmp_path_factory.mktemp("kinds")
        async with running_shop(
            folder / "shop", workers=False, mail_from=FROM, base_url="https://shop.example"
        ) as shop:
            return await every_kind(shop)

    found = asyncio.run(made())
    return {name: message_from_bytes(raw, policy=policy.default) for name, raw in found.items()}


def is_listed(name):
    return name.startswith(LISTED)


@pytest.mark.rule("HD-2")
@pytest.mark.rule("HD-3")
@pytest.mark.rule("ID-3")
def test_each_mail_is_from_one_mailbox_to_one_and_always_the_same(kinds):
    for name, message in kinds.items():
        (sender,) = message["From"].addresses
        (to,) = message["To"].addresses
        assert (sender.addr_spec, sender.display_name) == (FROM, "Atelier Rivière"), name
        assert "@" in to.addr_spec
    assert len({str(kinds[name]["List-ID"]) for name in kinds if is_listed(name)}) == 1


@pytest.mark.rule("HD-2")
@pytest.mark.parametrize("name", ["ana@elsewhere.example", "Ana <ana@elsewhere.example>", "a@b"])
def test_a_name_that_is_an_address_is_left_out(name):
    sender = Sender(name, FROM)

    for raw in (compose_issue(letter(sender=sender)).fill(reader()), plain(sender=sender)):
        assert str(parsed(raw)["From"]) == FROM


@pytest.mark.rule("HD-5")
def test_a_subject_is_the_title_alone_of_a_bounded_length(kinds):
    for name, message in kinds.items():
        subject = str(message["Subject"])
        assert 1 <= len(subject) <= 150, name
        assert not re.match(r"(?i)(re|fwd?|tr) ?:", subject), name
        assert subject != subject.upper(), name
        if is_listed(name):
            assert "Atelier Rivière" not in subject, name
    assert len(checked_subject("é" * 200)) == 150
    with pytest.raises(CannotCompose):
        checked_subject("  ")


@pytest.mark.rule("HD-5")
@pytest.mark.parametrize("title", ["Re: le lin", "Fwd: le lin", "TR : le lin", "LE LIN EST LÀ"])
def test_a_title_that_filters_distrust_is_named_before_it_leaves(title):
    facts = Facts(title, "x", 1, "<p>x</p>", (), 10, True, True, True, False, "", True, 1, 0, 1)

    assert [one for one in find(facts) if one.name == "subject"]


@pytest.mark.rule("HD-7")
@pytest.mark.rule("HD-8")
@pytest.mark.rule("MI-1")
@pytest.mark.rule("MI-3")
def test_each_mail_says_what_it_is_made_of_and_in_which_language(kinds):
    for name, message in kinds.items():
        assert message["MIME-Version"] == "1.0"
        language = name.rpartition("-")[2]
        assert message["Content-Language"] == language, name
        if is_listed(name):
            kind = [part.get_content_type() for part in message.iter_parts()]
            assert (message.get_content_type(), kind) == (
                "multipart/alternative",
                ["text/plain", "text/html"],
            )
        else:
            assert message.get_content_type() == "text/plain", name
        for part in message.walk():
            if not part.is_multipart():
                assert part["Content-Transfer-Encoding"] == "quoted-printable"
                assert part.get_content_charset() == "utf-8"


@pytest.mark.rule("HD-12")
@pytest.mark.rule("HD-13")
@pytest.mark.rule("HD-18")
@pytest.mark.rule("HD-19")
@pytest.mark.rule("HD-21")
@pytest.mark.rule("OP-3")
def test_no_mail_has_a_field_that_watches_or_that_no_rule_asks_for(kinds):
    usual = {
        "Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Language",
        "Content-Type", "X-Auto-Response-Suppress",
    }  # fmt: skip
    of_lists = {
        "List-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "Precedence",
    }  # fmt: skip
    for name, message in kinds.items():
        wanted = usual | (
            of_lists | ({"Auto-Submitted"} if name.startswith("digest") else {"Archived-At"})
            if is_listed(name)
            else {"Auto-Submitted", "Content-Transfer-Encoding"}
        )
        assert set(message.keys()) == wanted, name
        assert len(message.keys()) == len(wanted), name
        assert message["List-Post"] == ("NO" if is_listed(name) else None)


@pytest.mark.rule("HT-15")
@pytest.mark.rule("HT-6")
def test_no_text_stands_on_a_colour_of_its_own_and_no_link_leads_to_a_number(kinds):
    for name in filter(is_listed, kinds):
        page = kinds[name].get_body(("html",)).get_content()
        assert set(re.findall(r"background-color: ?(#\w+)", page.partition("<body")[2])) == {
            "#faf7f2"
        }
        assert f"<title>{kinds[name]['Subject']}</title>" in (
            page.replace("&nbsp;", " ").replace("\xa0", " ")
        )
        links = re.findall(r'href="([^"]+)"', page)
        assert links
        assert all(re.match(r"https://[a-z]", link) for link in links), name


@pytest.mark.rule("HT-16")
@pytest.mark.rule("TX-5")
def test_french_signs_hold_their_places_by_spaces_that_every_program_shows(kinds):
    for name in ("letter-fr", "digest-fr"):
        for part in ("plain", "html"):
            text = kinds[name].get_body((part,)).get_content()
            if part == "html":
                text = re.sub(r"<style>.*?</style>|<[^>]+>", "", text, flags=re.DOTALL)
                text = text.replace("&nbsp;", "\xa0")
            text = re.sub(r"https?://\S+|\n    .*", "", text)
            assert "\u202f" not in text, (name, part)
            assert "\xa0:" in text
            assert not re.search(r" [;:!?»%]|« ", text), (name, part)


@pytest.mark.rule("HT-12")
async def test_pictures_are_kept_in_forms_that_every_program_shows(shop):
    for kind in ("WEBP", "PNG", "JPEG", "GIF"):
        upload = Upload(picture(640, 400, kind=kind), f"sac.{kind.lower()}")
        media = await store_image(
            shop.services.store, shop.settings.media, upload, now=datetime.now(UTC), alt="Un sac"
        )
        stored = await shop.services.store.read(get_media, media)
        assert {one.name.rpartition(".")[2] for one in stored.renditions} <= {"jpg", "png", "gif"}


@pytest.mark.rule("HT-12")
@pytest.mark.parametrize(
    "address", ["data:image/png;base64,AAAA", "https://other.example/a.webp", "/media/../a.svg"]
)
def test_a_picture_from_elsewhere_is_no_part_of_a_letter(address):
    markup = from_markdown(
        f"![x]({address})", profile="mail", language="fr", base_url="https://shop.example"
    )
    assert "<img" not in markup


@pytest.mark.rule("TX-1")
def test_both_parts_say_the_same_in_the_same_order(kinds):
    words = ("Bonjour", "Normandie", "Ce que nous", "fraîcheur", "commande", "petit", "marge",
             "marées", "Halluin", "76000")  # fmt: skip
    for part in ("plain", "html"):
        body = kinds["letter-fr"].get_body((part,)).get_content()
        at = [body.index(word, body.index("Bonjour")) for word in words]
        assert at == sorted(at), part


@pytest.mark.rule("OP-2")
@pytest.mark.rule("EM-6")
def test_a_confirmation_is_small_and_worth_no_abuse(kinds):
    for language in ("fr", "en"):
        message = kinds[f"confirmation-{language}"]
        assert len(message.as_bytes()) <= 2048
        assert message.get_content().count("://") == 2  # Its link, and what we keep.


@pytest.mark.rule("EM-6")
async def test_a_confirmation_of_very_many_subjects_is_small_too(shop):
    topics = [f"Sujet préféré {number}" for number in range(60)]
    await shop.publish("Sujets", "x", topics=topics, to_email=False)
    slugs = [f"sujet-prefere-{number}" for number in range(60)]
    form = {"email": "ana@example.org", "topics": slugs, "language": "fr"}
    await shop.client.post("/subscribe", data=form)
    (mail,) = await shop.mail_to("ana@example.org")

    assert "Sujet préféré 1, " in mail.text.replace("\n", " ")
    assert "préféré 59" not in mail.text
    (raw,) = Path(shop.settings.smtp_url.removeprefix("maildir:")).glob("new/*")
    assert len(raw.read_bytes()) <= 2048
    link = re.search(r"/confirm/\S+", mail.text)[0]
    assert len(link.removeprefix("/confirm/")) * 6 >= 160  # EM-9
    assert "Sujet préféré 59" in (await shop.client.get(link)).text


@pytest.mark.rule("OP-7")
def test_every_mail_to_a_reader_names_who_writes_and_a_way_to_their_rights(kinds):
    for name, message in kinds.items():
        if name.startswith("alert"):
            continue
        text = message.get_body(("plain",)).get_content()
        footer = text.rpartition("\n-- \n")[2]
        assert "Atelier Rivière" in footer, name
        assert "3 rue du Port, 76000 Rouen" in footer, name
        assert "https://shop.example/privacy" in footer, name
        assert not is_listed(name) or "/unsubscribe/" in footer, name


@pytest.mark.rule("OP-4")
async def test_no_box_of_the_form_is_ticked_and_what_is_agreed_to_stands_there(shop):
    await shop.publish("Sujets", "x", topics=["Lin", "Cuir"], to_email=False)
    page = (await shop.client.get("/subscribe?lang=en")).text
    form = page[page.index('action="/subscribe"') :].partition("</form>")[0]

    boxes = re.findall(r"<input[^>]*checkbox[^>]*>", form)
    assert len(boxes) >= 2
    assert not [box for box in boxes if "checked" in box]
    assert "nothing is tracked" in form
    assert "/privacy" in form


@pytest.mark.rule("ID-1")
@pytest.mark.parametrize(
    "domain",
    ["gmail.com", "googlemail.com", "yahoo.fr", "outlook.com", "hotmail.fr", "icloud.com",
     "orange.fr", "wanadoo.fr", "free.fr", "sfr.fr", "laposte.net", "gmx.de", "web.de",
     "proton.me", "GMAIL.com", "yahoo.co.uk", "hotmail.com.br", "protonmail.com", "gmx.net"],
)  # fmt: skip
def test_nobody_writes_from_a_mailbox_of_a_provider(tmp_path, domain):
    with pytest.raises(SettingsError) as refused:
        load({"FEDILETTER_MAIL_FROM": f"shop@{domain}"}, data=tmp_path)
    assert f"from {domain.lower()}" in str(refused.value.fields).lower()


@pytest.mark.rule("ID-1")
@pytest.mark.parametrize("domain", ["live.atelier.fr", "outlook.shop.example", "free.atelier.fr"])
def test_a_domain_of_ones_own_may_begin_like_a_provider(tmp_path, domain):
    assert load({"FEDILETTER_MAIL_FROM": f"shop@{domain}"}, data=tmp_path).mail_from.endswith(
        domain
    )


@pytest.mark.rule("TR-15")
async def test_a_message_is_never_sent_in_chunks():
    sink = Sink(extensions=("PIPELINING", "CHUNKING", "BINARYMIME"))
    async with sink.running():
        await SmtpMailer(sink.relay()).run(ListCourier(sink, ["ana@a.test", "bo@b.test"]))

    assert sink.recipients == ["ana@a.test", "bo@b.test"]
    assert not [one for one in sink.commands if one.startswith("BDAT")]


@pytest.mark.rule("TR-14")
async def test_a_relay_that_talks_before_it_listens_does_not_stop_us():
    """Its answer to the last message comes while the next is being written, in many lines."""
    content = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n"
    content += (b"y" * 76 + b"\r\n") * 40_000  # More than both sides' buffers hold.

    async def serve(reader, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.write(b"220 x\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                await reader.readline()
                # Nothing is read until this much has been taken from us.
                writer.write(b"250-queued\r\n" * 900)
                writer.transport.set_write_buffer_limits(0)
                await writer.drain()
                while await reader.readline() != b".\r\n":
                    pass
                writer.write(b"250 queued\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
        writer.close()

    class One(ListCourier):
        async def following(self):
            found = await super().following()
            return found and Envelope(found.id, found.sender, found.recipient, content)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sink = Sink(port=server.sockets[0].getsockname()[1])
    courier = One(sink, ["ana@a.test"])
    async with asyncio.timeout(20):
        assert await SmtpMailer(sink.relay()).run(courier) is None
    server.close()

    assert isinstance(courier.result("ana@a.test"), Accepted)


@pytest.mark.rule("TR-17")
def test_a_message_that_may_come_later_is_tried_by_the_schedule_for_four_days():
    begin = now = datetime(2026, 11, 24, tzinfo=UTC)
    minutes = [5, 15, 30, 60, 120, 240, 480, 960]
    for attempt in range(1, 40):
        again = mail_again(attempt, created_at=begin, now=now)
        if again is None:
            break
        step = minutes[attempt - 1] if attempt <= len(minutes) else 24 * 60
        assert 0.8 * step <= (again - now) / timedelta(minutes=1) <= 1.2 * step, attempt
        now = again
    assert timedelta(days=2.5) < now - begin <= timedelta(days=4)
    assert len({mail_again(1, created_at=begin, now=begin) for _ in range(20)}) > 1  # Spread.


@pytest.mark.rule("EM-2")
@pytest.mark.parametrize("place", ["subject", "name"])
@pytest.mark.parametrize("hidden", ["=?utf-8?q?x=0D=0ABcc:_eve@evil.test?=", "a =?x", "=?"])
def test_what_looks_encoded_is_refused_before_the_library_sees_it(hidden, place):
    """CPython 3.11.7 makes a Bcc line of the first one (CVE-2024-6923)."""
    sender = Sender(hidden.replace("@", " "), FROM)  # With an @ it would be left out (HD-2).
    changes = {"subject": hidden} if place == "subject" else {"sender": sender}

    with pytest.raises(CannotCompose, match="cannot be sent as it is"):
        compose_issue(letter(**changes))
    with pytest.raises(CannotCompose, match="cannot be sent as it is"):
        plain(**changes)
