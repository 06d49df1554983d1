"""What comes back, through real LMTP: reports, complaints, leaving, automatic answers."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from fediletter.mail.reports import Verdict
from fediletter.newsletter import bounces as rules
from fediletter.services import house_of
from storage import bounces, subscribers
from storage.schema import audit, bounce, delivery, mailing, notice, reply, throttle
from storage.subscribers import add_subscriber
from tests.lmtp import hand_over, lmtp_address, report
from tests.shop import running_shop, until

NOW = datetime.now(UTC)
GONE = Verdict("gone", "5.1.1", certain=True, excerpt="550 5.1.1 unknown")


@pytest.fixture
async def shop(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as running:
        yield running


async def add_readers(shop, *addresses, state="active"):
    def work(tx):
        return [
            add_subscriber(
                tx,
                key=secrets.token_bytes(10),
                email=address,
                identity=address.lower(),
                state=state,
                language="fr",
                source="import",
                now=NOW,
                confirmed_at=NOW if state == "active" else None,
            )
            for address in addresses
        ]

    return await shop.services.store.write(work)


async def sent_to(shop, *addresses, title="Du lin"):
    """A published letter, accepted for each of these: their delivery ids."""
    await add_readers(shop, *addresses)
    return await publish_to(shop, *addresses, title=title)


async def publish_to(shop, *addresses, title="Du lin"):
    already = {name: len(mails(shop, name)) for name in addresses}
    await shop.publish(title, "Bonjour")
    await until(lambda: all(len(mails(shop, one)) == already[one] + 1 for one in addresses))
    await until(lambda: _all_settled(shop))

    def ids(tx):
        rows = tx.rows(
            sa.select(delivery.c.id, delivery.c.subscriber_id)
            .where(delivery.c.mailing_id == sa.select(sa.func.max(mailing.c.id)).scalar_subquery())
            .order_by(delivery.c.id)
        )
        by_reader = {row[1]: row[0] for row in rows}
        return [by_reader[subscribers.find_subscriber(tx, address).id] for address in addresses]

    return await shop.services.store.read(ids)


async def _all_settled(shop):
    query = sa.select(sa.func.count()).where(delivery.c.state.in_(("waiting", "started")))
    return not await shop.services.store.read(lambda tx: tx.scalar(query))


def mails(shop, address):
    return [mail for mail in shop.mailbox() if mail.to == address]


def bounce_address(shop, delivery_id):
    return f"bounce+{shop.services.tokens.bounce(delivery_id)}@shop.test"


async def reader(shop, address):
    return await shop.services.store.read(subscribers.find_subscriber, address)


async def suppression(shop, address):
    hashed = shop.services.tokens.hash_address(address)
    return await shop.services.store.read(subscribers.suppression_of, hashed)


async def dropped(shop, what):
    query = sa.select(throttle.c.hits).where(throttle.c.key == f"dropped:{what}")
    return await shop.services.store.read(lambda tx: tx.scalar(query)) or 0


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


async def held_until(shop, address):
    from storage.schema import subscriber
    from storage.times import from_ms

    query = sa.select(subscriber.c.held_until).where(subscriber.c.identity == address)
    return from_ms(await shop.services.store.read(lambda tx: tx.scalar(query)))


# --- the ladder, with time ---------------------------------------------------------------------


@pytest.fixture
async def quiet(tmp_path):
    """A shop that does not work: its rows are written by the test, at whatever time."""
    async with running_shop(tmp_path / "quiet", workers=False) as running:
        yield running


def deliver(tx, subscriber_id, at, *, state="delivered", mailing_id=None):
    """A letter of a mailing of its own, accepted at a time; its delivery id."""
    from storage.lanes import mail_lanes
    from storage.posts import Draft, create_draft
    from storage.times import to_ms

    if mailing_id is None:
        name = secrets.token_hex(6)
        post_id = create_draft(
            tx, Draft("Du lin", "", "x", "fr"), public_id=name, slug=name, kind="issue", now=at,
            founder_id=None,
        )  # fmt: skip
        mailing_id = tx.execute(
            sa.insert(mailing)
            .values(post_id=post_id, kind="issue", created_at=to_ms(at))
            .returning(mailing.c.id)
        ).scalar_one()
    delivery_id = tx.execute(
        sa.insert(delivery)
        .values(
            lane_id=mail_lanes(tx)[0], mailing_id=mailing_id, subscriber_id=subscriber_id,
            state=state, not_before=to_ms(at), created_at=to_ms(at), started_at=to_ms(at),
            ended_at=to_ms(at), message_id=secrets.token_hex(8),
        )
        .returning(delivery.c.id)
    ).scalar_one()  # fmt: skip
    return delivery_id, mailing_id


async def report_at(shop, subscriber_id, at, kind="full"):
    """A letter accepted at a time, reported an hour later."""

    def work(tx):
        delivery_id, _ = deliver(tx, subscriber_id, at)
        verdict = Verdict(kind, "5.2.2", excerpt="full")
        return rules.take_report(
            tx, delivery_id, verdict, house_of(shop.services), now=at + timedelta(hours=1)
        )

    return await shop.services.store.write(work)


@pytest.mark.parametrize("kind", ["full", "later", "unknown"])
async def test_five_full_boxes_over_two_weeks_suppress(quiet, kind):
    (ana,) = await add_readers(quiet, "ana@reader.test")

    done = [await report_at(quiet, ana, NOW + timedelta(days=4 * n), kind) for n in range(5)]

    assert done == [kind] * 4 + ["suppressed"]
    assert await suppression(quiet, "ana@reader.test") == ("full" if kind == "full" else "gone")


async def test_ten_full_boxes_within_two_weeks_do_not(quiet):
    (ana,) = await add_readers(quiet, "ana@reader.test")

    for n in range(10):
        await report_at(quiet, ana, NOW + timedelta(days=1.3 * n))

    assert (await reader(quiet, "ana@reader.test")).state == "active"


async def test_reports_older_than_sixty_days_do_not_add_up(quiet):
    (ana,) = await add_readers(quiet, "ana@reader.test")

    for n in range(8):
        await report_at(quiet, ana, NOW + timedelta(days=20 * n))

    assert (await reader(quiet, "ana@reader.test")).state == "active"


async def test_a_letter_that_arrived_between_begins_the_count_anew(quiet):
    (ana,) = await add_readers(quiet, "ana@reader.test")
    for n in range(3):
        await report_at(quiet, ana, NOW + timedelta(days=4 * n))
    await quiet.services.store.write(deliver, ana, NOW + timedelta(days=10))

    for n in range(4):
        await report_at(quiet, ana, NOW + timedelta(days=18 + 4 * n))

    assert (await reader(quiet, "ana@reader.test")).state == "active"


@pytest.mark.rule("BO-7")
async def test_reports_of_old_letters_and_of_letters_never_sent_are_dropped(quiet):
    (ana,) = await add_readers(quiet, "ana@reader.test")
    house = house_of(quiet.services)

    def work(tx):
        old, _ = deliver(tx, ana, NOW - timedelta(days=61))
        waiting, _ = deliver(tx, ana, NOW, state="waiting")
        return [rules.take_report(tx, one, GONE, house, now=NOW) for one in (old, waiting, 999)]

    done = await quiet.services.store.write(work)

    assert done == ["too old", "not a message that was sent", "unknown message"]
    assert (await reader(quiet, "ana@reader.test")).state == "active"


@pytest.mark.rule("BO-8")
async def test_a_provider_mistaken_about_many_costs_nobody_and_is_tried_again_once(quiet):
    addresses = [f"r{n}@gmail.com" for n in range(20)] + [f"g{n}@googlemail.com" for n in range(4)]
    ids = await add_readers(quiet, *addresses)
    house = house_of(quiet.services)

    def work(tx):
        first, mailing_id = deliver(tx, ids[0], NOW)
        sent = [first] + [deliver(tx, one, NOW, mailing_id=mailing_id)[0] for one in ids[1:]]
        done = [rules.take_report(tx, one, GONE, house, now=NOW) for one in sent[:12]]
        return sent, done

    sent, done = await quiet.services.store.write(work)

    assert done[:9] == ["suppressed"] * 9
    assert set(done[9:]) == {"held by the guard"}
    for address in addresses[:12]:
        assert (await reader(quiet, address)).state == "active"
        assert await suppression(quiet, address) is None
        assert await held_until(quiet, address) > NOW + timedelta(days=2.9)
    states = await quiet.services.store.read(
        lambda tx: tx.rows(sa.select(delivery.c.state).where(delivery.c.id.in_(sent[:12])))
    )
    assert {row[0] for row in states} == {"waiting"}

    def again(tx):
        later = NOW + timedelta(days=3, hours=1)
        from storage.times import to_ms

        tx.execute(
            sa.update(delivery)
            .where(delivery.c.id == sent[0])
            .values(state="delivered", ended_at=to_ms(later))
        )
        return rules.take_report(tx, sent[0], GONE, house, now=later + timedelta(hours=1))

    assert await quiet.services.store.write(again) == "suppressed"


@pytest.mark.rule("BO-8")
async def test_nine_of_a_provider_are_believed_and_ten_of_a_hundred_too(quiet):
    ids = await add_readers(quiet, *(f"r{n}@gmail.com" for n in range(100)))
    house = house_of(quiet.services)

    def work(tx):
        first, mailing_id = deliver(tx, ids[0], NOW)
        sent = [first] + [deliver(tx, one, NOW, mailing_id=mailing_id)[0] for one in ids[1:]]
        return [rules.take_report(tx, one, GONE, house, now=NOW) for one in sent[:12]]

    assert set(await quiet.services.store.write(work)) == {"suppressed"}


async def test_refused_by_policy_the_domain_pauses_ever_longer_and_then_stops(quiet):
    ids = await add_readers(quiet, *(f"r{n}@orange.fr" for n in range(10)), "x@other.test")
    house = house_of(quiet.services)
    policy = Verdict("policy", "5.7.1", excerpt="550 5.7.1 blocked")

    def work(tx):
        first, mailing_id = deliver(tx, ids[0], NOW)
        for one in ids[1:3]:
            deliver(tx, one, NOW, mailing_id=mailing_id)
        for one in ids[3:]:
            deliver(tx, one, NOW, state="waiting", mailing_id=mailing_id)
        waits = []
        for at, one in ((0, first), (40, first + 1), (120, first + 2)):
            moment = NOW + timedelta(minutes=at)
            rules.take_report(tx, one, policy, house, now=moment)
            waits.append(tx.scalar(
                sa.select(sa.func.max(delivery.c.not_before)).where(delivery.c.state == "waiting")
            ) - int(moment.timestamp() * 1000))  # fmt: skip
        other = tx.scalar(
            sa.select(delivery.c.not_before).where(delivery.c.subscriber_id == ids[-1])
        )
        return waits, other - int(NOW.timestamp() * 1000)

    waits, other = await quiet.services.store.write(work)

    assert waits[0] == pytest.approx(30 * 60_000, abs=1000)
    assert waits[1] == pytest.approx(60 * 60_000, abs=1000)
    assert waits[2] > 365 * 86_400_000  # Three of ten: until a founder acts.
    assert other <= 0
    assert (await reader(quiet, "r0@orange.fr")).state == "active"
    assert await alerts(quiet) == ["alert"]


async def alerts(shop):
    rows = await shop.services.store.read(
        lambda tx: tx.rows(sa.select(notice.c.kind).where(notice.c.kind == "alert"))
    )
    return [row[0] for row in rows]


async def test_our_fault_pauses_the_mailing_and_tells_the_founders_once(quiet):
    ids = await add_readers(quiet, "ana@reader.test", "bo@reader.test")
    house = house_of(quiet.services)
    ours = Verdict("ours", "5.1.8", excerpt="550 5.1.8 bad sender")

    def work(tx):
        first, mailing_id = deliver(tx, ids[0], NOW)
        second, _ = deliver(tx, ids[1], NOW, mailing_id=mailing_id)
        for one in (first, second):
            rules.take_report(tx, one, ours, house, now=NOW)
        return tx.row(sa.select(mailing.c.paused_at, mailing.c.pause_reason))

    paused_at, reason = await quiet.services.store.write(work)

    assert paused_at is not None
    assert "bad sender" in reason
    assert await alerts(quiet) == ["alert"]


@pytest.mark.rule("L-75")
async def test_a_founder_gets_at_most_five_alerts_a_day(quiet):
    ids = await add_readers(quiet, *(f"r{n}@reader.test" for n in range(8)))
    house = house_of(quiet.services)

    def work(tx):
        for one in ids:
            delivery_id, _ = deliver(tx, one, NOW)
            rules.take_report(tx, delivery_id, Verdict("ours", excerpt="x"), house, now=NOW)
        return tx.scalar(sa.select(sa.func.count()).where(audit.c.action == "alert"))

    assert await quiet.services.store.write(work) == 8
    assert await alerts(quiet) == ["alert"] * 5


# --- complaints ------------------------------------------------------------------------------

ARF = """From: feedback@provider.test
To: abuse@shop.test
Subject: FW: Du lin
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="arf"

--arf
Content-Type: text/plain

This is an email abuse report.

--arf
Content-Type: message/feedback-report

Feedback-Type: {type}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <{mail_from}>
Original-Rcpt-To: <redacted@reader.test>

--arf
Content-Type: message/rfc822

From: Atelier <news@shop.test>
To: redacted
Subject: Du lin
Message-ID: <{message_id}>
List-Unsubscribe: <{unsubscribe}>

Bonjour
--arf--
"""


def arf(type="abuse", mail_from="x@y.test", message_id="a@b.test", unsubscribe="https://x.test/"):
    return ARF.format(
        type=type, mail_from=mail_from, message_id=message_id, unsubscribe=unsubscribe
    )


async def test_a_complaint_ends_everything_and_nobody_is_told(shop):
    told = ("envelope", "mail from", "message id", "token")
    addresses = [f"r{n}@d{n}.test" for n in range(len(told))]
    sent = await sent_to(shop, *addresses)
    # Four of four would stop the mailing and tell the founders.
    before = [mail for mail in shop.mailbox() if mail.to != "founder@shop.test"]

    for how, delivery_id, address in zip(told, sent, addresses, strict=True):
        person = await reader(shop, address)
        message_id = await shop.services.store.read(message_id_of, delivery_id)
        token = shop.services.tokens.unsubscribe(person.key)
        text = {
            "envelope": arf(),
            "mail from": arf(mail_from=bounce_address(shop, delivery_id)),
            "message id": arf(message_id=message_id),
            "token": arf(unsubscribe=shop.services.links.unsubscribe(token)),
        }[how]
        to = bounce_address(shop, delivery_id) if how == "envelope" else "news@shop.test"
        assert (await hand_over(shop, to, text)).startswith("250")

    for address in addresses:
        assert (await reader(shop, address)).state == "left"
        assert await suppression(shop, address) == "complaint"
    await shop.client.post("/subscribe", data={"email": addresses[0]})
    await asyncio.sleep(0.3)
    assert [mail for mail in shop.mailbox() if mail.to != "founder@shop.test"] == before


def message_id_of(tx, delivery_id):
    return tx.scalar(sa.select(delivery.c.message_id).where(delivery.c.id == delivery_id))


async def test_other_feedback_is_told_to_founders_and_suppresses_nobody(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")

    for kind in ("fraud", "virus", "other", "auth-failure"):
        await hand_over(shop, bounce_address(shop, ana), arf(type=kind))

    assert (await reader(shop, "ana@reader.test")).state == "active"
    await until(lambda: any(mail.to == "founder@shop.test" for mail in shop.mailbox()))


async def test_not_spam_takes_the_complaint_back(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    await hand_over(shop, bounce_address(shop, ana), arf())

    await hand_over(shop, bounce_address(shop, ana), arf(type="not-spam"))

    assert await suppression(shop, "ana@reader.test") == "left"


async def test_the_form_of_jmrp_is_a_complaint(shop):
    (ana,) = await sent_to(shop, "ana@reader.test")
    text = (
        "From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        f"Return-Path: <{bounce_address(shop, ana)}>\nSubject: Du lin\n\nx\n--b--\n"
    )

    await hand_over(shop, "news@shop.test", text)

    assert await suppression(shop, "ana@reader.test") == "complaint"


async def test_three_complaints_in_a_thousand_stop_the_mailing(quiet):
    ids = await add_readers(quiet, *(f"r{n}@d{n}.test" for n in range(40)))
    house = house_of(quiet.services)

    def work(tx):
        first, mailing_id = deliver(tx, ids[0], NOW)
        sent = [first] + [deliver(tx, one, NOW, mailing_id=mailing_id)[0] for one in ids[1:]]
        paused = []
        for delivery_id, one in list(zip(sent, ids, strict=True))[:3]:
            key = subscribers.key_of(tx, one)
            rules.complain(tx, bounces.sent_by_id(tx, delivery_id), key, house, now=NOW)
            paused.append(tx.scalar(sa.select(mailing.c.paused_at)) is not None)
        return paused

    assert await quiet.services.store.write(work) == [False, False, True]


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
