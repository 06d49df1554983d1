"""The programs that people come from, and what their rows say."""

import csv
import io
from datetime import UTC, datetime

import pytest

from tests.fediletter.dump import settled
from tests.fediletter.exports import LISTS, MAILCHIMP, zipped
from tests.fediletter.lists import AGREED, ListDesk, suppression
from tests.fediletter.readers import person
from tests.fediletter.test_cli import run


@pytest.fixture
async def desk(shop) -> ListDesk:
    return ListDesk(shop, await shop.log_in())


@pytest.mark.parametrize("source", LISTS)
async def test_what_other_programs_export_is_taken_as_it_is_at_the_desk(desk, source):
    name, octets, states = LISTS[source]

    path, page = await desk.look(octets, name)
    assert (await desk.report(path)).source == source
    assert f"<dd>{source}</dd>" in page
    await desk.shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)

    assert await desk.states() == states


@pytest.mark.slow
@pytest.mark.parametrize("source", LISTS)
def test_what_other_programs_export_is_taken_as_it_is_on_the_command_line(tmp_path, source):
    name, octets, states = LISTS[source]
    (tmp_path / name).write_bytes(octets)
    data = ("--data", str(tmp_path / "data"))
    run(*data, "init")
    order = (*data, "subscribers", "import", str(tmp_path / name))

    dry = run(*order, "--dry-run")
    done = run(*order, "--confirmed", "--proof", "moved house")
    again = run(*order, "--confirmed", "--proof", "moved house")

    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert f"{source}: {len(states)} added, 0 known" in dry.stdout
    assert "Nothing was changed." in dry.stdout
    assert f"{source}: {len(states)} added, 0 known" in done.stdout
    assert f"{source}: 0 added, {len(states)} known" in again.stdout
    rows = csv.DictReader(io.StringIO(run(*data, "subscribers", "export").stdout))
    assert {row["email"]: row["state"] for row in rows} == states


@pytest.mark.rule("IM-4")
async def test_an_archive_of_mailchimp_says_who_left_who_is_dead_and_who_never_came(desk, shop):
    path, _ = await desk.look(zipped(MAILCHIMP), "audience.zip")
    refused = await desk.refused(path)
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)

    assert [(row[0][:6], row[2]) for row in refused] == [
        ("subscr", "m…@example.org"),
        ("nonsub", "m…@example.org"),
    ]
    assert await suppression(shop, "mc-left@example.org") == "left"
    assert await suppression(shop, "mc-dead@example.org") == "gone"
    left = await person(shop, "mc-left@example.org")
    assert left.left_at == datetime(2022, 1, 2, 3, 4, 5, tzinfo=UTC)
    active = await person(shop, "mc-active@example.org")
    assert active.confirmed_at == datetime(2021, 3, 4, 9, 12, tzinfo=UTC)


@pytest.mark.rule("OP-8")
@pytest.mark.rule("L-71")
async def test_who_was_not_at_the_door_gets_one_mail_that_asks_and_who_left_gets_none(desk, shop):
    page = await desk.take(LISTS["Buttondown"][1])
    assert "6 reprises" in page
    assert (await desk.states())["bd-in@example.org"] == "pending"

    from fediletter.newsletter import retention
    from fediletter.outbound.asks import mailroom_of

    def ask(tx):
        return retention.ask_the_imported(
            tx, mailroom_of(tx, shop.services), shop.services.tokens, now=datetime.now(UTC)
        )

    assert [await shop.services.store.write(ask) for _ in range(2)] == [3, 0]
    await shop.mail_to("bd-in@example.org")
    await shop.mail_to("bd-wait@example.org")
    # Who asks by the form on the same day gets no second one.
    await shop.client.post("/subscribe", data={"email": "bd-in@example.org"})
    await settled(shop)
    assert [mail.to for mail in shop.mailbox()].count("bd-in@example.org") == 1
    assert {mail.to for mail in shop.mailbox()} == {
        "bd-in@example.org",
        "bd-paid@example.org",
        "bd-wait@example.org",
    }


# --- what is in a row ------------------------------------------------------------------------


@pytest.mark.rule("IM-1")
@pytest.mark.rule("PR-1")
async def test_what_is_nobodys_business_is_named_and_not_kept(desk, shop):
    path, page = await desk.look(zipped(MAILCHIMP), "audience.zip")

    dropped = (await desk.report(path)).dropped
    for column in ("First Name", "OPTIN_IP", "LATITUDE", "MEMBER_RATING", "UNSUB_REASON"):
        assert column in dropped
        assert column in page
    assert not {"Email Address", "TAGS", "CONFIRM_TIME", "CLEAN_TIME"} & set(dropped)
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)
    from tests.fediletter.dump import dump

    kept = str(await shop.services.store.read(dump))
    for private in ("mc-buyer", "203.0.113.9", "48.86", "Europe/Paris"):
        assert private not in kept


@pytest.mark.rule("IM-2")
@pytest.mark.parametrize(
    ("cells", "order", "asks", "first"),
    [
        (("2023-04-05", "2023-04-06"), "", False, (2023, 4, 5)),
        (("04/05/2023", "25/12/2022"), "day", False, (2023, 5, 4)),
        (("04/05/2023", "12/25/2022"), "month", False, (2023, 4, 5)),
        (("04/05/2023", "05/06/2023"), "day", True, (2023, 5, 4)),
    ],
)
async def test_a_date_is_read_as_the_file_tells_or_as_the_founder_says(
    desk, shop, cells, order, asks, first
):
    rows = "".join(f"r{number}@example.org,{cell}\n" for number, cell in enumerate(cells))
    path, page = await desk.look(f"email,created_at\n{rows}")

    report = await desk.report(path)
    assert (report.order, report.asks_order) == (order, asks)
    assert ('name="order"' in page) == asks
    if asks:
        bare = await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
        assert (bare.status_code, 'id="p-order"' in bare.text) == (422, True)
        assert AGREED["proof"] in bare.text
    chosen = {"order": "month"} if asks else {}
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED, **chosen)
    await desk.finished(path)
    found = (await person(shop, "r0@example.org")).confirmed_at
    year, month, day = (2023, 4, 5) if asks else first
    assert found == datetime(year, month, day, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.rule("IM-2")
async def test_the_command_line_asks_for_the_order_of_dates_and_takes_it(tmp_path):
    (tmp_path / "list.csv").write_text("email,created_at\nana@example.org,04/05/2023\n")
    data = ("--data", str(tmp_path / "data"))
    run(*data, "init")
    order = (*data, "subscribers", "import", str(tmp_path / "list.csv"))

    dry, bare = run(*order, "--dry-run"), run(*order)
    taken = run(*order, "--confirmed", "--proof", "x", "--dates", "month-first")

    assert "can be read in two ways" in dry.stdout
    assert (bare.returncode, bare.stderr.count("Say whether the day")) == (1, 1)
    assert "1 added" in taken.stdout
    assert "2023-04-05" in run(*data, "subscribers", "export").stdout


@pytest.mark.rule("IM-3")
@pytest.mark.parametrize(
    ("word", "state"),
    [
        *((word, "left") for word in ("true", "YES", "oui", "1", "t", "x")),
        *((word, "active") for word in ("false", "No", "non", "0", "F", "")),
        ("maybe", None),
    ],
)
def test_yes_and_no_are_read_in_both_languages_and_nothing_is_guessed(tmp_path, word, state):
    from fediletter.importing.cells import Refused
    from fediletter.importing.deciding import Decider
    from fediletter.importing.files import open_sheet, rows
    from fediletter.importing.providers import source_of

    (tmp_path / "list.csv").write_text(f"EMAIL;EMAIL_BLACKLISTED\nana@example.org;{word}\n")
    sheet = open_sheet("list.csv", tmp_path / "list.csv")
    decider = Decider(
        sheet, source_of(sheet.columns), order="day", language="fr", now=datetime.now(UTC)
    )
    _, row = rows(sheet)

    if state is None:
        with pytest.raises(Refused, match="yes or no"):
            decider.person_of(row)
    else:
        assert decider.person_of(row).level == state


BAD_ROWS = {
    "ana@@example.org,": "un seul @",
    "ana example.org,": "un nom, un @ et un domaine",
    "ana b@example.org,": "pas d’espace",
    "évë@example.org,": "accent avant le @",
    "ana@nowhere,": "nom de domaine",
    ",2023-01-02": "pas d’adresse dans cette ligne",
    '"=HYPERLINK(""https://evil.example"")",': "une formule",
    "ana@exa\0mple.org,": "octet nul",
    "eve@example.org,not a date": "ne se lit pas",
    "eve@example.org,2999-01-01": "dans l’avenir",
    "eve@example.org,1823-01-01": "ne se lit pas",
    "eve@example.org,,more": "plus de cellules",
}


@pytest.mark.rule("IM-5")
@pytest.mark.rule("WE-18")
async def test_each_refused_row_has_its_line_and_says_what_is_wrong(desk):
    rows = [*BAD_ROWS, "good@example.org,2023-01-02", "GOOD@example.org,"]
    path, page = await desk.look("email,created_at\n" + "\n".join(rows) + "\n")

    refused = await desk.refused(path)

    assert [int(row[1]) for row in refused] == [*range(2, 2 + len(BAD_ROWS)), len(rows) + 1]
    for row, reason in zip(refused, [*BAD_ROWS.values(), "deux fois"], strict=True):
        assert reason in row[3], row
        assert " ".join(row[3].split()) in page
        assert not row[2].startswith(("=", "+", "-", "@"))
    assert (await desk.report(path)).levels == {"active": 1}
    assert "eve@" not in page


@pytest.mark.rule("WE-18")
async def test_a_refused_formula_stays_text_in_the_table(desk):
    path, _ = await desk.look("email\n=cmd|'/c calc'!A0\n@SUM(1)\n+1@@x\n")

    for row in await desk.refused(path):
        assert row[2][:1] not in "=+-@"


async def test_an_address_twice_in_a_file_is_one_person(desk):
    await desk.take("email,state\nAna@Example.org,active\nana@example.org,pending\n", **AGREED)

    assert list((await desk.states()).values()) == ["active"]
