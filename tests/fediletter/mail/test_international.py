"""Readers whose address has letters beyond ASCII: from form to export, or a clear no."""

import json
import re
from email import message_from_bytes, policy

import pytest
import sqlalchemy as sa

from fediletter.mail.addresses import BadAddress, parse_international
from fediletter.mail.written import read_letter
from storage.schema import delivery
from tests.fediletter.mail.sink import Sink
from tests.fediletter.readers import consents, link_in, person, preference_link
from tests.shop import running_shop, until

JOSE = "josé@exemple.fr"
RELAY = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000")


@pytest.mark.rule("TR-25")
@pytest.mark.rule("TR-26")
@pytest.mark.parametrize(
    ("typed", "kept", "identity"),
    [
        ("Jose\u0301@exemple.fr", "José@exemple.fr", "josé@exemple.fr"),
        ("用户@例子.example", "用户@xn--fsqu00a.example", "用户@xn--fsqu00a.example"),
        ("αλφα.βητα+x@Bücher.example", "αλφα.βητα+x@xn--bcher-kva.example", None),
        ("ana@bücher.example", "ana@xn--bcher-kva.example", None),
    ],
)
def test_an_address_in_any_script_is_kept_as_typed_in_one_form(typed, kept, identity):
    found = parse_international(typed)

    assert str(found) == kept
    assert found.identity == (identity or kept)


@pytest.mark.rule("EM-3")
@pytest.mark.parametrize(
    "local",
    [
        "jo\u202esé",  # Turns the direction of writing.
        "jo\u00a0sé",
        "jo\u200bsé",
        "jo\u2028sé",
        "jo\x85sé",
        "é,b",
        "é b",
        "é\r\nRCPT TO:<eve@evil.test>",
        "😀",
        ".é",
        "é" * 33,  # 66 octets.
        "jo\ud800",
    ],
)
def test_what_is_no_letter_of_any_script_is_refused(local):
    with pytest.raises(BadAddress) as refused:
        parse_international(f"{local}@exemple.fr")
    assert refused.value.words.endswith(".")


@pytest.mark.rule("TR-25")
async def test_as_shipped_the_form_says_so_politely_and_keeps_what_was_typed(shop):
    answer = await shop.client.post("/subscribe?lang=en", data={"email": JOSE})

    assert answer.status_code == 422
    assert "an accent before the @" in answer.text
    assert f'value="{JOSE}"' in answer.text


@pytest.mark.rule("TR-25")
async def test_jose_joins_reads_chooses_and_takes_his_data_along(tmp_path):
    sink = Sink(extensions=RELAY)
    async with sink.running(), _open_shop(tmp_path, sink) as shop:
        form = await shop.client.get("/subscribe")
        assert 'type="email"' not in form.text  # A browser would refuse him.
        await shop.publish("Sujets", "x", topics=["Lin"], to_email=False)
        await shop.client.post("/subscribe", data={"email": JOSE, "language": "fr"})
        await until(lambda: sink.recipients == [JOSE])
        link = link_in(_letter(sink, 0).get_content(), "confirm")
        assert "josé" not in (await shop.client.get(link)).text  # Masked, as for everybody.
        await shop.post(link)
        assert (await person(shop, JOSE)).state == "active"

        await shop.publish("Du lin", "Bonjour.")
        await until(lambda: sink.recipients == [JOSE, JOSE])
        letter = _letter(sink, 1)
        assert str(letter["To"]) == JOSE
        assert b"\r\nTo: " + JOSE.encode() + b"\r\n" in b"\r\n" + sink.messages[1][1]
        assert letter.get_body(("plain",)).get_content().startswith("Du lin\r\n")

        await shop.post(await preference_link(shop, JOSE), topics="lin", rhythm="every", save="1")
        await shop.post("/preferences", email="JOSÉ@exemple.fr")
        await until(lambda: len(sink.recipients) == 3)
        mine = link_in(_letter(sink, 2).get_content(), "preferences")
        assert (await shop.client.get(mine)).status_code == 200

        await shop.post(await preference_link(shop, JOSE), data="export")
        await until(lambda: len(sink.recipients) == 4)
        own = await shop.post(link_in(_letter(sink, 3).get_content(), "data"))
        assert json.loads(own.content)["subscriber"]["email"] == JOSE

        for_him = [one for one in sink.commands if one.startswith("MAIL")]
        assert all(one.endswith("BODY=8BITMIME SMTPUTF8") for one in for_him)
        one_click = re.search(r"<(http[^>]+)>", str(letter["List-Unsubscribe"]))[1]
        await shop.client.post(one_click, data={"List-Unsubscribe": "One-Click"})
        assert (await person(shop, JOSE)).state == "left"


@pytest.mark.rule("TR-25")
async def test_his_wish_for_a_new_address_works_either_way(tmp_path):
    sink = Sink(extensions=RELAY)
    async with sink.running(), _open_shop(tmp_path, sink) as shop:
        await _join(shop, sink, "ana@readers.test")
        await shop.post(await preference_link(shop, "ana@readers.test"), data="change-address")
        await until(lambda: len(sink.messages) == 2)
        await shop.post(link_in(_letter(sink, 1).get_content(), "data"), email="zoé@exemple.fr")
        await until(lambda: len(sink.messages) == 3)
        assert sink.recipients[-1] == "zoé@exemple.fr"
        await shop.post(link_in(_letter(sink, 2).get_content(), "data"))

        assert (await person(shop, "zoé@exemple.fr")).state == "active"


@pytest.mark.rule("TR-25")
async def test_a_relay_that_lost_smtputf8_is_named_once_and_nobody_is_suppressed(tmp_path):
    sink = Sink(extensions=RELAY)
    async with sink.running(), _open_shop(tmp_path, sink) as shop:
        await _join(shop, sink, JOSE)
        await _join(shop, sink, "ana@bücher.example")
        sink.extensions = ("PIPELINING",)

        for number in range(3):
            await shop.publish(f"Du lin {number}", "Bonjour.")
        await until(lambda: len(sink.messages) == 5)

        def refused(tx):
            wanted = sa.select(delivery.c.state, delivery.c.answer, delivery.c.attempts)
            return tx.rows(wanted.where(delivery.c.state == "failed"))

        await until(lambda: _count(shop, refused, 3))
        rows = await shop.services.store.read(refused)
        assert {answer for _state, answer, _attempts in rows} == {
            "the relay takes no letters beyond ASCII before the @ (SMTPUTF8)"
        }
        assert sink.recipients[2:] == ["ana@xn--bcher-kva.example"] * 3
        assert (await person(shop, JOSE)).state == "active"
        assert [kind for kind, _ in await consents(shop, JOSE)] == ["requested", "confirmed"]


@pytest.mark.rule("TR-25")
def test_his_answer_is_his():
    raw = (
        "From: José Marín <josé@exemple.fr>\r\nSubject: Re: Du lin\r\nMessage-ID: <a@b>\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\nBonjour\r\n"
    ).encode()

    found = read_letter(message_from_bytes(raw), raw)

    assert (str(found.address), found.name) == (JOSE, "José Marín")


async def _count(shop, query, wanted):
    return len(await shop.services.store.read(query)) == wanted


def _open_shop(tmp_path, sink):
    url = f"smtp://127.0.0.1:{sink.port}"
    return running_shop(tmp_path / "shop", smtp_url=url, international_addresses="yes")


async def _join(shop, sink, address):
    before = len(sink.messages)
    await shop.client.post("/subscribe", data={"email": address})
    await until(lambda: len(sink.messages) == before + 1)
    await shop.post(link_in(_letter(sink, before).get_content(), "confirm"))


def _letter(sink, number):
    return message_from_bytes(sink.messages[number][1], policy=policy.default.clone(utf8=True))
