"""A private PostgreSQL for the tests: a cluster of its own in a temporary directory."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.needs import need_postgres
from tests.shop import free_port


class Cluster:
    """A running PostgreSQL that a test may stop and start."""

    def __init__(self, programs: Path, folder: Path, port: int, *, fsync: bool) -> None:
        self._programs = programs
        self._folder = folder
        self._options: dict[str, int] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
            user = pwd.getpwnam("postgres" if _exists("postgres") else "nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._options = {"user": user.pw_uid, "group": user.pw_gid}
        self._settings = (
            f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 "
            f"-c fsync={'on' if fsync else 'off'}"
        )
        self.url = f"postgresql://test@127.0.0.1:{port}/postgres"

    def run(self, program: str, *arguments: object, check: bool = True) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._folder / "data", *map(str, arguments)],
            check=check,
            capture_output=True,
            env={"PATH": str(self._programs), "LC_ALL": "C"},
            cwd=self._folder,
            **self._options,
        )

    def start(self) -> None:
        self.run("pg_ctl", "-w", "-o", self._settings, "-l", self._folder / "log", "start")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "-w", "-m", mode, "stop", check=False)


@contextlib.contextmanager
def running_cluster(*, fsync: bool = False) -> Iterator[Cluster]:
    """A cluster until the block ends."""
    programs = need_postgres()
    folder = Path(tempfile.mkdtemp(prefix="fediletter-pg-"))
    cluster = Cluster(programs, folder, free_port(), fsync=fsync)
    try:
        cluster.run("initdb", "-A", "trust", "-U", "test", "-E", "UTF8")
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of the cluster's own database."""
    with running_cluster() as cluster:
        yield cluster.url


def new_database(url: str) -> str:
    """A fresh database of the cluster."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return url.rpartition("/")[0] + f"/{name}"


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
