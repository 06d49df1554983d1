"""The LMTP door as a mail server meets it: where it stands, what it refuses, whom it waits for."""

import asyncio
import os
import socket
import sqlite3

import pytest
import sqlalchemy as sa

from fediletter.errors import SettingsError
from fediletter.limits import LMTP_BYTES, LMTP_MESSAGES
from fediletter.settings import load
from storage import store as storage_store
from storage.schema import reply
from tests.lmtp import Client, hand_over, lmtp_address
from tests.shop import running_shop, until

OURS = "news@shop.test"


def letter(number=1, *, text="Bonjour"):
    return f"From: Ana <ana@x.test>\nMessage-ID: <{number}@x.test>\nSubject: Lin\n\n{text}\n"


async def count(shop):
    query = sa.select(sa.func.count()).select_from(reply)
    return await shop.services.store.read(lambda tx: tx.scalar(query))


async def test_a_socket_takes_over_from_a_dead_one_and_is_gone_at_the_end(tmp_path):
    path = tmp_path / "in.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # As a process leaves it that was killed.
    assert path.is_socket()

    async with running_shop(tmp_path / "shop", lmtp=str(path)) as shop:
        await shop.publish("Du lin", "x")
        await until(lambda: oct(path.stat().st_mode & 0o777) == "0o666")  # Postfix is another user.
        assert (await hand_over(shop, OURS, letter())).startswith("250")
        assert await count(shop) == 1

    assert not path.exists()


async def test_a_socket_at_which_somebody_listens_is_left_alone_until_it_ends(tmp_path):
    path = tmp_path / "in.sock"
    async with running_shop(tmp_path / "first", lmtp=str(path)) as first:
        await until(path.exists)
        async with running_shop(tmp_path / "second", lmtp=str(path)):
            await first.publish("Du lin", "x")
            inode = os.stat(path).st_ino
            assert (await hand_over(first, OURS, letter())).startswith("250")
            assert os.stat(path).st_ino == inode
            assert await count(first) == 1


async def test_a_file_that_is_no_socket_is_never_removed(tmp_path, caplog):
    path = tmp_path / "in.sock"
    path.write_text("precious")

    async with running_shop(tmp_path / "shop", lmtp=str(path)):
        await until(
            lambda: any("no mail is taken in" in one.getMessage() for one in caplog.records)
        )

    assert path.read_text() == "precious"


@pytest.mark.parametrize("wrong", ["relative.sock", "host", "host:port", "127.0.0.1:99999", ":"])
def test_a_place_that_is_none_is_refused_at_the_start(tmp_path, wrong):
    with pytest.raises(SettingsError) as found:
        load({"FEDILETTER_LMTP": wrong}, data=tmp_path)
    assert [place for place, _, _ in found.value.problems] == ["FEDILETTER_LMTP"]


async def test_a_connection_carries_a_hundred_messages_and_the_next_begins_anew(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        client = await Client.open(shop.settings.lmtp)
        await client.say("LHLO relay.test")
        for _ in range(LMTP_MESSAGES):
            assert (await client.hand_over("", ["bounce+x@shop.test"], b"x"))[0].startswith("250")

        assert (await client.say("MAIL FROM:<>")).startswith("421 4.7.0")
        assert await client.reader.read() == b""
        await client.close()

        again = await Client.open(shop.settings.lmtp)
        assert (await again.say("LHLO relay.test")).startswith("250")
        assert (await again.say("MAIL FROM:<>")).startswith("250")
        await again.close()


@pytest.mark.rule("RE-1")
async def test_while_the_database_is_locked_mail_is_asked_to_come_again_and_nothing_is_lost(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(storage_store, "_BUSY_SECONDS", 0.2)
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address(), workers=True) as shop:
        await shop.publish("Du lin", "x")
        lock = sqlite3.connect(shop.settings.data / "fediletter.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        try:
            assert (await hand_over(shop, OURS, letter())).startswith("451 4.3.0")
        finally:
            lock.rollback()
            lock.close()
        assert await count(shop) == 0

        assert (await hand_over(shop, OURS, letter())).startswith("250")
        assert await count(shop) == 1


@pytest.mark.parametrize(
    "recipient",
    ["nobody@shop.test", "news@elsewhere.test", "shop.test", "", "newsletter@shop.test"],
)
async def test_mail_for_somebody_else_is_refused_at_its_recipient(tmp_path, recipient):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        client = await Client.open(shop.settings.lmtp)
        await client.say("LHLO relay.test")
        await client.say("MAIL FROM:<a@b.test>")

        assert (await client.say(f"RCPT TO:<{recipient}>")).startswith("550 5.1.1")
        assert (await client.say("DATA")).startswith("503")
        assert (await client.say("RCPT TO:<NEWS@Shop.Test>")).startswith("250")
        await client.close()


async def test_what_is_too_large_is_refused_before_or_after_it_came_and_the_next_is_taken(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        await shop.publish("Du lin", "x")
        client = await Client.open(shop.settings.lmtp)
        hello = await client.say("LHLO relay.test")
        assert hello == f"250 SIZE {LMTP_BYTES}"

        said = await client.say(f"MAIL FROM:<a@b.test> SIZE={LMTP_BYTES + 1}")
        assert said.startswith("552 5.3.4")
        large = letter(text="x" * 70 + "\n").encode() + (b"y" * 76 + b"\n") * (LMTP_BYTES // 77 + 9)
        answers = await client.hand_over("a@b.test", [OURS, "leave@shop.test"], large)
        assert [one[:9] for one in answers] == ["552 5.3.4"] * 2
        assert await count(shop) == 0

        assert (await client.hand_over("", [OURS], letter().encode()))[0].startswith("250")
        assert await count(shop) == 1
        await client.close()


@pytest.mark.rule("EM-4")
async def test_only_a_dot_on_a_whole_line_ends_a_message(tmp_path):
    smuggled = b"From: a@b.test\r\nSubject: x\r\n\r\nun\n.\nMAIL FROM:<>\r\ndeux\r\n.\r"
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        await shop.publish("Du lin", "x")
        client = await Client.open(shop.settings.lmtp)
        for command in ("LHLO a.test", "MAIL FROM:<a@b.test>", f"RCPT TO:<{OURS}>", "DATA"):
            await client.say(command)

        client.writer.write(smuggled + b"\r\n.\r\n")

        assert (await client.reply()).startswith("250")
        assert (await client.say("NOOP")).startswith("250 2.0.0 yes")
        assert await count(shop) == 1
        await client.close()


async def test_a_hundred_recipients_and_a_hundred_and_first_later(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        client = await Client.open(shop.settings.lmtp)
        await client.say("LHLO relay.test")
        await client.say("MAIL FROM:<>")
        for number in range(100):
            assert (await client.say(f"RCPT TO:<bounce+{number}@shop.test>")).startswith("250")
        assert (await client.say("RCPT TO:<bounce+x@shop.test>")).startswith("452 4.5.3")
        await client.close()
        await asyncio.sleep(0)
