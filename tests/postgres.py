"""A private PostgreSQL for the tests: a cluster of its own in a temporary directory."""

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


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of the cluster's own database."""
    programs = need_postgres()
    folder = Path(tempfile.mkdtemp(prefix="fediletter-pg-"))
    options: dict[str, int] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
        user = pwd.getpwnam("postgres" if _exists("postgres") else "nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        options = {"user": user.pw_uid, "group": user.pw_gid}
    port = free_port()
    environ = {"PATH": str(programs), "LC_ALL": "C"}
    data = folder / "data"
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "test", "-E", "UTF8"],
            check=True,
            capture_output=True,
            env=environ,
            cwd=folder,
            **options,
        )
        settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        subprocess.run(
            [programs / "pg_ctl", "-D", data, "-w", "-o", settings, "-l", folder / "log", "start"],
            check=True,
            capture_output=True,
            env=environ,
            cwd=folder,
            **options,
        )
        yield f"postgresql://test@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"],
            check=False,
            capture_output=True,
            env=environ,
            cwd=folder,
            **options,
        )
        shutil.rmtree(folder, ignore_errors=True)


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
