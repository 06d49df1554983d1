"""FT-1, FT-2, FT-3: kill -9 at random, right after the reply, and at every named commit point."""

import asyncio
import signal
import time

import httpx

from tests.faults.bench import MAIL_CONNECTIONS, Bench, Child, Load, expect
from tests.faults.founder import Founder
from tests.faults.peers import Peers


async def random_kills(bench: Bench) -> None:
    """FT-1: the whole server dies after a random 20 to 2,000 ms of work, again and again."""
    await bench.start(Load())
    kills, set_aside, slowest = 0, 0, 0.0
    expect(await bench.publish() == 0, "publishing failed")
    while kills < bench.rounds:
        begin = time.monotonic()
        server = await bench.serve()
        slowest = max(slowest, time.monotonic() - begin)
        await asyncio.sleep(bench.random.uniform(0.020, 2.0))
        await server.kill()
        kills += 1
        bench.check_integrity()
        set_aside += await bench.release_parked()
        if await bench.is_done() and kills < bench.rounds:
            expect(await bench.publish() == 0, "publishing failed")
    server = await bench.serve()
    set_aside += await bench.release_parked()
    await bench.done(180)
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    account = bench.settle_accounts()
    account.notes |= {"kills": kills, "issues": bench.issues, "lanes set aside": set_aside}
    account.notes["slowest start s"] = round(slowest, 1)
    expect(slowest < 10, f"a start took {slowest:.1f} s")
    expect(account.duplicates <= kills * MAIL_CONNECTIONS, "more duplicates than the kills allow")
    bench.check_integrity()


async def after_publish(bench: Bench) -> None:
    """FT-2: killed within 5 ms after the reply that says it is published."""
    await bench.start(Load(mail=20, followers=10, hosts=5))
    server = await bench.serve()
    founder = Founder(bench)
    await founder.enter()
    set_aside = 0
    for _ in range(bench.rounds):
        post_id = await founder.draft(f"Du lin {bench.issues}")
        answer = await founder.publish(post_id)
        expect(answer.status_code == 303, f"publishing was answered {answer.status_code}")
        bench.issues += 1
        await asyncio.sleep(bench.random.uniform(0, 0.005))
        await server.kill()
        set_aside += await bench.release_parked()
        server = await bench.serve()
        page = await founder.client.get("/")
        expect(f"Du lin {bench.issues - 1}" in page.text, "an issue said to be published is gone")
    set_aside += await bench.release_parked()
    await bench.done(60)
    await bench.repeat_uncertain()
    bench.settle_accounts().notes["lanes set aside"] = set_aside
    bench.check_integrity()
    await founder.close()


# Each is the function of a transaction; both sides of its commit are points.
POINTS = (
    "publish._commit",
    "fan_outs.step",
    "leases.claim",
    "send_activities.ActivitySender._settle",
    "send_mail._LaneCourier._record",
    "receive.Receiver._keep",
    "dispatch._apply",
    "workers.register",
    "workers.beat",
    "mailings.finish_mailings",
)


async def commit_points(bench: Bench) -> None:
    """FT-3: dies before and after the commit of each kind of transaction, all of them reached."""
    await bench.start(Load(mail=60, followers=30, hosts=10))
    peers = Peers(bench, hosts=3)
    await peers.introduce()
    kills = joined = 0
    for point in POINTS:
        for moment in ("before", "after"):
            times = {"leases.claim": 2, "send_mail._LaneCourier._record": 9}.get(point, 1)
            fail_at = f"{point}:{moment}:{times}"
            if point == "publish._commit":
                child = await bench.publish_dying(fail_at)
                # Before its commit it was not published and nobody was told so; after it, it was.
                bench.issues += moment == "after"
            else:
                await bench.publish_here()
                child = await bench.serve(fail_at=fail_at, wait=False)
                if point.startswith(("receive", "dispatch")):
                    await bench.answers(child)
                    joined += 1
                    await _follow_until_it_dies(peers, child, joined)
            await bench.until(lambda child=child: not child.is_alive, 40, f"{fail_at} is reached")
            expect(child.process.returncode == -signal.SIGKILL, f"{fail_at}: died of another cause")
            kills += 1
            bench.check_integrity()
        # Both sides of a commit, then a server that lives: it brings everything to its end.
        server = await bench.serve()
        for number in range(1, joined + 1):
            await peers.send(peers.follow(number))  # As a server does that got no answer.
        await bench.done(60)
        # In good order: a third kill in a row would park what its victims held.
        expect(await server.end() == 0, f"{point}: no good end")
    server = await bench.serve()
    await bench.repeat_uncertain()
    expect(await bench.followers() == bench.load.followers + joined, "a follower is lost or double")
    account = bench.settle_accounts()
    account.notes["points"] = kills
    expect(account.uncertain <= kills * MAIL_CONNECTIONS, "doubt unbounded")


async def _follow_until_it_dies(peers: Peers, child: Child, number: int) -> None:
    try:
        await peers.send(peers.follow(number))
    except httpx.HTTPError:
        expect(not child.is_alive or await child.process.wait(), "an answer was lost")
