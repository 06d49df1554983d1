"""Whole answers kept per revision: made once, then answered from memory, with an ETag.

The newsletter's revision moves with everything that a page, feed or document shows; when it has
moved, all that was kept is forgotten. A change made by this process is heard before the one who
made it is answered; one made by another is seen within `_SURE_SECONDS`, since nothing is answered
from here by a revision that was looked up longer ago.

Kept is only what is the same for everybody: no answer that says `private` or `no-store`, none that
sets a cookie. The variants of an address are the two languages, and JSON or HTML. What is kept is
complete, with the headers of `guard.py`, so that `front.py` can answer it without this app.

Sources: performance.md §4; RFC 9110 §8.8.3, §13.1.2, §15.4.5.
"""

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from time import monotonic
from typing import NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from fediletter.web.wanted import prefers_activity
from fediletter.words import choose_language
from storage import wakeup
from storage.newsletters import revision
from storage.store import Store

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Fields: TypeAlias = list[tuple[bytes, bytes]]

_SURE_SECONDS = 0.8  # So long a revision that was looked up may be relied upon.
_MOST_OCTETS = 12 << 20
_KEPT_STATUSES = (200, 301, 302)


class Key(NamedTuple):
    """One variant of an address."""

    target: bytes  # Path and query as they were asked for.
    language: str
    activity: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A complete answer, with its heads as they stand on the wire, all but the date."""

    status: int
    fields: Fields
    body: bytes
    tag: str  # Empty: not of a kind that is asked for again.
    head: bytes
    known_head: bytes  # Of a 304.

    def is_known(self, asked: str | None) -> bool:
        """Whether an If-None-Match header names this answer (weak comparison)."""
        if not asked or not self.tag:
            return False
        return asked.strip() == "*" or any(
            one.strip().removeprefix("W/") == self.tag for one in asked.split(",")
        )


class Shelf:
    """What one process keeps, bounded in octets.

    Args:
        store: Knows the revision.
        language: Of the site, for those who name none.
        fields_for: The headers that every response of a path carries.
    """

    def __init__(self, store: Store, language: str, fields_for: Callable[[str], Fields]) -> None:
        self._store = store
        self._language = language
        self._fields_for = fields_for
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._octets = 0
        self._revision = -1
        self._looked = float("-inf")  # Monotonic seconds.
        self._looking: asyncio.Future[None] | None = None
        self._bell: asyncio.Event | None = None
        self.turns = 0  # How often everything was forgotten.

    def key(self, target: bytes, headers: Mapping[bytes, bytes]) -> Key:
        """The variant that a request asks for; header names in lower case."""
        accepted = headers.get(b"accept-language", b"").decode("latin-1")
        wanted = headers.get(b"accept", b"").decode("latin-1")
        return Key(target, choose_language(accepted, self._language), prefers_activity(wanted))

    def at_hand(self, key: Key) -> Kept | None:
        """What is kept, without waiting; None also when the revision must be looked up first."""
        age = monotonic() - self._looked
        if age > _SURE_SECONDS:
            return None
        if age > _SURE_SECONDS / 2:
            self._begin_to_look()
        return self.find(key)

    def find(self, key: Key) -> Kept | None:
        """What is kept by the revision that was looked up last."""
        self._hear()
        return self._kept.get(key)

    async def look(self) -> None:
        """Be sure of the revision. Raises DBAPIError if the database does not say."""
        self._hear()
        if monotonic() - self._looked > _SURE_SECONDS:
            await asyncio.shield(self._begin_to_look())

    def keep(self, key: Key, path: str, response: Response, *, turn: int) -> Kept:
        """Complete an answer and keep it, unless something changed while it was made.

        Args:
            key: Its variant.
            path: Of the request.
            response: What the handler made.
            turn: `turns` before it was made.
        """
        tag = f'"{sha256(bytes(response.body)).hexdigest()[:24]}"'
        tag = tag if response.status_code == 200 else ""
        if tag:
            response.headers["ETag"] = tag
        response.headers.setdefault("Cache-Control", "no-cache")
        present = {name for name, _ in response.raw_headers}
        fields = [*response.raw_headers]
        fields += [pair for pair in self._fields_for(path) if pair[0] not in present]
        found = _complete(response, fields, tag)
        self._hear()
        if turn == self.turns and key not in self._kept:
            self._kept[key] = found
            self._octets += len(found.body)
            while self._octets > _MOST_OCTETS:
                self._octets -= len(self._kept.popitem(last=False)[1].body)
        return found

    def _hear(self) -> None:
        """Whether this process, or one that announced it, has changed something."""
        if self._bell is None:
            self._bell = self._store.listen(wakeup.REVISED)
        if self._bell.is_set():
            self._bell.clear()
            self._forget()

    def _forget(self) -> None:
        self._kept.clear()
        self._octets = 0
        self._looked = float("-inf")
        self.turns += 1

    def _begin_to_look(self) -> "asyncio.Future[None]":
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(_noted)
        return self._looking

    async def _look(self) -> None:
        began = monotonic()
        found = await self._store.read(revision)
        if found != self._revision:
            self._forget()
        self._revision, self._looked = found, began


def _complete(response: Response, fields: Fields, tag: str) -> Kept:
    status, body = response.status_code, bytes(response.body)
    return Kept(status, fields, body, tag, _head(status, fields), _head(304, _of_known(fields)))


def _head(status: int, fields: Fields) -> bytes:
    line = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
    return line + b"".join(b"%s: %s\r\n" % pair for pair in fields)


def _of_known(fields: Fields) -> Fields:
    return [pair for pair in fields if pair[0] not in (b"content-length", b"content-type")]


def _noted(looked: "asyncio.Future[None]") -> None:
    if not looked.cancelled():
        looked.exception()  # Whoever asks next is told.


def kept(handler: Handler) -> Handler:
    """Answer a GET from what is kept; 304 where the reader has it already."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        shelf: Shelf = request.app.state.shelf
        await shelf.look()
        key = shelf.key(target_of(request), dict(reversed(request.headers.raw)))
        found, turn = shelf.find(key), shelf.turns
        if found is None:
            response = await handler(request)
            if request.method != "GET" or not _is_for_everybody(response):
                return response
            found = shelf.keep(key, request.url.path, response, turn=turn)
        is_known = found.is_known(request.headers.get("if-none-match"))
        response = Response(b"" if is_known else found.body, 304 if is_known else found.status)
        response.raw_headers = _of_known(found.fields) if is_known else [*found.fields]
        return response

    return answer


def target_of(request: Request) -> bytes:
    """Path and query as they were asked for."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _is_for_everybody(response: Response) -> bool:
    control = response.headers.get("cache-control", "")
    return (
        response.status_code in _KEPT_STATUSES
        and hasattr(response, "body")
        and "private" not in control
        and "no-store" not in control
        and "set-cookie" not in response.headers
    )
