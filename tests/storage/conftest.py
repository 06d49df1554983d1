"""Databases for the storage tests: each test runs on SQLite and on PostgreSQL."""

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.migrate import migrate
from storage.newsletters import add_actor, create_newsletter
from storage.store import Store
from storage.wakeup import Wakeups
from tests.postgres import new_database

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def move(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            yield f"sqlite:///{Path(directory) / 'test.db'}"
    else:
        postgres: Callable[[], str] = request.getfixturevalue("postgres_database")
        yield postgres()


@pytest.fixture
def postgres_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    return lambda: new_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(database_url: str, time: Time) -> Iterator[Store]:
    store = Store(database_url, Wakeups())
    migrate(store.engine)

    def prepare(tx):
        create_newsletter(tx, title="Atelier", language="fr", list_label="letters", now=time.now)
        return add_actor(tx, "shop", "newsletter", now=time.now)

    store.submit(prepare).result()
    yield store
    store.close()
