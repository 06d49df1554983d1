"""What a founder does about deliveries that wait, and when a silent host is forgotten."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage.followers import add_follower
from storage.lanes import inbox_for, mend_after_a_jump, wake_hosts
from storage.leases import Again, Ended, Report, settle
from storage.newsletters import local_actors
from storage.nudges import forget_dormant, give_up, try_again_now
from storage.peers import ActorSnapshot, keep_actor
from storage.progress import progress_of
from storage.schema import delivery, follower, lane
from tests.storage.test_queue_contract import (
    add_subscribers,
    mail_out,
    say,
    states,
    step_all,
    take,
    to_hosts,
    worker,
    write,
)

__all__ = ["worker", "write"]
_FIRST_IN_DOUBT = "UPDATE delivery SET state = 'uncertain' WHERE id = 1"


def test_giving_up_a_domain_fails_it_with_a_reason_and_leaves_the_others(write, time):
    write(add_subscribers, 14, now=time.now)
    post_id, _ = write(mail_out, now=time.now)
    step_all(write, time.now)

    gone = write(give_up, post_id, now=time.now, domain="mail3.test")

    assert gone == 2
    assert write(states) == {"failed": 2, "waiting": 12}
    found = write(progress_of, post_id)
    assert [(one.answer, one.count) for one in found.refusals] == [("given up by a founder", 2)]
    assert write(give_up, post_id, now=time.now, domain="nobody.test") == 0


def test_trying_a_domain_again_makes_its_letters_due_and_no_others(write, time):
    write(add_subscribers, 14, now=time.now)
    post_id, _ = write(mail_out, now=time.now)
    step_all(write, time.now)
    later = time.now + timedelta(hours=4)

    def hold_back(tx):
        tx.execute(
            sa.update(delivery).values(
                not_before=int(later.timestamp() * 1000), attempts=1, answer="451 later"
            )
        )

    write(hold_back)
    waiting = {one.domain: one for one in write(progress_of, post_id).waiting_domains}
    assert (waiting["mail3.test"].waiting, waiting["mail3.test"].answer) == (2, "451 later")

    assert write(try_again_now, post_id, now=time.now, domain="mail3.test") == 2

    due = {one.domain: one.next_at for one in write(progress_of, post_id).waiting_domains}
    assert due["mail3.test"] == time.now
    assert {at for name, at in due.items() if name != "mail3.test"} == {later}


def test_giving_up_leaves_what_else_waits_in_the_lane_and_its_order(write, time, worker):
    write(add_subscribers, 1, now=time.now)
    post_id, _ = write(mail_out, now=time.now)

    def two(tx):
        mine = say(tx, 1, now=time.now)
        tx.execute(sa.text(f"UPDATE activity SET post_id = {int(post_id)} WHERE id = {int(mine)}"))
        to_hosts(tx, mine, ["a.test"], now=time.now)
        to_hosts(tx, say(tx, 2, now=time.now), ["a.test"], now=time.now)
        to_hosts(tx, say(tx, 3, now=time.now), ["a.test"], now=time.now)

    write(two)
    assert write(give_up, post_id, now=time.now, key="ap:a.test") == 1

    held = write(take, worker, now=time.now)[0]
    assert [errand.activity_id for errand in held.errands] == [2, 3]


def test_a_parked_lane_that_is_tried_again_is_handed_out(write, time, worker):
    write(add_subscribers, 1, now=time.now)
    post_id, _ = write(mail_out, now=time.now)

    def park(tx):
        mine = say(tx, 1, now=time.now)
        tx.execute(sa.text(f"UPDATE activity SET post_id = {int(post_id)} WHERE id = {int(mine)}"))
        to_hosts(tx, mine, ["a.test"], now=time.now)
        tx.execute(sa.update(lane).values(parked_at=1, freed=3, failures=4))

    write(park)
    assert write(take, worker, now=time.now) == []
    assert write(progress_of, post_id).waiting_hosts[0].parked

    assert write(try_again_now, post_id, now=time.now, key="ap:a.test") == 1

    assert len(write(take, worker, now=time.now)[0].errands) == 1


def follow_from(tx, host, *, now):
    own = next(one for one in local_actors(tx) if one.kind == "newsletter")
    uri = f"https://{host}/users/ana"
    row = keep_actor(
        tx,
        ActorSnapshot(uri, host, "Person", f"{uri}/in", None, "ana", "Ana", None, None, None),
        now=now,
    )
    inbox_id = inbox_for(tx, f"{uri}/in", host=host, shared=False)
    add_follower(tx, own.id, row, inbox_id, follow_uri=f"{uri}/f", state="accepted", now=now)


def fail_for_a_week(write, time, worker):
    for _ in range(7):
        held = write(take, worker, now=time.now)[0]
        report = Report(held.lane_id, held.term, rest=timedelta(minutes=1), error="no answer")
        write(settle, [report], now=time.now)
        time.move(days=1, minutes=1)


@pytest.mark.rule("FE-16")
def test_a_dormant_host_is_probed_daily_and_forgotten_after_a_month(write, time, worker):
    write(follow_from, "dead.test", now=time.now)
    write(follow_from, "well.test", now=time.now)
    write(to_hosts, write(say, 1, now=time.now), ["dead.test"], now=time.now)
    fail_for_a_week(write, time, worker)
    write(to_hosts, write(say, 2, now=time.now), ["dead.test"], now=time.now)

    probe = write(take, worker, now=time.now)[0]
    assert (probe.dormant, len(probe.errands)) == (True, 1), "one attempt, whatever waits"
    report = Report(probe.lane_id, probe.term, rest=timedelta(minutes=1), error="no answer")
    write(settle, [report], now=time.now)
    assert write(take, worker, now=time.now + timedelta(hours=23)) == []

    month = timedelta(days=30)
    assert write(forget_dormant, before=time.now - month, now=time.now) == 0
    time.move(days=31)
    assert write(forget_dormant, before=time.now - month, now=time.now) == 1
    left = write(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(follower)))
    assert left == 1
    assert write(states) == {"failed": 2}


def test_a_request_from_a_dormant_host_wakes_it(write, time, worker):
    write(follow_from, "back.test", now=time.now)
    write(to_hosts, write(say, 1, now=time.now), ["back.test"], now=time.now)
    fail_for_a_week(write, time, worker)
    held = write(take, worker, now=time.now)[0]
    again = Again(held.errands[0].id, time.now, "no answer")
    write(
        settle,
        [Report(held.lane_id, held.term, [again], rest=timedelta(minutes=1))],
        now=time.now,
    )

    write(wake_hosts, ["back.test"], now=time.now)

    woken = write(take, worker, now=time.now)[0]
    assert (woken.dormant, woken.failures) == (False, 0)
    ended = Ended(woken.errands[0].id, "delivered", "202")
    write(settle, [Report(woken.lane_id, woken.term, [ended], answered=True)], now=time.now)
    assert write(forget_dormant, before=time.now + timedelta(days=99), now=time.now) == 0


def test_letters_in_doubt_are_listed_by_address(write, time):
    write(add_subscribers, 2, now=time.now)
    post_id, _ = write(mail_out, now=time.now)
    step_all(write, time.now)
    write(
        lambda tx: tx.execute(sa.text("UPDATE delivery SET state='uncertain' WHERE id = 1")) and 0
    )

    found = write(progress_of, post_id)

    assert [one.email for one in found.uncertain] == ["reader1@mail1.test"]


@pytest.mark.rule("RE-12")
def test_after_the_clock_was_set_back_what_was_never_tried_leaves_at_once(write, time, worker):
    early = time.now
    time.move(days=1)
    write(to_hosts, write(say, 1, now=time.now), ["a.test"], now=time.now)
    time.now = early
    assert write(take, worker, now=time.now) == []

    assert write(mend_after_a_jump, now=time.now) == 1

    held = write(take, worker, now=time.now)[0]
    later = Again(held.errands[0].id, time.now + timedelta(hours=1), "429, Retry-After")
    write(settle, [Report(held.lane_id, held.term, [later], answered=True)], now=time.now)
    assert write(mend_after_a_jump, now=time.now) == 0, "what a peer asked for is left alone"
