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

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
# A table of deliveries read without a use of its index, whatever word the plan has for it.
WHOLE = re.compile(r"^(SCAN|SEARCH) (delivery|earlier)$|rowid<")

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


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_what_is_due_does_not_read_what_is_done(tmp_path, look):
    store = Store(f"sqlite:///{tmp_path / 'test.db'}", Wakeups())
    migrate(store.engine)
    plans: list[str] = []

    def explain(_connection, cursor, statement, parameters, _context, many):
        if re.match(r"SELECT|UPDATE|WITH", statement):
            first = parameters[0] if many else parameters
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", first)
            plans.extend(row[3] for row in rows)

    sa.event.listen(store.engine, "before_cursor_execute", explain)

    def work(tx):
        worker = workers.register(tx, "one", now=NOW)
        tx.execute(sa.insert(lane).values(id=1, key="a", kind="email", term=1, leased_by=worker))
        LOOKS[look](tx)

    try:
        store.submit(work).result()
    finally:
        store.close()

    assert any("ix_delivery_open" in plan for plan in plans), plans
    assert not [plan for plan in plans if WHOLE.search(plan)], plans
