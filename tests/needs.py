"""What a test needs beside Python: absent, it says so by name; with CI=true that is a failure."""

import os
import shutil
from pathlib import Path

import pytest


def need(name: str, *candidates: str) -> str:
    """The path of a program, or a skip that names it."""
    for candidate in candidates or (name,):
        found = shutil.which(candidate, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if found:
            return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")


def need_chromium() -> str:
    return need("Chromium", "chromium", "chromium-browser")


def need_postgres() -> Path:
    """The folder of PostgreSQL's programs."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    return Path(need("PostgreSQL", "initdb")).parent


def need_root() -> None:
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("this test needs root")
        pytest.skip("this test needs root")
