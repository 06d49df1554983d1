"""What comes back through a real mail server: Postfix bounces, and hands mail over by LMTP."""

import contextlib
import smtplib
from email.message import EmailMessage

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller

from storage import subscribers
from storage.schema import bounce, delivery, post, reply
from tests.lmtp import lmtp_address
from tests.peers.postfix import running_postfix
from tests.peers.test_postfix import add_active
from tests.shop import free_port, running_shop, until


class FarHost:
    """The readers' mail server: `gone` is nobody there."""

    def __init__(self):
        self.taken, self.refused = [], []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        if address.startswith("gone@"):
            self.refused.append(envelope.mail_from)
            return "550 5.1.1 <gone@far.test>: user unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        self.taken.append(envelope)
        return "250 2.0.0 Ok"


@contextlib.contextmanager
def far_host():
    host = FarHost()
    control = Controller(host, hostname="127.0.0.1", port=free_port())
    control.start()
    try:
        yield host, control.port
    finally:
        control.stop()


@pytest.mark.slow
@pytest.mark.rule("EM-13")
async def test_postfix_bounces_to_our_tag_and_brings_a_persons_reply(tmp_path):
    door = lmtp_address()
    with far_host() as (host, far):
        async with (
            running_postfix(door, far) as postfix,
            running_shop(tmp_path / "shop", smtp_url=postfix.url, lmtp=door) as shop,
        ):
            await add_active(shop, "gone@far.test", "bo@far.test")
            await shop.publish("Du lin", "Bonjour")

            await until(lambda: state_is(shop, "gone@far.test", "suppressed"), seconds=60)

            kept = await shop.services.store.read(
                lambda tx: tx.rows(sa.select(bounce.c.class_, bounce.c.status))
            )
            assert [tuple(one) for one in kept] == [("gone", "5.1.1")]
            # The far host refused it of Postfix, which had taken it from us long before.
            assert [one.startswith("bounce+") for one in host.refused] == [True]
            assert await state_is(shop, "bo@far.test", "active")
            await until(lambda: len(host.taken) == 1)
            assert host.taken[0].rcpt_tos == ["bo@far.test"]

            letters = await shop.services.store.read(
                lambda tx: tx.rows(
                    sa.select(delivery.c.message_id).where(delivery.c.message_id.is_not(None))
                )
            )
            sent = host.taken[0].content.decode()
            ours = next(one[0] for one in letters if one[0] in sent)
            said = EmailMessage()
            said["From"], said["To"] = "Bo <bo@far.test>", "news@shop.test"
            said["Subject"], said["In-Reply-To"] = "Re: Du lin", f"<{ours}>"
            said["Message-ID"] = "<b1@far.test>"
            said.set_content("Merci pour le lin !")
            with smtplib.SMTP("127.0.0.1", postfix.port) as server:
                server.send_message(said)

            await until(lambda: replies(shop), seconds=60)
            found = await replies(shop)
            assert [tuple(one)[:3] for one in found] == [("du-lin", "b1@far.test", "direct")]
            assert "Merci pour le lin !" in found[0][3]


async def state_is(shop, address, state):
    found = await shop.services.store.read(subscribers.find_subscriber, address)
    return found.state == state


async def replies(shop):
    query = sa.select(post.c.slug, reply.c.uri, reply.c.visibility, reply.c.content_html).join(
        post, post.c.id == reply.c.post_id
    )
    return await shop.services.store.read(lambda tx: tx.rows(query))
