"""FT-8 and its kin: relays that hang up, refuse, dawdle."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

from tests.faults.bench import Bench, Load, expect
from tests.faults.sinks import HangUp, Talk

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
    # A lane whose relay hung up rests for a minute: let it pass.
    for _ in range(40):
        if await bench.is_done() and len(victims) == len(_STAGES):
            break
        await pass_time(bench, timedelta(minutes=2))
    await bench.done(30)
    expect(set(victims) == set(_STAGES), f"stages cut: {sorted(victims)}")
    before = bench.mail.counts()
    in_doubt = {one.partition(" ")[0] for one in await bench.uncertain()}
    # The text and its final dot leave in one write: whoever hangs up within may have both.
    expect(
        in_doubt == {victims["body"], victims["dot"], victims["taken"]},
        f"uncertain are {len(in_doubt)}, not the three that were cut after their text had left",
    )
    expect(before[victims["taken"]] == 1, "the letter that was taken unseen")
    expect(before[victims["dot"]] == 0, "the letter that was not taken")
    await bench.repeat_uncertain()
    expect(await server.end() == 0, "no good end")
    account = bench.settle_accounts()
    expect(account.duplicates == 1, f"{account.duplicates} repeats instead of exactly one")
    expect(bench.mail.counts()[victims["taken"]] == 2, "the wrong letter was repeated")
    expect(bench.mail.counts()[victims["body"]] == 1, "half a letter was taken for one")


async def pass_time(bench: Bench, span: timedelta) -> None:
    """Wait until the relay has been quiet for a poll's length, then let time pass."""

    def quiet() -> bool:
        return not bench.mail.open and (
            not bench.mail.log or time.monotonic() - bench.mail.log[-1][0] > QUIET_SECONDS
        )

    await bench.until(quiet, 60, "the relay is quiet")
    bench.move_clock(span)
    await asyncio.sleep(QUIET_SECONDS)


QUIET_SECONDS = 3.5  # A little more than the poll (RE-9: a wake-up only hurries it).
