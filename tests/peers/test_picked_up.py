"""What lies in a hosted mailbox, Dovecot's, is picked up as if a server had brought it."""

import asyncio
import imaplib
import ssl
from dataclasses import replace

import pytest
import sqlalchemy as sa

from fediletter.checks.mail import mail_findings
from fediletter.limits import LMTP_BYTES
from fediletter.mail.imap import ImapSession, Mailbox, NoMailbox, mailbox_from_url
from storage.schema import reply
from tests.fediletter.mail.names import names
from tests.fediletter.sent import bounce_address, reader, sent_to, suppression
from tests.lmtp import report
from tests.peers.certificates import make_certificates
from tests.peers.test_dovecot import running_dovecot
from tests.shop import free_port, running_shop, until


def folders(port, *, add=()):
    """Put messages into the inbox; then how many lie where, and how many of them were read."""
    with imaplib.IMAP4("127.0.0.1", port) as client:
        client.login("news", "x")
        for text in add:
            client.append("INBOX", None, None, text.replace("\n", "\r\n").encode())
        found = {}
        for name in ("INBOX", "Fediletter", "Fediletter-Other"):
            if client.select(name, readonly=True)[0] == "OK":
                asked = ("UNDELETED", "UNDELETED SEEN")
                found[name] = tuple(len(client.search(None, one)[1][0].split()) for one in asked)
    return found


async def replies(shop):
    return await shop.services.store.read(
        lambda tx: tx.scalar(sa.select(sa.func.count(reply.c.id)))
    )


def letter(to, text="Bonjour", **fields):
    lines = {"From": "ana@reader.test", "To": to, "Subject": "Du lin"} | fields
    return "".join(f"{name}: {value}\n" for name, value in lines.items()) + f"\n{text}\n"


@pytest.mark.slow
@pytest.mark.rule("EM-13")
@pytest.mark.rule("UN-6")
@pytest.mark.parametrize("without", [(), (b"MOVE",), (b"MOVE", b"UIDPLUS")])
async def test_what_lies_in_a_hosted_mailbox_is_taken_in_once_and_nothing_is_deleted(
    tmp_path, monkeypatch, without
):
    known = imaplib.IMAP4.capability

    def offered(client):  # Servers are of all ages.
        status, data = known(client)
        return status, [b" ".join(one for one in data[0].split() if one not in without)]

    monkeypatch.setattr(imaplib.IMAP4, "capability", offered)
    async with running_dovecot() as (_, port):
        async with running_shop(tmp_path / "shop") as shop:
            ana, _, cleo = await sent_to(
                shop, "ana@reader.test", "ben@reader.test", "cleo@reader.test"
            )
            leaves = shop.services.tokens.leave((await reader(shop, "ben@reader.test")).id)
            lying = [
                f"Return-Path: <>\nDelivered-To: {bounce_address(shop, ana).upper()}\n{report()}",
                letter(f"<leave+{leaves}@shop.test>", **{"Delivered-To": "news@shop.test"}),
                letter("news@shop.test", "Merci !", **{"Message-ID": "<1@reader.test>"}),
                letter(f"bounce+{'a' * 29}@shop.test", report()),
                letter("news@shop.test", "x" * LMTP_BYTES),
                # An automatic answer to who has not left.
                letter(bounce_address(shop, cleo), **{"Auto-Submitted": "auto-replied"}),
            ]
        assert await asyncio.to_thread(folders, port, add=lying) == {"INBOX": (6, 0)}
        imap_url = f"imap://news:x@127.0.0.1:{port}/INBOX"
        for _ in range(2):  # Killed between commit and move, the same lies there again.
            async with running_shop(tmp_path / "shop", imap_url=imap_url) as shop:

                async def empty():
                    return (await asyncio.to_thread(folders, port))["INBOX"][0] == 0

                await until(empty)
                assert await suppression(shop, "ana@reader.test") == "gone"
                assert (await reader(shop, "ben@reader.test")).state == "left"
                assert (await reader(shop, "cleo@reader.test")).state == "active"
                assert await replies(shop) == 1
            await asyncio.to_thread(folders, port, add=lying)
        found = await asyncio.to_thread(folders, port)

    assert found == {"INBOX": (6, 0), "Fediletter": (10, 10), "Fediletter-Other": (2, 0)}


@pytest.mark.slow
@pytest.mark.rule("EM-5")
async def test_a_mailbox_is_read_by_tls_alone_and_from_whom_its_certificate_names(
    tmp_path, monkeypatch
):
    certificates, imaps = make_certificates(tmp_path), free_port()
    async with running_dovecot(certificates, imaps=imaps) as (_, port):
        by_tls = Mailbox("localhost", imaps, "implicit", "news", "x", "INBOX")
        later = replace(by_tls, port=port, tls="starttls")

        async def refused(mailbox):
            try:
                (await asyncio.to_thread(ImapSession, mailbox)).close()
            except NoMailbox as wrong:
                return str(wrong)
            return ""

        # Nobody vouches for this server.
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(by_tls)
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(later)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates[0]))
        # Vouched for, but not by the name that was asked for.
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(replace(by_tls, host="127.1"))

        def put(text):
            with imaplib.IMAP4("localhost", port) as client:
                client.starttls(ssl.create_default_context())
                client.login("news", "x")
                client.append("INBOX", None, None, text.replace("\n", "\r\n").encode())

        async with running_shop(tmp_path / "shop") as shop:
            (ana,) = await sent_to(shop, "ana@reader.test")
            bounced = f"Delivered-To: {bounce_address(shop, ana)}\n{report()}"
        await asyncio.to_thread(put, bounced)
        assert await refused(later) == ""
        imap_url = f"imaps://news:x@localhost:{imaps}/INBOX"
        async with running_shop(tmp_path / "shop", imap_url=imap_url) as shop:

            async def is_gone():
                return await suppression(shop, "ana@reader.test") == "gone"

            await until(is_gone)


@pytest.mark.slow
@pytest.mark.rule("DO-10")
async def test_check_says_whether_the_mailbox_can_be_read(tmp_path):
    async with running_dovecot() as (_, port):
        said = {}
        for folder in ("INBOX", "Nowhere"):
            async with (
                names({}) as (resolver, _),
                running_shop(
                    tmp_path / folder,
                    workers=False,
                    smtp_url="smtp://127.0.0.1:1",
                    imap_url=f"imap://news:x@127.0.0.1:{port}/{folder}",
                ) as shop,
            ):
                found = await mail_findings(shop.services, resolver)
                (said[folder],) = [one for one in found if one.name == "mailbox"]

    assert said["INBOX"].is_good
    assert not said["Nowhere"].is_good
    assert "Nowhere" in said["Nowhere"].fields["reason"]


@pytest.mark.rule("EM-5")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "imaps://a%40b:p%3Aw@mail.test",
            Mailbox("mail.test", 993, "implicit", "a@b", "p:w", "INBOX"),
        ),
        (
            "imap://a:secret@mail.test/News",
            Mailbox("mail.test", 143, "starttls", "a", "secret", "News"),
        ),
        (
            "imap://a:secret@127.0.0.1:1143",
            Mailbox("127.0.0.1", 1143, "none", "a", "secret", "INBOX"),
        ),
        ("imaps://mail.test/INBOX", None),
        ("pop3://a:b@mail.test", None),
        ("imaps://a:b@mail.test/x%22%0D%0Ay", None),
    ],
)
def test_a_mailbox_is_spoken_to_in_clear_on_this_machine_only(url, expected):
    try:
        found = mailbox_from_url(url)
    except ValueError:
        found = None

    assert found == expected
    assert found is None or found.password not in repr(found)
