"""For whoever runs the server: is it well, what waits."""

import asyncio
import json
import sqlite3
import subprocess
import sys

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fediletter.founders.passwords import NOBODYS, is_old
from tests.shop import running_shop, until

TOKEN = "a-token-of-twenty-letters-and-more"


def samples(text: str) -> dict[str, float]:
    return {
        one.name + "".join(f" {value}" for value in one.labels.values()): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_metrics_count_what_waits_and_name_nobody(shop):
    await shop.subscribe("ana@example.org")
    await shop.publish("Du lin", "Bonjour")
    await shop.mail_to("ana@example.org", count=2)
    address = shop.base_url.replace("127.0.0.1", "localhost")  # Not by its name.

    async def counted():
        answer = await shop.client.get(f"{address}/metrics")
        assert answer.status_code == 200
        assert "example.org" not in answer.text
        return samples(answer.text)["fediletter_deliveries mail delivered"] == 2

    await until(counted)
    found = samples((await shop.client.get("/metrics")).text)
    assert found["fediletter_workers"] == 1
    assert found["fediletter_redirects_followed_total"] == 0
    assert found["fediletter_hosts_dormant"] == found["fediletter_oldest_waiting_seconds"] == 0
    assert found["process_resident_memory_bytes"] > 1 << 20


@pytest.mark.rule("CL-6")
async def test_metrics_are_for_this_machine_or_for_who_has_the_token(tmp_path):
    async with running_shop(tmp_path / "shop", metrics_token=TOKEN) as shop:
        outside = {"X-Forwarded-For": "192.0.2.7"}
        wrong = outside | {"Authorization": f"Bearer {TOKEN[:-1]}"}
        right = outside | {"Authorization": f"Bearer {TOKEN}"}

        statuses = [
            (await shop.client.get("/metrics", headers=headers)).status_code
            for headers in (outside, wrong, right, {})
        ]

    assert statuses == [404, 404, 200, 200]


@pytest.mark.rule("CL-6")
async def test_health_is_503_without_detail_while_the_database_is_away(shop):
    assert (await shop.client.get("/healthz")).text == "ok"
    other = sqlite3.connect(shop.services.store.engine.url.database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        answer = await shop.client.get("/healthz", timeout=httpx.Timeout(15))
    finally:
        other.execute("ROLLBACK")
        other.close()

    assert answer.status_code == 503
    assert len(answer.content) <= 200
    assert "locked" not in answer.text


async def test_status_tells_people_and_programs_the_same(shop):
    await shop.subscribe("ana@example.org")

    async def status(*more: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fediletter", "--data", str(shop.settings.data), "status", *more,
            env={"FEDILETTER_BASE_URL": shop.base_url, "FEDILETTER_LANGUAGE": "en"},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode()

    found = json.loads(await status("--json"))
    assert found["mail"]["delivered"] == 1
    assert found["workers"] == 1
    people = await status()
    assert "1 delivered" in people
    assert "Processes that send: 1" in people


async def test_a_server_that_starts_loads_nothing_that_only_some_days_need():
    """What each costs stands in performance.md section 7."""
    seldom = {"PIL", "alembic", "css_inline", "feedgen", "lxml", "mutagen", "OpenSSL"}
    seldom |= {"prometheus_client", "psycopg", "segno", "sqlalchemy.orm", "webauthn"}
    code = "import sys, fediletter.app, fediletter.web.front; print(*sys.modules)"

    found = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert seldom & set(found.stdout.split()) == set()


@pytest.mark.rule("L-61")
def test_the_hash_of_nobody_costs_what_all_others_cost():
    assert not is_old(NOBODYS)
