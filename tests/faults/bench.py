"""The bench of the fault tests: a whole server in a child process, and what the far side saw.

A test gets a `Bench`: an installation of its own with readers in it, sinks that count, and children
that it may kill, stop and give another clock or a full disk. It ends by `Bench.settle_accounts`,
which compares what the sinks saw with who should have got it.
"""

import asyncio
import contextlib
import mmap
import os
import random
import secrets
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import sqlalchemy as sa

from fediletter.app import build_services
from fediletter.installation import install, open_store
from fediletter.newsletter import posts as rules
from fediletter.outbound.publish import new_public_id, publish, revise
from fediletter.services import Services
from fediletter.settings import load
from storage.followers import add_follower
from storage.ids import PostId
from storage.lanes import inbox_for, mail_lane_of
from storage.newsletters import local_actors
from storage.nudges import try_again_now
from storage.peers import ActorSnapshot, keep_actor
from storage.posts import Draft, get_post
from storage.schema import activity, delivery, follower, lane, mailing, subscriber
from storage.times import to_ms
from tests.faults.sinks import Fediverse, MailSink
from tests.postgres import Cluster, new_database
from tests.shop import free_port

MAIL_CONNECTIONS = 4  # L-94
UNCERTAIN_REPEAT = timedelta(minutes=26)  # After this a letter in doubt is sent once more (TR-22).
OPEN = ("waiting", "started")


class Deviation(AssertionError):
    """What happened is not what the contract promises."""


def expect(condition: object, words: str) -> None:
    """Fail the test unless this is true."""
    if not condition:
        raise Deviation(words)


@dataclass
class Account:
    """What a test found."""

    lost: int = 0
    duplicates: int = 0
    uncertain: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


class Doubt(NamedTuple):
    """A letter that may have arrived, listed once for each time that it was in doubt."""

    email: str
    message_id: str  # Without angle brackets.
    again_at: int  # When it is sent once more.


class Child:
    """A process of the program under test."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log
        self.peak_kib = 0

    def look(self) -> None:
        """Read the peak of its memory while it lives."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = Path(f"/proc/{self.process.pid}/status").read_text()
            self.peak_kib = max(self.peak_kib, int(text.split("VmHWM:")[1].split()[0]))

    def send(self, number: int) -> None:
        self.look()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self.process.wait()

    async def end(self, seconds: float = 40) -> int:
        """Ask it to end in good order."""
        self.send(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), seconds)

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4

    def forget_peak(self) -> None:
        """Count its peak of memory anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.peak_kib = 0

    def handles(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def errors(self) -> list[str]:
        """Error lines of its log."""
        return [line for line in self.log.read_text().splitlines() if '"level": "error"' in line]


@dataclass(frozen=True)
class Load:
    """Readers of an installation. The standard load of security.md section 12 by default."""

    mail: int = 2000
    followers: int = 1000
    hosts: int = 50
    domains: int = 40


class Bench:
    """One installation under test."""

    def __init__(self, folder: Path, *, seed: int, database_url: str | None, rounds: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311
        self.rounds = rounds
        self.mail = MailSink()
        self.fediverse = Fediverse()
        self.load = Load()
        self.account = Account()
        self.doubts: set[Doubt] = set()  # Of the whole run, as far as somebody looked.
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.children: list[Child] = []
        self.issues = 0
        self._database_url = database_url
        self.cluster: Cluster | None = None
        self.soak_seconds = 60
        self._fresh = 0
        self._services: Services | None = None
        self._world = self._map_world()

    def fresh_url(self) -> str:
        """The address of another empty database of the same kind."""
        self._fresh += 1
        if self.cluster is not None:
            return new_database(self.cluster.url)
        return f"sqlite:///{self.folder / f'fresh{self._fresh}.db'}"

    def open_store(self) -> None:
        self.store = open_store(self.settings)

    @property
    def is_postgresql(self) -> bool:
        return self._database_url is not None

    # The world that its processes see -------------------------------------------------------------
    def _map_world(self) -> mmap.mmap:
        path = self.folder / "world"
        path.write_bytes(bytes(16))
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 16)

    def move_clock(self, span: timedelta) -> None:
        """Move the wall clock of all children; the monotonic one stays."""
        (before,) = struct.unpack_from("<q", self._world)
        struct.pack_into("<q", self._world, 0, before + span // timedelta(milliseconds=1))

    def now(self) -> datetime:
        """The time of day as the children see it."""
        (offset,) = struct.unpack_from("<q", self._world)
        return datetime.now(UTC) + timedelta(milliseconds=offset)

    def break_disk(self, number: int) -> None:
        """Let every write below the data directory fail with this errno; 0: no more."""
        struct.pack_into("<i", self._world, 8, number)

    # Setting up ---------------------------------------------------------------------------------
    async def start(self, load: Load, **settings: str) -> None:
        """Install, start the sinks, let readers in."""
        self.load = load
        mail_port = await self.mail.start()
        await self.fediverse.start()
        self.environ = {
            "FEDILETTER_BASE_URL": self.base_url,
            "FEDILETTER_MAIL_FROM": "news@shop.test",
            "FEDILETTER_SECOND_THOUGHTS": "0",
            "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
            "FEDILETTER_SMTP_URL": f"smtp://127.0.0.1:{mail_port}",
            "FEDILETTER_LOG": "info",
        } | {f"FEDILETTER_{name.upper()}": value for name, value in settings.items()}
        if self._database_url is not None:
            self.environ["FEDILETTER_DATABASE_URL"] = self._database_url
        self.settings = load_settings(self.environ, self.data)
        await asyncio.to_thread(install, self.settings, now=datetime.now(UTC), title="Atelier")
        self.store = open_store(self.settings)
        await self.store.write(self._fill)

    def _fill(self, tx: Any) -> None:
        now = datetime.now(UTC)
        if self.load.mail:
            tx.execute(
                sa.insert(subscriber),
                [
                    {
                        "key": secrets.token_bytes(10),
                        "email": address,
                        "identity": address,
                        "state": "active",
                        "language": "fr",
                        "mail_lane": mail_lane_of(address),
                        "source": "import",
                        "requested_at": to_ms(now),
                    }
                    for address in self.addresses()
                ],
            )
        own = next(one for one in local_actors(tx) if one.kind == "newsletter")
        for number in range(self.load.followers):
            host = self.fediverse.host(number % self.load.hosts)
            uri = f"http://{host}/users/{number}"
            inbox = f"{uri}/inbox"
            row = keep_actor(
                tx,
                ActorSnapshot(uri, host, "Person", inbox, None, "u", "U", None, None, None),
                now=now,
            )
            inbox_id = inbox_for(tx, inbox, host=host, shared=False)
            add_follower(
                tx, own.id, row, inbox_id, follow_uri=f"{uri}/f", state="accepted", now=now
            )

    def addresses(self) -> list[str]:
        return [f"reader{n}@mail{n % self.load.domains}.test" for n in range(self.load.mail)]

    def inboxes(self) -> list[str]:
        return [
            f"{self.fediverse.host(n % self.load.hosts)}/users/{n}/inbox"
            for n in range(self.load.followers)
        ]

    # Children -----------------------------------------------------------------------------------
    async def spawn(self, *arguments: str, fail_at: str = "", log: str = "") -> Child:
        """A process of the program, in this bench's world."""
        path = self.folder / f"log-{len(self.children)}"
        environ = {
            "PATH": os.environ["PATH"],
            "LD_PRELOAD": str(world_library()),
            "FAULTS_WORLD": str(self.folder / "world"),
            "FAULTS_BELOW": str(self.data),
            **({"FAULTS_LOG": log} if log else {}),
            **({"FEDILETTER_FAIL_AT": fail_at} if fail_at else {}),
        }
        with path.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fediletter", "--data", str(self.data), *arguments,
                env=environ | self.environ, stdout=file, stderr=file,
            )  # fmt: skip
        child = Child(process, path)
        self.children.append(child)
        return child

    async def serve(self, *arguments: str, fail_at: str = "", log: str = "", wait: bool = True):
        """`fediletter serve`, answering unless told not to wait for that."""
        child = await self.spawn(
            "serve", "--port", str(self.port), *arguments, fail_at=fail_at, log=log
        )
        if wait:
            await self.answers(child)
        return child

    async def answers(self, child: Child, seconds: float = 30) -> None:
        """Wait until the server answers, or has died."""
        async with httpx.AsyncClient(trust_env=False) as client:
            end = time.monotonic() + seconds
            while child.is_alive and time.monotonic() < end:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.base_url}/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.02)
        expect(not child.is_alive, f"no answer within {seconds} s: {child.log.read_text()[-800:]}")

    async def work(self, *arguments: str) -> Child:
        return await self.spawn("work", *arguments)

    async def publish(self, title: str = "Du lin", *arguments: str) -> int:
        """Publish by command line; its exit status."""
        self.issues += 1
        letter = self.folder / f"letter{self.issues}.md"
        letter.write_text(f"---\ntitle: {title} {self.issues}\n---\nBonjour.\n\n" + "Mot. " * 200)
        child = await self.spawn("publish", *arguments, str(letter))
        code = await child.process.wait()
        if code != 0:
            self.issues -= 1
        return code

    async def publish_here(self, title: str = "Du lin") -> None:
        """Publish in this process, without the start of another: only the database is shared."""
        self.issues += 1
        now, services = self.now(), self._here()

        def draft(tx: Any) -> int:
            letter = Draft(f"{title} {self.issues}", "Une lettre.", "Bonjour.", "fr")
            return int(rules.create(tx, letter, [], public_id=new_public_id(), now=now))

        post_id = await services.store.write(draft)
        await publish(services, PostId(post_id), version=1)

    async def edit_here(self, post_id: int) -> None:
        """Edit a published letter in this process: followers get an Update, nobody a letter."""
        services = self._here()
        post = await services.store.read(get_post, PostId(post_id))
        newer = Draft(post.title, "Une lettre.", f"Bonjour, {post.version} fois.", "fr")
        await revise(services, post.id, newer, [], version=post.version)

    def _here(self) -> Services:
        if self._services is None:
            self._services = build_services(self.settings)
        return self._services

    async def publish_dying(self, fail_at: str) -> Child:
        """Publish by command line, in a process that dies at a commit point."""
        letter = self.folder / "dying.md"
        letter.write_text("---\ntitle: Du chanvre\n---\nBonjour.\n")
        return await self.spawn("publish", str(letter), fail_at=fail_at)

    async def end(self) -> None:
        """End what still runs."""
        for child in self.children:
            if child.is_alive:
                child.send(signal.SIGCONT)
                await child.kill()
        if self._services is not None:
            self._services.store.close()
        if hasattr(self, "store"):
            self.store.close()
        for sink in (self.mail, self.fediverse):
            if hasattr(sink, "server"):
                sink.server.close()

    async def watch_memory(self) -> None:
        """Note the peaks of the children while the test runs."""
        while True:
            for child in self.children:
                if child.is_alive:
                    child.look()
            await asyncio.sleep(0.25)

    @property
    def peak_mib(self) -> float:
        return max((child.peak_kib for child in self.children), default=0) / 1024

    # What is true -------------------------------------------------------------------------------
    async def states(self) -> dict[str, int]:
        """Deliveries by state; empty while the database cannot be read."""

        def look(tx: Any) -> dict[str, int]:
            query = sa.select(delivery.c.state, sa.func.count()).group_by(delivery.c.state)
            return dict(tx.rows(query))

        with contextlib.suppress(sa.exc.DBAPIError):
            return await self.store.read(look)
        return {}

    async def followers(self) -> int:
        return int(
            await self.store.read(
                lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(follower))
            )
        )

    def wanted(self) -> int:
        """Deliveries that all issues together should make."""
        return self.issues * (self.load.mail + self.load.followers)

    async def is_done(self) -> bool:
        """Whether nothing waits, letters in doubt apart."""
        states = await self.states()
        return sum(states.values()) >= self.wanted() and not any(states.get(x) for x in OPEN)

    async def until(self, condition: Callable[[], Any], seconds: float, what: str) -> float:
        """Wait for something; how long that took."""
        begin = time.monotonic()
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return time.monotonic() - begin
            if time.monotonic() - begin > seconds:
                raise Deviation(f"not within {seconds} s: {what}; {await self.states()}")
            await asyncio.sleep(0.05)

    async def done(self, seconds: float = 120) -> float:
        return await self.until(self.is_done, seconds, "everything delivered")

    async def uncertain(self) -> set[Doubt]:
        """Letters in doubt now."""

        def look(tx: Any) -> set[Doubt]:
            rows = tx.rows(
                sa.select(subscriber.c.email, delivery.c.message_id, delivery.c.not_before)
                .join(delivery, delivery.c.subscriber_id == subscriber.c.id)
                .where(delivery.c.state == "uncertain")
            )
            return {Doubt(*row) for row in rows}

        found = await self.store.read(look)
        self.doubts |= found
        return found

    async def release_parked(self) -> int:
        """Try again, as a founder does, what three kills in a row have set aside; how many lanes.

        Of very many kills at random, three in a row strike the same lane before it got on.
        """
        parked = (
            sa.select(lane.c.key, sa.func.coalesce(mailing.c.post_id, activity.c.post_id))
            .join(delivery, delivery.c.lane_id == lane.c.id)
            .outerjoin(mailing, mailing.c.id == delivery.c.mailing_id)
            .outerjoin(activity, activity.c.id == delivery.c.activity_id)
            .where(lane.c.parked_at.is_not(None), delivery.c.state.in_(("waiting", "uncertain")))
            .distinct()
        )
        found = await self.store.read(lambda tx: tx.rows(parked))
        if found:
            await self.uncertain()  # Listed, before they leave once more.
        for key, post_id in found:
            await self.store.write(try_again_now, PostId(post_id), key=key, now=self.now())
        return len({key for key, _ in found})

    async def repeat_uncertain(self, seconds: float = 60) -> int:
        """Let the time pass after which letters in doubt are sent again; how many these were."""
        in_doubt = len(await self.uncertain())
        if in_doubt:
            self.move_clock(UNCERTAIN_REPEAT)

            async def settled() -> bool:
                return not await self.uncertain() and await self.is_done()

            await self.until(settled, seconds, "letters in doubt sent once more")
        return in_doubt

    def settle_accounts(self, *, failed: int = 0) -> Account:
        """Compare what arrived with who should have got it; every issue has reached everybody.

        `failed` readers of mail were refused on purpose.
        """
        account = self.account
        counts = self.mail.counts()
        missing = sum(max(0, self.issues - counts[one]) for one in self.addresses())
        # A repeat carries the same Message-ID: different ones count as letters, equal ones double.
        again = Counter(
            (email, one)
            for email, ids in self.mail.messages.items()
            for one in (Counter(ids) - Counter(set(ids))).elements()
        )
        account.duplicates, account.uncertain = again.total(), len(self.doubts)
        again -= Counter((one.email, one.message_id) for one in self.doubts)
        expect(not again, f"{again.total()} duplicates that were not listed as uncertain")
        distinct = sum(
            max(0, self.issues - len(set(self.mail.messages.get(one, ()))))
            for one in self.addresses()
        )
        strangers = set(counts) - set(self.addresses())
        expect(not strangers, f"mail to strangers: {len(strangers)}")
        more = [one for one, ids in self.mail.messages.items() if len(set(ids)) > self.issues]
        expect(not more, f"a letter came again under another Message-ID to {len(more)}")
        account.lost = distinct - failed
        for inbox in self.inboxes():
            got = self.fediverse.arrived.get(inbox, {})
            account.lost += max(0, self.issues - len(got))
            expect(len(got) <= self.issues, "an activity came under two ids")
        repeats = sum(
            count - 1 for got in self.fediverse.arrived.values() for count in got.values()
        )
        account.notes["repeated activities"] = repeats
        expect(account.lost == 0, f"lost {account.lost} ({missing} letters missing)")
        return account

    def check_integrity(self) -> None:
        """SQLite: the file is whole."""
        if self.is_postgresql:
            return
        path = self.data / "fediletter.db"
        connection = sqlite3.connect(path, timeout=10)  # May roll back what a kill left.
        try:
            expect(
                connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok",
                "the integrity check finds the file damaged",
            )
        finally:
            connection.close()


def load_settings(environ: dict[str, str], data: Path) -> Any:
    return load(environ, data=data)


@cache
def world_library() -> Path:
    """The preloaded library, built once."""
    import tempfile

    source = Path(__file__).with_name("world.c")
    target = Path(tempfile.mkdtemp(prefix="fediletter-world-")) / "world.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-o", target, source, "-ldl", "-lpthread"], check=True
    )
    return target
