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
    short = options.names == ["short"]
    names = SHORT if short else list(TESTS) if options.names == ["all"] else options.names
    if options.names == ["all"] and not options.soak:
        names = [name for name in names if name != "FT-25"]
    runs = [
        (TESTS[name.upper()], database)
        for name in names
        for database in ([options.database] if options.database else TESTS[name.upper()].databases)
    ]
    if len(runs) == 1:
        return _run_here(*runs[0], options)
    return asyncio.run(_conduct(runs, options, short=short))


async def _conduct(
    runs: list[tuple[FaultTest, str]], options: argparse.Namespace, *, short: bool
) -> int:
    """Each run in a process of its own, in their order; short ones two at a time."""
    gate = asyncio.Semaphore(2 if short else 1)

    async def one(test: FaultTest, database: str) -> str:
        rounds = options.rounds or (test.short if short else test.rounds)
        command = [test.name, "--database", database, "--rounds", str(rounds)]
        for name in ("seed", "soak"):
            if getattr(options, name) is not None:
                command += [f"--{name}", str(getattr(options, name))]
        async with gate:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.faults", *command, *["--keep"] * options.keep,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
        row = out.decode().strip().rpartition("\n")[2]
        print(row, file=sys.stderr, flush=True)
        return row

    begin = time.monotonic()
    rows = await asyncio.gather(*(one(*run) for run in runs))
    print("\n".join((HEAD, f"|{'---|' * 10}", *rows)))
    failed = [row for row in rows if "| ok" not in row]
    print(f"\n{len(rows)} runs in {time.monotonic() - begin:.0f} s, {len(failed)} failed")
    return 1 if failed else 0


def _run_here(test: FaultTest, database: str, options: argparse.Namespace) -> int:
    _raise_file_limit()
    print(f"{HEAD}\n|{'---|' * 10}", flush=True)
    seed = options.seed if options.seed is not None else secrets.randbelow(10**9)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(running_cluster()) if database == "postgresql" else None
        return 0 if _run(test, cluster, seed, options.rounds or test.rounds, options) else 1


def _run(
    test: FaultTest, cluster: Cluster | None, seed: int, rounds: int, options: argparse.Namespace
) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"fediletter-{test.name.lower()}-"))
    url = None if cluster is None else new_database(cluster.url)
    database = "sqlite" if cluster is None else "postgresql"
    bench = Bench(folder, seed=seed, database_url=url, rounds=rounds)
    bench.cluster = cluster
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


def _raise_file_limit() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


if __name__ == "__main__":
    sys.exit(main())
