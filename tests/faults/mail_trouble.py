"""FT-8 and its kin: relays that hang up, refuse, dawdle."""

import asyncio
import itertools
import time
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from fediletter.limits import SMTP_COMMAND_SECONDS
from storage.lanes import mail_lane_of
from tests.faults.bench import Bench, Load, expect
from tests.faults.sinks import HangUp, Talk

_DISTANCE_SECONDS = 0.02
_STAGES = ("greeting", "ehlo", "mail", "rcpt", "data", "body", "dot", "taken")


async def closing_sink(bench: Bench) -> None:
    """FT-8: the relay hangs up once at each stage, on letters chosen at random."""
    await bench.start(Load(mail=200, followers=0))
    left = Counter({stage: bench.random.randint(1, 12) for stage in _STAGES})
    victims: dict[str, str] = {}
    cut = 0

    async def script(stage: str, talk: Talk) -> str | None:
        nonlocal cut
        if stage in victims or stage not in left:
            return None
        left[stage] -= 1
        if left[stage] == 0:
            victims[stage] = talk.recipient
            cut += 1
            raise HangUp
        return None

    bench.mail.script = script
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    # A lane whose relay hung up rests, longer each time: let it pass. Meanwhile a letter in doubt
    # may already be sent once more, so what was in doubt is noted on the way.
    in_doubt: set[str] = set()
    for _ in range(40):
        in_doubt |= {one.email for one in await bench.uncertain()}
        if await bench.is_done() and len(victims) == len(_STAGES):
            break
        await pass_time(bench, timedelta(minutes=2))
    await bench.done(30)
    expect(set(victims) == set(_STAGES), f"stages cut: {sorted(victims)}")
    before = bench.mail.counts()
    in_doubt |= {one.email for one in await bench.uncertain()}
    # The text and its final dot leave in one write: whoever hangs up within may have both.
    expect(
        in_doubt == {victims["body"], victims["dot"], victims["taken"]},
        f"uncertain are {len(in_doubt)}, not the three that were cut after their text had left",
    )
    expect(before[victims["taken"]] >= 1, "the letter that was taken unseen")
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    account = bench.settle_accounts()
    expect(account.duplicates == 1, f"{account.duplicates} repeats instead of exactly one")
    expect(bench.mail.counts()[victims["taken"]] == 2, "the wrong letter was repeated")
    expect(bench.mail.counts()[victims["body"]] == 1, "half a letter was taken for one")


async def greylisting(bench: Bench) -> None:
    """FT-9: everybody is told to come later for ten minutes; now and then 421 and 452."""
    await bench.start(Load(mail=300, followers=0))
    begin = bench.now()
    tried: dict[str, list[datetime]] = {}

    async def script(stage: str, talk: Talk) -> str | None:
        if stage != "rcpt":
            return None
        if bench.random.random() < 0.005:
            return "421 too busy"
        tried.setdefault(talk.recipient, []).append(bench.now())
        if bench.now() - begin < timedelta(minutes=10):
            return "451 greylisted, come later"
        return "452 too many" if bench.random.random() < 0.01 else None

    bench.mail.script = script
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    for _ in range(60):
        if await bench.is_done():
            break
        await pass_time(bench, timedelta(minutes=4))
    await bench.done(30)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    bench.settle_accounts()
    # L-91: five minutes after the first attempt, a fifth less at the earliest.
    early = [
        one
        for one, times in tried.items()
        for first, second in pairwise(times)
        if second - first < timedelta(minutes=4)
    ]
    expect(not early, f"{len(early)} tried again too early")
    bench.account.notes["attempts"] = sum(map(len, tried.values()))


async def refusals(bench: Bench) -> None:
    """FT-10: 550 for one in twenty, 552 for one in a hundred, nonsense for another."""
    await bench.start(Load(mail=1000, followers=0))
    place = {address: n for n, address in enumerate(bench.addresses())}
    babbled: set[str] = set()

    async def script(stage: str, talk: Talk) -> str | None:
        n = place.get(talk.recipient, -1)
        if stage == "rcpt" and n % 20 == 0:
            return "550 5.1.1 no such person"
        if stage == "dot" and n % 100 == 1:
            return "552 5.2.2 mailbox full"
        if stage == "rcpt" and n % 100 == 2 and talk.recipient not in babbled:
            babbled.add(talk.recipient)
            return "hello there"
        return None

    bench.mail.script = script
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    for number in range(30):
        if await bench.is_done():
            break
        # Whoever is refused is asked once more, days later, before it counts.
        await pass_time(bench, timedelta(minutes=5) if number < 10 else timedelta(hours=12))
    await bench.done(30)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    bench.settle_accounts(failed=60)

    def look(tx: Any) -> tuple[set[str], set[str]]:
        failed = tx.rows(
            sa.text(
                "SELECT s.email FROM delivery d JOIN subscriber s ON s.id = d.subscriber_id "
                "WHERE d.state = 'failed' AND d.answer LIKE '55%'"
            )
        )
        gone = tx.rows(sa.text("SELECT email FROM subscriber WHERE state = 'suppressed'"))
        return {row[0] for row in failed}, {row[0] for row in gone}

    failed, gone = await bench.store.read(look)
    refused = {one for one, n in place.items() if n % 20 == 0}
    full = {one for one, n in place.items() if n % 100 == 1}
    expect(failed == refused | full, f"{len(failed)} failed, not {len(refused | full)}")
    expect(gone <= refused, "suppressed for something else than the address")
    expect(len(babbled) == 10, "nobody heard nonsense")
    bench.account.notes |= {"failed": len(failed), "suppressed": len(gone)}


async def slow_relay(bench: Bench) -> None:
    """FT-11: two of four connections crawl; the others keep their rate, these are cut at L-92."""
    await bench.start(Load(mail=800, followers=0))
    crawl, slow = False, {}  # Number of a connection, and the lane that it carries.
    held: list[float] = []  # How long each was borne with.

    async def script(stage: str, talk: Talk) -> str | None:
        if stage == "dot":
            await asyncio.sleep(_DISTANCE_SECONDS)
        if stage == "rcpt" and crawl and len(slow) < 2:
            slow[talk.number] = mail_lane_of(talk.recipient)
            begin, octets = time.monotonic(), itertools.chain(b"250-", itertools.repeat(ord("x")))
            while not talk.writer.is_closing():
                talk.writer.write(bytes([next(octets)]))
                await asyncio.sleep(5)
            held.append(time.monotonic() - begin)
            raise HangUp
        return None

    bench.mail.script = script
    server = await bench.serve()
    await bench.publish_here()
    await bench.done(60)
    usual = _rate(bench.mail.taken_at)
    crawl = True
    await bench.publish_here()
    await bench.until(lambda: len(slow) == 2, 30, "two connections crawl")
    quick = sum(mail_lane_of(one) not in slow.values() for one in bench.addresses())
    goal = bench.load.mail + quick
    await bench.until(lambda: bench.mail.total >= goal, 50, "the quick connections get on")
    ratio = _rate(bench.mail.taken_at[bench.load.mail :]) / (usual / 2)
    await bench.until(lambda: len(held) == 2, 120, "the slow ones are cut")
    await bench.done(120)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    account = bench.settle_accounts()
    account.notes |= {"rate of the others": round(ratio, 2), "cut after s": round(max(held))}
    expect(ratio >= 0.9, f"the others keep {ratio:.2f} of their rate")
    # Seen three octets later.
    expect(SMTP_COMMAND_SECONDS <= min(held) <= max(held) <= SMTP_COMMAND_SECONDS + 20, f"{held}")
    expect(account.duplicates == 0, "somebody got it twice")


def _rate(times: list[float]) -> float:
    return len(times) / (times[-1] - times[0])


async def refused_login(bench: Bench) -> None:
    """FT-12: the relay refuses our password for an hour; no storm of attempts."""
    bench.mail.extensions = ("PIPELINING", "AUTH PLAIN")
    await bench.start(Load(mail=100, followers=0))
    url = bench.environ["FEDILETTER_SMTP_URL"]
    bench.environ["FEDILETTER_SMTP_URL"] = url.replace("smtp://", "smtp://shop:secret@")
    begin = bench.now()
    attempts: list[datetime] = []

    async def script(stage: str, talk: Talk) -> str | None:
        if stage == "auth" and bench.now() - begin < timedelta(hours=1):
            attempts.append(bench.now())
            return "535 5.7.8 wrong password"
        return None

    bench.mail.script = script
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    for _ in range(40):
        if await bench.is_done():
            break
        await pass_time(bench, timedelta(minutes=10))
    await bench.done(30)
    expect(await server.end() == 0, "no good end")
    bench.settle_accounts()
    bench.account.notes["attempts in the hour"] = len(attempts)
    expect(len(attempts) <= 60, f"{len(attempts)} attempts within the hour")
    said = server.log.read_text()
    expect(said.count('"mail rests"') == 1, "that mail rests is not said once")
    expect(said.count('"mail goes on"') == 1, "that mail goes on is not said once")


async def pass_time(bench: Bench, span: timedelta) -> None:
    """Let time pass once the relay has been quiet for a poll's length, or after ten seconds.

    Jitter spreads attempts over minutes: then it is never quite quiet.
    """
    begin = time.monotonic()
    while time.monotonic() - begin < 10:
        last = bench.mail.log[-1][0] if bench.mail.log else begin
        if not bench.mail.open and time.monotonic() - last > QUIET_SECONDS:
            break
        await asyncio.sleep(0.1)
    bench.move_clock(span)
    await asyncio.sleep(QUIET_SECONDS)


QUIET_SECONDS = 3.5  # A little more than the poll (RE-9: a wake-up only hurries it).
