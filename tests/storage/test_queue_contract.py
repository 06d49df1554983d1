"""The queue's contract, one suite for both databases: what is not here is not promised."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage import fan_outs, leases, workers
from storage.activities import keep_activity
from storage.lanes import (
    cancel_for_subscriber,
    inbox_for,
    mail_lane_of,
    mail_lanes,
    send_activity,
    sweep,
    wake_hosts,
)
from storage.leases import Again, Ended, Report, claim, free_lanes_of, let_go, settle
from storage.mailings import (
    Start,
    advance,
    create_mailing,
    finish_mailings,
    pause_mailing,
    upcoming,
)
from storage.posts import Draft, create_draft
from storage.progress import progress_of, queue_status
from storage.schema import actor, delivery, follower, lane, remote_actor, subscriber
from storage.store import Store
from storage.times import to_ms


def say(tx, number, *, now, object_uri="https://shop.test/ap/shop/issues/1", type="Create"):
    actor_id = tx.scalar(sa.select(actor.c.id))
    return keep_activity(
        tx,
        uri=f"https://shop.test/ap/act/{number}",
        actor_id=actor_id,
        type=type,
        object_uri=object_uri,
        body=b"{}",
        digest="RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=",
        listed=True,
        now=now,
    )


def to_hosts(tx, activity_id, hosts, *, now, urgent=False):
    inboxes = [inbox_for(tx, f"https://{host}/inbox", host=host, shared=True) for host in hosts]
    return send_activity(
        tx, activity_id, inboxes, object_uri=f"object-{activity_id}", urgent=urgent, now=now
    )


def take(tx, worker, *, now, limit=50, kind="activities"):
    return claim(tx, worker, kind=kind, limit=limit, now=now, scheme_since=now - timedelta(days=7))


@pytest.fixture
def write(store: Store):
    return lambda work, *args, **kwargs: store.submit(work, *args, **kwargs).result()


@pytest.fixture
def worker(write, time):
    return write(workers.register, "one", now=time.now)


def add_subscribers(tx, count, *, now):
    tx.execute(
        sa.insert(subscriber),
        [
            {
                "key": number.to_bytes(10, "big"),
                "email": f"reader{number}@mail{number % 7}.test",
                "identity": f"reader{number}@mail{number % 7}.test",
                "state": "active",
                "language": "fr",
                "mail_lane": mail_lane_of(f"reader{number}@mail{number % 7}.test"),
                "source": "form",
                "requested_at": to_ms(now),
            }
            for number in range(1, count + 1)
        ],
    )


def mail_out(tx, *, now):
    post_id = create_draft(
        tx, Draft("Lin", "Du lin", "Bonjour", "fr"), public_id="p1", slug="lin", now=now
    )
    mailing_id = create_mailing(tx, post_id, {"fr": ("Lin", b"template")}, now=now)
    fan_outs.fan_out_mailing(tx, mailing_id, start_at=now, now=now)
    return post_id, mailing_id


def step_all(write, now):
    for fan_out_id in write(fan_outs.due_fan_outs, now=now):
        while write(fan_outs.step, fan_out_id, now=now):
            pass


def states(tx):
    return dict(tx.rows(sa.select(delivery.c.state, sa.func.count()).group_by(delivery.c.state)))


@pytest.mark.rule("RE-7")
def test_one_inbox_gets_one_delivery_of_an_activity_however_often_it_is_added(write, time):
    activity_id = write(say, 1, now=time.now)

    first = write(to_hosts, activity_id, ["a.test", "b.test"], now=time.now)
    second = write(to_hosts, activity_id, ["a.test", "b.test"], now=time.now)

    assert (first, second) == (2, 0)


def test_a_lane_is_held_by_one_worker_at_a_time(write, time, worker):
    other = write(workers.register, "two", now=time.now)
    write(to_hosts, write(say, 1, now=time.now), ["a.test", "b.test"], now=time.now)

    mine = write(take, worker, now=time.now, limit=1)
    theirs = write(take, other, now=time.now)

    assert len(mine) == len(theirs) == 1
    assert mine[0].lane_id != theirs[0].lane_id
    assert write(take, worker, now=time.now) == []


def test_what_is_urgent_is_taken_first(write, time, worker):
    write(to_hosts, write(say, 1, now=time.now), ["old.test"], now=time.now)
    time.move(seconds=5)
    write(to_hosts, write(say, 2, now=time.now), ["accept.test"], now=time.now, urgent=True)

    first = write(take, worker, now=time.now, limit=1)

    assert first[0].key == "ap:accept.test"


def test_deliveries_about_one_object_keep_their_order_within_an_inbox(write, time, worker):
    def two(tx):
        inbox = inbox_for(tx, "https://a.test/inbox", host="a.test", shared=True)
        for number, type in ((1, "Create"), (2, "Update")):
            activity_id = say(tx, number, now=time.now, type=type)
            send_activity(tx, activity_id, [inbox], object_uri="one", urgent=False, now=time.now)

    write(two)
    held = write(take, worker, now=time.now)[0]
    create, update = held.errands
    later = Again(create.id, time.now + timedelta(minutes=1), "503")
    write(settle, [Report(held.lane_id, held.term, [later], answered=True)], now=time.now)

    assert write(take, worker, now=time.now)[0].errands == ()
    write(leases.hand_back, worker, uncertain_at=time.now, now=time.now)
    time.move(minutes=2)
    again = write(take, worker, now=time.now)[0]
    assert [errand.id for errand in again.errands] == [create.id, update.id]


@pytest.mark.rule("RE-9")
def test_a_host_that_does_not_answer_rests_as_a_whole_and_new_work_does_not_wake_it(
    write, time, worker
):
    write(to_hosts, write(say, 1, now=time.now), ["dead.test"], now=time.now)
    held = write(take, worker, now=time.now)[0]
    rest = Report(held.lane_id, held.term, rest=timedelta(minutes=5), error="no answer")
    write(settle, [rest], now=time.now)

    write(to_hosts, write(say, 2, now=time.now), ["dead.test"], now=time.now)

    assert write(take, worker, now=time.now) == []
    time.move(minutes=6)
    probe = write(take, worker, now=time.now)[0]
    assert len(probe.errands) == 1, "a resting host costs one attempt, not one per activity"


@pytest.mark.rule("RE-9")
def test_a_lane_that_worked_before_it_fell_silent_counts_its_failures_anew(write, time, worker):
    write(to_hosts, write(say, 1, now=time.now), ["dead.test"], now=time.now)
    for answered, failures in ((False, 1), (False, 2), (True, 1), (False, 2)):
        held = write(take, worker, now=time.now)[0]
        rest = timedelta(minutes=1)
        report = Report(held.lane_id, held.term, answered=answered, rest=rest, error="no answer")
        write(settle, [report], now=time.now)
        time.move(minutes=2)

        assert write(lambda tx: tx.scalar(sa.select(lane.c.failures))) == failures


def test_a_verified_request_from_a_host_wakes_its_lane(write, time, worker):
    write(to_hosts, write(say, 1, now=time.now), ["dead.test"], now=time.now)
    held = write(take, worker, now=time.now)[0]
    write(
        settle,
        [Report(held.lane_id, held.term, rest=timedelta(hours=5), error="no answer")],
        now=time.now,
    )

    write(wake_hosts, ["dead.test"], now=time.now)

    assert len(write(take, worker, now=time.now)) == 1


def test_a_host_failing_on_seven_days_is_dormant_and_probed_once_a_day(write, time, worker):
    write(to_hosts, write(say, 1, now=time.now), ["dead.test"], now=time.now)
    for _ in range(7):
        held = write(take, worker, now=time.now)[0]
        write(
            settle,
            [Report(held.lane_id, held.term, rest=timedelta(minutes=1), error="no answer")],
            now=time.now,
        )
        time.move(days=1, minutes=1)
    row = write(lambda tx: tx.row(sa.select(lane.c.dormant_at, lane.c.ready_at)))

    assert row[0] is not None
    assert write(queue_status, now=time.now).dormant == 1


@pytest.mark.rule("RE-10")
def test_a_late_worker_records_nothing_after_its_lanes_were_freed(write, time, worker):
    other = write(workers.register, "two", now=time.now)
    write(to_hosts, write(say, 1, now=time.now), ["a.test"], now=time.now)
    late = write(take, worker, now=time.now)[0]
    write(free_lanes_of, worker, uncertain_at=time.now, now=time.now)
    taken = write(take, other, now=time.now)[0]

    ended = Ended(late.errands[0].id, "failed", "late")
    write(settle, [Report(late.lane_id, late.term, [ended], answered=True)], now=time.now)

    assert write(states) == {"waiting": 1}
    ended = Ended(taken.errands[0].id, "delivered", "202")
    write(settle, [Report(taken.lane_id, taken.term, [ended], answered=True)], now=time.now)
    assert write(states) == {"delivered": 1}


def test_lanes_that_were_held_beside_a_deadly_one_are_not_parked_with_it(write, time):
    hosts = ["good.test", "poison.test", "fine.test"]
    write(to_hosts, write(say, 1, now=time.now), hosts, now=time.now)
    for number in range(12):  # Whoever holds the poisoned lane dies before anything else moves on.
        victim = write(workers.register, str(number), now=time.now)
        held = write(take, victim, now=time.now)
        if any(one.key == "ap:poison.test" for one in held):
            write(free_lanes_of, victim, uncertain_at=time.now, now=time.now)
            continue
        done = [Ended(one.errands[0].id, "delivered", "202") for one in held]
        reports = [
            Report(one.lane_id, one.term, [ended], answered=True)
            for one, ended in zip(held, done, strict=True)
        ]
        write(settle, reports, now=time.now)

    assert [host.key for host in write(queue_status, now=time.now).parked] == ["ap:poison.test"]
    assert write(states) == {"delivered": 2, "waiting": 1}


@pytest.mark.rule("RE-13")
def test_mail_that_had_begun_when_the_database_went_is_in_doubt_and_not_forgotten(
    write, time, worker
):
    write(add_subscribers, 1, now=time.now)
    write(mail_out, now=time.now)
    step_all(write, time.now)
    (held,) = write(take, worker, now=time.now, kind="email")
    (letter,) = write(upcoming, held.lane_id, now=time.now, limit=1)
    start = Start(letter.id, "<1@shop.test>", time.now)
    assert write(advance, held.lane_id, held.term, ended=None, start=start, now=time.now)

    later = time.now + timedelta(seconds=90)
    rest = timedelta(minutes=1)
    write(let_go, [held], uncertain_at=later, now=time.now, rest=rest)

    assert write(states) == {"uncertain": 1}
    assert write(take, worker, now=time.now, kind="email") == []
    time.move(minutes=2)
    (held,) = write(take, worker, now=time.now, kind="email")
    assert len(write(upcoming, held.lane_id, now=time.now, limit=1)) == 1


@pytest.mark.rule("RE-14")
def test_mail_without_an_answer_when_its_worker_ends_in_good_order_is_in_doubt(write, time, worker):
    write(add_subscribers, 1, now=time.now)
    write(mail_out, now=time.now)
    step_all(write, time.now)
    (held,) = write(take, worker, now=time.now, kind="email")
    (letter,) = write(upcoming, held.lane_id, now=time.now, limit=1)
    start = Start(letter.id, "<1@shop.test>", time.now)
    assert write(advance, held.lane_id, held.term, ended=None, start=start, now=time.now)

    write(leases.hand_back, worker, uncertain_at=time.now + timedelta(minutes=25), now=time.now)

    assert write(states) == {"uncertain": 1}


def test_a_lane_freed_three_times_in_a_row_is_parked(write, time):
    write(to_hosts, write(say, 1, now=time.now), ["poison.test"], now=time.now)
    for number in range(3):
        victim = write(workers.register, str(number), now=time.now)
        assert len(write(take, victim, now=time.now)) == 1
        write(free_lanes_of, victim, uncertain_at=time.now, now=time.now)

    assert write(take, write(workers.register, "next", now=time.now), now=time.now) == []
    assert [host.key for host in write(queue_status, now=time.now).parked] == ["ap:poison.test"]


def test_a_lane_that_goes_on_keeps_its_lease_and_gets_the_next_errands(write, time, worker):
    def many(tx):
        inbox = inbox_for(tx, "https://a.test/inbox", host="a.test", shared=True)
        for number in range(30):
            activity_id = say(tx, number, now=time.now, object_uri=f"o{number}")
            send_activity(
                tx, activity_id, [inbox], object_uri=f"o{number}", urgent=False, now=time.now
            )

    write(many)
    held = write(take, worker, now=time.now)[0]
    done = [Ended(errand.id, "delivered", "202") for errand in held.errands]
    more = write(
        settle,
        [Report(held.lane_id, held.term, done, answered=True, go_on=True)],
        now=time.now,
    )

    assert (len(held.errands), len(more[held.lane_id])) == (20, 10)
    done = [Ended(errand.id, "delivered", "202") for errand in more[held.lane_id]]
    assert not write(
        settle,
        [Report(held.lane_id, held.term, done, answered=True, go_on=True)],
        now=time.now,
    )
    assert write(states) == {"delivered": 30}
    assert write(sweep, now=time.now) == []


@pytest.mark.rule("RE-3")
def test_a_fan_out_reaches_each_shared_inbox_once_and_nobody_from_later(write, time):
    def follow(tx, number, host):
        inbox = inbox_for(tx, f"https://{host}/inbox", host=host, shared=True)
        person = tx.execute(
            sa.insert(remote_actor)
            .values(
                uri=f"https://{host}/{number}",
                host=host,
                type="Person",
                inbox_url=f"https://{host}/{number}/inbox",
                fetched_at=0,
            )
            .returning(remote_actor.c.id)
        ).scalar_one()
        tx.execute(
            sa.insert(follower).values(
                actor_id=tx.scalar(sa.select(actor.c.id)),
                remote_actor_id=person,
                inbox_id=inbox,
                follow_uri=f"https://{host}/f/{number}",
                state="accepted",
                at=0,
            )
        )

    for number in range(10):
        write(follow, number, f"h{number % 3}.test")
    activity_id = write(say, 1, now=time.now)
    write(
        fan_outs.fan_out_activity,
        activity_id,
        audience="followers",
        start_at=time.now,
        now=time.now,
    )
    write(follow, 99, "late.test")

    step_all(write, time.now)

    assert write(states) == {"waiting": 3}
    assert write(fan_outs.due_fan_outs, now=time.now) == []


@pytest.mark.rule("RE-3")
def test_a_mailing_reaches_every_active_subscriber_once_in_steps(write, time, monkeypatch):
    monkeypatch.setattr(fan_outs, "STEP", 40)
    write(add_subscribers, 100, now=time.now)
    post_id, _ = write(mail_out, now=time.now)

    step_all(write, time.now)

    assert write(progress_of, post_id).mail.waiting == 100
    assert not write(progress_of, post_id).stepping


@pytest.mark.rule("RE-6")
def test_mail_in_mid_air_when_its_worker_dies_is_uncertain_and_sent_once_more(write, time, worker):
    write(add_subscribers, 3, now=time.now)
    write(mail_out, now=time.now)
    step_all(write, time.now)
    held = write(take, worker, now=time.now, kind="email", limit=1)[0]
    first = write(upcoming, held.lane_id, now=time.now, limit=10)[0]
    start = Start(first.id, "m1@shop.test", time.now)
    assert write(advance, held.lane_id, held.term, ended=None, start=start, now=time.now)

    write(free_lanes_of, worker, uncertain_at=time.now + timedelta(minutes=25), now=time.now)

    assert write(states)["uncertain"] == 1
    assert [one for one, _ in write(queue_status, now=time.now).uncertain_letters] == [first.id]
    assert first.id not in [
        letter.id for letter in write(upcoming, held.lane_id, now=time.now, limit=10)
    ]
    time.move(minutes=26)
    again = next(
        letter
        for letter in write(upcoming, held.lane_id, now=time.now, limit=10)
        if letter.id == first.id
    )
    assert (again.message_id, again.dated_at) == ("m1@shop.test", start.dated_at)


@pytest.mark.rule("EM-15")
def test_a_reader_who_left_is_not_started_any_more(write, time, worker):
    write(add_subscribers, 1, now=time.now)
    write(mail_out, now=time.now)
    step_all(write, time.now)
    held = write(take, worker, now=time.now, kind="email")[0]
    letter = write(upcoming, held.lane_id, now=time.now, limit=10)[0]

    write(cancel_for_subscriber, 1, now=time.now)
    may = write(
        advance,
        held.lane_id,
        held.term,
        ended=None,
        start=Start(letter.id, "m@shop.test", time.now),
        now=time.now,
    )

    assert not may
    assert write(states) == {"cancelled": 1}


@pytest.mark.rule("RE-4")
def test_a_mailing_is_finished_only_when_all_its_deliveries_are_over(write, time, worker):
    write(add_subscribers, 1, now=time.now)
    _, mailing_id = write(mail_out, now=time.now)
    assert write(finish_mailings, now=time.now) == []
    step_all(write, time.now)
    assert write(finish_mailings, now=time.now) == []
    held = write(take, worker, now=time.now, kind="email")[0]
    letter = write(upcoming, held.lane_id, now=time.now, limit=10)[0]
    start = Start(letter.id, "m@shop.test", time.now)
    write(advance, held.lane_id, held.term, ended=None, start=start, now=time.now)
    write(
        advance,
        held.lane_id,
        held.term,
        ended=Ended(letter.id, "delivered", "250 ok"),
        start=None,
        now=time.now,
    )

    assert write(finish_mailings, now=time.now) == [mailing_id]


def test_nothing_of_a_paused_mailing_starts(write, time, worker):
    write(add_subscribers, 1, now=time.now)
    _, mailing_id = write(mail_out, now=time.now)
    step_all(write, time.now)
    held = write(take, worker, now=time.now, kind="email")[0]
    letter = write(upcoming, held.lane_id, now=time.now, limit=10)[0]
    write(pause_mailing, mailing_id, reason="the relay refuses our sender", now=time.now)

    start = Start(letter.id, "m@shop.test", time.now)
    assert not write(advance, held.lane_id, held.term, ended=None, start=start, now=time.now)
    assert write(upcoming, held.lane_id, now=time.now, limit=10) == []


def test_stopping_before_the_first_step_lets_nothing_leave(write, time):
    write(add_subscribers, 5, now=time.now)
    post_id, _ = write(mail_out, now=time.now)

    untouched = write(fan_outs.stop_post, post_id, now=time.now)
    step_all(write, time.now)

    assert untouched
    assert write(states) == {}


@pytest.mark.rule("L-94")
def test_a_domain_falls_into_two_lanes_at_most(write):
    lanes = {mail_lane_of(f"reader{number}@example.org") for number in range(200)}

    assert len(lanes) == 2
    assert len(write(mail_lanes)) == 4


async def test_five_workers_side_by_side_lose_nothing_and_record_nothing_twice(store, time):
    def prepare(tx):
        for number in range(20):
            activity_id = say(tx, number, now=time.now, object_uri=f"o{number}")
            to_hosts(tx, activity_id, [f"h{host}.test" for host in range(25)], now=time.now)

    await store.write(prepare)
    done: list[int] = []

    async def work(name):
        me = await store.write(workers.register, name, now=time.now)
        idle = 0
        while idle < 3:
            claims = await store.write(take, me, now=time.now, limit=4)
            idle = idle + 1 if not claims else 0
            reports = [
                Report(
                    one.lane_id,
                    one.term,
                    [Ended(errand.id, "delivered", "202") for errand in one.errands],
                    answered=True,
                )
                for one in claims
            ]
            await store.write(settle, reports, now=time.now)
            done.extend(errand.id for one in claims for errand in one.errands)

    await asyncio.gather(*(work(str(number)) for number in range(5)))

    assert len(done) == len(set(done)) == 500
    assert (await store.read(states)) == {"delivered": 500}
    assert await store.write(sweep, now=time.now) == []
