"""What a spam filter thinks of each kind of our mail: its local rules alone, no network."""

import asyncio
import re
from datetime import UTC, datetime

import pytest

from tests.fediletter.mail.kinds import every_kind
from tests.needs import need
from tests.shop import running_shop


async def score(raw: bytes) -> tuple[float, str]:
    program = need("SpamAssassin", "spamassassin")
    stamp = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    received = (
        "Received: from shop.example (shop.example [51.15.20.30])\r\n"
        "\tby mx.readers.example (Postfix) with ESMTPS id 4AAAAA0AAA\r\n"
        f"\tfor <ana@readers.example>; {stamp}\r\n"
    )
    process = await asyncio.create_subprocess_exec(
        program, "-L", "-t", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, _ = await process.communicate(received.encode() + raw)
    text = out.decode("utf-8", "replace")
    found = re.search(r"score=(-?[\d.]+).*?tests=([\w,\s=.-]*?)autolearn", text, re.DOTALL)
    assert found is not None, text[:500]
    return float(found[1]), " ".join(found[2].split())


@pytest.mark.slow
@pytest.mark.rule("HD-15")
@pytest.mark.rule("DO-15")
async def test_no_kind_of_mail_looks_like_spam(tmp_path):
    need("SpamAssassin", "spamassassin")
    async with running_shop(
        tmp_path / "shop",
        workers=False,
        mail_from="news@shop.example",
        base_url="https://shop.example",
    ) as shop:
        kinds = await every_kind(shop)

    scores = {}
    for name, raw in kinds.items():
        if name.endswith("-fr") or name in ("letter-en", "digest-en", "confirmation-en"):
            scores[name] = await score(raw)
    print("\n".join(f"{name} {found}" for name, found in scores.items()))  # noqa: T201

    assert {name: found for name, found in scores.items() if found[0] >= 1.0} == {}
    for name in ("letter-fr", "letter-en", "confirmation-fr", "confirmation-en"):
        assert scores[name][0] <= 0.0, (name, scores[name])
