"""Files that come as lists: encodings, archives, and what is no list at all."""

import io
import json
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fediletter import importing
from fediletter.errors import AppError
from fediletter.exporting.subscribers import COLUMNS
from fediletter.importing.notebook import people_in
from fediletter.importing.reading import read_list
from fediletter.services import desk_of
from fediletter.words import words
from tests.fediletter.exports import zipped
from tests.fediletter.lists import ListDesk


@pytest.fixture
async def desk(shop) -> ListDesk:
    return ListDesk(shop, await shop.log_in())


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


@pytest.mark.slow
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
