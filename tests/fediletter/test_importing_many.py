"""Two hundred thousand rows, a process that dies among them: whole in the end, in little memory."""

import asyncio
import csv
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from fediletter import importing
from fediletter.importing import lists
from fediletter.services import desk_of
from storage import intakes
from storage.schema import consent, subscriber, subscription
from storage.store import engine_for
from tests.fediletter.test_cli import run
from tests.postgres import new_database
from tests.shop import running_shop, until
from tests.web.browser import browser, opened

PROOF = ("--confirmed", "--proof", "double opt-in at the old place")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where an installation lives: `--data`, and the environment of its database."""
    environ = {}
    if request.param == "postgresql":
        environ["FEDILETTER_DATABASE_URL"] = new_database(request.getfixturevalue("postgres_url"))
    data = tmp_path / "data"
    assert run("--data", str(data), "init", **environ).returncode == 0
    return data, environ


def listed(path: Path, count: int) -> Path:
    """A list of so many people, all over the states, one row in a thousand broken."""
    words = ("regular", "regular", "regular", "unactivated", "unsubscribed", "undeliverable")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["email_address", "notes", "metadata", "tags", "type", "creation_date"])
        for number in range(count):
            address = f"reader{number}@example{number % 50}.org"
            if number % 1000 == 999:
                address = f"broken {number}"
            word = words[number % len(words)]
            writer.writerow([address, "x" * 60, "{}", "Lin, Cuir", word, "2024-01-02T03:04:05Z"])
    return path


def rows_of(url: str) -> tuple[int, int, int, int]:
    """People, different people, their choices, their entries in the consent record."""
    engine = engine_for(url)
    with engine.connect() as connection:
        counts = tuple(
            connection.execute(query).scalar_one()
            for query in (
                sa.select(sa.func.count()).select_from(subscriber),
                sa.select(sa.func.count(sa.distinct(subscriber.c.identity))),
                sa.select(sa.func.count()).select_from(subscription),
                sa.select(sa.func.count()).select_from(consent),
            )
        )
    engine.dispose()
    return counts


def url_of(data: Path, environ: dict[str, str]) -> str:
    return environ.get("FEDILETTER_DATABASE_URL", f"sqlite:///{data / 'fediletter.db'}")


@pytest.mark.slow
@pytest.mark.rule("IM-5")
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_list_whose_process_is_killed_is_carried_on_by_the_next(place, tmp_path, moment):
    data, environ = place
    path = listed(tmp_path / "list.csv", 5500)
    order = ("--data", str(data), "subscribers", "import", str(path), *PROOF, "--make-topics")

    killed = run(*order, FEDILETTER_FAIL_AT=f"lists._write_batch:{moment}:3", **environ)

    written = 2000 if moment == "before" else 3000
    assert killed.returncode == -9
    assert rows_of(url_of(data, environ)) == (written, written, 2 * written, written)
    named = {name.removeprefix("FEDILETTER_").lower(): text for name, text in environ.items()}
    async with running_shop(data, **named) as shop:
        (found,) = await shop.services.store.read(intakes.newest_intakes, limit=9)
        assert found.total == 5495
        assert found.done >= written

        async def done():
            now = await shop.services.store.read(intakes.find_intake, found.token)
            return now.state == "done"

        await until(done)
        await shop.log_in()
        page = (await shop.client.get(f"/desk/readers/import/{found.token}")).text
    assert "5 495 reprises, 0 déjà connue, 5 refusées" in page.replace("\u00a0", " ").replace(
        "\u202f", " "
    )
    assert rows_of(url_of(data, environ)) == (5495, 5495, 2 * 5495, 5495)


@pytest.mark.slow
@pytest.mark.rule("IM-5")
async def test_a_list_whose_process_is_killed_while_it_reads_has_changed_nothing_and_begins_anew(
    place, tmp_path
):
    data, environ = place
    path = listed(tmp_path / "list.csv", 5500)
    order = ("--data", str(data), "subscribers", "import", str(path), *PROOF)

    killed = run(*order, FEDILETTER_FAIL_AT="lists._moved:after:1", **environ)

    assert killed.returncode == -9
    assert rows_of(url_of(data, environ)) == (0, 0, 0, 0)
    again = run(*order, **environ)
    assert (again.returncode, "5,495 added" in again.stdout) == (0, True)


@pytest.mark.slow
@pytest.mark.rule("IM-6")
def test_two_hundred_thousand_rows_take_little_memory_and_come_out_again(place, tmp_path):
    data, environ = place
    few, many = listed(tmp_path / "few.csv", 4000), listed(tmp_path / "many.csv", 200_000)

    def peak(*arguments: str, out: Path) -> int:
        """Of a run, in MiB: of its own memory, for `ru_maxrss` counts what it was forked from."""
        program = (
            "import atexit, re, sys; status = '/proc/self/status'; atexit.register(lambda: "
            "sys.stderr.write(re.search('VmHWM:.* kB', open(status).read())[0]));"
            "from fediletter.cli import main; main()"
        )
        with out.open("wb") as stdout:
            done = subprocess.run(
                [sys.executable, "-c", program, "--data", str(data), *arguments],
                stdout=stdout,
                stderr=subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "FEDILETTER_LANGUAGE": "en"} | environ,
                check=True,
            )
        return int(done.stderr.split()[-2]) >> 10

    least = peak("subscribers", "import", str(few), *PROOF, out=tmp_path / "few")
    most = peak("subscribers", "import", str(many), *PROOF, out=tmp_path / "many")
    away = peak("subscribers", "export", out=tmp_path / "export.csv")

    assert "195,804 added, 3,996 known already, 200 refused" in (tmp_path / "many").read_text()
    with (tmp_path / "export.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == 199_801
    print(f"\nMiB: {least} for 4,000, {most} for 200,000, {away} out")  # noqa: T201
    assert most - least < 64
    assert away - least < 64
    assert list((data / "imports").glob("*/people.db")) == []


@pytest.mark.rule("IM-5")
async def test_a_thousand_people_cost_a_few_statements_and_one_commit(shop, tmp_path):
    desk = desk_of(shop.services)
    path = listed(tmp_path / "list.csv", 3000)
    wish = importing.Wish(take=True, confirmed=True, proof="x", all_topics=True)
    ran: list[str] = []

    def bring() -> None:
        with path.open("rb") as file:
            token = importing.take_in(
                desk, file, name="list.csv", wish=wish, founder_id=None, now=datetime.now(UTC)
            )
        lists.carry_on(desk, token, importing.Look(lambda: datetime.now(UTC)))

    @event.listens_for(shop.services.store.engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, *_rest):
        if any(f" {table}" in statement for table in ("subscriber ", "consent ", "suppression ")):
            ran.append(statement.split("\n")[0][:60])

    await asyncio.to_thread(bring)
    (found,) = await shop.services.store.read(intakes.newest_intakes, limit=9)
    await until(lambda: _is_done(shop, found.token))

    assert len(ran) < 3 * 25, ran


async def _is_done(shop, token) -> bool:
    return (await shop.services.store.read(intakes.find_intake, token)).state == "done"


@pytest.mark.slow
async def test_the_bar_of_a_list_moves_with_a_script_and_without(shop):
    await shop.log_in()
    now = datetime.now(UTC)

    def begun(tx):
        intakes.add_intake(
            tx, "0123456789abcdef", name="l.csv", wish={}, total=9, founder_id=None, now=now
        )

    await shop.services.store.write(begun)  # Of a machine elsewhere: its folder is not here.
    path = "/desk/readers/import/0123456789abcdef"

    async def moved(done: int) -> None:
        await shop.services.store.write(
            intakes.move_intake, "0123456789abcdef", state="writing", done=done
        )

    for done in (3, 6):
        await moved(done)
        page = (await shop.client.get(path)).text
        assert f'<progress max="9" value="{done}"' in page
        assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
        assert (await shop.client.get(f"{path}/state")).json() == {
            "done": done,
            "total": 9,
            "finished": False,
        }
    cookies = dict(shop.client.cookies)
    async with browser() as started:
        for scripts in (True, False):
            async with opened(started, shop.base_url, cookies=cookies, javascript=scripts) as (
                opened_page,
                _,
            ):
                await moved(1)
                await opened_page.goto(path)
                await moved(8)
                if scripts:
                    bar = "document.querySelector('progress').value == 8"
                    await opened_page.wait_for_function(bar)
                else:
                    await opened_page.wait_for_selector('progress[value="8"]')
