"""A judge of feeds that is not ours: Jing, which the Nu HTML checker brings along, by the formats'
own grammars; and what no grammar can say."""

import json
import subprocess
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from tests.needs import need
from tests.web.browser import FOLDER, package

_ATOM = "{http://www.w3.org/2005/Atom}"
_GRAMMARS = {"{http://www.w3.org/2005/Atom}feed": "atom.rnc", "rss": "podcast.rnc"}


def feed_faults(path: Path, url: str) -> list[str]:
    """What is wrong with an Atom or a podcast feed, a line each; empty: nothing.

    Args:
        path: A file with the feed as it was sent.
        url: Where it was.
    """
    tree = ElementTree.parse(path).getroot()  # noqa: S314 (our own)
    jar = package("vnu-jar") / "build" / "dist" / "vnu.jar"
    grammar = FOLDER / "schemas" / _GRAMMARS[tree.tag]
    jing = [need("java"), "-cp", str(jar), "com.thaiopensource.relaxng.util.Driver", "-c"]
    done = subprocess.run(
        [*jing, str(grammar), str(path)], capture_output=True, text=True, timeout=120
    )
    said = (done.stdout + done.stderr).splitlines()
    faults = [line.removeprefix(f"{path}:") for line in said]
    assert done.returncode in (0, 1), said
    assert str(grammar) not in done.stdout, said
    assert bool(said) is bool(done.returncode), said
    return faults + (_atom_faults(tree, url) if tree.tag.startswith(_ATOM) else [])


def _atom_faults(feed: ElementTree.Element, url: str) -> list[str]:
    """RFC 4287 §4.1.1, §4.1.2, §4.2.6: what holds between elements."""
    faults = []
    links = [
        (one.get("rel", "alternate"), one.get("href")) for one in feed.iterfind(f"{_ATOM}link")
    ]
    if ("self", url) not in links:
        faults.append(f"no link to itself at {url}")
    ids = [one.findtext(f"{_ATOM}id") for one in feed.iterfind(f"{_ATOM}entry")]
    if len(set(ids)) != len(ids):
        faults.append("two entries of one id")
    for entry in feed.iterfind(f"{_ATOM}entry"):
        alternates = [
            (one.get("type"), one.get("hreflang"))
            for one in entry.iterfind(f"{_ATOM}link")
            if one.get("rel", "alternate") == "alternate"
        ]
        if len(set(alternates)) != len(alternates):
            faults.append("two links to the same kind of page")
        if not alternates and entry.find(f"{_ATOM}content") is None:
            faults.append("neither a link nor a text")
    return faults


def json_feed_faults(body: bytes, url: str) -> list[str]:
    """What JSON Feed 1.1 does not allow; empty: nothing."""
    feed = json.loads(body)
    faults = []
    if feed.get("version") != "https://jsonfeed.org/version/1.1":
        faults.append("version")
    if not feed.get("title") or not isinstance(feed.get("items"), list):
        faults.append("title and items are required")
    if feed.get("feed_url") != url:
        faults.append("feed_url")
    strings = ("home_page_url", "description", "icon", "favicon", "language")
    faults += [name for name in strings if not isinstance(feed.get(name, ""), str)]
    faults += [name for name in ("author",) if name in feed]  # Of version 1.
    for one in feed["items"]:
        wrong = [name for name in ("id", "url", "title", "content_html") if not _is_text(one, name)]
        for name in ("date_published", "date_modified"):
            if name in one and datetime.fromisoformat(one[name]).tzinfo is None:
                wrong.append(name)
        if not all(isinstance(tag, str) for tag in one.get("tags", [])):
            wrong.append("tags")
        if {"summary", "image", "language"} & {name for name in one if not _is_text(one, name)}:
            wrong.append("a text that is none")
        faults += [f"{one.get('id')}: {name}" for name in wrong]
    ids = [one.get("id") for one in feed["items"]]
    return faults if len(set(ids)) == len(ids) else [*faults, "two items of one id"]


def _is_text(item: dict[str, object], name: str) -> bool:
    return isinstance(item.get(name), str) and bool(item[name])
