"""A third language is one folder of catalogues: no code, no list elsewhere.

The package is copied, a folder with invented words is put beside the French one, and a whole shop
runs in that language.
"""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent.parent

# Run with the copy first on the path: a shop, its pages, its mail, its settings.
VISIT = """
import asyncio, re, sys
from pathlib import Path
from fediletter.settings import LANGUAGES
from tests.shop import running_shop

async def visit():
    assert LANGUAGES == ("de", "en", "fr"), LANGUAGES
    async with running_shop(Path(sys.argv[1]), language="de") as shop:
        german = {"Accept-Language": "de"}
        await shop.publish("Leinen", "Guten Tag.")
        for path in ("/", "/letters/leinen", "/subscribe", "/privacy", "/agenda", "/nothing"):
            print(path, (await shop.client.get(path, headers=german)).text)
        form = {"email": "ana@example.org", "language": "de"}
        await shop.client.post("/subscribe", data=form, headers=german)
        mail = (await shop.mail_to("ana@example.org"))[0]
        print("mail", mail.subject, mail.text)
        link = re.search(r"/confirm/\\S+", mail.text)[0]
        print("confirm", (await shop.client.get(link)).text)
        await shop.log_in()
        print("settings", (await shop.client.get("/desk/settings")).text)
        print("letter", (await shop.client.get("/desk/letters/new")).text)

asyncio.run(visit())
"""


def invented(folder: Path) -> set[str]:
    """Catalogues in which each message is itself between exclamation marks; their messages."""
    found = set()
    for path in (ROOT / "fediletter" / "locale" / "fr" / "LC_MESSAGES").glob("*.po"):
        catalogue = Catalog(locale="de")
        for message in read_po(io.BytesIO(path.read_bytes())):
            if not message.id:
                continue
            one = message.id if isinstance(message.id, tuple) else (message.id,)
            said = tuple(f"¡{text}!" for text in one)
            catalogue.add(message.id, said if isinstance(message.id, tuple) else said[0])
            found |= set(one)
        with (folder / path.name).open("wb") as file:
            write_po(file, catalogue)
    return found


@pytest.mark.slow
def test_a_third_language_is_one_folder(tmp_path):
    copy = tmp_path / "copy" / "fediletter"
    shutil.copytree(ROOT / "fediletter", copy, ignore=shutil.ignore_patterns("__pycache__"))
    folder = copy / "locale" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    messages = invented(folder)
    environ = {
        "PYTHONPATH": f"{copy.parent}:{ROOT}",
        "PATH": "/usr/bin:/bin",
        "LANG": "de_DE.UTF-8",
    }
    visit = subprocess.run(
        [sys.executable, "-c", VISIT, str(tmp_path / "shop")],
        cwd=copy.parent,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert visit.returncode == 0, visit.stderr
    assert "¡Receive the letters!" in visit.stdout
    assert 'value="de"' in visit.stdout
    assert "Deutsch" in visit.stdout
    assert "Dezember" in visit.stdout or re.search(r"\d+\. \w+ 20\d\d", visit.stdout)
    shown = re.sub(r"<[^>]*>", "\n", visit.stdout)
    bare = [
        line.strip()
        for line in shown.splitlines()
        if line.strip() in messages and len(line.strip()) > 3
    ]
    assert bare == [], "said in English"
    status = subprocess.run(
        [sys.executable, "-m", "fediletter", "--data", str(tmp_path / "none"), "status"],
        cwd=copy.parent,
        env=environ | {"FEDILETTER_LANGUAGE": "de"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert status.returncode == 1
    assert status.stderr.startswith("fediletter: ¡"), status.stderr
