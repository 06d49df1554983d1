"""Real processes that are killed, ended and filled: short forms of `python -m tests.faults`."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


def run(name: str, database: str, *, rounds: int = 1) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.faults",
            name,
            "--database",
            database,
            "--rounds",
            f"{rounds}",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.mark.rule("RE-4")
@pytest.mark.rule("RE-9")
@BOTH
def test_a_letter_that_kills_its_worker_three_times_is_parked_alone_and_shown(database):
    run("POISON", database)


@pytest.mark.rule("RE-14")
@BOTH
def test_an_end_in_good_order_leaves_no_doubt_and_the_next_start_goes_on(database):
    run("TERM", database)


@pytest.mark.rule("RE-17")
def test_thousands_of_readers_and_a_busy_inbox_take_little_memory():
    run("FT-24", "sqlite", rounds=2)
