"""Bytes kept per revision: a page is rendered once, then answered from memory with an ETag.

The newsletter's revision moves with everything that a page, feed or document shows; when it has
moved, what was kept is stale. That is all.

Sources: performance.md §4; RFC 9110 §8.8.3, §13.1.2.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from fediletter.web.context import services_of, words_of
from storage.newsletters import revision

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_MOST = 256


class Shelf:
    """What one process keeps, bounded; emptied when the revision moves."""

    def __init__(self) -> None:
        self._revision = -1
        self._kept: OrderedDict[str, tuple[Response, str]] = OrderedDict()

    def find(self, key: str, revision: int) -> tuple[Response, str] | None:
        """A kept response and its ETag, if it is of this revision."""
        if revision != self._revision:
            self._kept.clear()
            self._revision = revision
        return self._kept.get(key)

    def keep(self, key: str, response: Response) -> tuple[Response, str]:
        """Keep a response."""
        tag = f'"{sha256(bytes(response.body)).hexdigest()[:24]}"'
        self._kept[key] = (response, tag)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return response, tag


def kept(handler: Handler) -> Handler:
    """Answer a GET from what is kept; 304 where the reader has it already."""

    async def answer(request: Request) -> Response:
        services = services_of(request)
        shelf: Shelf = request.app.state.shelf
        number = await services.store.read(revision)
        language = words_of(request).language
        key = f"{language} {request.url.path}?{request.url.query}"
        found = shelf.find(key, number)
        if found is None:
            response = await handler(request)
            if response.status_code != 200:
                return response
            found = shelf.keep(key, response)
        response, tag = found
        headers = {
            name: value
            for name, value in response.headers.items()
            if name not in ("content-length",)
        }
        headers["ETag"] = tag
        headers.setdefault("Cache-Control", "no-cache")
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(response.body, 200, headers)

    return answer
