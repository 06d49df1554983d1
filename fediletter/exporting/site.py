"""The readers' site as files: what our own pages answer, linked to one another by relative paths.

It opens from a folder and from any server of files: `/letters/x` is `letters/x/index.html`. What
needs a program (joining, preferences, the agenda's votes) leads to the public address.
"""

import posixpath
import re
from collections import deque
from collections.abc import AsyncIterator
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx
from lxml import html
from starlette.types import ASGIApp

_BEGIN = ("/", "/feed.atom", "/feed.json", "/podcast.rss")
_COPIED = re.compile(
    r"(/|/@.+|/letters/[^/]+|/topics/[^/]+|/topics/[^/]+/feed\.atom|/privacy|/podcast\.rss"
    r"|/feed\.(atom|json)|/(media|static)/[^/]+)"
)
_OF_ARCHIVE = re.compile(r"(after|before)=[\w%.:~-]+")  # Further pages of a list.
_NAMES_US = ("canonical", "me")  # Not where a file lies.


async def site_files(app: ASGIApp, base_url: str) -> AsyncIterator[tuple[str, bytes]]:
    """Ask for every page that a reader can reach from the front page.

    Args:
        app: Ours; it serves `base_url`.
        base_url: Without a slash at its end.

    Yields:
        Path and octets of a file.
    """
    seen, waiting = set(_BEGIN), deque(_BEGIN)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(  # noqa: TID251 (asks this process, not a network)
        transport=transport, base_url=base_url
    ) as client:
        while waiting:
            target = waiting.popleft()
            answer = await client.get(target)
            if answer.status_code != httpx.codes.OK:
                continue
            octets = answer.content
            if answer.headers["content-type"].startswith("text/html"):
                page = _Page(octets, target, base_url)
                waiting.extend(page.leads_to - seen)
                seen |= page.leads_to
                octets = page.octets()
            yield _file_of(target), octets


class _Page:
    """A page whose links were turned: to the files beside it, or to the public address."""

    def __init__(self, octets: bytes, target: str, base_url: str) -> None:
        self.leads_to: set[str] = set()  # Addresses that are copied too.
        self._here = urljoin(base_url, target)
        self._base = base_url
        self._folder = posixpath.dirname(_file_of(target))
        self._root = html.document_fromstring(octets, parser=html.HTMLParser(encoding="utf-8"))
        for element in self._root.iter("*"):
            if element.get("rel") in _NAMES_US or "activity+json" in element.get("type", ""):
                continue
            for name in ("action", "href", "poster", "src"):
                if name in element.attrib:
                    element.set(name, self._turned(element.get(name)))
            if "srcset" in element.attrib:
                choices = (one.split() for one in element.get("srcset").split(","))
                turned = (" ".join([self._turned(url), *rest]) for url, *rest in choices)
                element.set("srcset", ", ".join(turned))

    def octets(self) -> bytes:
        found: bytes = html.tostring(self._root, encoding="utf-8", doctype="<!DOCTYPE html>")
        return found

    def _turned(self, link: str) -> str:
        url = urljoin(self._here, link)
        if not f"{url}/".startswith(f"{self._base}/") or link.startswith("#"):
            return link
        parts = urlsplit(url)
        target = parts.path or "/"
        if parts.query:
            target = f"{target}?{parts.query}"
        if not _COPIED.fullmatch(parts.path or "/"):
            return url
        if parts.query and not _OF_ARCHIVE.fullmatch(parts.query):
            return url
        self.leads_to.add(target)
        path = quote(posixpath.relpath(_file_of(target), self._folder or "."))
        return f"{path}#{parts.fragment}" if parts.fragment else path


def _file_of(target: str) -> str:
    """Where an address lies below the directory.

    >>> _file_of("/"), _file_of("/letters/lin?after=5"), _file_of("/feed.atom")
    ('index.html', 'letters/lin/after-5/index.html', 'feed.atom')
    """
    path, _, query = unquote(target).strip("/").partition("?")
    if posixpath.splitext(path)[1] and not query and not path.startswith("@"):
        return path
    further = re.sub(r"[^\w.-]+", "-", query)
    return posixpath.join(path, further, "index.html")
