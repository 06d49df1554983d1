"""SINK: a letter to 20,000 through Postfix's own sink, while the server is killed ten times.

Nothing of ours counts here: `smtp-sink` takes the mail and writes down each envelope, and what it
wrote is compared with who should have got the letter (issue 4, "How it is shown").
"""

import asyncio
import contextlib
import getpass
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.faults.bench import MAIL_CONNECTIONS, Bench, Load, expect
from tests.shop import free_port

SUBSCRIBERS, SHORT_SUBSCRIBERS, SHORT_KILLS = 20_000, 2_000, 3


class Dump:
    """What the sink wrote down, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._recipient = ""
        self.messages: dict[str, list[str]] = {}  # By envelope recipient: Message-IDs.
        self.total = 0

    def read(self) -> int:
        """Read what is new; the number of messages so far."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._at)
            octets = file.read()
            whole = octets.rpartition(b"\n")[0]
            self._at += len(whole) + 1 if whole else 0
            for kind, value in re.findall(rb"(?im)^(x-rcpt-args|message-id): <([^>\r\n]+)>", whole):
                if kind.lower() == b"x-rcpt-args":
                    self._recipient = value.decode()
                else:
                    self.messages.setdefault(self._recipient, []).append(value.decode())
                    self.total += 1
        return self.total


@contextlib.asynccontextmanager
async def running_sink(folder: Path) -> AsyncIterator[tuple[int, Dump]]:
    """Postfix's sink and what it writes down."""
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin")
    expect(program, "smtp-sink (of Postfix) is not installed")
    assert program is not None
    path, port = folder / "dump", free_port()
    process = await asyncio.create_subprocess_exec(
        program, "-4", "-u", getpass.getuser(), "-D", str(path), f"127.0.0.1:{port}", "100",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield port, Dump(path)
    finally:
        process.kill()
        await process.wait()


async def kills_through_smtp_sink(bench: Bench) -> None:
    """SINK: killed -9 at random moments, spread over the whole mailing."""
    is_short = bench.rounds <= SHORT_KILLS
    load = Load(mail=SHORT_SUBSCRIBERS if is_short else SUBSCRIBERS, followers=0)
    async with running_sink(bench.folder) as (port, dump):
        await bench.start(load, smtp_url=f"smtp://127.0.0.1:{port}")
        server = await bench.serve()
        expect(await bench.publish() == 0, "publishing failed")
        for number in range(bench.rounds):
            share = (number + bench.random.uniform(0.1, 0.9)) / bench.rounds
            goal = int(load.mail * share)
            await bench.until(lambda goal=goal: dump.read() >= goal, 900, f"{goal} at the sink")
            expect(server.is_alive, "it died by itself")
            await server.kill()
            expect(not await bench.is_done(), "killed when all was done")
            bench.check_integrity()
            server = await bench.serve()
        await bench.done(900)
        await _judge(bench, dump)
        expect(await server.end() == 0, "no good end")
        bench.check_integrity()


async def _judge(bench: Bench, dump: Dump) -> None:
    """Nobody twice, whoever is missing is listed; then again, and only those listed."""
    dump.read()
    listed = {one.email for one in await bench.uncertain()}
    first = {one: len(ids) for one, ids in dump.messages.items()}
    expect(set(bench.addresses()) - set(first) <= listed, "somebody is missing and not listed")
    expect(all(count == 1 for count in first.values()), "somebody got it twice, unannounced")
    expect(len(listed) <= bench.rounds * MAIL_CONNECTIONS, "more in doubt than the kills allow")
    await bench.repeat_uncertain(120)
    dump.read()
    bench.mail.messages = dump.messages
    account = bench.settle_accounts()
    doubled = {one for one, ids in dump.messages.items() if len(ids) > 1}
    expect(doubled <= listed, "a duplicate that was not listed as uncertain")
    expect(account.duplicates <= bench.rounds * MAIL_CONNECTIONS, "more duplicates than allowed")
    account.notes = {"subscribers": bench.load.mail, "at the sink": dump.total}
