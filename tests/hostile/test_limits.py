"""Limits of rates and times at their boundary, each in a shop of its own."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from fediletter import limits
from fediletter.errors import SettingsError
from fediletter.rates import Rates
from fediletter.settings import load
from tests.federation.peer import TYPE
from tests.hostile.siege import besieged

FIVE = timedelta(minutes=5)
CONTRACT = {
    "INBOX_BYTES": 1 << 20,  # L-1
    "BODY_SECONDS": 30.0,  # L-3
    "NEGATIVE_KEYS": 10_000,  # L-10
    "NEGATIVE_KEY_CACHE": timedelta(minutes=10),  # L-10
    "KEY_REFRESH": FIVE,  # L-11
    "INBOX_PER_CALLER": (300, FIVE),  # L-14
    "INBOX_PER_HOST": (1200, FIVE),  # L-15
    "PAGES_PER_CALLER": (300, FIVE),  # L-16
    "COLLECTION_PAGE": 50,  # L-28
}


def test_the_limits_are_those_of_the_contract():
    found = {name: getattr(limits, name) for name in CONTRACT}

    assert found == CONTRACT


@pytest.mark.rule("FE-16")
def test_rates_let_so_many_through_forget_and_stay_bounded():
    rates = Rates(2, FIVE, keys=3)
    assert [rates.hit("a", at=0.0) for _ in range(3)] == [None, None, 300]
    assert rates.hit("a", at=299.0) == 1
    assert rates.hit("a", at=300.0) is None
    rates.give_back("a")
    assert [rates.hit("a", at=301.0) for _ in range(3)] == [None, None, 299]
    rates.give_back("never seen")
    for number in range(100_000):
        rates.hit(str(number), at=302.0)
    assert len(rates) == 3


@pytest.mark.rule("L-14")
@pytest.mark.rule("L-15")
@pytest.mark.rule("L-16")
async def test_too_many_are_429_with_a_time_to_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr("fediletter.inbound.receive.INBOX_PER_CALLER", (3, FIVE))
    monkeypatch.setattr("fediletter.inbound.receive.INBOX_PER_HOST", (5, FIVE))
    monkeypatch.setattr("fediletter.web.serving.guard.PAGES_PER_CALLER", (4, FIVE))
    async with besieged(tmp_path) as siege:
        ana = siege.somebody()
        # Proven requests are given back: of one address more of them pass than of others.
        for _ in range(5):
            sent = await siege.send(ana, siege.follow(ana), caller="198.51.100.1")
            assert sent.status_code == 202
        await siege.settled()
        await siege.refused(siege.send(ana, siege.follow(ana)), 429)
        late = await siege.send(ana, siege.follow(ana))
        assert 290 < int(late.headers["retry-after"]) <= 300
        bo = siege.somebody("b.peer.example")
        assert (await siege.send(bo, siege.follow(bo))).status_code == 202

        async def unsigned(caller):
            return (await siege.post({"Content-Type": TYPE}, b"{}", caller=caller)).status_code

        parallel = await asyncio.gather(*(unsigned("198.51.100.9") for _ in range(50)))
        assert (parallel.count(401), parallel.count(429)) == (3, 47)
        assert await unsigned("198.51.100.10") == 401
        # The /64 of IPv6 is one caller.
        assert [await unsigned(f"2001:db8::{n}") for n in range(1, 5)] == [401, 401, 401, 429]
        assert await unsigned("2001:db8:0:1::1") == 401

        async def page(caller, path="/"):
            headers = {"X-Forwarded-For": caller} if caller else {}
            return (await siege.shop.client.get(path, headers=headers)).status_code

        assert [await page("198.51.100.20") for _ in range(5)] == [200] * 4 + [429]
        assert await page("198.51.100.21") == 200
        assert [await page("198.51.100.20", "/ap/instance") for _ in range(5)] == [200] * 5
        assert [await page(None) for _ in range(9)] == [200] * 9


@pytest.mark.rule("L-28")
async def test_a_page_of_the_outbox_has_fifty_things_at_most(shop, monkeypatch):
    monkeypatch.setattr("fediletter.web.fediverse.peers.COLLECTION_PAGE", 2)
    for number in range(3):
        await shop.publish(f"Lettre {number}", "Bonjour", to_email=False)
    headers = {"Accept": TYPE}

    first = (await shop.client.get("/ap/shop/outbox?page=true", headers=headers)).json()
    second = (await shop.client.get(first["next"], headers=headers)).json()

    assert (len(first["orderedItems"]), len(second["orderedItems"])) == (2, 1)
    assert "proof" not in first["orderedItems"][0], "it holds only alone"


_CHOSEN = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from fediletter import limits
from federation import reading
from tests.shop import running_shop

async def main():
    assert limits.KEY_REFRESH == timedelta(minutes=2)
    assert limits.PAGES_PER_CALLER == (7, timedelta(seconds=90))
    assert limits.INBOX_PER_HOST == (1200, timedelta(minutes=5)), "as it was"
    for depth in (4, 5):
        try:
            reading.parse_json(b'{"a":' * depth + b"0" + b"}" * depth)
        except reading.BadDocument:
            print("too deep", depth)
    async with running_shop(Path(sys.argv[1]), workers=False) as shop:
        for length in (1000, 1001):
            answer = await shop.client.post("/ap/inbox", content=b"x" * length)
            print(answer.status_code)

asyncio.run(main())
"""


def test_an_operator_sets_another_value_of_any_limit(tmp_path):
    chosen = {
        "INBOX_BYTES": "1000",
        "JSON_DEPTH": "4",
        "KEY_REFRESH": "2m",
        "PAGES_PER_CALLER": "7/90s",
        "INBOX_PER_HOST": "a few",
    }
    environ = os.environ | {f"FEDILETTER_LIMIT_{name}": text for name, text in chosen.items()}
    command = [sys.executable, "-c", _CHOSEN, str(tmp_path / "shop")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    assert done.stdout.split("\n")[:3] == ["too deep 5", "415", "413"], done.stderr


@pytest.mark.parametrize(
    ("name", "text", "good"),
    [
        ("FETCHES", "20", True),
        ("FETCHES", "0", False),
        ("FETCHES", "2.5", False),
        ("STEP_SECONDS", "2.5", True),
        ("STEP_SECONDS", "nan", False),
        ("MOVE_REST", "30d", True),
        ("MOVE_REST", "30", False),
        ("INBOX_PER_CALLER", "300/5m", True),
        ("INBOX_PER_CALLER", "300", False),
        ("UNCERTAIN_HELD", "2027", False),
        ("FETCHED", "20", False),
        ("fetches", "20", False),
        ("timedelta", "20", False),
        ("settle", "20", False),
    ],
)
def test_a_limit_that_cannot_be_read_is_named_with_the_other_mistakes(tmp_path, name, text, good):
    environ = {f"FEDILETTER_LIMIT_{name}": text, "FEDILETTER_SECOND_THOUGHTS": "never"}

    with pytest.raises(SettingsError) as found:
        load(environ, data=tmp_path)

    places = [place for place, _, _ in found.value.problems]
    expected = [] if good else [f"FEDILETTER_LIMIT_{name}"]
    assert places == [*expected, "FEDILETTER_SECOND_THOUGHTS"]


def test_a_limit_in_the_file_is_no_setting(tmp_path):
    (tmp_path / "fediletter.toml").write_text("limit_fetches = 20\n")

    with pytest.raises(SettingsError) as found:
        load({}, data=tmp_path)
    assert found.value.problems == (("FEDILETTER_LIMIT_FETCHES", "there is no such setting", {}),)
