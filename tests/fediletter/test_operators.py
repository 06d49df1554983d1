"""For whoever runs the server: is it well, what waits."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from federation.addresses import NetworkPolicy
from fediletter.app import build_services
from fediletter.errors import SettingsError
from fediletter.founders.passwords import NOBODYS, is_old
from fediletter.installation import install
from fediletter.settings import load
from storage.schema import bounce, lane, subscriber
from tests.shop import free_port, running_shop, until

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
        found = samples(answer.text)
        return found.get("fediletter_deliveries_ended_total letter delivered") == 1

    await until(counted)
    found = samples((await shop.client.get("/metrics")).text)
    assert found["fediletter_workers"] == 1
    assert found["fediletter_redirects_followed_total"] == 0
    assert found["fediletter_hosts_dormant"] == found["fediletter_oldest_waiting_seconds"] == 0
    assert found["process_resident_memory_bytes"] > 1 << 20


async def test_metrics_tell_mail_by_class_the_relay_and_what_the_inbox_answered(shop):
    await shop.subscribe("ana@example.org")
    await shop.publish("Du lin", "Bonjour")
    await shop.mail_to("ana@example.org", count=2)
    headers = {"Content-Type": "application/activity+json"}
    assert (await shop.client.post("/ap/inbox", content=b"{}", headers=headers)).status_code == 401
    assert (await shop.client.post("/ap/inbox", content=b"{}")).status_code == 415

    def work(tx):
        reader = tx.scalar(sa.select(subscriber.c.id))
        tx.execute(sa.insert(bounce).values(subscriber_id=reader, class_="gone", at=0))
        tx.execute(
            sa.update(lane)
            .where(lane.c.kind == "email")
            .values(failures=1, failing_since=1, ready_at=9_999_999_999_999, last_error="refused")
        )

    async def counted():
        found = samples((await shop.client.get("/metrics")).text)
        return found.get("fediletter_deliveries_ended_total letter delivered") == 1

    await until(counted)
    assert samples((await shop.client.get("/metrics")).text)["fediletter_relay_rests"] == 0
    await shop.services.store.write(work)

    found = samples((await shop.client.get("/metrics")).text)
    assert found["fediletter_deliveries_ended_total notice delivered"] == 1
    assert found["fediletter_deliveries notice waiting"] == 0
    assert found["fediletter_bounces gone"] == 1
    assert found["fediletter_relay_rests"] == 1
    assert found["fediletter_inbox_answers_total 401"] == 1
    assert found["fediletter_inbox_answers_total 415"] == 1


@pytest.mark.rule("PR-3")
async def test_a_serving_process_logs_json_and_no_person(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fediletter", "--data", str(shop.settings.data),
            "serve", "--port", str(port),
            env={
                "FEDILETTER_BASE_URL": shop.base_url,
                "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
                "FEDILETTER_LOG": "debug",
            },
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        base = f"http://127.0.0.1:{port}"
        headers = {"Host": shop.base_url.partition("//")[2], "Origin": shop.base_url}
        async with httpx.AsyncClient(
            base_url=base, trust_env=False, timeout=60, headers=headers
        ) as client:

            async def is_up():
                try:
                    return (await client.get("/healthz")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(is_up, seconds=60)
            form = {"email": "ana@example.org", "language": "fr"}
            assert (await client.post("/subscribe", data=form)).status_code < 400
            activity = {"Content-Type": "application/activity+json"}
            await client.post("/ap/inbox", content=b"{}", headers=activity)
        process.terminate()
        _, errors = await process.communicate()

    lines = [json.loads(line) for line in errors.decode().splitlines()]
    assert {"at", "level", "logger", "event"} <= set(lines[0])
    assert any(line["event"] == "refused a request to an inbox" for line in lines)
    assert "ana@" not in errors.decode()
    assert "example.org" not in errors.decode()


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    code = "import sys, fediletter.app, fediletter.web.serving.front; print(*sys.modules)"

    found = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert seldom & set(found.stdout.split()) == set()


@pytest.mark.rule("L-61")
def test_the_hash_of_nobody_costs_what_all_others_cost():
    assert not is_old(NOBODYS)


@pytest.mark.rule("FE-9")
@pytest.mark.rule("FE-17")
def test_ports_of_peers_and_hosts_of_ours_are_what_the_settings_say(tmp_path):
    url = {"FEDILETTER_BASE_URL": "https://news.shop.example"}
    install(load(url, data=tmp_path), now=datetime.now(UTC))

    def policy(**more: str) -> NetworkPolicy:
        environ = url | {f"FEDILETTER_{name}": value for name, value in more.items()}
        return build_services(load(environ, data=tmp_path)).network.policy

    assert policy().ports == {443}
    assert policy(PORTS="443, 8443").ports == {443, 8443}
    assert policy(FORMER_HOSTS="old.example").own_hosts == {"news.shop.example", "old.example"}
    # On the host of the handle stands a site of its own, perhaps with accounts that follow.
    assert policy(ACCOUNT="shop@shop.example").own_hosts == {"news.shop.example"}
    for wrong in ("0", "65536", "https", "443;80", ","):
        with pytest.raises(SettingsError) as found:
            policy(PORTS=wrong)
        assert [place for place, _, _ in found.value.problems] == ["FEDILETTER_PORTS"]
