"""FT-4, FT-21: what was synced when the power went; pauses, edits and restarts in any order."""

import asyncio
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.mailings import pause_mailing, resume_post
from tests.faults.bench import Bench, Load, expect
from tests.faults.founder import Founder

_WRITE, _CUT, _SYNC = 1, 2, 3


async def power_cut(bench: Bench) -> None:
    """FT-4: of what was written only what was synced is sure to be there when the power goes.

    Every write and sync of the server is in a log; replayed up to random syncs onto the files as
    they were before, it gives what a disk would hold. Whatever was acknowledged is in it.
    """
    log = bench.folder / "writes"
    await bench.start(Load(mail=150, followers=50, hosts=10))
    base = {
        one.name: one.read_bytes() for one in bench.data.glob("fediletter.db*") if one.is_file()
    }
    server = await bench.serve(log=str(log))
    founder = Founder(bench)
    said: list[tuple[int, str]] = []  # Length of the log when the reply had come, and the fact.
    answer = await founder.client.post("/subscribe", data={"email": "first@power.test"})
    expect(answer.status_code == 200, f"answered {answer.status_code}")
    for number in range(4):
        await asyncio.sleep(bench.random.uniform(0.5, 1))  # Work after the reply (EM-10) is done.
        said.append((log.stat().st_size, "first@power.test"))
        answer = await founder.client.post("/subscribe", data={"email": f"n{number}@power.test"})
        expect(answer.status_code == 200, f"answered {answer.status_code}")
        await asyncio.sleep(0.5)
        said.append((log.stat().st_size, f"n{number}@power.test"))
    await server.kill()
    await founder.close()
    syncs = [at for at, kind, *_ in _entries(log) if kind == _SYNC]
    expect(len(syncs) >= 20, "no syncs in the log")
    moments = sorted(bench.random.sample(syncs, min(len(syncs), 50)))
    for moment in moments:
        _check(bench, base, log, moment, said)
    bench.account.notes["moments"] = len(moments)


def _check(
    bench: Bench, base: dict[str, bytes], log: Path, moment: int, said: list[tuple[int, str]]
) -> None:
    files = {name: bytearray(octets) for name, octets in base.items()}
    for at, kind, name, offset, data in _entries(log):
        if at > moment:
            break
        file = files.setdefault(name, bytearray())
        if kind == _WRITE:
            if len(file) < offset:
                file.extend(bytes(offset - len(file)))
            file[offset : offset + len(data)] = data
        elif kind == _CUT:
            del file[offset:]
    folder = bench.folder / "cut"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, octets in files.items():
        if name.startswith("fediletter.db"):
            (folder / name).write_bytes(octets)
    connection = sqlite3.connect(folder / "fediletter.db")
    try:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        expect(verdict == "ok", f"after a power cut: {verdict}")
        there = {row[0] for row in connection.execute("SELECT email FROM subscriber")}
    finally:
        connection.close()
    missing = {address for at, address in said if at <= moment} - there
    expect(not missing, f"{len(missing)} acknowledged facts are gone")


def _entries(log: Path) -> Iterator[tuple[int, int, str, int, bytes]]:
    with log.open("rb") as file:
        while len(head := file.read(24)) == 24:
            kind, size, offset, length = struct.unpack("<iiqq", head)
            name = Path(file.read(size).decode()).name
            data = file.read(length) if kind == _WRITE else b""
            yield file.tell(), kind, name, offset, data


async def pauses(bench: Bench) -> None:
    """FT-21: pause, resume, edit and restart in any order while a letter leaves; nobody twice."""
    await bench.start(Load(mail=2000, followers=200))

    async def script(stage: str, _talk: Any) -> None:
        if stage == "dot":
            await asyncio.sleep(0.004)

    bench.mail.script = script
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    post_id, mailing_id = (
        await bench.store.read(lambda tx: tx.rows(sa.text("SELECT post_id, id FROM mailing")))
    )[0]
    edits = 0
    for _ in range(bench.rounds):
        await asyncio.sleep(bench.random.uniform(0.02, 0.3))
        match bench.random.choice(("pause", "resume", "edit", "restart")):
            case "pause":
                await bench.store.write(
                    pause_mailing, mailing_id, reason="a founder", now=bench.now()
                )
            case "resume":
                await bench.store.write(resume_post, post_id, now=bench.now())
            case "edit":
                await bench.edit_here(post_id)
                edits += 1
            case _:
                expect(await server.end() == 0, "no good end")
                server = await bench.serve()
    await bench.store.write(resume_post, post_id, now=bench.now())
    bench.mail.script = None
    await bench.done(120)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    account = bench.settle_accounts()
    expect(account.duplicates == 0, "somebody got it twice")
    expect(account.uncertain == 0, "a restart in good order left doubt")
    account.notes["edits"] = edits
    said = {tuple(order) for order in bench.fediverse.order.values()}
    expect(all(one[0] == "Create" and one.count("Create") == 1 for one in said), "out of order")
    expect(all((one[-1] == "Update") == (edits > 0) for one in said), "an edit did not arrive")
