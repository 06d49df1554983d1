"""The queue costs what waits in it, not what it ever held: looks use the index of what is open."""

import re
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from storage import lanes, leases, mailings, nudges, progress, suppressions, workers
from storage.ids import DeliveryId, InboxId, LaneId, PostId
from storage.leases import Ended, Report
from storage.migrate import migrate
from storage.schema import lane
from storage.store import Store
from storage.wakeup import Wakeups
from tests.postgres import new_database

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
# A table of deliveries read without a use of its index, whatever word the plan has for it.
WHOLE = re.compile(r"^(SCAN|SEARCH) (delivery|earlier)$|rowid<")
# The same of PostgreSQL: from end to end, or by an index of all of them without a condition.
WHOLE_THERE = re.compile(
    r"Seq Scan on delivery|using (?!ix_delivery_open)\w+ on delivery (?![\s\S]*Index Cond)"
)

LOOKS = {
    "errands_of": lambda tx: leases.errands_of(tx, [LaneId(n) for n in range(1, 60)], now=NOW),
    "settle": lambda tx: leases.settle(
        tx, [Report(LaneId(1), 1, [Ended(DeliveryId(1), "delivered", "")], answered=True)], now=NOW
    ),
    "upcoming": lambda tx: mailings.upcoming(tx, LaneId(1), now=NOW, limit=2),
    "sweep": lambda tx: lanes.sweep(tx, now=NOW),
    "mend_after_a_jump": lambda tx: lanes.mend_after_a_jump(tx, now=NOW),
    "finish_mailings": lambda tx: mailings.finish_mailings(tx, now=NOW),
    "close_inboxes": lambda tx: lanes.close_inboxes(tx, [InboxId(1)], now=NOW),
    "try_again_now": lambda tx: nudges.try_again_now(tx, PostId(1), key="a", now=NOW),
    "give_up": lambda tx: nudges.give_up(tx, PostId(1), key="a", now=NOW),
    "queue_status": lambda tx: progress.queue_status(tx, now=NOW),
    "doubtful": lambda tx: suppressions.doubtful(tx, limit=50),
}


def plans_of(store, look, explain):
    """What the database would do for each statement of a look; nothing of it stays."""
    plans: list[str] = []

    def before(_connection, cursor, statement, parameters, _context, many):
        if re.match(r"SELECT|UPDATE|WITH", statement):
            plans.extend(
                explain(cursor.connection, statement, parameters[0] if many else parameters)
            )

    class Enough(Exception):
        pass

    def work(tx):
        if tx.is_postgresql:  # Of a small table it would read all.
            tx.execute(sa.text("SET LOCAL enable_seqscan = off"))
        worker = workers.register(tx, "one", now=NOW)
        tx.execute(sa.insert(lane).values(id=1, key="a", kind="email", term=1, leased_by=worker))
        LOOKS[look](tx)
        raise Enough

    sa.event.listen(store.engine, "before_cursor_execute", before)
    try:
        store.submit(work).result()
    except Enough:
        return plans
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", before)


@pytest.fixture(scope="module")
def on_postgresql(postgres_url):
    store = Store(new_database(postgres_url), Wakeups())
    migrate(store.engine)
    yield store
    store.close()


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_what_is_due_does_not_read_what_is_done(tmp_path, look):
    store = Store(f"sqlite:///{tmp_path / 'test.db'}", Wakeups())
    migrate(store.engine)

    def explain(connection, statement, parameters):
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]

    try:
        plans = plans_of(store, look, explain)
    finally:
        store.close()

    assert any("ix_delivery_open" in plan for plan in plans), plans
    assert not [plan for plan in plans if WHOLE.search(plan)], plans


@pytest.mark.parametrize("look", LOOKS)
def test_on_postgresql_a_look_does_not_read_what_is_done_either(on_postgresql, look):
    def explain(connection, statement, parameters):
        rows = connection.cursor().execute(f"EXPLAIN {statement}", parameters).fetchall()
        return "\n".join(row[0] for row in rows).split("->")

    plans = plans_of(on_postgresql, look, explain)

    assert plans
    assert not [plan for plan in plans if WHOLE_THERE.search(plan)], plans
