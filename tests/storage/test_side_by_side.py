"""PostgreSQL: transactions side by side neither lock each other out nor miss each other."""

import threading
from concurrent.futures import TimeoutError

import pytest
import sqlalchemy as sa

from storage import received
from storage.lanes import inbox_for, send_activity
from storage.received import Arrival
from tests.storage.test_queue_contract import say

WAIT = 10


@pytest.fixture(params=["postgresql"])
def database_url(postgres_database):
    return postgres_database()


def test_two_answers_into_a_lane_in_which_each_made_an_inbox_do_not_wait_for_each_other(
    store, time
):
    both = threading.Barrier(2, timeout=WAIT)

    def inbox(tx, number):
        url = f"https://a.test/users/{number}/inbox"
        return inbox_for(tx, url, host="a.test", shared=False)

    def answer(tx, number):
        activity_id = say(tx, number, now=time.now)
        inbox_id = inbox(tx, number)
        both.wait()
        return send_activity(tx, activity_id, [inbox_id], object_uri="o", urgent=True, now=time.now)

    store.submit(inbox, 0).result(WAIT)

    added = [store.submit(answer, number) for number in (1, 2)]

    assert [one.result(WAIT) for one in added] == [1, 1]


@pytest.mark.rule("RE-8")
def test_what_one_actor_says_is_applied_one_after_the_other_and_once(store, time):
    ana = "https://a.test/ana"
    entered, go_on = threading.Event(), threading.Event()

    def undo(tx):
        assert received.hold(tx, undone, ana)
        entered.set()
        assert go_on.wait(WAIT)
        received.bury(tx, f"{ana}/follow", ana, now=time.now)
        received.finish(tx, undone, state="ignored", reason="nothing of this is here yet")

    def follow(tx):
        return received.hold(tx, followed, ana), received.is_buried(tx, f"{ana}/follow", ana)

    said = [Arrival(ana, f"{ana}/{name}", name, b"{}") for name in ("Follow", "Undo")]
    store.submit(received.keep, said, now=time.now).result(WAIT)
    rows = store.submit(
        lambda tx: dict(tx.rows(sa.select(received.received.c.type, received.received.c.id)))
    )
    ids = rows.result(WAIT)
    followed, undone = ids["Follow"], ids["Undo"]

    first = store.submit(undo)
    assert entered.wait(WAIT)
    second = store.submit(follow)
    with pytest.raises(TimeoutError):
        second.result(0.3)
    go_on.set()

    first.result(WAIT)
    assert second.result(WAIT) == (True, True)
    assert not store.submit(received.hold, undone, ana).result(WAIT)
