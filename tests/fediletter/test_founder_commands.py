"""`fediletter founder …`: the same rules as at the desk, for whoever sits at the server."""

import asyncio
import re

import pytest

from storage import audit, founders
from storage.schema import passkey
from tests.accounts import EDITOR, add_person, browser_of, log_in, set_up_codes
from tests.fediletter.test_cli import run
from tests.shop import EMAIL, running_shop

NEW = "another bag of linen"


async def command(shop, *words, stdin=""):
    """Run beside the server, on its data."""
    return await asyncio.to_thread(
        run, "--data", str(shop.settings.data), "founder", *words, stdin=stdin
    )


async def deeds(shop) -> list[tuple[str, str]]:
    entries = await shop.services.store.read(audit.newest, limit=20)
    return [(one.action, one.channel) for one in entries]


@pytest.fixture
async def named(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        yield shop


@pytest.mark.rule("CL-1")
@pytest.mark.rule("WE-2")
async def test_a_password_set_at_the_server_ends_sessions_and_keeps_what_is_enrolled(named):
    await set_up_codes(named, await named.log_in())

    done = await command(named, "password", EMAIL, "--password-stdin", stdin=NEW + "\n")

    assert done.returncode == 0, done.stderr
    assert (await named.client.get("/desk")).status_code == 303
    async with browser_of(named) as other:
        page = await log_in(other, EMAIL, NEW)
        assert page.status_code == 401
        assert 'name="code"' in page.text, "no way around the codes (WE-4)"
    assert ("password set", "cli") in await deeds(named)


@pytest.mark.slow
@pytest.mark.rule("CL-1")
@pytest.mark.rule("WE-4")
async def test_who_lost_everything_gets_a_link_that_works_once(named):
    await set_up_codes(named, await named.log_in())

    done = await command(named, "reset", EMAIL.upper())

    link = re.fullmatch(r"http://127.0.0.1:\d+(/desk/setup/[\w-]{20,})\n", done.stdout)
    assert link is not None, done.stdout
    assert (await named.client.get("/desk")).status_code == 200, "nothing has happened yet"
    async with browser_of(named) as other:
        form = {"password": NEW, "again": NEW}
        assert (await other.post(link[1], data=form)).headers["location"] == "/desk/login"
        assert (await other.post(link[1], data=form)).status_code == 404
        assert (await log_in(other, EMAIL, NEW)).status_code == 303, "codes are taken off"
    assert (await named.client.get("/desk")).status_code == 303
    assert await named.services.store.read(lambda tx: tx.rows(passkey.select())) == []
    assert ("reset link", "cli") in await deeds(named)
    nobody = await command(named, "reset", "nobody@shop.test")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)


@pytest.mark.slow
@pytest.mark.rule("CL-1")
async def test_the_last_founder_stays_at_the_command_line_too(named):
    await add_person(named)

    last = await command(named, "remove", EMAIL)
    other = await command(named, "remove", EDITOR)

    assert (last.returncode, last.stderr.count("\n")) == (1, 1)
    assert other.returncode == 0, other.stderr
    people = await named.services.store.read(founders.all_founders)
    assert [one.email for one in people] == [EMAIL]
    assert ("founder removed", "cli") in await deeds(named)
    weak = await command(named, "add", "b@shop.test", "--password-stdin", stdin="short\n")
    assert weak.returncode == 1


@pytest.mark.slow
@pytest.mark.rule("WE-2")
async def test_a_restored_desk_lets_in_nobody_who_was_logged_in_when_the_backup_was_made(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        await shop.log_in()
        cookie = shop.client.cookies["fl"]
        file = tmp_path / "backup.tgz"
        await asyncio.to_thread(run, "--data", str(shop.settings.data), "backup", str(file))
        assert ("backup", "cli") in await deeds(shop)
    await asyncio.to_thread(run, "--data", str(tmp_path / "there"), "restore", str(file))

    async with running_shop(tmp_path / "there", workers=False) as there:
        there.client.cookies.set("fl", cookie)
        assert (await there.client.get("/desk")).status_code == 303
        assert ("restore", "cli") in await deeds(there)
