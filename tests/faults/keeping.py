"""FT-22, FT-23: killed while migrating; a backup made while sending, restored elsewhere."""

import asyncio
import signal
import sys
from pathlib import Path

import sqlalchemy as sa

from fediletter.backup import make_backup, restore_backup
from storage.mailings import resume_post
from storage.migrate import HEAD
from storage.schema import metadata
from storage.store import engine_for
from tests.faults.bench import Bench, Load, expect, load_settings

# Migrates, and dies at the n-th statement; says how many there were if it lives.
_DYING = """
import os, signal, sys
import sqlalchemy as sa
from storage.migrate import migrate
from storage.store import engine_for
url, left = sys.argv[1], int(sys.argv[2])
engine, seen = engine_for(url), 0
def count(*_):
    global seen
    seen += 1
    if seen == left:
        os.kill(os.getpid(), signal.SIGKILL)
sa.event.listen(engine, "before_cursor_execute", count)
migrate(engine)
print(seen)
"""


async def dying_migrations(bench: Bench) -> None:
    """FT-22: killed at each statement of the migrations (a twentieth of them when short)."""
    statements = await _migrate(bench.fresh_url(), 0)
    expect(statements > 20, "the statements were not counted")
    step = max(1, statements // 20) if bench.rounds == 1 else 1
    killed = 0
    for number in range(1, statements + 1, step):
        url = bench.fresh_url()
        expect(await _migrate(url, number) == -signal.SIGKILL, f"statement {number}: not killed")
        killed += 1
        engine = engine_for(url)
        with engine.connect() as connection:
            tables = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
            version = None
            if sa.inspect(connection).has_table("alembic_version"):
                version = connection.execute(
                    sa.text("SELECT version_num FROM alembic_version")
                ).scalar()
        whole = version == HEAD and tables >= set(metadata.tables)
        expect(whole or not tables, f"statement {number}: half a schema, version {version}")
        engine.dispose()
        expect(await _migrate(url, 0) >= 0, f"statement {number}: cannot be finished")
    bench.account.notes |= {"statements": statements, "killed at": killed}


async def _migrate(url: str, dies_at: int) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _DYING, url, str(dies_at), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        return process.returncode
    return int(out)


async def backup_while_sending(bench: Bench) -> None:
    """FT-23: a backup in the middle of an issue, restored elsewhere, held, then let go on."""
    await bench.start(Load(mail=1500, followers=500))
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    await bench.until(lambda: bench.mail.total >= 300, 60, "it is under way")
    archive = bench.folder / "backup.tgz"
    await asyncio.to_thread(make_backup, bench.settings, archive)
    await server.kill()  # The machine is lost.
    sent = bench.mail.counts()
    recorded = await _restored(bench, archive)
    later = sum(sent.values()) - len(recorded)
    expect(len(recorded) >= 300, "the backup is older than its start")
    server = await bench.serve()
    await asyncio.sleep(5)
    expect(bench.mail.total == sum(sent.values()), "restored mail was not held")
    await bench.store.write(lambda tx: resume_post(tx, tx.scalar(sa.text(_POST)), now=bench.now()))
    await bench.done(120)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    again = {one for one in recorded if bench.mail.counts()[one] > 1}
    expect(not again, f"{len(again)} that were recorded got it again")
    lost = set(bench.addresses()) - set(bench.mail.messages)
    bench.account.lost = len(lost)
    expect(not lost, f"lost {len(lost)}")
    # What left between backup and loss is in no database: held until a founder decided.
    doubles = [one for one, count in bench.mail.counts().items() if count > 1]
    bench.account.duplicates, bench.account.uncertain = len(doubles), len(bench.doubts)
    bench.account.notes["left after the backup"] = later
    expect(len(doubles) <= later, "more doubles than letters that left after the backup")
    states = await bench.states()
    expect(sum(states.values()) == bench.wanted(), f"the counts do not agree: {states}")
    bench.check_integrity()


_POST = "SELECT post_id FROM mailing"
_RECORDED = (
    "SELECT s.email FROM delivery d JOIN subscriber s ON s.id = d.subscriber_id "
    "WHERE d.state = 'delivered'"
)


async def _restored(bench: Bench, archive: Path) -> set[str]:
    """Restore into another place and move the bench there; who had got the letter by its record."""
    bench.store.close()
    bench.data = bench.folder / "elsewhere"
    if bench.is_postgresql:
        bench.environ["FEDILETTER_DATABASE_URL"] = bench.fresh_url()
    settings = load_settings(bench.environ, bench.data)
    held, _ = await asyncio.to_thread(restore_backup, settings, archive, now=bench.now())
    expect(held == 1, f"{held} mailings are held, not one")
    bench.settings = settings
    bench.open_store()
    return await bench.store.read(lambda tx: {row[0] for row in tx.rows(sa.text(_RECORDED))})
