"""Look now: a hint that work became ready. The poll is the truth; this only hurries it.

Within a process an event per channel; between processes on PostgreSQL one LISTEN connection,
whose notices fire the same events. Losing every hint costs seconds, never work.

Source: PostgreSQL manual, LISTEN and NOTIFY.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    import psycopg

# The channels, each named after what became ready.
LANES = "lanes"
STEPS = "steps"
RECEIVED = "received"
ASKS = "asks"
IMPORTS = "imports"
REVISED = "revised"  # Something that pages, feeds or documents show.

NOTICES: Final = "fediletter"  # The one channel of PostgreSQL; the notice's text names ours.
_AGAIN_SECONDS = 2.0  # After the connection broke.
_LOOK_SECONDS = 0.5  # Between looks whether to end.


class Wakeups:
    """Events by channel, fired from any thread, waited for in the loop that made the waiter."""

    def __init__(self) -> None:
        self._waiters: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    def listen(self, channel: str) -> asyncio.Event:
        """An event that is set each time `channel` fires; the waiter clears it."""
        bell = asyncio.Event()
        self._waiters.setdefault(channel, []).append((asyncio.get_running_loop(), bell))
        return bell

    def fire(self, channels: Iterable[str]) -> None:
        """Set the events of `channels`; safe from any thread."""
        for channel in channels:
            for loop, bell in self._waiters.get(channel, ()):
                with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits.
                    loop.call_soon_threadsafe(bell.set)


class Listener:
    """Hears what other processes announce on PostgreSQL, over a connection of its own.

    Args:
        engine: Of the database.
        wakeups: Fired by each notice, and all of them after a break: something may have been said.
    """

    def __init__(self, engine: Engine, wakeups: Wakeups) -> None:
        self._engine = engine
        self._wakeups = wakeups
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Begin to listen; doing it again changes nothing."""
        with self._one_at_a_time:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="listen", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Hang up."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        import psycopg  # noqa: PLC0415 (SQLite does without)

        while not self._ending.is_set():
            # A database that is away is no news here: whoever writes says so.
            with contextlib.suppress(DBAPIError, psycopg.Error):
                self._listen()
            self._ending.wait(_AGAIN_SECONDS)

    def _listen(self) -> None:
        connection = self._engine.raw_connection()
        try:
            driver = cast("psycopg.Connection", connection.driver_connection)
            driver.execute(f"LISTEN {NOTICES}")
            self._wakeups.fire((LANES, STEPS, RECEIVED, ASKS, REVISED))
            while not self._ending.is_set():
                for notice in driver.notifies(timeout=_LOOK_SECONDS):
                    self._wakeups.fire((notice.payload,))
        finally:
            connection.invalidate()  # It listens for ever: of no use to others.
