"""The list of fault tests: name, program, rounds, and where each runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults import (
    crowds,
    inbound,
    keeping,
    kills,
    mail_trouble,
    many,
    power,
    relay_kills,
    trouble,
)
from tests.faults.bench import Bench

BOTH = ("sqlite", "postgresql")


@dataclass(frozen=True)
class FaultTest:
    """One program."""

    name: str
    run: Callable[[Bench], Awaitable[None]]
    rounds: int  # As the contract says.
    short: int = 1  # With every change.
    databases: tuple[str, ...] = BOTH
    seconds: float = 900  # At most.


TESTS = {
    one.name: one
    for one in (
        FaultTest("FT-8", mail_trouble.closing_sink, 1, databases=("sqlite",)),
        FaultTest("FT-1", kills.random_kills, 100, 5, seconds=3600),
        FaultTest("SINK", relay_kills.kills_through_smtp_sink, 10, 3, seconds=3600),
        FaultTest("FT-2", kills.after_publish, 200, 8, seconds=3600),
        FaultTest("FT-3", kills.commit_points, 1),
        FaultTest("FT-14", inbound.repeats, 6667, 100, seconds=3600),
        FaultTest("FT-15", inbound.orders, 1),
        FaultTest("FT-6", many.locked_database, 1, databases=("sqlite",)),
        FaultTest("FT-16", many.many_workers, 20, 1, seconds=3600),
        FaultTest("FT-22", keeping.dying_migrations, 2, 1, seconds=3600),
        FaultTest("FT-23", keeping.backup_while_sending, 1),
        FaultTest("FT-13", trouble.strange_hosts, 1, databases=("sqlite",)),
        FaultTest("FT-12", mail_trouble.refused_login, 1, databases=("sqlite",)),
        FaultTest("FT-9", mail_trouble.greylisting, 1, databases=("sqlite",)),
        FaultTest("FT-10", mail_trouble.refusals, 1, databases=("sqlite",)),
        FaultTest("FT-11", mail_trouble.slow_relay, 1, databases=("sqlite",)),
        FaultTest("FT-5", trouble.full_disk, 20, 3, databases=("sqlite",)),
        FaultTest("FT-7", trouble.restarts, 10, 2, databases=("postgresql",)),
        FaultTest("FT-18", trouble.clock_jumps, 1),
        FaultTest("FT-19", trouble.two_schedulers, 1),
        FaultTest("FT-20", trouble.leaving, 1),
        FaultTest("FT-17", many.stopped_worker, 1),
        FaultTest("FT-4", power.power_cut, 1, databases=("sqlite",)),
        FaultTest("FT-21", power.pauses, 50, 10),
        FaultTest("FT-24", crowds.crowd, 100, 2, seconds=3600),
        FaultTest("FT-26", crowds.hostile_hosts, 10, 1, seconds=3600),
        FaultTest("POISON", many.poisoned, 1),
        FaultTest("TERM", many.terminated, 1),
        FaultTest("FT-25", trouble.soak, 1, databases=("sqlite",)),
    )
}
SHORT = ["FT-2", "FT-3", "FT-6", "FT-8", "FT-14", "FT-15", "FT-16"]
