"""Moving to another account, and shutting people out."""

import asyncio
import os
import sys
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from fediletter.outbound import publish as publishing
from storage import blocks, conversations, followers
from storage.schema import delivery, remote_actor, report
from tests.federation.peer import TYPE
from tests.fediletter.dump import dump
from tests.fediletter.test_inbox import (
    activity,
    follow_shop,
    follower_count,
    note,
    send,
    waiting,
    world,
)
from tests.shop import until

__all__ = ["world"]

JSON = {"Accept": TYPE}


async def _command(shop, *arguments):
    """Run `fediletter` beside the running shop, as an operator does."""
    environ = {
        "FEDILETTER_DATA": str(shop.settings.data),
        "FEDILETTER_BASE_URL": shop.base_url,
        "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
        "FEDILETTER_LANGUAGE": "en",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fediletter",
        *arguments,
        env=os.environ | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, wrong = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), wrong.decode()


async def _followed(shop, world, *names):
    for name in names:
        await send(shop, world.peer(name), follow_shop(shop, world.peer(name)))
    await until(lambda: len(world.received) == len(names))
    world.received.clear()
    world.at.clear()


@pytest.mark.slow
async def test_the_newsletter_moves_to_an_account_that_names_it(shop, world):
    await _followed(shop, world, "ana")
    target = f"{world.base}/users/bo"
    status, _, wrong = await _command(shop, "followers", "move-to", target)
    assert status == 1
    assert "Add" in wrong
    assert world.received == []

    world.more["bo"] = {"alsoKnownAs": [f"{shop.base_url}/ap/shop"]}
    status, out, _ = await _command(shop, "followers", "move-to", target)
    assert status == 0, out
    await until(lambda: len(world.received) == 2)

    update, move = world.received
    assert update["type"] == "Update"
    assert update["object"]["movedTo"] == target
    assert move["type"] == "Move"
    assert (move["actor"], move["target"]) == (f"{shop.base_url}/ap/shop", target)
    assert move["object"] == move["actor"]
    assert (await shop.client.get("/ap/shop", headers=JSON)).json()["movedTo"] == target
    await send(shop, world.peer("bo"), follow_shop(shop, world.peer("bo")))
    await until(lambda: len(world.received) == 3)
    assert world.received[2]["type"] == "Reject"


@pytest.mark.slow
async def test_an_alias_is_named_in_the_actor(shop, world):
    await _followed(shop, world, "ana")
    other = f"{world.base}/users/bo"

    assert (await _command(shop, "followers", "alias", other))[0] == 0
    assert (await _command(shop, "followers", "alias", other))[0] == 0
    status, _, wrong = await _command(shop, "followers", "alias", "nobody@127.0.0.1:9")

    assert (status, "not found" in wrong) == (1, True)
    actor = (await shop.client.get("/ap/shop", headers=JSON)).json()
    assert actor["alsoKnownAs"] == [other]
    await until(lambda: world.received)
    await asyncio.sleep(0.3)
    assert [one["type"] for one in world.received] == ["Update"], "said once"


@pytest.mark.slow
async def test_followers_are_exported_in_mastodons_form(shop, world):
    await _followed(shop, world, "ana")

    _, out, _ = await _command(shop, "followers", "export")

    assert out.splitlines() == ["Account address", f"ana@{world.base.partition('//')[2]}"]


@pytest.mark.rule("I14")
@pytest.mark.rule("IN-31")
async def test_a_follower_who_moves_is_marked_and_not_replaced(shop, world):
    await _followed(shop, world, "ana")
    ana, target = world.peer("ana"), f"{world.base}/users/bo"
    world.more["bo"] = {"alsoKnownAs": [ana.id]}

    await send(shop, ana, activity(ana, "Move", ana.id, target=target))

    def moved(tx):
        return tx.scalar(sa.select(remote_actor.c.moved_to).where(remote_actor.c.uri == ana.id))

    async def marked():
        return await shop.services.store.read(moved) == target

    await until(marked)
    own = await shop.services.keyring.newsletter()
    found = await shop.services.store.read(followers.list_followers, own.id, limit=5)
    assert [one.uri for one in found] == [ana.id]


@pytest.mark.rule("I15")
async def test_a_report_waits_on_the_desk_and_a_block_ends_the_following(shop, world):
    await _followed(shop, world, "ana")
    ana = world.peer("ana")
    flagged = [f"{shop.base_url}/ap/shop"]
    await send(shop, ana, activity(ana, "Flag", flagged, content="<p>Regardez</p>"))

    async def kept():
        return await shop.services.store.read(conversations.reports, limit=5, settled=False)

    await until(kept)
    csrf = await shop.log_in()
    assert "Regardez" in (await shop.client.get("/desk/reports")).text
    (one,) = await kept()
    await shop.post(f"/desk/reports/{one.id}/settle", csrf=csrf)
    assert await kept() == []
    assert await shop.services.store.read(lambda tx: len(tx.rows(sa.select(report.c.id)))) == 1

    await send(shop, ana, activity(ana, "Block", f"{shop.base_url}/ap/shop"))

    async def left():
        return await follower_count(shop) == 0

    await until(left)


@pytest.mark.slow
@pytest.mark.rule("IN-36")
async def test_a_blocked_domain_loses_followers_replies_and_deliveries(shop, world):
    await _followed(shop, world, "ana")
    ana = world.peer("ana")
    letter = await shop.publish()
    await until(lambda: world.received)
    await send(shop, ana, activity(ana, "Create", note(ana, letter.object_id)))
    reply = (await waiting(shop))[0]
    await shop.services.store.write(conversations.decide, reply.id, state="approved")
    assert "Bravo" in (await shop.client.get(letter.url)).text
    world.received.clear()
    host = world.base.partition("//")[2]

    status, _, wrong = await _command(shop, "block", "add", host)

    assert status == 0, wrong
    assert await follower_count(shop) == 0

    async def gone():
        return "Bravo" not in (await shop.client.get(letter.url)).text

    await until(gone)  # The command is another process: its change is seen within a second.
    post_id = reply.post_id
    await publishing.withdraw(shop.services, post_id)
    await asyncio.sleep(0.5)
    assert world.received == [], "not even the Delete goes there"
    _, out, _ = await _command(shop, "block", "list")
    assert out == f"domain\t{host}\t\n"
    assert (await _command(shop, "block", "remove", host))[0] == 0
    await send(shop, ana, follow_shop(shop, ana, 2))
    await until(lambda: world.received)
    assert world.received[0]["type"] == "Accept"


@pytest.mark.rule("PR-7")
async def test_who_follows_or_is_blocked_is_told_to_nobody_and_a_delete_takes_all_along(
    shop, world
):
    await _followed(shop, world, "ana")
    ana = world.peer("ana")
    letter = await shop.publish()
    await send(shop, ana, activity(ana, "Create", note(ana, letter.object_id)))
    await waiting(shop)
    await shop.services.store.write(
        blocks.block, "domain", "blocked.example", note="", now=datetime.now(UTC)
    )

    for path, status in (
        ("/ap/shop/followers", 200),
        ("/ap/shop/followers?page=true", 404),
        ("/ap/shop/following", 200),
        ("/ap/shop/blocks/", 404),
        ("/ap/shop/blocked/", 404),
        ("/.well-known/blocks", 404),
        ("/api/v1/instance/domain_blocks", 404),
        ("/desk/blocks", 303),
    ):
        answer = await shop.client.get(path, headers=JSON)
        assert answer.status_code == status, path
        assert ana.id not in answer.text
        assert "blocked.example" not in answer.text

    def said_by_ana(tx):  # What came in is kept a month, so that no copy counts again (L-7).
        return [row for row in dump(tx) if "Bravo" in row and not row.startswith("received")]

    assert await shop.services.store.read(said_by_ana)
    world.gone.add("ana")
    await send(shop, ana, activity(ana, "Delete", ana.id))

    async def is_forgotten():
        said = await shop.services.store.read(said_by_ana)
        return said == [] and await follower_count(shop) == 0

    await until(is_forgotten)


async def test_a_blocked_actor_takes_nobody_else_along(shop, world):
    await _followed(shop, world, "ana", "bo")

    await shop.services.store.write(
        blocks.block, "actor", world.peer("ana").id, note="", now=datetime.now(UTC)
    )

    assert await follower_count(shop) == 1
    await shop.publish()
    await until(lambda: world.received)


async def test_what_waits_for_a_blocked_host_never_leaves(shop, world):
    await _followed(shop, world, "ana")
    post = await shop.draft(to_email=False)
    await publishing.publish(shop.services, post.id, version=post.version)
    await until(lambda: world.received)
    now = datetime.now(UTC)

    def step_and_block(tx):
        # As if the host rested: what waits is held back.
        values = {"state": "waiting", "not_before": delivery.c.not_before + 600_000}
        tx.execute(sa.update(delivery).where(delivery.c.activity_id.is_not(None)).values(values))
        blocks.block(tx, "domain", world.base.partition("//")[2], note="", now=now)
        return [row[0] for row in tx.rows(sa.select(delivery.c.state))]

    states = await shop.services.store.write(step_and_block)
    assert "cancelled" in states
    assert "waiting" not in states


@pytest.mark.slow
async def test_lists_of_mastodon_are_taken_in(shop, tmp_path, world):
    await _followed(shop, world, "ana")
    host = world.base.partition("//")[2]
    server = tmp_path / "server.csv"
    server.write_text(
        "#domain,#severity,#reject_media,#reject_reports,#public_comment,#obfuscate\n"
        "bad.example,suspend,false,false,Spam,false\n"
        "loud.example,silence,false,false,,false\n"
        "b*d.example,suspend,false,false,,true\n"
    )
    accounts = tmp_path / "accounts.csv"
    accounts.write_text(f"ana@{host}\n")

    _, out, _ = await _command(shop, "block", "import", str(server))
    assert "left out: b*d.example" in out
    assert "1 blocked." in out
    assert "1 that are only limited" in out
    assert (await _command(shop, "block", "import", str(accounts)))[0] == 0

    found = await shop.services.store.read(blocks.all_blocks)
    assert [(one.kind, one.value, one.note) for one in found] == [
        ("domain", "bad.example", "Spam"),
        ("actor", world.peer("ana").id, "accounts.csv"),
    ]
    assert await follower_count(shop) == 0
