"""Answers what is kept before any task, routing or rendering begins.

Uvicorn's own protocol with one look more: when the head of a plain GET has been read, by the same
parser as ever, and its answer is kept, that answer is written as it stands. Whatever is not plain
goes the ordinary way, and so does what the guard refuses: no rule is written twice here.

Source: performance.md §4.
"""

from collections.abc import MutableMapping
from typing import Any, ClassVar, cast

import uvicorn

from fediletter.limits import TERMINATION_SECONDS
from fediletter.web.serving.guard import Guard
from fediletter.web.serving.heads import PatientHttp
from fediletter.web.serving.kept import Kept, Shelf

_PLAIN = (b"GET", b"HEAD")
_NOT_PLAIN = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))


def server_config(guard: Guard, **options: Any) -> uvicorn.Config:
    """How Uvicorn serves the app.

    Args:
        guard: The app, from `create_app`.
        options: Where to listen, and what else is Uvicorn's.
    """
    shelf: Shelf = guard.app.state.shelf
    return uvicorn.Config(
        guard,
        http=type("Front", (_Front,), {"guard": guard, "shelf": shelf}),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=TERMINATION_SECONDS,
        timeout_keep_alive=20,
        **options,
    )


class _Front(PatientHttp):
    guard: ClassVar[Guard]
    shelf: ClassVar[Shelf]

    def on_headers_complete(self) -> None:
        found = self._kept()
        if found is None:
            super().on_headers_complete()
            return
        self._forget()  # The deadline of the head.
        asked = next((value for name, value in self.headers if name == b"if-none-match"), b"")
        is_known = found.is_known(asked.decode("latin-1"))
        has_body = not is_known and self.parser.get_method() == b"GET"
        dates = b"".join(b"%s: %s\r\n" % pair for pair in self.server_state.default_headers)
        head = found.known_head if is_known else found.head
        body = found.body if has_body else b""
        self.transport.write(b"%s%s\r\n%s" % (head, dates, body))
        self.on_response_complete()

    def on_message_complete(self) -> None:
        if self.cycle is not None:  # None: all requests of this connection were answered above.
            super().on_message_complete()

    def _kept(self) -> Kept | None:
        """The answer, if the request is plain, its answer is kept and the guard lets it pass."""
        method, target = self.parser.get_method(), self.url
        is_busy = self.cycle is not None and not self.cycle.response_complete
        if method not in _PLAIN or is_busy or self.flow.write_paused or b"%" in target:
            return None
        if not self.parser.should_keep_alive() or self.parser.get_http_version() != "1.1":
            return None
        headers = dict(reversed(self.headers))  # Of a field that comes twice, the first.
        if not _NOT_PLAIN.isdisjoint(headers):
            return None
        found = self.shelf.at_hand(self.shelf.key(target, headers))
        if found is None:
            return None
        path, _, query = target.partition(b"?")
        scope = cast("MutableMapping[str, Any]", self.scope)
        scope["method"], scope["path"] = method.decode("ascii"), path.decode("ascii")
        scope["raw_path"], scope["query_string"] = path, query
        return found if self.guard.refusal(scope) is None else None
