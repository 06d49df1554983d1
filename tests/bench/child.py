"""What is measured, in a process of its own; prints one JSON line.

`python -m tests.bench.child sign SECONDS`
`python -m tests.bench.child send DATA KIND [NAME=SETTING …]`: publish one letter and send it all.
`python -m tests.bench.child transport DATA COUNT [NAME=SETTING …]`: a letter to so many, each with
links of their own, through the program's own sessions, with nothing written down.
"""

import asyncio
import json
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa
import uvloop

from federation.keys import RsaPrivateKey, Signer
from fediletter.app import build_services, settle_down
from fediletter.limits import MAIL_CONNECTIONS
from fediletter.mail.compose import ReaderSlots, new_message_id, slot_values
from fediletter.mail.courier import Accepted, Envelope, Result
from fediletter.newsletter import posts as rules
from fediletter.outbound import publish as publishing
from fediletter.outbound.letters import Composed, Letters
from fediletter.services import Services
from fediletter.settings import Settings
from fediletter.workers.supervisor import Supervisor
from storage import posts
from storage.posts import Draft, Post
from storage.schema import activity, delivery, fan_out, mailing
from storage.store import Tx
from tests.bench.measure import peak_mib
from tests.bench.seed import settings_for

_PARAGRAPH = "Le lin pousse en cent jours, sans eau et presque sans engrais. " * 6 + "\n\n"


def main() -> None:
    what, *rest = sys.argv[1:]
    known = (sign, send, transport, issues, work, publish, bare)
    found = {one.__name__: one for one in known}[what](*rest)
    print(json.dumps(found))  # noqa: T201


def sign(seconds: str) -> dict[str, float]:
    """RSA-2048 signatures by the loaded key, one after another."""
    key = RsaPrivateKey.generate()
    signer = Signer("https://a.example/ap/shop#main-key", key)
    text = b"x" * 200
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < float(seconds):
        for _ in range(50):
            signer.key.sign(text)
        count += 50
    return {"count": count, "seconds": time.perf_counter() - began}


def send(data: str, kind: str, *pairs: str) -> dict[str, object]:
    """One letter to everybody by one channel: from the commit of publishing to the last record."""
    return uvloop.run(_send(_settings(data, pairs), kind, 1))[0]


def transport(data: str, count: str, *pairs: str) -> dict[str, object]:
    """Letters to so many over as many connections as a mailing has; no answer is recorded."""
    return uvloop.run(_transport(_settings(data, pairs), int(count)))


def issues(data: str, kind: str, count: str, *pairs: str) -> list[dict[str, object]]:
    """One letter after the other from one process: the first meets every host anew."""
    return uvloop.run(_send(_settings(data, pairs), kind, int(count)))


def bare(port: str) -> dict[str, object]:
    """A server that answers 202 to everything, until it is ended."""
    from tests.bench.intake import serve_bare  # What is measured does not carry it.

    serve_bare(int(port))
    return {}


def work(data: str, *pairs: str) -> dict[str, object]:
    """A worker beside the one that sends, until its input ends."""

    async def until_told() -> None:
        services = build_services(_settings(data, pairs))
        supervisor = Supervisor(services, frozenset(["activities"]))
        await supervisor.start()
        settle_down()
        await asyncio.to_thread(sys.stdin.read)
        await supervisor.stop()
        services.store.close()

    uvloop.run(until_told())
    return {}


def publish(data: str, *pairs: str) -> dict[str, object]:
    """One published letter: the paths of its page and of its object."""

    async def once() -> dict[str, object]:
        services = build_services(_settings(data, pairs))
        post = await services.store.write(_write, "activities")
        done = await publishing.publish(services, post.id, version=post.version)
        services.store.close()
        return {"page": urlsplit(done.url).path, "object": urlsplit(done.object_id).path}

    return uvloop.run(once())


def _settings(data: str, pairs: tuple[str, ...]) -> Settings:
    return settings_for(Path(data), **dict(pair.split("=", 1) for pair in pairs))


def _write(tx: Tx, kind: str) -> Post:
    draft = Draft(
        "Le lin, encore",
        "Une lettre sur le lin.",
        _PARAGRAPH * (14 if kind == "email" else 12),
        "fr",
        to_fediverse=kind == "activities",
        to_email=kind == "email",
    )
    post_id = rules.create(
        tx, draft, [], public_id=publishing.new_public_id(), now=datetime.now(UTC)
    )
    return posts.get_post(tx, post_id)


async def _send(settings, kind: str, issues: int) -> list[dict[str, object]]:
    services = build_services(settings)
    supervisor = Supervisor(services, frozenset([kind]))
    await supervisor.start()
    settle_down()
    found = [await _one_issue(services, kind) for _ in range(issues)]
    await supervisor.stop()
    services.store.close()
    return found


async def _transport(settings: Settings, count: int) -> dict[str, object]:
    services = build_services(settings)
    post = await services.store.write(_write, "email")
    await publishing.publish(services, post.id, version=post.version)
    mailing_id = await services.store.read(
        lambda tx: tx.scalar(sa.select(mailing.c.id).where(mailing.c.post_id == post.id))
    )
    letters = Letters(services)
    composed = await letters.composed(mailing_id, "fr", None)
    couriers = [
        _Unrecorded(services, letters, composed, range(n, count, MAIL_CONNECTIONS))
        for n in range(MAIL_CONNECTIONS)
    ]
    settle_down()
    before, began = _used(), time.perf_counter()
    await asyncio.gather(*map(services.mailer.run, couriers))
    seconds, cpu = time.perf_counter() - began, _used() - before
    services.store.close()
    taken = sum(one.taken for one in couriers)
    return {
        "count": taken,
        "errors": count - taken,
        "seconds": seconds,
        "cpu": cpu,
        "peak_mib": peak_mib("self"),
    }


class _Unrecorded:
    """A courier that fills the letter for each reader and keeps nothing of the answers."""

    def __init__(
        self, services: Services, letters: Letters, composed: Composed, numbers: range
    ) -> None:
        self._services, self._letters, self._composed = services, letters, composed
        self._numbers = iter(numbers)
        self._next: Envelope | None = None
        self.taken = 0

    async def following(self) -> Envelope | None:
        if self._next is None:
            number = next(self._numbers, None)
            self._next = None if number is None else self._filled(number)
        return self._next

    async def advance(self, ended: tuple[Envelope, Result] | None, start: Envelope | None) -> bool:
        self.taken += ended is not None and isinstance(ended[1], Accepted)
        if start is not None:
            self._next = None
        return start is not None

    def slow_down(self) -> None:
        pass

    def _filled(self, number: int) -> Envelope:
        tokens, links, now = self._services.tokens, self._services.links, datetime.now(UTC)
        recipient, key = f"reader{number}@mail{number % 400}.test", number.to_bytes(10, "big")
        values = slot_values(
            ReaderSlots(
                to=recipient,
                message_id=new_message_id("shop.test"),
                date=now,
                unsubscribe_url=links.unsubscribe(tokens.unsubscribe(key)),
                preferences_url=links.preferences(tokens.preferences(key, 0)),
                leave_address=f"leave+{tokens.leave(number)}@shop.test",
            )
        )
        sender = f"bounce+{tokens.bounce(number)}@shop.test"
        content = self._letters.filled(self._composed, values, now=now)
        return Envelope(number, sender, recipient, content)


async def _one_issue(services, kind: str) -> dict[str, object]:
    post = await services.store.write(_write, kind)
    before = _used()
    began = time.perf_counter()
    await publishing.publish(services, post.id, version=post.version)
    published = time.perf_counter() - began
    began = time.perf_counter()
    while not await services.store.read(_is_done):
        await asyncio.sleep(0.02)
    seconds, cpu = time.perf_counter() - began, _used() - before
    newest = await services.store.read(_counts, post.id)
    return {
        "count": newest["delivered"],
        "errors": sum(newest.values()) - newest["delivered"],
        "seconds": seconds,
        "cpu": cpu,
        "peak_mib": peak_mib("self"),
        "publish_seconds": published,
    }


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _is_done(tx) -> bool:
    # As the partial index says it: a look must not read what was delivered before.
    waits = sa.select(delivery.c.id).where(
        sa.text("delivery.state IN ('waiting', 'started', 'uncertain')")
    )
    open_ = sa.select(fan_out.c.id).where(fan_out.c.done_at.is_(None))
    return tx.row(open_.limit(1)) is None and tx.row(waits.limit(1)) is None


def _counts(tx, post_id) -> dict[str, int]:
    ours = sa.or_(
        delivery.c.activity_id.in_(sa.select(activity.c.id).where(activity.c.post_id == post_id)),
        delivery.c.mailing_id.in_(sa.select(mailing.c.id).where(mailing.c.post_id == post_id)),
    )
    rows = tx.rows(
        sa.select(delivery.c.state, sa.func.count()).where(ours).group_by(delivery.c.state)
    )
    return {"delivered": 0} | dict(rows)


if __name__ == "__main__":
    main()
