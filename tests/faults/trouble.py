"""FT-5, 7, 13, 18, 19, 20: full disks, restarts, strange hosts, clocks, schedules, leavers."""

import asyncio
import errno
import statistics
import time
from datetime import timedelta
from typing import Any

import httpx
import sqlalchemy as sa

from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import load_vault
from storage import posts
from storage.schema import subscriber
from tests.faults.bench import MAIL_CONNECTIONS, UNCERTAIN_REPEAT, Bench, Load, expect
from tests.faults.founder import Founder
from tests.faults.sinks import Ask, status


async def full_disk(bench: Bench) -> None:
    """FT-5: the disk is full at random moments, then free again."""
    await bench.start(Load(mail=1000, followers=300))
    server = await bench.serve()
    seen: set[int] = set()
    async with httpx.AsyncClient(base_url=bench.base_url, trust_env=False, timeout=20) as client:
        for number in range(bench.rounds):
            if await bench.is_done():
                expect(await bench.publish() == 0, "publishing failed")
            await asyncio.sleep(bench.random.uniform(0.05, 0.8))
            bench.break_disk(errno.ENOSPC)
            answer = await client.post("/subscribe", data={"email": f"full{number}@x.test"})
            seen.add(answer.status_code)
            await asyncio.sleep(bench.random.uniform(0.2, 1.0))
            bench.break_disk(0)
            expect(server.is_alive, "the server died of a full disk")
    took = await bench.done(60)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    for one in [one for one in bench.mail.messages if one.startswith("full")]:
        del bench.mail.messages[one]
    account = bench.settle_accounts()
    account.notes |= {"statuses while full": sorted(seen), "done after s": round(took, 1)}
    expect(seen <= {200, 429, 503, 507}, f"statuses while full: {sorted(seen)}")
    expect(account.duplicates <= bench.rounds * MAIL_CONNECTIONS, "too many duplicates")
    bench.check_integrity()


async def restarts(bench: Bench) -> None:
    """FT-7: PostgreSQL restarts, fast and at once, and drops connections, in mid-send."""
    await bench.start(Load(mail=1000, followers=300))
    cluster = bench.cluster
    assert cluster is not None
    web = await bench.serve("--no-workers")
    worker = await bench.work()
    slowest = 0.0
    for number in range(bench.rounds):
        if await bench.is_done():
            expect(await bench.publish() == 0, "publishing failed")
        await asyncio.sleep(bench.random.uniform(0.3, 1.5))
        way = ("fast", "immediate", "drop")[number % 3]
        if way == "drop":
            drop = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await bench.store.read(lambda tx, drop=drop: tx.scalar(sa.text(drop)))
        else:
            await asyncio.to_thread(cluster.stop, way)
            await asyncio.to_thread(cluster.start)
        before = bench.mail.total + len(bench.fediverse.arrived_at)

        async def goes_on(before: int = before) -> bool:
            return (
                bench.mail.total + len(bench.fediverse.arrived_at) > before or await bench.is_done()
            )

        slowest = max(slowest, await bench.until(goes_on, 10, f"sending goes on after {way}"))
    await bench.done(90)
    await bench.repeat_uncertain()
    for child in (worker, web):
        expect(await child.end() == 0, "no good end")
    account = bench.settle_accounts()
    account.notes["slowest recovery s"] = round(slowest, 1)
    expect(account.duplicates <= bench.rounds * MAIL_CONNECTIONS, "too many duplicates")


async def strange_hosts(bench: Bench) -> None:
    """FT-13: half of a hundred hosts are well; others hang, fail, redirect, babble, are gone."""
    await bench.start(Load(mail=0, followers=100, hosts=100))
    kinds = ["hang", "headers"] * 10 + ["500"] * 10 + ["429", "redirect", "garbage", "410"] * 5
    kind_of = {bench.fediverse.host(n): kinds[n] for n in range(len(kinds))}
    calls: dict[str, list[float]] = {}
    elsewhere: list[str] = []

    async def script(ask: Ask) -> bytes | None:
        if ask.path.startswith("/elsewhere"):
            elsewhere.append(ask.path)
            return status(202)
        kind = kind_of.get(ask.host)
        if kind is None:
            return None
        if ask.method == "GET":
            return status(410 if kind == "410" else 404)
        calls.setdefault(ask.host, []).append(time.monotonic())
        match kind:
            case "hang":
                await asyncio.sleep(120)
                return b""
            case "headers":
                return b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
            case "429":
                return status(429, "Retry-After: 3600")
            case "redirect":
                return status(307, f"Location: http://{ask.host}/elsewhere")
            case "garbage":
                return b"close \x00\xff nonsense\r\n\r\n"
            case _:
                return status(int(kind))

    bench.fediverse.script = script
    server = await bench.serve()
    expect(await bench.publish() == 0, "publishing failed")
    well = [bench.fediverse.host(n) for n in range(len(kinds), 100)]

    def all_well() -> bool:
        return {inbox.partition("/")[0] for inbox in bench.fediverse.arrived} >= set(well)

    took = await bench.until(all_well, 60, "the healthy hosts are served")

    async def gone() -> bool:
        return await bench.followers() == 95

    await bench.until(gone, 60, "whoever is gone is no follower any longer")
    await bench.until(lambda: len(calls) == len(kinds), 60, "every host was tried")
    await asyncio.sleep(25)  # L-41: whatever hangs is cut by now.
    waiting = (await bench.states()).get("waiting", 0)
    expect(not elsewhere, "a redirect was followed")
    expect(waiting == 40, f"{waiting} wait, not the 40 that may come back")
    patient = [host for host, kind in kind_of.items() if kind == "429" and len(calls[host]) > 1]
    expect(not patient, "Retry-After was not heeded")
    expect(await server.end() == 0, "no good end")
    bench.account.notes |= {"healthy after s": round(took, 1), "waiting": waiting}


async def clock_jumps(bench: Bench) -> None:
    """FT-18: the clock jumps by days and seconds while a letter leaves and another is planned."""
    await bench.start(Load(mail=600, followers=200))
    server = await bench.serve()
    founder = Founder(bench)
    planned = await founder.draft("Plus tard")
    at = bench.now() + timedelta(hours=2)
    await bench.store.write(posts.schedule, planned, at=at, version=1)
    expect(await bench.publish() == 0, "publishing failed")
    for seconds in (90, -90, -86400, 86400):
        await asyncio.sleep(bench.random.uniform(0.3, 0.8))
        bench.move_clock(timedelta(seconds=seconds))
    # Jumps that cancel out between two beats are not seen as such: the next sweep mends (180 s).
    await bench.done(240)
    expect(bench.mail.total == 600, "published before its time")
    bench.move_clock(timedelta(days=1))
    bench.issues += 1
    await bench.until(lambda: bench.mail.total > 600, 30, "the planned letter leaves")
    bench.move_clock(timedelta(days=-1))
    await bench.done(240)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    account = bench.settle_accounts()
    expect(account.duplicates == 0, "a clock made somebody get a letter twice")
    await founder.close()


async def two_schedulers(bench: Bench) -> None:
    """FT-19: a hundred letters are overdue and two processes look at once."""
    await bench.start(Load(mail=3, followers=2, hosts=2, domains=1))
    founder = Founder(bench)
    for number in range(100):
        post_id = await founder.draft(f"Prévue {number}")
        await bench.store.write(
            posts.schedule, post_id, at=bench.now() + timedelta(minutes=1), version=1
        )
    bench.move_clock(timedelta(hours=1))
    first, second = await bench.serve(), await bench.work()
    bench.issues = 100
    await bench.done(120)
    await bench.repeat_uncertain()
    creates = await bench.store.read(
        lambda tx: tx.scalar(sa.text("SELECT count(*) FROM activity WHERE type = 'Create'"))
    )
    expect(creates == 100, f"{creates} publishes instead of 100")
    for child in (first, second):
        expect(await child.end() == 0, "no good end")
    account = bench.settle_accounts()
    expect(account.duplicates == 0, "somebody got a letter twice")
    await founder.close()


async def leaving(bench: Bench) -> None:
    """FT-20: a thousand people leave while their letter is on its way."""
    await bench.start(Load(mail=2000, followers=0))

    async def script(stage: str, _talk: Any) -> None:
        if stage == "dot":
            await asyncio.sleep(0.03)

    bench.mail.script = script
    server = await bench.serve()
    tokens = Tokens(load_vault(bench.settings.secret_file))
    rows = await bench.store.read(
        lambda tx: tx.rows(sa.select(subscriber.c.email, subscriber.c.key))
    )
    leavers = bench.random.sample(rows, 1000)
    expect(await bench.publish() == 0, "publishing failed")
    await bench.until(lambda: bench.mail.total >= 20, 30, "it is under way")
    left: dict[str, float] = {}
    gate = asyncio.Semaphore(8)
    async with httpx.AsyncClient(base_url=bench.base_url, trust_env=False, timeout=30) as client:

        async def leave(number: int, email: str, key: bytes) -> None:
            path = f"/unsubscribe/{tokens.unsubscribe(bytes(key))}"
            form = {"List-Unsubscribe": "One-Click"} if number % 2 else {}
            headers = {} if number % 2 else {"Origin": bench.base_url}
            async with gate:
                answer = await client.post(path, data=form, headers=headers)
            expect(answer.status_code == 200, f"leaving was answered {answer.status_code}")
            left[email] = time.monotonic()

        await asyncio.gather(*(leave(n, *row) for n, row in enumerate(leavers)))
    bench.mail.script = None
    await bench.done(120)
    expect(await server.end() == 0, "no good end")
    late = [
        recipient
        for at, _, stage, recipient in bench.mail.log
        if stage == "mail" and recipient in left and at > left[recipient] + 1.0
    ]
    began = {r for _, _, stage, r in bench.mail.log if stage == "dot"}
    after = [
        recipient
        for at, _, stage, recipient in bench.mail.log
        if stage == "dot" and recipient in left and at > left[recipient] + 1.0
    ]
    expect(not after, f"{len(after)} got a letter more than a second after they left")
    missing = set(bench.addresses()) - set(bench.mail.messages) - set(left)
    bench.account.lost = len(missing)
    expect(not missing, f"lost {len(missing)}")
    counts = bench.mail.counts()
    bench.account.duplicates = sum(count - 1 for count in counts.values())
    expect(bench.account.duplicates == 0, "somebody got it twice")
    spared = len(set(left) - began)
    bench.account.notes |= {"left": len(left), "spared": spared, "envelopes begun late": len(late)}
    expect(spared > 0, "all letters had left already: nothing was tested")


async def soak(bench: Bench) -> None:
    """FT-25: letter after letter under random faults, for as long as `--soak` says.

    Nobody is killed in the second half: what memory and file handles do is seen in one long life.
    """
    await bench.start(Load(mail=500, followers=200))
    begun = time.monotonic()
    end, half = begun + bench.soak_seconds, begun + bench.soak_seconds / 2
    again_at = half  # Whatever is in doubt by then is sent once more.
    longest = min(300, max(4, bench.soak_seconds / 12))
    server, kills = await bench.serve(), 0
    due = begun + bench.random.uniform(longest / 5, longest)
    sizes: list[tuple[float, int, int]] = []  # Seconds, KiB, file handles; of the last life.
    while (now := time.monotonic()) < end:
        if await bench.is_done():
            expect(await bench.publish() == 0, "publishing failed")
        await asyncio.sleep(2)
        await bench.uncertain()  # Listed, before a later hour sends it once more.
        sizes.append((now, server.resident_kib(), server.handles()))
        if now > again_at:
            bench.move_clock(UNCERTAIN_REPEAT)
            again_at = end
        if now < due:
            continue
        due = now + bench.random.uniform(longest / 5, longest)
        match bench.random.choice(("kill", "disk", "clock") if now < half else ("disk", "clock")):
            case "kill":
                await server.kill()
                kills += 1
                bench.check_integrity()
                server = await bench.serve()
                sizes.clear()
            case "disk":
                bench.break_disk(errno.ENOSPC)
                await asyncio.sleep(bench.random.uniform(0.2, 2))
                bench.break_disk(0)
            case "clock":
                bench.move_clock(timedelta(seconds=bench.random.choice((-90, 90))))
    await bench.done(180)
    await bench.repeat_uncertain(120)
    expect(await server.end() == 0, "no good end")
    account = bench.settle_accounts()
    account.notes |= {"issues": bench.issues, "kills": kills}
    account.notes["MiB in the last life"] = f"{sizes[0][1] >> 10} to {sizes[-1][1] >> 10}"
    settled = [one for one in sizes if one[0] > sizes[0][0] + 300]  # Caches are full by then.
    if settled and settled[-1][0] - settled[0][0] > 900:
        slope, _ = statistics.linear_regression(
            [at / 3600 for at, _, _ in settled], [kib / 1024 for _, kib, _ in settled]
        )
        account.notes |= {"MiB per hour": round(slope, 2), "handles": settled[-1][2]}
        expect(slope < 1, "memory grows")
        expect(settled[-1][2] <= settled[0][2] + 10, "file handles grow")
