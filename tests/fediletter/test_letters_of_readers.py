"""What people write back: into the conversation of their letter, answered by mail; the mailroom."""

import pytest
import sqlalchemy as sa

from fediletter.outbound.answers import answer
from storage.schema import delivery, post, reply
from tests.fediletter.sent import (
    bounce_address,
    mails,
    reader,
    sent_to,
    suppression,
)
from tests.lmtp import Client, hand_over, lmtp_address, report
from tests.shop import running_shop, until


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as running:
        yield running


async def test_a_persons_reply_is_kept_for_the_founders_and_answered_in_its_thread(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    message_id = await shop.services.store.read(
        lambda tx: tx.scalar(sa.select(delivery.c.message_id).where(delivery.c.id == ana))
    )
    text = (
        f"From: Ana <ana@reader.test>\nSubject: Re: Du lin\nMessage-ID: <r1@reader.test>\n"
        f"In-Reply-To: <{message_id}>\nContent-Type: text/plain; charset=utf-8\n\n"
        "J'adore <script>alert(1)</script> le lin.\n\nLe 24 nov., Atelier a écrit :\n> Bonjour\n"
    )
    for _ in range(2):  # Handed over twice: kept once.
        said = await hand_over(shop, "news@shop.test", text, sender="ana@reader.test")
        assert said.startswith("250")

    rows = await shop.services.store.read(
        lambda tx: tx.rows(
            sa.select(reply.c.id, reply.c.content_html, reply.c.visibility, reply.c.state)
        )
    )
    assert len(rows) == 1
    assert "le lin." in rows[0][1]
    assert "<script>" not in rows[0][1]
    assert "Bonjour" not in rows[0][1]
    assert rows[0][2:] == ("direct", "pending")
    assert "le lin." not in (await shop.client.get("/letters/du-lin")).text

    await answer(shop.services, rows[0][0], "Merci, Ana.", founder_id=None)
    await until(lambda: len(mails(shop, "ana@reader.test")) == 2)
    sent = next(one for one in mails(shop, "ana@reader.test") if "Merci, Ana." in one.text)
    assert dict(sent.headers)["In-Reply-To"] == "<r1@reader.test>"
    assert dict(sent.headers)["References"] == "<r1@reader.test>"

    # The answer stands at the desk below what it answers; no server and no page gets to see it.
    ours = dict(sent.headers)["Message-ID"]
    public_id = ours.strip("<>").partition("@")[0]
    csrf = await shop.log_in()
    desk = (await shop.client.get("/desk/answers?state=all")).text
    assert desk.index("le lin.") < desk.index("Merci, Ana.")
    assert "/desk/own-answers/" not in desk
    assert "Merci, Ana." not in (await shop.client.get("/letters/du-lin")).text
    user = shop.settings.account_user
    for path in (f"/ap/{user}/notes/{public_id}", f"/@{user}/{public_id}"):
        found = await shop.client.get(path, headers={"Accept": "application/activity+json"})
        assert found.status_code in (401, 404), path
    note_id = await shop.services.store.read(
        lambda tx: tx.scalar(sa.select(post.c.id).where(post.c.public_id == public_id))
    )
    form = {"csrf": csrf, "action": "withdraw"}
    assert (await shop.post(f"/desk/own-answers/{note_id}", **form)).status_code == 409

    again = (
        f"From: Ana <ana@reader.test>\nSubject: Re: Du lin\nMessage-ID: <r2@reader.test>\n"
        f"In-Reply-To: {ours}\n\nA bientot.\n"
    )
    await hand_over(shop, "news@shop.test", again, sender="ana@reader.test")
    later = await shop.services.store.read(
        lambda tx: tx.rows(
            sa.select(reply.c.parent_id, reply.c.mention).where(reply.c.uri == "r2@reader.test")
        )
    )
    assert [tuple(one) for one in later] == [(rows[0][0], False)]


@pytest.mark.rule("BO-9")
async def test_a_founder_lifts_a_suppression_with_a_note(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    await hand_over(shop, bounce_address(shop, ana), report())
    assert await suppression(shop, "ana@reader.test") == "gone"
    csrf = await shop.log_in()
    assert "ana@reader.test" in (await shop.client.get("/desk/mail")).text
    person = await reader(shop, "ana@reader.test")
    form = {"csrf": csrf, "action": "lift", "subject": str(person.id)}

    assert (await shop.post("/desk/mail", **form, note=" ")).status_code == 422
    assert (await shop.post("/desk/mail", **form, note="She wrote to us")).status_code == 303

    assert (await reader(shop, "ana@reader.test")).state == "active"
    assert await suppression(shop, "ana@reader.test") is None


async def test_each_recipient_gets_an_answer_of_its_own(shop):
    await sent_to(shop, "ana@reader.test")
    client = await Client.open(shop.settings.lmtp)
    assert (await client.say("LHLO relay.test")).startswith("250")

    said = await client.hand_over(
        "", ["news@shop.test", "nobody@shop.test", "bounce+x@shop.test"], b"From: a@b.test\n\nx"
    )
    large = await client.hand_over(
        "", ["news@shop.test", "leave@shop.test"], b"a" * ((2 << 20) + 1)
    )

    assert [one[:3] for one in said] == ["250", "550", "250"]
    assert [one[:3] for one in large] == ["552", "552"]
    await client.close()
