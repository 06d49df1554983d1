"""Who is at the desk, and what they may do there: the one place that decides it for a route.

A handler of the desk stands behind one of three doors. `at_desk` lets founders in; `editors_too`
lets editors in as well; `at_desk_anew` lets founders in who showed everything a short while ago,
`editors_anew` everybody who did. A handler behind none of them is open to the world.

Sources: security.md WE-1 to WE-3, WE-7, WE-10, WE-12, L-60.
"""

import functools
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.founders import door
from fediletter.founders.door import Visit
from fediletter.founders.people import hashed
from fediletter.limits import DESK_FORM_BYTES, SESSION_ABSOLUTE, SESSION_FRESH, UPLOAD_BYTES
from fediletter.settings import Settings
from fediletter.web.context import page, services_of
from fediletter.web.forms import one, read_fields, read_form
from storage import founders
from storage.founders import Session

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
_SEEN_EVERY_SECONDS = 60
# What a form held that must not wait in a page for the next log-in.
_NEVER_KEPT = frozenset(
    {"csrf", "email", "password", "current", "again", "code", "credential", "attempt"}
)
_BROWSERS = (
    ("Firefox", "Firefox/"), ("Edge", "Edg/"), ("Opera", "OPR/"), ("Chrome", "Chrome/"),
    ("Safari", "Safari/"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
    ("macOS", "Mac OS X"), ("Linux", "Linux"),
)  # fmt: skip


def at_desk(handler: Handler) -> Handler:
    """Only for founders; a POST must carry the session's own token (WE-7, WE-10)."""
    return _guarded(handler, roles=("founder",), fresh=False)


def editors_too(handler: Handler) -> Handler:
    """For everybody who writes here."""
    return _guarded(handler, roles=("founder", "editor"), fresh=False)


def at_desk_anew(handler: Handler) -> Handler:
    """For founders who showed a quarter of an hour ago at most that it is them (L-60)."""
    return _guarded(handler, roles=("founder",), fresh=True)


def editors_anew(handler: Handler) -> Handler:
    """For everybody who writes here and showed lately that it is them (L-60)."""
    return _guarded(handler, roles=("founder", "editor"), fresh=True)


def _guarded(handler: Handler, *, roles: tuple[str, ...], fresh: bool) -> Handler:
    @functools.wraps(handler)
    async def guarded(request: Request) -> Response:
        try:
            return await admitted(request)
        finally:
            await request.close()  # Temporary files of uploads (ME-8).

    async def admitted(request: Request) -> Response:
        services = services_of(request)
        secret, now = cookie_of(request), services.clock.now()
        session = await services.store.read(door.session_of, secret, now=now)
        if session is None:
            return await _ask_to_log_in(request, None)
        request.state.session = session
        request.state.language = session.founder.language or services.settings.language
        request.state.time_zone = session.founder.time_zone
        if session.founder.role not in roles:
            raise only_founders()
        if fresh and now - session.fresh_at > SESSION_FRESH:
            return await _ask_to_log_in(request, session)
        if request.method == "POST":
            form = await read_form(request)
            if not hmac.compare_digest(one(form, "csrf"), session.csrf):
                raise AppError(403, "This form is too old.", "Go back, reload, send it again.")
        if (now - session.seen_at).total_seconds() > _SEEN_EVERY_SECONDS:
            await services.store.write(founders.see_session, hashed(secret), now=now)
        return await handler(request)

    return guarded


def only_founders() -> AppError:
    """What an editor is told."""
    return AppError(403, "Only a founder may do this.", "Ask one of them.")


def session_at(request: Request) -> Session:
    """The session of a guarded request."""
    session: Session = request.state.session
    return session


def is_founder(request: Request) -> bool:
    """Whether a guarded request is a founder's."""
    return session_at(request).founder.role == "founder"


def cookie_name(settings: Settings) -> str:
    """`__Host-` binds the cookie to this host; without https there is no such thing."""
    return "__Host-fl" if settings.is_secure else "fl"


def cookie_of(request: Request) -> str:
    """The secret that a browser shows; empty if it shows none."""
    return request.cookies.get(cookie_name(services_of(request).settings), "")


def set_cookie(response: Response, settings: Settings, secret: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        cookie_name(settings),
        secret,
        max_age=int(SESSION_ABSOLUTE.total_seconds()),
        path="/",
        secure=settings.is_secure,
        httponly=True,
        samesite="lax",
    )


def visit_of(request: Request) -> Visit:
    """From where somebody comes in."""
    return Visit(device_of(request.headers.get("user-agent", "")), cookie_of(request))


def device_of(agent: str) -> str:
    """A browser's description of itself in two words, such as `Firefox, Linux`."""
    browser = next((name for name, mark in _BROWSERS if mark in agent), "")
    system = next((name for name, mark in _SYSTEMS if mark in agent), "")
    return ", ".join(part for part in (browser, system) if part)


def safe_path(text: str) -> str:
    """A path of the desk, never another site (WE-12)."""
    fits = re.fullmatch(r"/desk(/[^\\\s]*)?(\?[^\\\s]*)?", text) and "//" not in text
    return text if fits else "/desk"


async def _ask_to_log_in(request: Request, session: Session | None) -> Response:
    """To the login page; what was typed travels along, so that nothing is lost."""
    if request.method in ("GET", "HEAD"):
        return RedirectResponse(f"/desk/login?next={quote(request.url.path)}", 303)
    most = DESK_FORM_BYTES + UPLOAD_BYTES
    if int(request.headers.get("content-length", most + 1)) > most:
        raise AppError(  # Files of somebody unknown are not even read.
            413,
            "You were logged out, and files cannot wait for you.",
            "Log in, then choose the files again.",
        )
    form = await read_fields(request)
    kept = [
        (name, value)
        for name, value in form.multi_items()
        if isinstance(value, str) and name not in _NEVER_KEPT
    ]
    has_files = any(not isinstance(value, str) and value.filename for value in form.values())
    return login_form(
        request,
        session,
        status=401,
        problem="" if session else _LOGGED_OUT_FILES if has_files else _LOGGED_OUT,
        target=request.url.path,
        kept=kept,
    )


_LOGGED_OUT = "You were logged out. Log in, and go on where you were: nothing is lost."
_LOGGED_OUT_FILES = (
    "You were logged out. Log in, and go on where you were: your text is kept, "
    "files have to be chosen again."
)


def login_form(
    request: Request,
    session: Session | None,
    *,
    status: int = 200,
    problem: str = "",
    email: str = "",
    target: str = "/desk",
    kept: list[tuple[str, str]] | None = None,
) -> Response:
    """The form; with a session it asks the same person once more."""
    return page(
        request,
        "desk/login.html",
        status=status,
        problem=problem,
        email=email or (session.founder.email if session else ""),
        again=session is not None,
        next=target,
        kept=kept or [],
    )
