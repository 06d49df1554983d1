"""A full disk, a locked database, peers that hang or answer garbage: nobody else pays for it."""

import asyncio
import logging
import sqlite3
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from fediletter.workers.timetable import Timetable
from storage import progress
from storage.followers import add_follower
from storage.lanes import inbox_for
from storage.newsletters import local_actors
from storage.peers import ActorSnapshot, keep_actor
from storage.posts import post_by_slug
from tests.fediletter.dump import dump
from tests.shop import until


@pytest.mark.rule("RE-13")
async def test_a_full_disk_is_503_with_one_log_line_and_passes_by_itself(shop, caplog):
    caplog.set_level(logging.ERROR)
    before = await shop.services.store.read(dump)

    def fill(tx):
        tx.execute(sa.text("PRAGMA max_page_count = 1"))  # Cannot shrink: means "no page more".

    await shop.services.store.write(fill)
    statuses = []
    for number in range(40):
        form = {"email": f"reader{number}@example.org"}
        statuses.append((await shop.client.post("/subscribe", data=form)).status_code)
        if statuses[-1] == 503:
            break

    assert statuses[-1] == 503
    lines = [record for record in caplog.records if record.name == "fediletter.web"]
    assert len(lines) == 1
    assert "example.org" not in lines[0].getMessage()
    assert len(before) <= len(await shop.services.store.read(dump))

    def free(tx):
        tx.execute(sa.text("PRAGMA max_page_count = 1073741823"))

    await shop.services.store.write(free)
    answer = await shop.client.post("/subscribe", data={"email": "after@example.org"})
    assert answer.status_code == 200
    await shop.mail_to("after@example.org")


@pytest.mark.slow
@pytest.mark.rule("FT-6")
async def test_a_database_locked_by_another_is_503_after_the_busy_wait_and_then_works(shop):
    path = shop.services.store.engine.url.database
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        answer = await shop.client.post("/subscribe", data={"email": "ana@example.org"}, timeout=15)
    finally:
        other.execute("ROLLBACK")
        other.close()

    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    again = await shop.client.post("/subscribe", data={"email": "ana@example.org"})
    assert again.status_code == 200


class Hosts:
    """Peers on many loopback addresses: some answer, some hang, some talk nonsense."""

    def __init__(self) -> None:
        self.served: set[str] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader, writer):
        address = writer.get_extra_info("sockname")[0]
        self._writers.append(writer)
        kind = int(address.rpartition(".")[2]) % 4
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if kind == 1:
                return
            answers = {
                0: b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
                2: b"\x00\xff nonsense \r\n\r\n",
                3: b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
            }
            writer.write(answers[kind])
            await writer.drain()
            if kind == 0:
                self.served.add(address)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        if kind != 1:
            writer.close()

    async def close(self):
        for writer in self._writers:
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass


@pytest.mark.rule("RE-9")
@pytest.mark.rule("FT-13")
async def test_peers_that_hang_or_talk_nonsense_delay_nobody_else(shop):
    hosts = Hosts()
    server = await asyncio.start_server(hosts.serve, "0.0.0.0", 0)  # noqa: S104
    port = server.sockets[0].getsockname()[1]
    now = datetime.now(UTC)

    def followers(tx):
        own = next(one for one in local_actors(tx) if one.kind == "newsletter")
        for number in range(4, 84):
            host = f"127.0.0.{number}:{port}"
            uri = f"http://{host}/users/a"
            row = keep_actor(
                tx,
                ActorSnapshot(
                    uri, host, "Person", f"{uri}/inbox", None, "a", "A", None, None, None
                ),
                now=now,
            )
            inbox = inbox_for(tx, f"{uri}/inbox", host=host, shared=False)
            add_follower(tx, own.id, row, inbox, follow_uri=f"{uri}/f", state="accepted", now=now)

    await shop.services.store.write(followers)
    await shop.publish("Du lin", "Bonjour")

    # Sooner than the ten seconds after which the first that hangs is given up.
    await until(lambda: len(hosts.served) == 20, seconds=8)
    post = await shop.services.store.read(post_by_slug, "du-lin")

    async def told_apart():
        found = await shop.services.store.read(progress.progress_of, post.id)
        reasons = {host.last_error for host in found.waiting_hosts}
        return found.fediverse.delivered == 20 and {"answered 500", "not HTTP"} <= reasons

    await until(told_apart)
    await hosts.close()
    server.close()


async def test_publishing_writes_the_same_for_few_and_for_many_readers(shop):
    from storage.subscribers import add_subscriber

    async def rows_written(title):
        post = await shop.draft(title, second_thoughts_ms=0)
        before = await shop.services.store.read(dump)
        from fediletter.outbound import publish as publishing

        await publishing.publish(shop.services, post.id, version=post.version)
        return len(await shop.services.store.read(dump)) - len(before)

    few = await rows_written("Un")

    def many(tx):
        for number in range(1000):
            add_subscriber(
                tx,
                key=number.to_bytes(10, "big"),
                email=f"r{number}@example.org",
                identity=f"r{number}@example.org",
                state="active",
                language="fr",
                source="import",
                now=datetime.now(UTC),
            )

    await shop.services.store.write(many)

    assert await rows_written("Deux") == few


@pytest.mark.rule("PR-6")
@pytest.mark.rule("L-76")
async def test_who_never_confirms_is_forgotten_after_a_week_and_nobody_else(shop):
    from datetime import timedelta

    from storage.subscribers import add_subscriber, count_by_state, find_subscriber

    now = datetime.now(UTC)

    def work(tx):
        for name, state, days in (("old", "pending", 8), ("new", "pending", 6), ("a", "active", 8)):
            add_subscriber(
                tx,
                key=name.encode().ljust(10, b"."),
                email=f"{name}@example.org",
                identity=f"{name}@example.org",
                state=state,
                language="fr",
                source="form",
                now=now - timedelta(days=days),
            )

    await shop.services.store.write(work)
    await Timetable(shop.services, lambda: True)._tidy()

    assert await shop.services.store.read(count_by_state) == {"active": 1, "pending": 1}
    assert await shop.services.store.read(find_subscriber, "old@example.org") is None


async def test_a_job_that_waits_while_the_process_ends_is_no_trouble(shop, caplog):
    begun = asyncio.Event()

    async def waits():
        begun.set()
        await asyncio.Event().wait()

    timetable = Timetable(shop.services, lambda: True)
    timetable._scheduler.add_job(timetable._guarded(waits))
    timetable.start()
    await begun.wait()
    (job,) = [one for one in asyncio.all_tasks() if "run_coroutine_job" in repr(one)]

    timetable.stop()
    await asyncio.wait([job])

    assert [one for one in caplog.records if one.levelname == "ERROR"] == []
