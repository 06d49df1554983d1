"""The one place where errors become responses: a page for people, a short text for servers.

Sources: security.md 2.1, WE-21; design/style.md, words for people.
"""

import logging
import secrets

from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from federation.errors import FederationError
from fediletter.errors import AppError
from fediletter.web.context import page
from storage.errors import NotThere

_log = logging.getLogger("fediletter.web")
_WORDS = {
    403: (
        "This form can only be sent from this site.",
        "Open the page again and send it from there.",
    ),
    404: ("There is nothing at this address.", "Perhaps a letter was renamed or withdrawn."),
    405: ("This address cannot be used like that.", ""),
    408: ("This took too long to arrive.", "Send it again when the connection is better."),
    413: ("That is too large.", "Send less, or a smaller file."),
    422: ("This list has no such filter.", ""),
    429: ("That was too often.", "Wait a few minutes, then try again."),
    503: (
        "The server cannot answer at present.",
        "Nothing was lost. Try again in a few minutes.",
    ),
}


def show(
    request: Request,
    status: int,
    words: str,
    hint: str,
    fields: dict[str, object] | None = None,
    *,
    rejoin: bool = False,
) -> Response:
    """An error as the one who asked can read it."""
    if request.url.path.startswith(("/ap/", "/.well-known/", "/nodeinfo/")):
        # Whoever signs may see what others may not: no cache answers for us (federation.md 3.4).
        return PlainTextResponse(words[:200], status, {"Cache-Control": "no-store"})
    response = page(
        request,
        "error.html",
        status=status,
        message=words,
        hint=hint,
        fields=fields or {},
        rejoin=rejoin,
    )
    response.headers["Cache-Control"] = "no-store"
    return response


async def app_error(request: Request, error: Exception) -> Response:
    """An error with words of its own."""
    assert isinstance(error, AppError)  # noqa: S101 (registered for it)
    return show(request, error.status, error.words, error.hint, error.fields, rejoin=error.rejoin)


async def not_there(request: Request, _error: Exception) -> Response:
    """What is not there and what is not public look alike (security.md 1.7)."""
    return show(request, 404, *_WORDS[404])


async def http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses."""
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for it)
    words, hint = _WORDS.get(error.status_code, ("This request cannot be answered.", ""))
    response = show(request, error.status_code, words, hint)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def database_error(request: Request, error: Exception) -> Response:
    """The database is away, locked or full (RE-13): come again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    _log.error("the database refuses", extra={"kind": type(cause).__name__, "detail": str(cause)})
    response = show(request, 503, *_WORDS[503])
    response.headers["Retry-After"] = "60"
    return response


async def peer_error(request: Request, error: Exception) -> Response:
    """A peer's document could not be had while a page needed it."""
    assert isinstance(error, FederationError)  # noqa: S101 (registered for it)
    return show(request, 502, "The other server did not answer as expected.", "Try again later.")


async def unexpected(request: Request, error: Exception) -> Response:
    """A bug: logged with a number that the page shows, and nothing else of it (WE-21)."""
    number = secrets.token_hex(4)
    _log.error("unexpected", exc_info=error, extra={"request": number})
    return show(
        request,
        500,
        "Something went wrong on our side.",
        "Tell us this number: {number}",
        {"number": number},
    )


EXCEPTION_HANDLERS = {
    AppError: app_error,
    NotThere: not_there,
    HTTPException: http_error,
    DBAPIError: database_error,
    FederationError: peer_error,
    Exception: unexpected,
}
