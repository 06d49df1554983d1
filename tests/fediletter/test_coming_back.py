"""What comes back, through real LMTP: reports, leaving, automatic answers, receipts."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage import subscribers
from storage.schema import bounce, delivery, reply
from tests.fediletter.sent import (
    NOW,
    bounce_address,
    dropped,
    held_until,
    mails,
    publish_to,
    reader,
    sent_to,
    suppression,
)
from tests.lmtp import hand_over, lmtp_address, report
from tests.shop import running_shop


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as running:
        yield running


# --- reports ---------------------------------------------------------------------------------


@pytest.mark.rule("EM-13")
async def test_a_hard_bounce_to_our_tag_suppresses_its_reader_and_nobody_else(shop):
    ana, _ = await sent_to(shop, "ana@reader.test", "bo@reader.test")

    answer = await hand_over(shop, bounce_address(shop, ana), report())

    assert answer.startswith("250")
    assert (await reader(shop, "ana@reader.test")).state == "suppressed"
    assert await suppression(shop, "ana@reader.test") == "gone"
    assert (await reader(shop, "bo@reader.test")).state == "active"


@pytest.mark.rule("EM-13")
@pytest.mark.parametrize("change", ["mac", "id", "none"])
async def test_a_forged_tag_is_dropped_and_changes_nothing(shop, change):
    (ana,) = await sent_to(shop, "ana@reader.test")
    tag = shop.services.tokens.bounce(ana)
    forged = {"mac": tag[:-2] + "aa", "id": "aaaaaaaaaaaab" + tag[13:], "none": ""}[change]
    address = f"bounce+{forged}@shop.test" if forged else "bounce@shop.test"

    answer = await hand_over(shop, address, report())

    assert answer.startswith("250")
    assert (await reader(shop, "ana@reader.test")).state == "active"
    assert (
        await shop.services.store.read(lambda tx: tx.scalar(sa.select(sa.func.count(bounce.c.id))))
        == 0
    )
    assert await dropped(shop, "false tag" if forged else "report without a tag") == 1


@pytest.mark.rule("EM-13")
async def test_the_address_in_the_report_is_never_looked_at(shop):
    ana, _ = await sent_to(shop, "ana@reader.test", "bo@reader.test")
    text = report().replace("ana@reader.test", "bo@reader.test")

    await hand_over(shop, bounce_address(shop, ana), text)

    assert (await reader(shop, "ana@reader.test")).state == "suppressed"
    assert (await reader(shop, "bo@reader.test")).state == "active"


async def test_tags_survive_a_mail_server_that_writes_capitals(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")

    await hand_over(shop, bounce_address(shop, ana).upper(), report())

    assert (await reader(shop, "ana@reader.test")).state == "suppressed"


@pytest.mark.rule("BO-7")
async def test_a_report_counts_once_however_often_it_comes(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    for _ in range(7):
        await hand_over(shop, bounce_address(shop, ana), report(status="5.2.2", said="552 full"))

    rows = await shop.services.store.read(lambda tx: tx.rows(sa.select(bounce.c.counted)))
    assert [bool(row[0]) for row in rows] == [True]


async def test_without_a_tag_a_message_id_only_makes_a_note(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    message_id = await shop.services.store.read(
        lambda tx: tx.scalar(sa.select(delivery.c.message_id).where(delivery.c.id == ana))
    )
    text = report().replace("0123456789abcdef01234567@shop.test", message_id)

    await hand_over(shop, "news@shop.test", text)

    assert (await reader(shop, "ana@reader.test")).state == "active"
    kept = await shop.services.store.read(lambda tx: tx.rows(sa.select(bounce.c.class_)))
    assert [row[0] for row in kept] == ["untagged"]


async def test_no_single_report_of_these_suppresses_anybody(shop):
    said = [
        ("5.7.1", "550 5.7.1 blocked, spam"),
        ("5.6.0", "554 5.6.0 content"),
        ("4.4.7", "delivery time expired"),
        ("5.2.2", "552 5.2.2 mailbox full"),
        ("5.0.0", "554 who knows"),
        ("5.0.0", "550 no such user here"),
        ("5.2.1", "550 5.2.1 mailbox disabled"),
        ("5.4.4", "Host not found"),
        ("5.7.1", "550 5.7.1 relaying denied"),
    ]
    addresses = [f"r{n}@d{n}.test" for n in range(len(said))]
    sent = await sent_to(shop, *addresses)

    for delivery_id, (status, words) in zip(sent, said, strict=True):
        await hand_over(shop, bounce_address(shop, delivery_id), report(status=status, said=words))

    for address in addresses:
        assert (await reader(shop, address)).state == "active"
        assert await suppression(shop, address) is None


async def test_gone_by_words_holds_for_a_week_and_suppresses_at_the_next_letter(shop):
    (first,) = await sent_to(shop, "ana@reader.test")

    await hand_over(
        shop, bounce_address(shop, first), report(status="5.0.0", said="550 no such user")
    )

    held = await held_until(shop, "ana@reader.test")
    assert timedelta(days=6.9) < held - NOW < timedelta(days=7.1)
    await shop.services.store.write(
        lambda tx: subscribers.change_subscriber(tx, 1, held_until=NOW - timedelta(days=1))
    )
    (second,) = await publish_to(shop, "ana@reader.test", title="De la laine")
    await hand_over(
        shop, bounce_address(shop, second), report(status="5.0.0", said="550 no such user")
    )
    assert (await reader(shop, "ana@reader.test")).state == "suppressed"


# --- leaving by mail, automatic answers, receipts -----------------------------------------------


@pytest.mark.rule("UN-6")
async def test_a_mail_to_the_leave_address_leaves_whoever_writes_it(shop):
    await sent_to(shop, "ana@reader.test", "bo@reader.test")
    letter = mails(shop, "ana@reader.test")[0]
    offered = dict(letter.headers)["List-Unsubscribe"]
    person = await reader(shop, "ana@reader.test")
    address = f"leave+{shop.services.tokens.leave(person.id)}@shop.test"
    assert f"<mailto:{address}?subject=unsubscribe>" in offered

    answer = await hand_over(
        shop, address, "From: bo@reader.test\nSubject: whatever\n\n", sender="bo@reader.test"
    )

    assert answer.startswith("250")
    assert (await reader(shop, "ana@reader.test")).state == "left"
    assert (await reader(shop, "bo@reader.test")).state == "active"


@pytest.mark.rule("BO-9")
async def test_who_leaves_while_their_box_is_gone_stays_known_as_gone(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    await hand_over(shop, bounce_address(shop, ana), report())
    token = shop.services.tokens.unsubscribe((await reader(shop, "ana@reader.test")).key)

    answer = await shop.client.post(f"/unsubscribe/{token}")

    assert answer.status_code == 200
    assert (await reader(shop, "ana@reader.test")).state == "left"
    assert await suppression(shop, "ana@reader.test") == "gone"


@pytest.mark.rule("UN-6")
async def test_a_false_leave_tag_leaves_nobody(shop):
    await sent_to(shop, "ana@reader.test")
    tag = shop.services.tokens.bounce(1)  # Another purpose.

    await hand_over(shop, f"leave+{tag}@shop.test", "From: ana@reader.test\nSubject: x\n\n")

    assert (await reader(shop, "ana@reader.test")).state == "active"
    assert await dropped(shop, "false tag") == 1


AUTOMATIC = {
    "rfc 3834": ("Auto-Submitted: auto-replied\nSubject: Re: Du lin", "ana@reader.test"),
    "precedence": ("Precedence: bulk\nSubject: Re: Du lin", "ana@reader.test"),
    "auto_reply": ("Precedence: auto_reply\nSubject: Re", "ana@reader.test"),
    "x-autoreply": ("X-Autoreply: yes\nSubject: Re: Du lin", "ana@reader.test"),
    "apple": ("X-Apple-Action: VACATION\nSubject: Re: Du lin", "ana@reader.test"),
    "french": ("Subject: =?utf-8?q?R=C3=A9ponse_automatique_=3A_Du_lin?=", ""),
    "english": ("Subject: Out of Office: Du lin", ""),
    "german": ("Subject: Abwesenheitsnotiz: Du lin", ""),
    "spanish": ("Subject: Respuesta automática", ""),
    "italian": ("Subject: Risposta automatica: Du lin", ""),
}


@pytest.mark.rule("EM-14")
async def test_automatic_answers_are_dropped_counted_and_never_answered(shop):
    addresses = [f"r{n}@d{n}.test" for n in range(len(AUTOMATIC))]
    sent = await sent_to(shop, *addresses)
    before = len(shop.mailbox())

    for delivery_id, address, (head, sender) in zip(
        sent, addresses, AUTOMATIC.values(), strict=True
    ):
        text = f"From: {address}\n{head}\n\nAway. 550 5.1.1 mailbox full, account disabled"
        answer = await hand_over(shop, bounce_address(shop, delivery_id), text, sender=sender)
        assert answer.startswith("250")

    assert await dropped(shop, "automatic") == len(AUTOMATIC)
    for address in addresses:
        assert (await reader(shop, address)).state == "active"
    assert await shop.services.store.read(lambda tx: tx.rows(sa.select(reply.c.id))) == []
    assert len(shop.mailbox()) == before


async def test_a_read_receipt_is_dropped(shop):
    await sent_to(shop, "ana@reader.test")
    text = (
        "From: ana@reader.test\nSubject: Read: Du lin\nContent-Type: multipart/report; "
        "report-type=disposition-notification; boundary=b\n\n--b\nContent-Type: text/plain\n\nRead"
        "\n--b\nContent-Type: message/disposition-notification\n\nDisposition: x\n--b--\n"
    )

    await hand_over(shop, "news@shop.test", text, sender="ana@reader.test")

    assert await dropped(shop, "receipt") == 1
    assert await shop.services.store.read(lambda tx: tx.rows(sa.select(reply.c.id))) == []
