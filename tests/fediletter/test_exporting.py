"""`export DIR`: everything in open formats, as somebody who leaves us would use it."""

import csv
import io
import re
import stat
from urllib.parse import unquote, urljoin, urlsplit

import html5lib
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from PIL import Image

from fediletter.cli import cli, spoken
from tests.fediletter.test_cli import run

_BASE = "http://127.0.0.1:8000"
_OLD = 21  # Letters: one more than a page of the archive.


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A directory with an export of a small shop, and where it was made."""
    folder = tmp_path_factory.mktemp("export")
    data = ("--data", str(folder / "data"))
    settings = {"FEDILETTER_SECOND_THOUGHTS": "0", "FEDILETTER_BASE_URL": _BASE}
    run(*data, "init", **settings)
    Image.new("RGB", (800, 600), "tan").save(folder / "bag.jpg")
    letter = folder / "letter.md"
    for number in range(_OLD):
        letter.write_text(
            f"---\ntitle: Lin {number}\ntopics: Lin\ncover: bag.jpg\ncover_alt: Un sac\n---\n"
            f"Lisez [la première]({_BASE}/letters/lin-0#answers), [eux](https://example.org/).\n"
        )
        # In this process: an interpreter for each would take a second.
        done = CliRunner().invoke(spoken(cli), [*data, "publish", str(letter)], env=settings)
        assert done.exit_code == 0, done.output
    run(*data, "dkim", "new", **settings)
    people = folder / "people.csv"
    people.write_text("email\nana@example.org\n")
    proof = ("--confirmed", "--proof", "at the counter")
    run(*data, "subscribers", "import", str(people), *proof, **settings)
    out = run(*data, "export", str(folder / "out"), **settings)
    assert out.returncode == 0, out.stderr
    return folder / "out"


@pytest.mark.slow
def test_each_link_of_the_site_leads_to_a_file_or_to_the_public_address(exported):
    site = exported / "site"
    pages = list(site.rglob("*.html"))
    referred = set()
    for page in pages:
        tree = html5lib.parse(page.read_text("utf-8"), namespaceHTMLElements=False)
        for element in tree.iter():
            links = [element.get(name) for name in ("action", "href", "src")]
            links += [one.split()[0] for one in (element.get("srcset") or "").split(",") if one]
            for link in filter(None, links):
                assert not link.startswith("/"), f"{page}: {link}"
                if not urlsplit(link).scheme and not link.startswith("#"):
                    target = urljoin(page.as_uri(), link)
                    referred.add(unquote(urlsplit(target).path))
    assert {str(site / "feed.atom"), str(site / "static" / "site.css")} <= referred
    missing = [path for path in referred if not (site / path).is_file()]
    assert missing == []
    letters = [page for page in pages if page.parent.parent == site / "letters"]
    assert len(letters) == _OLD, "those beyond the first page of the archive too"
    first = (site / "letters" / "lin-1" / "index.html").read_text("utf-8")
    assert 'href="../lin-0/index.html#answers"' in first
    assert 'href="https://example.org/"' in first
    assert f'href="{_BASE}/subscribe"' in first
    assert f'<link rel="canonical" href="{_BASE}/letters/lin-1">' in first


@pytest.mark.slow
def test_letters_refer_to_their_media_and_can_be_published_again(exported, tmp_path):
    letter = exported / "posts" / "lin-0.md"
    cover = re.search(r"^cover: (.+)$", letter.read_text("utf-8"), re.MULTILINE)[1]
    assert (letter.parent / cover).is_file()

    data = ("--data", str(tmp_path / "again"))
    run(*data, "init")
    again = run(*data, "publish", "--draft", str(letter))

    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_people_and_keys_are_for_the_callers_eyes_alone(exported):
    table = (exported / "subscribers.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["email"], row["proof"]) for row in rows] == [("ana@example.org", "at the counter")]
    followers = (exported / "followers-shop.csv").read_text("utf-8")
    assert followers.splitlines() == ["Account address"]
    assert (exported / "followers-lin.csv").is_file()
    keys = sorted((exported / "keys").iterdir())
    assert {"shop-rsa.pem", "shop-ed25519.pem", "lin-rsa.pem"} <= {key.name for key in keys}
    assert any(key.name.startswith("dkim-") for key in keys)
    for key in keys:
        assert load_pem_private_key(key.read_bytes(), None)
    private = [*keys, exported / "subscribers.csv", exported / "followers-shop.csv"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in private} == {0o600}
    assert stat.S_IMODE((exported / "site" / "index.html").stat().st_mode) & 0o044
