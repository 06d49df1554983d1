"""Who is alive: each process that works moves a counter and holds a lock that dies with it.

Others free a worker's lanes when its lock is free (it was killed: at once) or when they have
watched its counter stand still for a lease's length on their own monotonic clock (it hangs). No
wall clock is asked, so none can lie (RE-12).

Sources: security.md RE-10, L-93; flock(2); PostgreSQL manual, advisory locks.
"""

import fcntl
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from storage.ids import WorkerId
from storage.schema import worker
from storage.store import Tx
from storage.times import to_ms

_LOCK_SPACE = 4283302  # Of our advisory locks, beside those of others in the same database.


def register(tx: Tx, label: str, *, now: datetime) -> WorkerId:
    """A new worker."""
    found = tx.execute(
        sa.insert(worker).values(label=label, started_at=to_ms(now)).returning(worker.c.id)
    ).scalar_one()
    return WorkerId(found)


def beat(tx: Tx, worker_id: WorkerId) -> bool:
    """Show that this worker lives. False if others have declared it dead."""
    moved = tx.execute(
        sa.update(worker).where(worker.c.id == worker_id).values(beat=worker.c.beat + 1)
    )
    return moved.rowcount == 1


def beats(tx: Tx) -> dict[WorkerId, int]:
    """The counters of all workers, the longest registered first."""
    return {
        WorkerId(found): count
        for found, count in tx.rows(sa.select(worker.c.id, worker.c.beat).order_by(worker.c.id))
    }


def remove(tx: Tx, worker_id: WorkerId) -> bool:
    """Forget a worker. False if somebody else did already."""
    return tx.execute(sa.delete(worker).where(worker.c.id == worker_id)).rowcount == 1


class Locks(Protocol):
    """Locks that die with the process that holds them."""

    def hold(self, worker_id: WorkerId) -> None:
        """Hold this worker's lock until `release`, or until the process ends."""

    def is_free(self, worker_id: WorkerId) -> bool:
        """Whether nobody holds it: that worker's process is gone."""

    def release(self) -> None:
        """Let go of what is held."""


def locks_for(engine: Engine) -> Locks:
    """The kind of lock that fits the database."""
    if engine.dialect.name == "sqlite":
        return _FileLocks(Path(f"{engine.url.database}-workers"))
    return _AdvisoryLocks(engine.connect)


class _FileLocks:
    """flock(2) beside the SQLite file: released by the kernel with the process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[WorkerId, int] = {}

    def hold(self, worker_id: WorkerId) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._path(worker_id), os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held[worker_id] = descriptor

    def is_free(self, worker_id: WorkerId) -> bool:
        try:
            descriptor = os.open(self._path(worker_id), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> None:
        for worker_id, descriptor in self._held.items():
            self._path(worker_id).unlink(missing_ok=True)
            os.close(descriptor)
        self._held.clear()

    def _path(self, worker_id: WorkerId) -> Path:
        return self._directory / f"{worker_id}.lock"


class _AdvisoryLocks:
    """Session advisory locks on a connection of our own: released by the server with it."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._one_at_a_time = threading.Lock()

    def hold(self, worker_id: WorkerId) -> None:
        with self._one_at_a_time:
            self._connection = self._connect()
            self._connection.exec_driver_sql(
                f"SELECT pg_advisory_lock({_LOCK_SPACE}, {int(worker_id)})"
            )

    def is_free(self, worker_id: WorkerId) -> bool:
        # A transaction's lock on a connection of its own: a session may hold a lock twice.
        with self._connect() as connection:
            return bool(
                connection.exec_driver_sql(
                    f"SELECT pg_try_advisory_xact_lock({_LOCK_SPACE}, {int(worker_id)})"
                ).scalar()
            )

    def release(self) -> None:
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
