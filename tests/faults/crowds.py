"""FT-24, FT-26: 100,000 readers and a busy inbox; a thousand hosts that invent people."""

import asyncio
import sys
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any

import sqlalchemy as sa

from fediletter.limits import STRANGERS
from storage.schema import follower, lane, remote_actor, throttle
from tests.faults.attackers import HOSTS
from tests.faults.bench import Bench, Load, expect
from tests.faults.founder import Founder
from tests.faults.peers import Peers

_FULL = 100  # Thousands of readers.
_CONNECTIONS = 32
_DISTANCE_SECONDS = 0.010
_TIDY_SLACK = 500  # Strangers are forgotten every so many.


async def crowd(bench: Bench) -> None:
    """FT-24: a round is a thousand readers by mail and a hundred followers."""
    await bench.start(Load(bench.rounds * 1000, bench.rounds * 100, hosts=200, domains=200))
    full = bench.rounds >= _FULL
    seconds, rate = 60 if full else 10, (600 if bench.is_postgresql else 200) // (1 if full else 4)
    peers = Peers(bench, hosts=200, first_host=0)
    await peers.introduce(1000)
    server = await bench.serve()
    founder = Founder(bench)
    await founder.enter()
    warm = [peers.activity(n, "Like", f"{bench.base_url}/nothing", 0) for n in range(200)]
    await _say(bench, [peers.request(one) for one in warm], rate=100)
    server.forget_peak()  # Of the login, which takes 64 MiB for a moment (L-61).
    before = server.resident_kib()
    await bench.publish_here()
    issue = await bench.store.read(
        lambda tx: tx.scalar(sa.text("SELECT object_uri FROM activity WHERE type = 'Create'"))
    )
    likes = [peers.activity(n % 1000, "Like", issue, 1 + n // 1000) for n in range(seconds * rate)]
    asked = [peers.request(one) for one in likes]
    visits: list[float] = []
    at_desk = asyncio.create_task(_visit(founder, visits))
    took = await _say(bench, asked, rate=rate)
    at_desk.cancel()
    drained = await bench.done(2400)
    await bench.repeat_uncertain(180)
    server.look()
    expect(await server.end() == 0, "no good end")
    await founder.close()
    bench.settle_accounts()
    grown = (server.peak_kib - before) / 1024
    inbox, desk = quantiles(took, n=20)[-1], quantiles(visits, n=20)[-1]
    bench.account.notes |= {
        "inbox p95 ms": round(inbox * 1000),
        "desk p95 ms": round(desk * 1000),
        "grown MiB": round(grown, 1),
        "drained after s": round(drained),
    }
    expect(grown < 100, f"{grown:.0f} MiB more for the readers")  # RE-17
    if full:  # Of fewer readers nothing is said; and no test with every change judges speed.
        expect(inbox < 0.2, f"the inbox answers within {inbox:.2f} s")
        expect(desk < 0.5, f"the desk answers within {desk:.2f} s")


async def _visit(founder: Founder, visits: list[float]) -> None:
    while True:
        begin = time.monotonic()
        answer = await founder.client.get("/desk")
        expect(answer.status_code == 200, f"the desk answers {answer.status_code}")
        visits.append(time.monotonic() - begin)
        await asyncio.sleep(0.25)


async def _say(
    bench: Bench, requests: list[tuple[bytes, dict[str, str]]], *, rate: float
) -> list[float]:
    """Send them at this pace over a few kept connections; how long each answer took."""
    took: list[float] = []
    begin, left = time.monotonic(), iter(enumerate(requests))
    talks = (_talk(bench, left, begin, rate, took) for _ in range(_CONNECTIONS))
    await asyncio.gather(*talks)
    return took


async def _talk(
    bench: Bench,
    left: Iterator[tuple[int, tuple[bytes, dict[str, str]]]],
    begin: float,
    rate: float,
    took: list[float],
) -> None:
    # By hand: a library would take more of the processor than the server that is measured.
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    for number, (body, headers) in left:
        await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        fields = headers | {"content-length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        at = time.monotonic()
        writer.write(f"POST /ap/shop/inbox HTTP/1.1\r\n{lines}\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        took.append(time.monotonic() - at)
        expect(head.split(b" ")[1] == b"202", f"answered {head[:40]!r}")
    writer.close()


async def hostile_hosts(bench: Bench) -> None:
    """FT-26: a round is a minute of a thousand hosts that invent keys, actors and inboxes.

    In each, one issue leaves before they begin and one while they are at it.
    """
    await bench.start(Load(mail=400, followers=200, hosts=50))

    async def relay(stage: str, _talk: object) -> None:
        if stage == "dot":
            await asyncio.sleep(_DISTANCE_SECONDS)

    async def peer(_ask: object) -> None:
        await asyncio.sleep(_DISTANCE_SECONDS)

    bench.mail.script, bench.fediverse.script = relay, peer
    server = await bench.serve()
    attackers = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.attackers", bench.base_url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert attackers.stdin is not None
    assert attackers.stdout is not None
    await _seconds_of_an_issue(bench)  # What a process does once is done.
    ratios, attacks = [], 0
    for _ in range(bench.rounds):
        quiet = await _seconds_of_an_issue(bench)
        attackers.stdin.write(b"attack\n")
        await asyncio.sleep(20)
        ratios.append(quiet / await _seconds_of_an_issue(bench))
        await asyncio.sleep(25)
        attackers.stdin.write(b"rest\n")
        attacks = int(await attackers.stdout.readline())
    attackers.stdin.close()
    await attackers.wait()
    expect(await server.end() == 0, "no good end")
    found = await bench.store.read(_rows)
    bench.settle_accounts()
    bench.account.notes |= found | {
        "attacks": attacks,
        "honest rate": round(median(ratios), 2),
    }
    expect(found["strangers"] <= STRANGERS + _TIDY_SLACK, "strangers are kept without end")
    expect(found["lanes"] <= HOSTS + bench.load.hosts + 10, "more lanes than hosts")
    expect(attacks > bench.rounds * 100, "there was no attack")
    if bench.rounds >= 3:
        expect(median(ratios) >= 0.9, f"honest deliveries at {median(ratios):.2f} of their rate")


async def _seconds_of_an_issue(bench: Bench) -> float:
    """Until everybody honest has the next issue."""
    begin = time.monotonic()
    await bench.publish_here()
    mail, acts = bench.issues * bench.load.mail, bench.issues * bench.load.followers

    def arrived() -> bool:
        return bench.mail.total >= mail and len(bench.fediverse.arrived_at) >= acts

    return await bench.until(arrived, 120, "everybody honest has it") and time.monotonic() - begin


def _rows(tx: Any) -> dict[str, int]:
    def count(query: Any) -> int:
        return int(tx.scalar(sa.select(sa.func.count()).select_from(query.subquery())))

    follows = sa.exists().where(follower.c.remote_actor_id == remote_actor.c.id)
    return {
        "strangers": count(sa.select(remote_actor.c.id).where(sa.not_(follows))),
        "followers": count(sa.select(follower.c.id)),
        "lanes": count(sa.select(lane.c.id)),
        "throttles": count(sa.select(throttle.c.key)),
    }
