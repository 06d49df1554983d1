"""Lists that come in: nobody is lost, nobody is written to who left elsewhere, all is said."""

import asyncio
import csv
import io
import json
import tempfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from fediletter import importing
from fediletter.errors import AppError
from fediletter.exporting import COLUMNS
from fediletter.importing.notebook import people_in
from fediletter.importing.reading import read_list
from fediletter.newsletter.posts import topic_named
from fediletter.services import desk_of
from fediletter.words import words
from storage import crowds, intakes, subscribers, topics
from storage.schema import founder
from tests.fediletter.dump import settled
from tests.fediletter.exports import LISTS, MAILCHIMP, zipped
from tests.fediletter.readers import person
from tests.fediletter.test_cli import run
from tests.shop import running_shop, until

KEILA = "Email,First name,Last name,Data,Status,External ID\n"
AGREED = {"confirmed": "yes", "proof": "Au marché, en mai"}


class ListDesk:
    """A founder before the page for lists."""

    def __init__(self, shop, csrf: str) -> None:
        self.shop, self.csrf = shop, csrf

    async def give(self, octets: bytes | str, name: str = "list.csv"):
        """Upload; the answer and the path of the list's page."""
        octets = octets.encode() if isinstance(octets, str) else octets
        answer = await self.shop.client.post(
            "/desk/readers/import",
            data={"csrf": self.csrf},
            files={"list": (name, octets, "text/csv")},
            headers={"Origin": self.shop.base_url},
        )
        return answer, answer.headers.get("location", "")

    async def finished(self, path: str) -> str:
        """The page, when nothing moves any more."""

        async def found():
            return (await self.shop.client.get(f"{path}/state")).json()["finished"]

        await until(found)
        return (await self.shop.client.get(path)).text.replace("\u00a0", " ")

    async def look(self, octets: bytes | str, name: str = "list.csv") -> tuple[str, str]:
        """Path and page of a list that was read."""
        answer, path = await self.give(octets, name)
        assert answer.status_code == 303, answer.text
        return path, await self.finished(path)

    async def take(self, octets: bytes | str, name: str = "list.csv", **wish) -> str:
        """Look, then take in; the page afterwards."""
        path, _ = await self.look(octets, name)
        answer = await self.shop.post(path, csrf=self.csrf, action="take", **wish)
        assert answer.status_code == 303, answer.text
        return await self.finished(path)

    async def report(self, path: str) -> importing.Report:
        found = await self.shop.services.store.read(intakes.find_intake, path.rpartition("/")[2])
        return importing.Report(**found.report)

    async def refused(self, path: str) -> list[list[str]]:
        """The table of refusals without its header."""
        answer = await self.shop.client.get(f"{path}/refused.csv")
        assert answer.headers["content-disposition"] == 'attachment; filename="refused.csv"'
        return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))[1:]

    async def states(self) -> dict[str, str]:
        people = await self.shop.services.store.read(subscribers.list_subscribers, limit=1000)
        return {one.email: one.state for one in people}


@pytest.fixture
async def desk(shop) -> ListDesk:
    return ListDesk(shop, await shop.log_in())


async def suppression(shop, address: str) -> str | None:
    hashed = shop.services.tokens.hash_address(address)
    return await shop.services.store.read(subscribers.suppression_of, hashed)


async def test_a_list_is_looked_at_first_and_taken_in_with_its_proof(desk, shop):
    path, page = await desk.look("email\nana@example.org\nnot an address\nben@example.org\n")
    assert "Personne n’a été ajouté" in page
    assert "2 à ajouter" in page
    assert await desk.states() == {}

    bare = await shop.post(path, csrf=desk.csrf, action="take", confirmed="yes")
    assert bare.status_code == 422
    assert 'id="p-proof"' in bare.text
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    page = await desk.finished(path)

    assert "2 reprises, 0 déjà connue, 1 refusée" in page
    assert await desk.states() == {"ana@example.org": "active", "ben@example.org": "active"}
    ana = await person(shop, "ana@example.org")
    record = await shop.services.store.read(subscribers.consent_of, ana.id)
    assert [(event.kind, event.proof) for event in record] == [("imported", AGREED["proof"])]
    assert sorted(one.name for one in (desk_of(shop.services).folder / path[-16:]).iterdir()) == [
        "lock",
        "refused.jsonl",
    ]


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize(
    ("status", "state"),
    [("active", "active"), ("unsubscribed", "left"), ("unreachable", "suppressed")],
)
async def test_who_left_or_cannot_be_reached_at_keila_gets_no_letter(desk, shop, status, state):
    await desk.take(f"{KEILA}ana@example.org,A,B,{{}},{status},1\n", **AGREED)

    assert await desk.states() == {"ana@example.org": state}
    reason = {"active": None, "unsubscribed": "left", "unreachable": "gone"}[status]
    assert await suppression(shop, "ana@example.org") == reason


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize("order", [("active", "unsubscribed"), ("unsubscribed", "active")])
async def test_who_left_on_one_line_of_a_file_is_not_active_by_another(desk, order):
    rows = "".join(f"ana@example.org,A,B,{{}},{status},1\n" for status in order)

    path, _ = await desk.look(KEILA + rows)

    line = order.index("active") + 2
    assert (await desk.refused(path))[0][:3] == ["", str(line), "a…@example.org"]
    await desk.shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)
    assert await desk.states() == {"ana@example.org": "left"}


# --- the programs that people come from ------------------------------------------------------


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


# --- files that are none ---------------------------------------------------------------------


@pytest.mark.rule("IM-5")
@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("cp1252", "Windows-1252"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_an_encoding_is_found_and_said_before_anything_is_done(
    desk, shop, encoding, name, delimiter
):
    text = "E-Mail,Prénom,Thèmes\nana@example.org,Ève,Été\n".replace(",", delimiter)
    path, page = await desk.look(text.encode(encoding))

    assert f"<dd>{name}</dd>" in page
    assert (await desk.report(path)).labels == {"Été": 1}


@pytest.mark.rule("IM-6")
@pytest.mark.rule("ME-9")
@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "vide"),
        (b"\n\n", "vide"),
        (b"\x00\x01\x02", "pas du texte"),
        ("email\nana@example.org\n".encode("utf-16-le"), "pas du texte"),
        (b"email\nan\x81a@example.org\n", "encodage"),
        (b"name\nx\n", "colonne"),
        (b'email\nana@example.org\n"' + b"x" * 70_000 + b"\n", "64"),
        (b"email," + b"x," * 600 + b"\n", "500"),
        (zipped({"a.txt": "x"}), "pas de CSV"),
        (zipped({"inner.zip": zipped({"a.csv": "email\n"})}), "archive dans cette archive"),
        (zipped({"../a.csv": "email\n"}), "en dehors"),
        (zipped({"/a.csv": "email\n"}), "en dehors"),
        (zipped({f"{n}.csv": "email\n" for n in range(21)}), "20"),
        (zipped({"a.csv": b"email\n" + b"\n" * (20 << 20)}), "bien plus grande"),
        (b"PK\x05\x06" + b"\0" * 18, "CSV"),
        (zipped({"a.csv": "email\nana@example.org\n"})[:-30] + b"PK\x05\x06", "texte"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
async def test_a_list_that_is_none_is_refused_whole_with_a_sentence(desk, octets, words):
    path, page = await desk.look(octets, "../../list.csv")

    alert = page[page.index('role="alert"') :][:400]
    assert words in alert, alert
    assert await desk.states() == {}
    left = (desk_of(desk.shop.services).folder / path[-16:]).iterdir()
    assert {one.name for one in left} <= {"lock", "refused.jsonl"}


@pytest.mark.rule("IM-6")
async def test_what_an_archive_says_of_its_own_size_is_not_believed(desk):
    octets = zipped({"a.csv": b"email\n" + b"\n" * (20 << 20)})
    true = (6 + (20 << 20)).to_bytes(4, "little")
    assert octets.count(true) >= 1
    _, page = await desk.look(octets.replace(true, (100).to_bytes(4, "little")))

    assert 'role="alert"' in page
    assert await desk.states() == {}


def _broken_stream() -> bytes:
    octets = bytearray(zipped({"a.csv": "email\n" + "".join(f"r{n}@x.org\n" for n in range(999))}))
    octets[60:200] = b"\xff" * 140
    return bytes(octets)


@pytest.mark.rule("IM-6")
async def test_an_archive_whose_stream_is_broken_is_refused(desk):
    _, page = await desk.look(
        _broken_stream(), "liste\ud800\x00.zip".encode(errors="replace").decode()
    )

    assert "Cette archive ne se lit pas." in page


_CELLS = st.sampled_from(
    [
        *("ana@example.org", "x@y", "'=1+1", "active", "complained", "true", "[" * 5000),
        *('["\\ud800", "\\u0000", "Lin"]', '{"lang": 1}', "[" + "9" * 5000 + "]", "x" * 70_000),
        *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "31/02/2020", "24:00"),
        *("\u0661/1/2020", '"', "'", "\r", "\n", "\0", "\ufeff"),
    ]
)
_HEADERS = st.sampled_from(
    [
        *("email,tags,created_at,language", ",".join(COLUMNS), "uuid,email,attributes,status"),
        *("Email Address,OPTIN_TIME,CLEAN_TIME,TAGS,LEID", "email;email_blacklisted;added_time"),
        *("email_address,type,creation_date", "email,email,email", '"email', ""),
    ]
)


@pytest.mark.rule("IM-5")
@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    _HEADERS,
    st.lists(st.lists(_CELLS | st.text(max_size=20), max_size=16), max_size=6),
    st.binary(max_size=9),
)
def test_whatever_stands_in_a_file_is_read_or_refused_with_words(header, cells, octets):
    text = "\n".join([header, *(("," if "," in header else ";").join(row) for row in cells)])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "list").write_bytes(text.encode(errors="surrogatepass") + octets)
        try:
            report = read_list(
                folder, name="l.csv", order="", language="fr", now=datetime.now(UTC),
                moved=lambda _done, _total: None,
            )  # fmt: skip
        except AppError as wrong:
            words("fr").gettext(wrong.words, **wrong.fields)
            return
        read = [one for batch in people_in(folder, after=0, size=2) for _, one in batch]
        assert len(read) == report.people
        assert len(list(importing.refusals(folder))) == report.refused
        json.dumps(report.as_json()).encode()
        " ".join(report.labels).encode()


@pytest.mark.rule("IM-6")
async def test_a_link_in_an_archive_is_refused(desk):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        link = zipfile.ZipInfo("list.csv")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")

    _, page = await desk.look(out.getvalue())

    assert "contient un lien" in page


# --- topics ----------------------------------------------------------------------------------


async def test_labels_become_topics_only_if_a_founder_says_so(desk, shop):
    await shop.services.store.write(topic_named, "Lin", now=datetime.now(UTC))
    path, page = await desk.look(
        'email,tags\nana@example.org,"lin, VIP, Cuir"\nben@example.org,VIP\n'
    )

    assert 'value="VIP"' in page
    assert 'value="lin"' not in page
    await shop.post(path, csrf=desk.csrf, action="take", topic="Cuir", **AGREED)
    await desk.finished(path)

    async def chosen(address):
        one = await person(shop, address)
        return await shop.services.store.read(subscribers.topics_of, one.id), one.all_topics

    assert await chosen("ana@example.org") == (("cuir", "lin"), False)
    assert await chosen("ben@example.org") == ((), True)
    assert [one.slug for one in await shop.services.store.read(topics.all_topics)] == [
        "cuir",
        "lin",
    ]


# --- who is known already --------------------------------------------------------------------


@pytest.mark.rule("IM-4")
async def test_an_import_brings_nobody_back_and_overwrites_no_newer_choice(desk, shop):
    await shop.subscribe("left@example.org")
    await shop.subscribe("stays@example.org")
    one = await person(shop, "left@example.org")
    await shop.client.post(f"/unsubscribe/{shop.services.tokens.unsubscribe(one.key)}")

    def forgotten(tx):
        hashed = shop.services.tokens.hash_address("erased@example.org")
        subscribers.suppress(tx, hashed, "erased", now=datetime.now(UTC))

    await shop.services.store.write(forgotten)
    path, page = await desk.look(
        "email,state,unsubscribed_at\nleft@example.org,active,\nerased@example.org,active,\n"
        "stays@example.org,unsubscribed,2020-01-02\n"
    )
    assert "Restent à l’écart" in page
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)

    report = await desk.report(path)
    assert (report.added, report.kept_out, report.known, report.ended) == (0, 2, 1, 0)
    assert await desk.states() == {"left@example.org": "left", "stays@example.org": "active"}
    assert await suppression(shop, "stays@example.org") is None


@pytest.mark.rule("IM-4")
async def test_who_waits_is_subscribed_by_a_list_with_proof_and_who_complained_is_let_go(desk):
    await desk.take("email\nwaits@example.org\nangry@example.org\n")
    assert set((await desk.states()).values()) == {"pending"}

    page = await desk.take("email\nwaits@example.org\nangry@example.org\n", **AGREED)
    assert "2 déjà" not in page
    assert set((await desk.states()).values()) == {"active"}

    await desk.take("email_address,type\nangry@example.org,complained\n", **AGREED)
    assert (await desk.states())["angry@example.org"] == "left"
    assert await suppression(desk.shop, "angry@example.org") == "complaint"
    await desk.take("email_address,type\nangry@example.org,unsubscribed\n", **AGREED)
    assert await suppression(desk.shop, "angry@example.org") == "complaint"


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize(
    ("row", "state"),
    [
        ("complained,", "left"),
        ("complained,2020-01-02", "active"),  # They chose letters here since.
        ("unsubscribed,", "active"),
    ],
)
async def test_a_complaint_without_a_date_weighs_more_than_a_choice_here(desk, shop, row, state):
    await shop.subscribe("ana@example.org")

    await desk.take(f"email_address,type,unsubscription_date\nana@example.org,{row}\n", **AGREED)

    assert (await desk.states())["ana@example.org"] == state
    expected = "complaint" if state == "left" else None
    assert await suppression(shop, "ana@example.org") == expected


# --- out and in again ------------------------------------------------------------------------


@pytest.mark.rule("IM-7")
async def test_our_own_list_goes_out_and_comes_in_without_loss(desk, shop, tmp_path):
    await shop.services.store.write(topic_named, "Lin", now=datetime.now(UTC))
    await shop.subscribe("ana@example.org", topics=["lin"])
    await shop.subscribe("gone@example.org")
    await desk.take(LISTS["Buttondown"][1], **AGREED)
    await desk.take("email\n'+plus@example.org\n", **AGREED)

    def prepare(tx):
        now = datetime.now(UTC).replace(microsecond=0)
        ana = subscribers.find_subscriber(tx, "ana@example.org")
        vip = topic_named(tx, "VIP", now=now)
        topics.update_topic(tx, vip.id, name="VIP", hashtag="vip", description="", public=False)
        subscribers.change_subscriber(
            tx, ana.id, rhythm="monthly", language="en", paused_until=now + timedelta(days=30)
        )
        from storage.schema import subscription

        tx.execute(subscription.insert().values(subscriber_id=ana.id, topic_id=vip.id, since=0))
        gone = subscribers.find_subscriber(tx, "gone@example.org")
        subscribers.change_subscriber(tx, gone.id, state="suppressed")
        hashed = shop.services.tokens.hash_address("gone@example.org")
        subscribers.suppress(tx, hashed, "full", now=now)

    await shop.services.store.write(prepare)

    async def out(of):
        answer = await of.shop.post("/desk/readers/export", csrf=of.csrf)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        return answer.content

    first = await out(desk)
    rows = {row["email"]: row for row in csv.DictReader(io.StringIO(first.decode("utf-8-sig")))}
    assert tuple(next(iter(rows.values()))) == COLUMNS
    assert first.startswith(b"\xef\xbb\xbfemail,language,rhythm,topics,state,requested_at")
    assert first.count(b"\r\n") == len(rows) + 1
    ana = rows["ana@example.org"]
    assert (ana["hidden_topics"], ana["rhythm"], ana["source"]) == ("vip", "monthly", "form")
    assert len(ana["consent_version"]) == 16
    assert len(ana["consent_text"]) > 40
    assert rows["gone@example.org"]["reason"] == "full"
    assert rows["bd-angry@example.org"]["reason"] == "complaint"
    assert rows["bd-in@example.org"]["proof"] == AGREED["proof"]
    assert "'+plus@example.org" in rows

    async with running_shop(tmp_path / "other") as other:
        there = ListDesk(other, await other.log_in())
        path, page = await there.look(first)
        assert "trace des accords" in page
        await other.post(path, csrf=there.csrf, action="take")
        await there.finished(path)

        assert (await out(there)).decode().splitlines() == first.decode().splitlines()
        assert await suppression(other, "gone@example.org") == "full"
        hidden = {
            one.slug: one.public for one in await other.services.store.read(topics.all_topics)
        }
        assert hidden["vip"] is False

        def wording(tx):
            known = subscribers.find_subscriber(tx, "ana@example.org")
            return crowds.records_of(tx, [known.id])[known.id].text

        assert await other.services.store.read(wording) == ana["consent_text"]


def _make_an_editor(tx) -> None:
    tx.execute(sa.update(founder).values(role="editor"))


@pytest.mark.rule("WE-7")
async def test_a_list_needs_a_founder_and_the_forms_own_token(desk, shop):
    path, _ = await desk.look("email\nana@example.org\n")

    for form in ({"action": "take"}, {"action": "take", "csrf": "x"}):
        assert (await shop.post(path, **form)).status_code == 403
    assert (await shop.post("/desk/readers/export")).status_code == 403
    pages = (path, f"{path}/state", f"{path}/refused.csv", "/desk/readers/import")
    await shop.services.store.write(_make_an_editor)
    for page in pages:
        assert (await shop.client.get(page)).status_code == 403
    assert (await shop.post(path, action="take", csrf=desk.csrf)).status_code == 403
    shop.client.cookies.clear()
    for page in pages:
        assert (await shop.client.get(page)).status_code == 303
    assert await desk.states() == {}


async def test_a_list_may_be_dropped_and_then_nothing_of_it_is_left(desk, shop):
    path, _ = await desk.look("email\nana@example.org\n")

    await shop.post(path, csrf=desk.csrf, action="drop")

    assert (await shop.client.get(path)).status_code == 404
    assert not (desk_of(shop.services).folder / path[-16:]).exists()
    assert (await shop.client.get("/desk/readers/import/nothing")).status_code == 404


async def test_a_list_whose_file_is_nowhere_fails_after_a_day_and_says_what_to_do(desk, shop):
    begun = datetime.now(UTC)

    def restored(tx):
        wish = importing.Wish(take=True).as_json()
        intakes.add_intake(
            tx, "0123456789abcdef", name="l.csv", wish=wish, total=9, founder_id=None, now=begun
        )

    await shop.services.store.write(restored)
    path = "/desk/readers/import/0123456789abcdef"
    for after, finished in ((timedelta(hours=23), False), (timedelta(hours=25), True)):
        await asyncio.to_thread(importing.tidy, desk_of(shop.services), now=begun + after)
        assert (await shop.client.get(f"{path}/state")).json()["finished"] is finished
    assert "Donnez le fichier encore une fois." in (await shop.client.get(path)).text


async def test_files_that_nobody_decided_about_and_old_reports_go(desk, shop):
    undecided, _ = await desk.look("email\nana@example.org\n")
    done, _ = await desk.look("email\nben@example.org\n")
    await shop.post(done, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(done)
    now = datetime.now(UTC)

    async def tidied(after):
        await asyncio.to_thread(importing.tidy, desk_of(shop.services), now=now + after)
        return [(await shop.client.get(path)).status_code for path in (undecided, done)]

    assert await tidied(timedelta(hours=23)) == [200, 200]
    assert await tidied(timedelta(hours=25)) == [404, 200]
    assert await tidied(timedelta(days=8)) == [404, 404]
    assert list(desk_of(shop.services).folder.iterdir()) == []
