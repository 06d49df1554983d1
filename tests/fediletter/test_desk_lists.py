"""Lists at the desk: filtered, paged by cursor, fast with a hundred thousand readers."""

import re
import tarfile
import time
from datetime import UTC, datetime
from io import BytesIO

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from fediletter.backup import restore_backup
from fediletter.errors import AppError
from fediletter.settings import load
from storage import blocks, conversations
from tests.web.desk_shop import add_followers, add_subscribers, furnished

MANY = 100_000


@pytest.mark.slow
async def test_a_hundred_thousand_readers_cost_each_page_a_few_statements_and_rows(shop):
    now = datetime.now(UTC)
    own = await shop.services.keyring.newsletter()

    def fill(tx):
        add_subscribers(tx, MANY, now=now)
        add_followers(tx, own.id, MANY, now=now)

    await shop.services.store.write(fill)
    await shop.log_in()
    pages = [
        "/desk",
        "/desk/readers",
        "/desk/readers?state=left",
        f"/desk/readers?before={MANY // 2}",
        "/desk/readers?q=reader4242",
        "/desk/readers?channel=fediverse",
        f"/desk/readers?channel=fediverse&before={MANY // 2}",
        "/desk/readers?channel=fediverse&q=reader4242",
        "/desk/answers?state=all",
        "/desk/blocks",
        "/desk/media",
    ]
    await shop.client.get("/desk/readers")  # The census is kept a while after this.
    ran: list[tuple[str, tuple]] = []

    @event.listens_for(shop.services.store.engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, *_rest):
        ran.append((statement, tuple(parameters)))

    for path in pages:
        ran.clear()
        began = time.process_time()

        answer = await shop.client.get(path)

        spent = time.process_time() - began
        selects = [one for one in ran if one[0].lstrip().upper().startswith("SELECT")]
        assert answer.status_code == 200
        assert len(selects) < 15, (path, selects)
        skipped = [one for one in selects if "OFFSET ?" in one[0] and one[1][-1] != 0]
        assert skipped == [], path
        unbounded = [
            one
            for one, _ in selects
            if "count(" in one and re.search(r"FROM (subscriber|follower)\b", one)
        ]
        assert unbounded == [], path
        assert answer.text.count("<li>") <= 60, path
        assert spent < 2, (path, spent)


async def test_each_reader_stands_on_one_page_and_none_is_left_out(shop):
    await shop.services.store.write(add_subscribers, 130, now=datetime.now(UTC))
    await shop.log_in()
    seen: list[str] = []
    path = "/desk/readers"
    while path:
        page = (await shop.client.get(path)).text
        seen += re.findall(r"reader\d+@example\.org", page)
        more = re.search(r'href="(\?[^"]*before=\d+[^"]*)"', page)
        path = f"/desk/readers{more[1].replace('&amp;', '&')}" if more else ""

    assert len(seen) == len(set(seen)) == 130


async def test_filters_show_who_fits_and_no_other(shop):
    await shop.services.store.write(add_subscribers, 20, now=datetime.now(UTC))
    await shop.log_in()

    left = (await shop.client.get("/desk/readers?state=left")).text
    found = (await shop.client.get("/desk/readers?q=READER11%40")).text

    assert re.findall(r"reader\d+@", left) == ["reader18@", "reader8@"]
    assert re.findall(r"reader\d+@", found) == ["reader11@"]


@pytest.mark.rule("WE-15")
@pytest.mark.parametrize(
    "query", ["readers?state=evil", "readers?channel=x", "answers?state=1", "media?kind=;drop"]
)
async def test_a_filter_that_does_not_exist_is_refused(shop, query):
    await shop.log_in()

    assert (await shop.client.get(f"/desk/{query}")).status_code == 422
    assert (await shop.client.get("/desk/readers?before=x")).status_code == 400


async def test_growth_is_drawn_for_each_channel_and_told_in_words(tmp_path):
    async with furnished(tmp_path / "shop", answers=1) as (shop, _):
        await shop.log_in()
        page = (await shop.client.get("/desk/readers")).text

    lines = re.findall(r'<polyline class="line (\w+)" points="([^"]+)"', page)
    assert [name for name, _ in lines] == ["mail", "fediverse"]
    for _, points in lines:
        across = [float(point.partition(",")[0]) for point in points.split()]
        assert across == sorted(across)
        assert across[-1] == 632
    assert "42 abonnements par courriel" in re.search(r"<desc[^>]*>([^<]+)", page)[1]


async def test_four_hundred_answers_are_pages_with_filters_and_come_back_to_them(tmp_path):
    async with furnished(tmp_path / "shop", answers=400) as (shop, _):
        csrf = await shop.log_in()
        hidden = (await shop.client.get("/desk/answers?state=hidden")).text
        mail = (await shop.client.get("/desk/answers?state=all&channel=email")).text
        seen: set[str] = set()
        path = "/desk/answers?state=all"
        while path:
            page = (await shop.client.get(path)).text
            here = re.findall(r'id="r-(\d+)"', page)
            assert len(here) <= 30
            seen |= set(here)
            more = re.search(r'href="(\?before=[^"]+)"', page)
            path = f"/desk/answers{more[1].replace('&amp;', '&')}" if more else ""

        back = "/desk/answers?state=hidden"
        first = re.search(r'id="r-(\d+)"', hidden)[1]
        shown = await shop.post(f"/desk/answers/{first}", csrf=csrf, action="approve", back=back)
        evil = await shop.post(
            f"/desk/answers/{first}", csrf=csrf, action="hide", back="//evil.example"
        )

    assert len(seen) == 400
    assert 'id="r-' not in mail
    assert shown.headers["location"] == back
    assert evil.headers["location"] == "/desk/answers"


async def test_an_answer_that_cannot_be_sent_stays_in_its_field(tmp_path):
    async with furnished(tmp_path / "shop", answers=3) as (shop, _):
        csrf = await shop.log_in()

        answer = await shop.post("/desk/answers/1/answer?state=all", csrf=csrf, text="x" * 5001)

    assert answer.status_code == 422
    assert 'aria-describedby="p-text-1"' in answer.text
    assert "x" * 5001 in answer.text


async def test_servers_are_blocked_one_by_one_and_by_mastodons_list(shop):
    csrf = await shop.log_in()
    headers = {"Origin": shop.base_url}

    async def take(octets, name="blocks.csv"):
        return await shop.client.post(
            "/desk/blocks",
            data={"csrf": csrf, "action": "import"},
            files={"list": (name, octets, "text/csv")},
            headers=headers,
        )

    wrong = await shop.post("/desk/blocks", csrf=csrf, action="add", value="no dots", note="Bruit")
    await shop.post("/desk/blocks", csrf=csrf, action="add", value="Spam.Example", note="Pub")
    taken = await take(
        b"#domain,#severity\nbad.example,suspend\nspam.example,suspend\n<script>,x\n"
    )
    nonsense = await take(b"\xff\xfe\x00garbage")
    other = await take(b"name,age\nx,1\n")
    kept = [one.value for one in await shop.services.store.read(blocks.all_blocks)]
    await shop.post("/desk/blocks", csrf=csrf, action="lift", value="bad.example")

    assert wrong.status_code == 422
    assert "no dots" in wrong.text
    assert 'id="p-value"' in wrong.text
    assert kept == ["spam.example", "bad.example"]
    assert taken.headers["location"] == "/desk/blocks?added=1"
    assert (nonsense.status_code, other.status_code) == (422, 422)
    assert [one.value for one in await shop.services.store.read(blocks.all_blocks)] == [
        "spam.example"
    ]


async def test_a_report_is_read_and_settled_once(tmp_path):
    async with furnished(tmp_path / "shop", answers=1) as (shop, _):
        csrf = await shop.log_in()
        assert "Hors sujet" in (await shop.client.get("/desk/reports")).text

        await shop.post("/desk/reports/1/settle", csrf=csrf)
        again = await shop.post("/desk/reports/1/settle", csrf=csrf)

        assert again.status_code == 303
        assert "Hors sujet" not in (await shop.client.get("/desk/reports")).text
        assert "Hors sujet" in (await shop.client.get("/desk/reports?state=settled")).text
        open_ones = await shop.services.store.read(conversations.reports, limit=9, settled=False)
    assert open_ones == []


def hostile(kind: str) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("media/a.jpg")
        if kind == "parent":
            member.name = "media/../../outside.jpg"
        elif kind == "absolute":
            member.name = "/tmp/outside.jpg"
        elif kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member, BytesIO(bytes(member.size)))
    return out.getvalue()


@pytest.mark.rule("ME-9")
@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_a_hostile_archive_is_not_restored_and_writes_nothing(tmp_path, kind):
    source = tmp_path / "backup.tar.gz"
    source.write_bytes(hostile(kind))
    settings = load({}, data=tmp_path / "data")

    with pytest.raises(AppError):
        restore_backup(settings, source, now=datetime.now(UTC))

    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert written == []


def test_every_list_is_found_by_an_index(shop_plan):
    assert shop_plan == {}


@pytest.fixture
async def shop_plan(shop):
    """Queries of the desk's lists that would read a whole table, by name."""
    own = await shop.services.keyring.newsletter()
    queries = {
        "followers": f"SELECT id FROM follower WHERE actor_id = {own.id} AND id < 9 "
        "ORDER BY id DESC LIMIT 5",
        "left": "SELECT id FROM subscriber WHERE state = 'left' AND id < 9 "
        "ORDER BY id DESC LIMIT 5",
        "answers": "SELECT id FROM reply WHERE state = 'pending' AND id < 9 "
        "ORDER BY id DESC LIMIT 5",
    }

    def plans(tx):
        found = {}
        for name, query in queries.items():
            rows = tx.rows(sa.text(f"EXPLAIN QUERY PLAN {query}"))
            text = " ".join(str(row[-1]) for row in rows)
            if "USING" not in text or "TEMP B-TREE" in text:
                found[name] = text
        return found

    return await shop.services.store.read(plans)
