"""What is composed, byte by byte: header fields, quoted-printable, slots."""

import asyncio
import email.header
import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from aiosmtpd.smtp import SMTP
from hypothesis import given, settings
from hypothesis import strategies as st

from fediletter.mail.compose import (
    PREFERENCES_HERE,
    UNSUBSCRIBE_HERE,
    CannotCompose,
    IssueLetter,
    ReaderSlots,
    Sender,
    Template,
    compose_issue,
    compose_plain,
    new_message_id,
)
from fediletter.mail.courier import Envelope
from fediletter.mail.mailers import open_mailer
from tests.fediletter.mail.sink import ListCourier, Sink

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
SHOP = Sender("Atelier Rivière", "news@shop.example")


def letter(**changes) -> IssueLetter:
    fields = {
        "sender": SHOP,
        "subject": "Été : l’atelier déménage",
        "language": "fr",
        "html": f'<p>Bonjour</p><p><a href="{PREFERENCES_HERE}">x</a> '
        f'<a href="{UNSUBSCRIBE_HERE}">y</a></p>',
        "text": f"Bonjour\n-- \n{PREFERENCES_HERE}\n{UNSUBSCRIBE_HERE}\n",
        "list_id": "letters.shop.example",
        "list_name": "Atelier",
        "archived_at": "https://shop.example/letters/ete",
    }
    return IssueLetter(**fields | changes)


def reader(name="ana", **changes) -> ReaderSlots:
    fields = {
        "to": f"{name}@example.org",
        "message_id": f"{name}-0123456789abcdef@shop.example",
        "date": NOW,
        "unsubscribe_url": f"https://shop.example/unsubscribe/{name:A<36}",
        "preferences_url": f"https://shop.example/preferences/{name:B<39}",
    }
    return ReaderSlots(**fields | changes)


def parsed(octets: bytes):
    message = message_from_bytes(octets, policy=policy.default)
    for part in message.walk():
        assert not part.defects
    return message


def plain(**changes) -> bytes:
    fields = {
        "sender": SHOP,
        "to": "ana@example.org",
        "subject": "Confirmez",
        "text": "Bonjour.\n",
        "language": "fr",
        "message_id": "abc@shop.example",
        "now": NOW,
    }
    return compose_plain(**fields | changes)


@pytest.mark.rule("HD-1")
@pytest.mark.rule("HD-9")
@pytest.mark.rule("HD-11")
@pytest.mark.rule("HD-14")
@pytest.mark.rule("HD-15")
@pytest.mark.rule("HD-17")
@pytest.mark.rule("SE-6")
def test_an_issue_has_exactly_these_fields_in_this_order():
    message = parsed(compose_issue(letter()).fill(reader()))

    assert {name: str(value) for name, value in message.items()} == {
        "Date": "Tue, 24 Nov 2026 09:30:00 +0000",
        "From": "Atelier Rivière <news@shop.example>",
        "To": "ana@example.org",
        "Subject": "Été : l’atelier déménage",
        "Message-ID": "<ana-0123456789abcdef@shop.example>",
        "MIME-Version": "1.0",
        "List-ID": '"Atelier" <letters.shop.example>',
        "List-Unsubscribe": f"<https://shop.example/unsubscribe/ana{'A' * 33}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "List-Post": "NO",
        "Archived-At": "<https://shop.example/letters/ete>",
        "Precedence": "bulk",
        "X-Auto-Response-Suppress": "OOF, AutoReply",
        "Content-Language": "fr",
        "Content-Type": message["Content-Type"],
    }


@pytest.mark.rule("HD-9")
@pytest.mark.parametrize("host", ["shop.example", f"{'lettres-' * 6}atelier.example"])
@pytest.mark.parametrize(
    "name", ["Atelier Rivière", 'Été 🧵 : "lin" & <cuir>', "A <b@c.example>", "é" * 100, "=?x", ""]
)
def test_the_lists_name_stands_before_its_id_whatever_signs_it_has(name, host):
    octets = compose_issue(letter(list_name=name, list_id=f"letters.{host}")).fill(reader())

    raw = message_from_bytes(octets, policy=policy.compat32)["List-ID"]
    assert all(len(line) <= 78 for line in f"List-ID: {raw}".split("\r\n"))
    assert raw.count("<") == raw.count(">") == 1  # The id alone; nothing encoded within.
    words, _, rest = raw.rpartition("<")
    assert rest == f"letters.{host}>"
    shown = decoded(words)
    assert shown.strip() == ("" if name == "=?x" else name[:80])


@pytest.mark.rule("HD-4")
def test_reply_to_is_there_only_when_answers_go_elsewhere():
    elsewhere = Sender("Atelier", "news@shop.example", "bonjour@shop.example")

    assert parsed(compose_issue(letter()).fill(reader()))["Reply-To"] is None
    message = parsed(compose_issue(letter(sender=elsewhere)).fill(reader()))
    assert message["Reply-To"] == "bonjour@shop.example"
    assert parsed(plain(sender=elsewhere))["Reply-To"] is None


@pytest.mark.rule("MI-1")
@pytest.mark.rule("MI-3")
def test_text_comes_first_and_both_parts_are_true_utf8_in_quoted_printable():
    message = parsed(compose_issue(letter(text="« Été »\n", html="<p>« Été »</p>")).fill(reader()))

    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    for part in parts:
        assert part.get_content_charset() == "utf-8"
        assert part["Content-Transfer-Encoding"] == "quoted-printable"
        assert "« Été »" in part.get_content()
    assert not message.preamble


@pytest.mark.rule("MI-4")
@pytest.mark.rule("MI-7")
@pytest.mark.rule("EM-4")
@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.text(
        st.one_of(st.sampled_from(".\n\r =\tFé"), st.characters(exclude_categories=["Cs"])),
        max_size=300,
    )
)
def test_any_text_survives_in_lines_that_nothing_on_the_way_would_change(text):
    octets = compose_issue(letter(text=text, html="<p>x</p>")).fill(reader())

    lines = octets.split(b"\r\n\r\n", 1)[1].split(b"\r\n")
    assert all(len(line) <= 76 for line in lines)
    assert not any(line.startswith((b".", b"From ")) for line in lines)
    assert not any(line.endswith((b" ", b"\t")) for line in lines)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", octets)
    got = next(parsed(octets).iter_parts()).get_payload(decode=True).decode()
    assert got.replace("\r\n", "\n") == re.sub(r"\r\n?", "\n", text)


@pytest.mark.rule("MI-4")
def test_from_is_hidden_from_mailboxes_also_where_a_line_was_folded():
    for before in range(60, 80):
        octets = compose_issue(letter(text="x" * before + "From here\nFrom there")).fill(reader())
        assert b"\nFrom " not in octets.partition(b"\r\n\r\n")[2]


@pytest.mark.rule("MI-5")
def test_long_links_are_cut_where_no_line_begins_with_a_dot():
    for length in range(40, 120):
        base = f"https://{'a' * length}.shop.example"
        slots = reader(
            unsubscribe_url=f"{base}/unsubscribe/{'A' * 36}",
            preferences_url=f"{base}/preferences/{'B' * 39}",
        )
        octets = compose_issue(letter()).fill(slots)
        body = octets.split(b"\r\n\r\n", 1)[1]
        assert b"\r\n." not in octets
        assert max(map(len, body.split(b"\r\n"))) <= 76
        text, html = parsed(octets).iter_parts()
        assert slots.unsubscribe_url in text.get_content().splitlines()
        assert f'"{slots.preferences_url}"' in html.get_content()


@pytest.mark.rule("HD-22")
@pytest.mark.rule("EM-16")
@pytest.mark.rule("EM-17")
def test_two_readers_octets_differ_only_in_their_own_values():
    template = compose_issue(letter())
    ana, bo = reader("ana"), reader("bo", date=NOW + timedelta(minutes=1))

    one, other = template.fill(ana), template.fill(bo)

    assert b"bo" + b"A" * 34 not in one
    for mine, theirs in (
        (ana.to, bo.to),
        (ana.message_id, bo.message_id),
        (ana.unsubscribe_url, bo.unsubscribe_url),
        (ana.preferences_url, bo.preferences_url),
        ("09:30:00", "09:31:00"),
    ):
        assert other.count(theirs.encode()) == one.count(mine.encode()) > 0
        other = other.replace(theirs.encode(), mine.encode())
    assert one == other


@pytest.mark.rule("SE-2")
@pytest.mark.rule("HD-10")
def test_one_click_is_never_encoded_and_never_folded():
    octets = compose_issue(letter()).fill(reader())

    (field,) = re.findall(rb"(?m)^List-Unsubscribe:.*\r\n(?: .*\r\n)*", octets)
    assert re.fullmatch(rb"List-Unsubscribe: <https://[\x21-\x7e]+>\r\n", field)


@pytest.mark.rule("HD-10")
def test_who_has_mail_read_offers_to_leave_by_mail_behind_the_link():
    template = compose_issue(letter(leave_by_mail=True))

    octets = template.fill(reader(leave_address="leave+abc@shop.example"))

    found = message_from_bytes(octets, policy=policy.compat32)["List-Unsubscribe"]
    assert "".join(found.split("\r\n")) == (
        f"<https://shop.example/unsubscribe/ana{'A' * 33}>,"
        " <mailto:leave+abc@shop.example?subject=unsubscribe>"
    )


@pytest.mark.rule("EM-1")
@pytest.mark.rule("EM-2")
@pytest.mark.parametrize(
    "text", ["a\r\nBcc: x@y.z", "a\nb", "=?utf-8?q?x=0D=0ABcc:_x@y.z?=", "a\x00b", "\u202eevil", ""]
)
def test_a_subject_that_could_become_a_header_is_refused(text):
    with pytest.raises(CannotCompose):
        compose_issue(letter(subject=text))


@pytest.mark.slow
@pytest.mark.rule("SE-3")
@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.text(min_size=1, max_size=200))
def test_any_subject_stays_a_subject_or_is_refused(text):
    try:
        octets = compose_issue(letter(subject=text)).fill(reader())
    except CannotCompose:
        return
    assert [*parsed(octets)] == [*parsed(compose_issue(letter()).fill(reader()))]


@pytest.mark.rule("SE-4")
@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_any_name_makes_one_mailbox_or_is_refused(name):
    sender = Sender(name, "news@shop.example")
    try:
        octets = compose_issue(letter(sender=sender)).fill(reader())
    except CannotCompose:
        return

    head = octets.partition(b"\r\n\r\n")[0]
    assert all(len(word) <= 75 for word in re.findall(rb"=\?[^ \r\n]+\?=", head))
    # List-Unsubscribe is never folded (SE-2).
    others = re.sub(rb"List-Unsubscribe:.*", b"", head)
    assert all(len(line) <= 78 for line in others.split(b"\r\n") if b" " in line.strip())
    found = message_from_bytes(octets, policy=policy.compat32)["From"]
    assert found.endswith("<news@shop.example>") or found == "news@shop.example"
    assert octets.count(b"\r\nFrom:") == 1
    mailboxes = parsed(octets)["From"].addresses
    assert [box.addr_spec for box in mailboxes] == ["news@shop.example"]


@pytest.mark.rule("SE-3")
@pytest.mark.rule("SE-4")
@pytest.mark.parametrize(
    "name",
    [
        "Dupont, Marie",
        "L’atelier « Rivière »",
        'dit "la Rivière"',
        "Maison (sacs)",
        "é" * 80,
        "mot été " * 9 + "fin",
    ],
)
def test_a_name_with_signs_is_read_back_as_it_was_written(name):
    octets = compose_issue(letter(sender=Sender(name, "news@shop.example"))).fill(reader())

    raw = message_from_bytes(octets, policy=policy.compat32)["From"]
    decoded = str(email.header.make_header(email.header.decode_header(raw)))
    shown = decoded.rpartition("<")[0].strip()
    if shown.startswith('"'):
        shown = re.sub(r"\\(.)", r"\1", shown[1:-1])
    assert shown == name


@pytest.mark.rule("SE-3")
@pytest.mark.rule("SE-4")
@pytest.mark.parametrize("before", range(1, 24))
def test_no_space_is_lost_where_a_long_title_or_name_is_folded(before):
    text = "x" * before + " l’été à la rivière : du lin très élégant à Rouen, où « tissé »"
    name = text[:80].strip()

    for octets in (
        compose_issue(letter(subject=text, sender=Sender(name, SHOP.address))).fill(reader()),
        plain(subject=text, sender=Sender(name, SHOP.address)),
    ):
        head = octets.partition(b"\r\n\r\n")[0]
        assert all(len(line) <= 78 for line in head.split(b"\r\n") if b"Unsub" not in line)
        assert all(len(word) <= 75 for word in re.findall(rb"=\?[^ \r\n]+\?=", head))
        raw = message_from_bytes(octets, policy=policy.compat32)
        assert decoded(raw["Subject"]) == text
        assert decoded(raw["From"]) == f"{name} <{SHOP.address}>"


def decoded(value):
    return str(email.header.make_header(email.header.decode_header(value.replace("\r\n", ""))))


@pytest.mark.rule("SE-5")
def test_a_long_subject_is_cut_between_characters_as_people_see_them():
    family = "\U0001f469\u200d\U0001f467"
    flags = "\U0001f1eb\U0001f1f7\U0001f1ea\U0001f1fa"
    texts = ("x" * 149 + family, "x" * 149 + "e\u0301\u0323", "x" * 148 + family + "y")
    assert str(parsed(plain(subject="x" * 147 + flags))["Subject"]) == "x" * 147 + flags[:2]
    for text in texts:
        subject = str(parsed(compose_issue(letter(subject=text)).fill(reader()))["Subject"])
        assert len(subject) <= 150
        assert subject in ("x" * 149, "x" * 148, "x" * 149 + "\u1eb9\u0301")


@pytest.mark.rule("MI-6")
def test_each_mailing_has_a_boundary_of_its_own_that_its_parts_do_not_hold():
    boundaries = {parsed(compose_issue(letter()).fill(reader())).get_boundary() for _ in range(3)}

    assert len(boundaries) == 3
    assert all(19 <= len(boundary) <= 70 for boundary in boundaries)


@pytest.mark.rule("MI-6")
def test_a_boundary_that_a_part_holds_is_not_taken(monkeypatch):
    numbers = iter(("ab" * 16, "cd" * 16))
    monkeypatch.setattr("secrets.token_hex", lambda _: next(numbers))

    octets = compose_issue(letter(text=f"--fl-{'ab' * 16}\n")).fill(reader())

    assert parsed(octets).get_boundary() == f"fl-{'cd' * 16}"
    assert len([*parsed(octets).iter_parts()]) == 2


def test_a_template_comes_back_from_the_store_unchanged():
    template = compose_issue(letter(text="\x00to\x00 é .\n"))

    assert Template(template.to_bytes()).fill(reader()) == template.fill(reader())
    assert b"\x00" not in template.fill(reader())


@pytest.mark.rule("HD-6")
def test_message_ids_are_random_and_hold_no_address():
    ids = {new_message_id("shop.example") for _ in range(100)}

    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{24}@shop\.example", one) for one in ids)


@pytest.mark.rule("HD-16")
@pytest.mark.rule("HD-24")
def test_a_plain_mail_is_one_part_of_text_and_names_no_list():
    message = parsed(plain(text="Été.\n.\nFrom ici\n"))

    assert message.get_content_type() == "text/plain"
    assert message.get_content() == "Été.\r\n.\r\nFrom ici\r\n"
    assert message["Auto-Submitted"] == "auto-generated"
    assert not any(name.lower().startswith(("list-", "precedence")) for name in message)
    assert [*message.keys()] == [
        "Date",
        "From",
        "To",
        "Subject",
        "Message-ID",
        "MIME-Version",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "Content-Language",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]


@pytest.mark.rule("EM-4")
def test_a_plain_mail_ends_with_a_line_end_so_that_the_dot_stands_alone():
    for text in ("Bonjour.", "Bonjour.\n", "", "fin é"):
        assert plain(text=text).endswith(b"\r\n")


@pytest.mark.rule("EM-1")
@pytest.mark.parametrize(
    "changes",
    [
        {"to": "ana@example.org\r\nBcc: eve@evil.test"},
        {"to": "ana@example.org, eve@evil.test"},
        {"to": "ana@example.org>"},
        {"message_id": "a@b\r\nBcc: eve@evil.test"},
        {"subject": "a\r\nBcc: eve@evil.test"},
        {"subject": "=?utf-8?q?a=0D=0ABcc:_eve@evil.test?="},
        {"sender": Sender("a\nBcc: eve", "news@shop.example")},
    ],
)
def test_a_plain_mail_with_a_second_header_in_a_value_is_refused(changes):
    with pytest.raises(CannotCompose):
        plain(**changes)


@pytest.mark.rule("EM-1")
@pytest.mark.parametrize(
    "changes",
    [
        {"to": "ana@example.org\r\nBcc: eve@evil.test"},
        {"to": "ana@example.org, eve@evil.test"},
        {"message_id": "a@b>\r\nBcc: eve@evil.test"},
        {"unsubscribe_url": "https://a.example/x>\r\nBcc: eve@evil.test"},
        {"preferences_url": "https://a.example/x y"},
    ],
)
def test_a_value_of_a_reader_cannot_become_another_header(changes):
    with pytest.raises(CannotCompose):
        compose_issue(letter()).fill(reader(**changes))


@pytest.mark.rule("EM-4")
async def test_a_letter_that_tries_to_end_early_arrives_as_one_message():
    evil = "a\r\n.\r\nMAIL FROM:<eve@evil.test>\r\n.\nb\n.\rc\r.\r\n..\n\r\n.\n"
    content = compose_issue(letter(text=evil, html=f"<pre>{evil}</pre>")).fill(reader())
    taken = []

    class Inbox:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802 (its name)
            taken.append((envelope.rcpt_tos, envelope.content))
            return "250 taken"

    class One(ListCourier):
        async def following(self):
            found = await super().following()
            return found and Envelope(found.id, found.sender, found.recipient, content)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Inbox(), hostname="x.test"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        mailer = open_mailer(f"smtp://127.0.0.1:{port}", "shop.test")
        assert await mailer.run(One(Sink(), ["ana@example.org"])) is None
    finally:
        server.close()
        await server.wait_closed()

    assert taken == [(["ana@example.org"], content)]
