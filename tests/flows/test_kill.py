"""kill -9 in the middle of a delivery: everybody gets the letter, nobody twice in silence."""

import asyncio
import json
import os
import re
import secrets
import signal
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from fediletter.installation import install, open_store
from fediletter.settings import load
from storage.followers import add_follower
from storage.lanes import inbox_for
from storage.newsletters import local_actors
from storage.peers import ActorSnapshot, keep_actor
from storage.schema import delivery
from storage.subscribers import add_subscriber
from tests.postgres import new_database
from tests.shop import free_port, until

FOLLOWERS, SUBSCRIBERS, HOSTS, KILLS = 500, 2000, 50, 3
CONNECTIONS = 5  # L-94, and one for notices


class MailSink:
    """Takes every message at once and counts recipients by the messages that came whole."""

    def __init__(self) -> None:
        self.recipients: Counter[str] = Counter()

    async def serve(self, reader, writer):
        writer.write(b"220 sink\r\n")
        recipient = ""
        try:
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"EHLO":
                    writer.write(b"250-sink\r\n250 PIPELINING\r\n")
                elif word == b"DATA":
                    writer.write(b"354 go on\r\n")
                    while await reader.readline() != b".\r\n":
                        if reader.at_eof():
                            return
                    self.recipients[recipient] += 1
                    writer.write(b"250 taken\r\n")
                elif word == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                else:
                    if word == b"RCPT":
                        recipient = line.decode().partition("<")[2].partition(">")[0]
                    writer.write(b"250 ok\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class InboxSink:
    """Takes every activity at once and counts by inbox."""

    def __init__(self) -> None:
        self.ids: dict[str, Counter[str]] = {}

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(re.search(r"(?i)content-length: (\d+)", head)[1])
                body = json.loads(await reader.readexactly(length))
                host = re.search(r"(?i)\nhost: (\S+)", head)[1]
                inbox = host + head.split(" ")[1]
                self.ids.setdefault(inbox, Counter())[body["id"]] += 1
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def fill(store, port: int) -> None:
    """Readers, straight into the store."""
    now = datetime.now(UTC)

    def subscribers(tx):
        for number in range(SUBSCRIBERS):
            address = f"reader{number}@mail{number % 40}.test"
            add_subscriber(
                tx,
                key=secrets.token_bytes(10),
                email=address,
                identity=address,
                state="active",
                language="fr",
                source="import",
                now=now,
            )

    def followers(tx):
        own = next(one for one in local_actors(tx) if one.kind == "newsletter")
        for number in range(FOLLOWERS):
            host = f"127.0.0.{2 + number % HOSTS}:{port}"
            uri = f"http://{host}/users/{number}"
            row = keep_actor(
                tx,
                ActorSnapshot(
                    uri, host, "Person", f"{uri}/inbox", None, "u", "U", None, None, None
                ),
                now=now,
            )
            inbox = inbox_for(tx, f"{uri}/inbox", host=host, shared=False)
            add_follower(tx, own.id, row, inbox, follow_uri=f"{uri}/f", state="accepted", now=now)

    store.submit(subscribers).result()
    store.submit(followers).result()


@pytest.mark.slow
@pytest.mark.rule("FT-1")
@pytest.mark.rule("RE-5")
@pytest.mark.rule("RE-6")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_killed_in_the_middle_nobody_is_lost_or_doubled_in_silence(
    tmp_path: Path, database, request
):
    mail, inboxes = MailSink(), InboxSink()
    mail_server = await asyncio.start_server(mail.serve, "127.0.0.1", 0, limit=1 << 20)
    inbox_server = await asyncio.start_server(inboxes.serve, "0.0.0.0", 0)  # noqa: S104
    mail_port = mail_server.sockets[0].getsockname()[1]
    inbox_port = inbox_server.sockets[0].getsockname()[1]
    port = free_port()
    environ = {
        "FEDILETTER_BASE_URL": f"http://127.0.0.1:{port}",
        "FEDILETTER_MAIL_FROM": "news@shop.test",
        "FEDILETTER_SECOND_THOUGHTS": "0",
        "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
        "FEDILETTER_SMTP_URL": f"smtp://127.0.0.1:{mail_port}",
        "FEDILETTER_LOG": "error",
    }
    if database == "postgresql":
        url = new_database(request.getfixturevalue("postgres_url"))
        environ["FEDILETTER_DATABASE_URL"] = url
    settings = load(environ, data=tmp_path)
    await asyncio.to_thread(install, settings, now=datetime.now(UTC))
    store = open_store(settings)
    await asyncio.to_thread(fill, store, inbox_port)
    letter = tmp_path / "letter.md"
    letter.write_text("---\ntitle: Du lin\n---\nBonjour.\n")

    async def run(*arguments: str):
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fediletter",
            "--data",
            str(tmp_path),
            *arguments,
            env={"PATH": os.environ["PATH"]} | environ,
        )

    publishing = await run("publish", str(letter))
    assert await publishing.wait() == 0

    def finished(tx):
        waiting = sa.select(sa.func.count()).where(delivery.c.state.in_(("waiting", "started")))
        return (
            tx.scalar(waiting) == 0
            and tx.scalar(sa.select(sa.func.count()).select_from(delivery))
            == FOLLOWERS + SUBSCRIBERS
        )

    kills = 0
    for share in (0.15, 0.4, 0.7)[:KILLS]:
        server = await run("serve", "--port", str(port))
        goal = int(SUBSCRIBERS * share)
        await until(lambda goal=goal: sum(mail.recipients.values()) >= goal, seconds=60)
        server.send_signal(signal.SIGKILL)
        await server.wait()
        kills += 1
    server = await run("serve", "--port", str(port))
    try:

        async def over():
            return await store.read(finished)

        await until(over, seconds=60)
    finally:
        server.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.wait(), 40) == 0

    def uncertain(tx):
        rows = tx.rows(
            sa.text(
                "SELECT s.email FROM delivery d JOIN subscriber s ON s.id = d.subscriber_id "
                "WHERE d.state = 'uncertain'"
            )
        )
        return {row[0] for row in rows}

    in_doubt = await store.read(uncertain)
    wanted = {f"reader{number}@mail{number % 40}.test" for number in range(SUBSCRIBERS)}
    lost = wanted - set(mail.recipients) - in_doubt
    doubled = {one for one, count in mail.recipients.items() if count > 1}
    print(f"lost {len(lost)}, doubled {len(doubled)}, uncertain {len(in_doubt)}, kills {kills}")  # noqa: T201
    assert lost == set()
    assert doubled == set()
    assert len(in_doubt) <= kills * CONNECTIONS
    assert len(inboxes.ids) == FOLLOWERS
    assert all(len(ids) == 1 for ids in inboxes.ids.values()), "one activity, one id"
    status = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fediletter", "--data", str(tmp_path), "status", "--json",
        env={"PATH": os.environ["PATH"]} | environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await status.communicate()
    assert len(json.loads(out)["uncertain_letters"]) == len(in_doubt), "status names them"
    store.close()
    for one in (mail_server, inbox_server):
        one.close()
