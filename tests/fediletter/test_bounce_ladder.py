"""Reports over time: the ladder, the guard, pauses of a domain and of a mailing, alerts."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from fediletter.mail.reports import Verdict
from fediletter.newsletter import bounces as rules
from fediletter.services import house_of
from storage.schema import audit, delivery, mailing, notice
from tests.fediletter.sent import NOW, add_readers, deliver, held_until, reader, suppression
from tests.shop import running_shop

GONE = Verdict("gone", "5.1.1", certain=True, excerpt="550 5.1.1 unknown")


@pytest.fixture
async def quiet(tmp_path):
    """A shop that does not work: its rows are written by the test, at whatever time."""
    async with running_shop(tmp_path / "quiet", workers=False) as running:
        yield running


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
