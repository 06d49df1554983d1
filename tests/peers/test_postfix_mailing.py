"""A whole mailing through Postfix into mailboxes, read back message by message.

With 200 readers here; `FEDILETTER_TEST_READERS=2000` for the number that the contract names.
"""

import asyncio
import os
import re
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header, make_header

import dkim
import pytest
import sqlalchemy as sa

from federation.keys import RsaPrivateKey
from fediletter.mail.dkim import dns_record
from fediletter.outbound.letters import DKIM_PURPOSE
from storage import dkim as stored
from storage.schema import delivery
from storage.subscribers import add_subscriber, change_subscriber, choose_topics
from tests.peers.postfix import running_postfix
from tests.shop import running_shop, until

READERS = int(os.environ.get("FEDILETTER_TEST_READERS", "200"))
TOPICS = ((), ("lin",), ("cuir",), ("lin", "cuir"))
# Every letter: its title, its topics, and who of TOPICS wants it.
LETTERS = (
    ("Été : le lin est là", ("Lin",), {(), ("lin",), ("lin", "cuir")}),
    ("Du cuir « tanné »", ("Cuir",), {(), ("cuir",), ("lin", "cuir")}),
    ("À toutes et à tous, 12 % de moins", (), set(TOPICS)),
)
WANT = {title: who for title, _, who in LETTERS}
FIELDS = [
    "DKIM-Signature", "Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "List-ID",
    "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "Archived-At", "Precedence",
    "X-Auto-Response-Suppress", "Content-Language", "Content-Type",
]  # fmt: skip
FOOTERS = {"fr": "Ne plus recevoir ces lettres", "en": "Stop these letters"}


@pytest.mark.slow
@pytest.mark.rule("HD-22")
@pytest.mark.rule("SE-3")
@pytest.mark.rule("EM-16")
@pytest.mark.rule("EM-17")
@pytest.mark.rule("HD-3")
@pytest.mark.rule("DK-6")
async def test_each_reader_of_a_mailing_gets_their_own_letters_once(tmp_path):
    key = RsaPrivateKey.generate()
    async with (
        running_postfix() as postfix,
        running_shop(tmp_path / "shop", smtp_url=postfix.url, lmtp="127.0.0.1:1") as shop,
    ):
        await _sign_with(shop, key)
        for title, topics, _ in LETTERS[:2]:
            await shop.publish(f"Sujet de {title}", "x", topics=topics, to_email=False)
        await shop.services.store.write(_readers)
        wanted = Counter(
            {_address(n): sum(TOPICS[n % 4] in who for *_, who in LETTERS) for n in range(READERS)}
        )
        for title, topics, _ in LETTERS:
            await shop.publish(title, f"Bonjour **{title}**.\n\n.\n\nFrom ici", topics=topics)
        total = sum(wanted.values())
        await until(lambda: postfix.count() == total, seconds=60 + READERS / 4)
        await until(lambda: _all_delivered(shop, total))
        await asyncio.to_thread(_judge, postfix.raw(), wanted, key, shop)


async def _sign_with(shop, key):
    now = datetime.now(UTC)
    sealed = shop.services.vault.seal(key.to_bytes(), DKIM_PURPOSE)
    one = stored.StoredKey("fl-2026a", key.public.kind, dns_record(key), sealed)
    await shop.services.store.write(stored.add_key, one, now=now)
    await shop.services.store.write(stored.use_key, "fl-2026a", now=now)


def _address(number):
    return f"Reader.{number}+x@readers.test"


def _readers(tx):
    """People of both languages and all choices; and some who shall get nothing."""
    now = datetime.now(UTC)
    for number in range(READERS + 20):
        address = _address(number)
        one = add_subscriber(
            tx,
            key=secrets.token_bytes(10),
            email=address,
            identity=address.lower(),
            state="active" if number < READERS or number % 2 else "left",
            language="en" if number % 3 == 0 else "fr",
            source="import",
            now=now,
        )
        choose_topics(tx, one, TOPICS[number % 4], now=now)
        if number >= READERS and number % 2:
            change_subscriber(tx, one, rhythm="monthly")


async def _all_delivered(shop, total):
    def look(tx):
        query = sa.select(delivery.c.state, sa.func.count()).group_by(delivery.c.state)
        return dict(tx.rows(query))

    return await shop.services.store.read(look) == {"delivered": total}


def _judge(messages, wanted, key, shop):
    record = dns_record(key).encode()
    seen, ids, constant = Counter(), set(), {}
    for raw in messages:
        message = message_from_bytes(raw, policy=policy.default)
        to, title = str(message["To"]), str(make_header(decode_header(message["Subject"])))
        number = int(re.fullmatch(r"Reader\.(\d+)\+x@readers\.test", to)[1])
        assert message["Delivered-To"] == to  # The envelope is the header's reader.
        assert TOPICS[number % 4] in WANT[title]
        seen[to] += 1
        _check_parts(message, number, title, shop)
        ids.add(message["Message-ID"])
        assert dkim.DKIM(_own(raw)).verify(dnsfunc=lambda name, timeout=5: record)
        kind = (title, _language(number))
        assert constant.setdefault(kind, _without_reader(raw)) == _without_reader(raw)
    assert seen == wanted
    assert len(ids) == len(messages)


def _language(number):
    return "en" if number % 3 == 0 else "fr"


def _check_parts(message, number, title, shop):
    own = [name for name in message if name in FIELDS]
    assert own == FIELDS
    assert not message.defects
    age = datetime.now(UTC) - message["Date"].datetime
    assert timedelta(minutes=-1) < age < timedelta(minutes=30)
    assert re.fullmatch(r"<bounce\+[a-z2-7]{29}@shop\.test>", message["Return-Path"])
    links = re.findall(r"<([^>]+)>", str(message["List-Unsubscribe"]))
    assert links[0].startswith(f"{shop.base_url}/unsubscribe/")
    assert re.fullmatch(r"mailto:leave\+[a-z2-7]{29}@shop\.test\?subject=unsubscribe", links[1])
    text, page = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))
    other = FOOTERS["fr" if _language(number) == "en" else "en"]
    for part in (text, page):
        assert FOOTERS[_language(number)] in part.replace("\n", " ")
        assert other not in part
        assert links[0] in part  # Their own, and nobody else's.
        assert set(re.findall(r"/unsubscribe/([\w-]+)", part)) == {links[0].rpartition("/")[2]}
        assert len(set(re.findall(r"/preferences/([\w-]+)", part))) == 1
    text, page = text.replace("\xa0", " "), page.replace("&nbsp;", " ")
    assert text.startswith(f"{title}\n")
    assert "\n.\n" in text
    assert re.search(rf"<strong[^>]*>{re.escape(title)}</strong>", page)


def _own(raw):
    """Without what mail servers put before it."""
    at = raw.index(b"DKIM-Signature:")
    return raw[at:].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


_OF_READER = re.compile(
    rb"(?m)^(?:DKIM-Signature|Date|To|Message-ID|List-Unsubscribe):.*\n(?:[ \t].*\n)*"
    rb"|(?:unsubscribe|preferences)/(?:[\w-]|=\n|=3D)+"
)


def _without_reader(raw):
    return _OF_READER.sub(b"", _own(raw).replace(b"\r\n", b"\n"))
