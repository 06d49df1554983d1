"""Ratios from one run: both sides interleaved A B A B, the median over the rounds."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Side:
    """One measurement: how many a second, and what it cost."""

    rate: float
    cpu_seconds: float = 0.0  # Of the measured process alone, for each unit.
    peak_mib: float = 0.0
    errors: int = 0
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    work: str
    against: str
    ratio: float
    reach: str
    holds: bool
    note: str


def interleaved(ours: Callable[[], Side], theirs: Callable[[], Side], *, rounds: int = ROUNDS):
    """Run both in turn; the median of the ratios, and both sides of each round."""
    pairs = []
    for _ in range(rounds):
        pairs.append((ours(), theirs()))
    ratio = statistics.median(a.rate / b.rate for a, b in pairs)
    return ratio, pairs


def row(work: str, against: str, reach: float, ratio: float, pairs, *, unit: str) -> Row:
    """A line from what `interleaved` found."""
    ours = [pair[0] for pair in pairs]
    errors = sum(one.errors for one in ours)
    middle = sorted(ours, key=lambda one: one.rate)[len(ours) // 2]
    theirs = statistics.median(pair[1].rate for pair in pairs)
    note = (
        f"{middle.rate:,.0f} to {theirs:,.0f} {unit}/s, {middle.cpu_seconds * 1e6:,.0f} µs each, "
        f"{middle.peak_mib:.0f} MiB, {errors} errors"
    )
    note += "".join(f", {name} {value:g}" for name, value in middle.extra.items())
    return Row(work, against, ratio, f"≥ {reach:g}", ratio >= reach and not errors, note)


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int | str) -> float:
    """Highest resident size of a program; `getrusage` would count what came before exec."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def child(*arguments: str, timeout: float = 900, environ: dict[str, str] | None = None) -> Any:
    """Run `python -m tests.bench.child …` and read the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.child", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(environ or {})},
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{arguments}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def side(found: dict[str, Any]) -> Side:
    """From what a child printed."""
    count = found["count"]
    return Side(
        count / found["seconds"],
        found.get("cpu", 0.0) / max(count, 1),
        found.get("peak_mib", 0.0),
        int(found.get("errors", 0)),
        found.get("extra", {}),
    )
