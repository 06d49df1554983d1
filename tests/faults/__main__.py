"""Runs fault tests one after the other; a line of the table for each; exit 1 on any deviation."""

import argparse
import asyncio
import contextlib
import resource
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.faults.bench import Bench, Deviation
from tests.faults.registry import SHORT, TESTS, FaultTest
from tests.postgres import Cluster, new_database, running_cluster

HEAD = "| test | database | rounds | seed | lost | duplicates | uncertain | s | peak MiB | |"


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="+", help="FT-1 …, `short` (every change) or `all`")
    parser.add_argument("--seed", type=int, help="to repeat a run; otherwise a fresh one")
    parser.add_argument("--rounds", type=int, help="instead of the number that the contract names")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="only this one")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the runs")
    parser.add_argument("--soak", type=int, help="with `all`: FT-25 as well, for so many seconds")
    options = parser.parse_args()
    _raise_file_limit()
    short = options.names == ["short"]
    names = SHORT if short else list(TESTS) if options.names == ["all"] else options.names
    if options.names == ["all"] and not options.soak:
        names = [name for name in names if name != "FT-25"]
    print(f"{HEAD}\n|{'---|' * 10}", flush=True)
    failures = 0
    with _cluster() as cluster:
        for name in names:
            test = TESTS[name.upper()]
            for database in (options.database,) if options.database else test.databases:
                rounds = options.rounds or (test.short if short else test.rounds)
                seed = options.seed if options.seed is not None else secrets.randbelow(10**9)
                failures += not _run(test, database, cluster, seed, rounds, options)
    return 1 if failures else 0


def _run(
    test: FaultTest,
    database: str,
    cluster: "_Lazy",
    seed: int,
    rounds: int,
    options: argparse.Namespace,
) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"fediletter-{test.name.lower()}-"))
    url = new_database(cluster.get().url) if database == "postgresql" else None
    bench = Bench(folder, seed=seed, database_url=url, rounds=rounds)
    bench.cluster = cluster.get() if url else None
    bench.soak_seconds = options.soak or bench.soak_seconds
    begin = time.monotonic()
    words = "ok"
    try:
        asyncio.run(asyncio.wait_for(_watched(test, bench), test.seconds + bench.soak_seconds))
    except (Deviation, TimeoutError, AssertionError) as wrong:
        words = f"DEVIATION: {wrong or type(wrong).__name__}"
    except Exception:  # noqa: BLE001 (a test that breaks has failed)
        traceback.print_exc()
        words = "BROKEN"
    account = bench.account
    notes = ", ".join(f"{name} {value}" for name, value in account.notes.items())
    print(
        f"| {test.name} | {database} | {rounds} | {seed} | {account.lost} | {account.duplicates} | "
        f"{account.uncertain} | {time.monotonic() - begin:.1f} | {bench.peak_mib:.0f} | "
        f"{words}{'; ' if notes else ''}{notes} |",
        flush=True,
    )
    if options.keep:
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return words == "ok"


async def _watched(test: FaultTest, bench: Bench) -> None:
    watch = asyncio.create_task(bench.watch_memory())
    try:
        await test.run(bench)
    finally:
        watch.cancel()
        await bench.end()


class _Lazy:
    """PostgreSQL, started when the first test asks for it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._cluster: Cluster | None = None

    def get(self) -> Cluster:
        if self._cluster is None:
            self._cluster = self._stack.enter_context(running_cluster())
        return self._cluster


@contextlib.contextmanager
def _cluster() -> Iterator[_Lazy]:
    with contextlib.ExitStack() as stack:
        yield _Lazy(stack)


def _raise_file_limit() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


if __name__ == "__main__":
    sys.exit(main())
