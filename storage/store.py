"""The one place where transactions begin and end.

A transaction is a plain function `work(tx, …)`: it commits when it returns and rolls back when
it raises. It is not `async`, so it cannot wait for a network inside. On SQLite one writer thread
gathers the works that wait into one commit (each in a savepoint of its own), which is what makes
many small durable writes cheap; on PostgreSQL a few threads write side by side. Whoever waits for
an answer comes before what the program does for itself. Readers see one snapshot, in which the
database itself refuses writes.

Knows nothing of what is written, nor why.

Sources: security.md RE-1, RE-2 (durability, journal mode), RE-13 (trouble becomes an error, never a
spin); performance.md §3, §5 (one writer with group commit).
"""

import asyncio
import itertools
import math
import os
import queue
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.pool import QueuePool

from storage.wakeup import NOTICES, Listener, Wakeups

P = ParamSpec("P")
T = TypeVar("T")

# Below this SQLite a race in the write-ahead log can lose commits (RE-2).
_WAL_IS_SAFE = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
_BUSY_SECONDS = 5.0
# Works in one commit, at most, and how long it takes more: bounds the wait of the first.
_GATHER, _GATHER_SECONDS = 64, 0.025
_BEHIND_SECONDS = 0.5  # What nobody waits for lets others pass so long.
_READERS = 4
_WRITERS = 4  # PostgreSQL only.
_IDLE_SECONDS = 30  # Within a transaction, on PostgreSQL: less than a lease (L-93).


class Tx:
    """One open transaction: what every function of this package takes first."""

    __slots__ = ("_connection", "_woken")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._woken: set[str] = set()

    @property
    def is_postgresql(self) -> bool:
        return self._connection.dialect.name == "postgresql"

    def execute(
        self,
        statement: sa.Executable,
        parameters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
    ) -> CursorResult[Any]:
        """Run one statement; a list of parameter sets runs it once for each."""
        return cast("CursorResult[Any]", self._connection.execute(statement, parameters))

    def rows(self, statement: sa.Executable) -> list[tuple[Any, ...]]:
        """All rows of a query, as plain tuples."""
        return [tuple(row) for row in self._connection.execute(statement)]

    def row(self, statement: sa.Executable) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        found = self._connection.execute(statement).first()
        return None if found is None else tuple(found)

    def scalar(self, statement: sa.Executable) -> Any:
        """The first column of the first row, or None."""
        return self._connection.execute(statement).scalar()

    def insert(self, table: sa.Table) -> postgresql.Insert:
        """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`.

        Both dialects spell them alike; the class of one stands for both.
        """
        if self.is_postgresql:
            return postgresql.insert(table)
        return cast("postgresql.Insert", sqlite.insert(table))

    def wake(self, channel: str) -> None:
        """Tell whoever listens on `channel` to look, once this transaction has committed."""
        self._woken.add(channel)

    def _announce(self) -> None:
        """PostgreSQL: NOTIFY belongs to the transaction, and costs once per channel."""
        for channel in sorted(self._woken):
            self._connection.execute(sa.select(sa.func.pg_notify(NOTICES, channel)))


@dataclass(slots=True)
class _Job:
    work: Callable[[Tx], Any]
    done: Future[Any]
    name: str  # `module.function`, for the fault tests.


class Store:
    """Transactions on one database.

    Args:
        url: `sqlite:////absolute/path` or `postgresql://…`.
        wakeups: Who is told, after a commit, that there is work.
        fail_at: For fault tests only: `module.function:before:3` kills this process (SIGKILL)
            before the third commit of that transaction, `:after:` after it. None: never.
    """

    def __init__(self, url: str, wakeups: Wakeups, *, fail_at: str | None = None) -> None:
        self.engine = engine_for(url)
        self.wakeups = wakeups
        self._fail_at = fail_at
        self._passed = 0
        self._sqlite = self.engine.dialect.name == "sqlite"
        # By when its turn comes; works of the same moment in their order.
        self._jobs: queue.PriorityQueue[tuple[float, int, _Job | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._listener = None if self._sqlite else Listener(self.engine, wakeups)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        loop = self._write_gathered if self._sqlite else self._write_singly
        self._writers = [
            threading.Thread(target=loop, name=f"store-write-{n}", daemon=True)
            for n in range(1 if self._sqlite else _WRITERS)
        ]
        for writer in self._writers:
            writer.start()

    async def write(
        self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(tx, *args, **kwargs)` in a transaction; return after it is durable.

        Raises:
            StoreError: Whatever `work` refuses; nothing is written.
            sqlalchemy.exc.DBAPIError: The database refuses; nothing is written.
        """
        return await asyncio.wrap_future(self.submit(work, *args, **kwargs))

    async def write_behind(
        self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`write` for what nobody waits for: others may pass, for half a second at most."""
        return await asyncio.wrap_future(
            self._put(lambda tx: work(tx, *args, **kwargs), _name_of(work), _BEHIND_SECONDS)
        )

    async def read(
        self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work` on one snapshot of the database, in which it cannot write."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: self._read(work, args, kwargs))

    def submit(
        self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """`write` for those who wait in a thread: a future of what `work` returns."""
        return self._put(lambda tx: work(tx, *args, **kwargs), _name_of(work))

    def listen(self, channel: str) -> asyncio.Event:
        """An event of this loop, set when any process has committed work for `channel`."""
        bell = self.wakeups.listen(channel)
        if self._listener is not None:
            self._listener.start()
        return bell

    def shed_past(self) -> None:
        """Let go of what SQLite's journal still holds of former rows: it keeps its length (PR-5).

        If somebody is writing it may stay until the next time.
        """
        if not self._sqlite:
            return
        kept = safe_journal_mode(sqlite3.sqlite_version_info)
        with self.engine.connect() as connection:
            if kept == "WAL":
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
                connection.exec_driver_sql(f"PRAGMA journal_mode={kept}")

    def close(self) -> None:
        """Finish what was submitted, then end the threads and connections."""
        if self._listener is not None:
            self._listener.stop()
        for _ in self._writers:
            self._jobs.put((math.inf, next(self._numbers), None))
        for writer in self._writers:
            writer.join()
        self._readers.shutdown()
        self.engine.dispose()

    def _put(self, work: Callable[[Tx], T], name: str, behind: float = 0.0) -> Future[T]:
        done: Future[T] = Future()
        turn = time.monotonic() + behind
        self._jobs.put((turn, next(self._numbers), _Job(work, done, name)))
        return done

    def _read(self, work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        with self.engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return work(Tx(connection), *args, **kwargs)
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def _pass(self, jobs: Sequence[_Job], moment: str) -> None:
        """A commit point (FT-3): where a fault test says so, this process dies here."""
        if self._fail_at is None:
            return
        name, wanted, times = self._fail_at.split(":")
        self._passed += wanted == moment and any(job.name == name for job in jobs)
        if self._passed >= int(times):
            os.kill(os.getpid(), signal.SIGKILL)

    def _write_singly(self) -> None:
        while (job := self._jobs.get()[2]) is not None:
            if not job.done.set_running_or_notify_cancel():
                continue
            try:
                with self.engine.connect() as connection:
                    result, woken = _in_transaction(
                        connection, job.work, partial(self._pass, [job], "before")
                    )
                self._pass([job], "after")
            except BaseException as trouble:  # noqa: BLE001 (handed to the one who asked)
                job.done.set_exception(trouble)
            else:
                self.wakeups.fire(woken)  # First: whoever wrote must not read what is outdated.
                job.done.set_result(result)

    def _write_gathered(self) -> None:
        connection: Connection | None = None
        while (first := self._jobs.get()[2]) is not None:
            connection = self._commit_together(connection, first)
        if connection is not None:
            connection.close()

    def _gathered(self, first: _Job) -> Iterator[_Job]:
        """What goes into one commit: the first, and what waits or comes while it is worked at."""
        until = time.monotonic() + _GATHER_SECONDS
        job: _Job | None = first
        for _ in range(_GATHER):
            if job is not None and job.done.set_running_or_notify_cancel():
                yield job
            if time.monotonic() >= until:
                return
            try:
                entry = self._jobs.get_nowait()
            except queue.Empty:
                return
            job = entry[2]
            if job is None:
                self._jobs.put(entry)  # The end: after this commit.
                return

    def _commit_together(self, connection: Connection | None, first: _Job) -> Connection | None:
        jobs: list[_Job] = []
        answers: list[tuple[_Job, Any, BaseException | None]] = []
        woken: set[str] = set()
        try:
            for job in self._gathered(first):
                jobs.append(job)
                if connection is None:
                    connection = self._writing()
                if not answers:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                answers.append((job, *_in_savepoint(connection, job.work, woken)))
            if connection is None or not jobs:
                return connection
            self._pass(jobs, "before")
            connection.exec_driver_sql("COMMIT")
            self._pass(jobs, "after")
        except BaseException as trouble:  # noqa: BLE001 (handed to those who asked)
            for job in jobs:
                job.done.set_exception(trouble)
            if connection is not None:  # In what state is unknown: the next batch gets another.
                connection.invalidate()
                connection.close()
            return None
        self.wakeups.fire(woken)  # First: whoever wrote must not read what is outdated.
        for job, result, refusal in answers:
            if refusal is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(refusal)
        return connection

    def _writing(self) -> Connection:
        connection = self.engine.connect()
        connection.exec_driver_sql("PRAGMA query_only=OFF")
        connection.exec_driver_sql("PRAGMA cache_size=-6000")
        return connection


def engine_for(url: str) -> Engine:
    """An engine whose connections leave BEGIN and COMMIT to us.

    Args:
        url: As in the setting; `postgresql://` means the psycopg driver.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            parsed,
            poolclass=QueuePool,
            pool_size=_READERS + 1,
            connect_args={
                "check_same_thread": False,
                "isolation_level": None,
                "timeout": _BUSY_SECONDS,
            },
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    parsed = parsed.set(drivername="postgresql+psycopg")
    return sa.create_engine(
        parsed,
        pool_size=_READERS + _WRITERS + 3,  # A worker's lock, a look at another's, LISTEN.
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="AUTOCOMMIT",  # `exec_driver_sql("BEGIN…")` decides, here as on SQLite.
        connect_args={
            "connect_timeout": 5,
            # Whoever is stopped in mid-transaction must not hold rows for ever (FT-17).
            "options": f"-c idle_in_transaction_session_timeout={_IDLE_SECONDS * 1000}",
        },
    )


def safe_journal_mode(version: tuple[int, ...]) -> str:
    """The journal for this SQLite: `WAL`, or `PERSIST` below the floors of RE-2."""
    newest, *branches = _WAL_IS_SAFE
    safe = version >= newest or any(version[:2] == b[:2] and version >= b for b in branches)
    return "WAL" if safe else "PERSIST"


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA journal_mode={safe_journal_mode(sqlite3.sqlite_version_info)}")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # What is erased is gone from the file too (PR-5).
    # For each reader, and filled in time by a database that grows: the system keeps the file's
    # pages once for all of them.
    cursor.execute("PRAGMA cache_size=-1000")
    cursor.execute("PRAGMA query_only=ON")  # Lifted by the writer alone.
    cursor.close()


def _name_of(work: Callable[..., Any]) -> str:
    name = getattr(work, "__qualname__", "").partition(".<locals>")[0]
    return f"{work.__module__.rpartition('.')[2]}.{name}"


def _in_transaction(
    connection: Connection, work: Callable[[Tx], T], about_to_commit: Callable[[], None]
) -> tuple[T, set[str]]:
    tx = Tx(connection)
    connection.exec_driver_sql("BEGIN")
    try:
        result = work(tx)
        tx._announce()
        about_to_commit()
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")
        raise
    return result, tx._woken


def _in_savepoint(
    connection: Connection, work: Callable[[Tx], Any], woken: set[str]
) -> tuple[Any, BaseException | None]:
    tx = Tx(connection)
    connection.exec_driver_sql("SAVEPOINT work")
    try:
        result = work(tx)
    except BaseException as refusal:  # noqa: BLE001 (handed to the one who asked)
        # After a full disk SQLite has rolled back everything: then this raises, and all fail.
        connection.exec_driver_sql("ROLLBACK TO work")
        connection.exec_driver_sql("RELEASE work")
        return None, refusal
    connection.exec_driver_sql("RELEASE work")
    woken |= tx._woken
    return result, None
