"""The desk's door: set-up, login, logout; who is at the desk.

Sources: security.md WE-1 to WE-7, WE-12, L-62.
"""

import asyncio
import functools
import hmac
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.founders import people
from fediletter.founders.passwords import hash_password, is_password, problem_with
from fediletter.limits import (
    DESK_FORM_BYTES,
    LOGINS_PER_ACCOUNT,
    LOGINS_PER_PREFIX,
    SESSION_ABSOLUTE,
)
from fediletter.mail.addresses import BadAddress, parse_address
from fediletter.settings import Settings
from fediletter.web.context import page, services_of
from fediletter.web.forms import one, read_form
from storage import audit, founders
from storage.founders import Session
from storage.store import Tx
from storage.throttles import hit

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
_SEEN_EVERY_SECONDS = 60


def at_desk(handler: Handler) -> Handler:
    """Only for people of the desk; a POST must carry the session's own token (WE-7, WE-10)."""

    @functools.wraps(handler)
    async def guarded(request: Request) -> Response:
        try:
            return await admitted(request)
        finally:
            await request.close()  # Temporary files of uploads (ME-8).

    async def admitted(request: Request) -> Response:
        services = services_of(request)
        secret = request.cookies.get(cookie_name(services.settings), "")
        now = services.clock.now()
        session = await services.store.read(people.session_of, secret, now=now)
        if session is None:
            return await _ask_to_log_in(request)
        request.state.session = session
        request.state.language = session.founder.language or services.settings.language
        if request.method == "POST":
            form = await read_form(request)
            if not hmac.compare_digest(one(form, "csrf"), session.csrf):
                raise AppError(403, "This form is too old.", "Go back, reload, send it again.")
        if (now - session.seen_at).total_seconds() > _SEEN_EVERY_SECONDS:
            await services.store.write(founders.see_session, people.hashed(secret), now=now)
        return await handler(request)

    return guarded


def session_at(request: Request) -> Session:
    """The session of a guarded request."""
    session: Session = request.state.session
    return session


def cookie_name(settings: Settings) -> str:
    """`__Host-` binds the cookie to this host; without https there is no such thing."""
    return "__Host-fl" if settings.is_secure else "fl"


async def _ask_to_log_in(request: Request) -> Response:
    """To the login page; what was typed travels along, so that nothing is lost."""
    if request.method in ("GET", "HEAD"):
        return RedirectResponse(f"/desk/login?next={quote(request.url.path)}", 303)
    if int(request.headers.get("content-length", DESK_FORM_BYTES + 1)) > DESK_FORM_BYTES:
        raise AppError(  # Files of somebody unknown are not even read.
            413,
            "You were logged out, and files cannot wait for you.",
            "Log in, then choose the files again.",
        )
    form = await read_form(request)
    kept = [
        (name, value)
        for name, value in form.multi_items()
        if isinstance(value, str) and name not in ("csrf", "email", "password")
    ]
    return page(
        request,
        "desk/login.html",
        status=401,
        problem="You were logged out. Log in, and go on where you were: nothing is lost.",
        email="",
        next=request.url.path,
        kept=kept,
    )


async def login_page(request: Request) -> Response:
    """The form."""
    return page(
        request,
        "desk/login.html",
        problem="",
        email="",
        next=_safe_path(request.query_params.get("next", "")),
        kept=[],
    )


async def login(request: Request) -> Response:
    """Check, and begin a session."""
    services = services_of(request)
    form = await read_form(request)
    email, password = one(form, "email"), one(form, "password")
    now = services.clock.now()
    kept = [
        (name.removeprefix("kept:"), value)
        for name, value in form.multi_items()
        if name.startswith("kept:") and isinstance(value, str)
    ]
    target = _safe_path(one(form, "next"))

    def may_try(tx: Tx) -> bool:
        by_prefix = hit(
            tx,
            f"login:{request.state.client_prefix}",
            most=LOGINS_PER_PREFIX[0],
            span=LOGINS_PER_PREFIX[1],
            now=now,
        )
        account = services.tokens.hash_address(email.strip().lower()).hex()
        by_account = hit(
            tx,
            f"login:{account}",
            most=LOGINS_PER_ACCOUNT[0],
            span=LOGINS_PER_ACCOUNT[1],
            now=now,
        )
        return by_prefix and by_account

    if not await services.store.write(may_try):
        response = _refused(request, email, target, kept, "That was too often. Wait five minutes.")
        response.status_code = 429
        response.headers["Retry-After"] = "300"
        return response
    person = await services.store.read(founders.founder_by_email, email)
    hashed = None if person is None or person.disabled_at is not None else person.password_hash
    if not await is_password(password, hashed) or person is None:
        await services.store.write(audit.write, "login refused", channel="web", now=now)
        return _refused(request, email, target, kept, "Address or password do not fit.")
    secret = await services.store.write(people.begin_session, person, now=now)
    if kept:
        response = await _go_on(request, secret, target, kept)
    else:
        response = RedirectResponse(target, 303)
    set_cookie(response, services.settings, secret)
    return response


async def _go_on(
    request: Request, secret: str, target: str, kept: list[tuple[str, str]]
) -> Response:
    """After a session ended in the middle of writing: the form again, one press to send it."""
    services = services_of(request)
    session = await services.store.read(people.session_of, secret, now=services.clock.now())
    assert session is not None  # noqa: S101 (begun just now)
    request.state.language = session.founder.language
    return page(request, "desk/go_on.html", target=target, kept=kept, csrf=session.csrf)


def _refused(
    request: Request, email: str, target: str, kept: list[tuple[str, str]], problem: str
) -> Response:
    return page(
        request,
        "desk/login.html",
        status=401,
        problem=problem,
        email=email,
        next=target,
        kept=kept,
    )


@at_desk
async def logout(request: Request) -> Response:
    """End the session at the server."""
    services = services_of(request)
    name = cookie_name(services.settings)
    await services.store.write(founders.end_session, people.hashed(request.cookies.get(name, "")))
    response = RedirectResponse("/desk/login", 303)
    response.delete_cookie(name, path="/", secure=services.settings.is_secure, httponly=True)
    return response


async def setup_page(request: Request) -> Response:
    """The first founder's form; 404 once somebody may enter."""
    await _require_setup(request)
    return page(request, "desk/setup.html", problems={}, email="")


async def setup(request: Request) -> Response:
    """The first founder sets address and password."""
    services = services_of(request)
    await _require_setup(request)
    form = await read_form(request)
    email, password = one(form, "email"), one(form, "password")
    problems = {}
    try:
        parse_address(email)
    except BadAddress as wrong:
        problems["email"] = wrong.words
    if (found := problem_with(password)) is not None:
        problems["password"] = found
    elif password != one(form, "again"):
        problems["again"] = "The two passwords differ."
    if problems:
        return page(request, "desk/setup.html", status=422, problems=problems, email=email)
    hashed = await asyncio.to_thread(hash_password, password)
    now = services.clock.now()

    def work(tx: Tx) -> str:
        people.set_up(tx, request.path_params["token"], email=email, password_hash=hashed, now=now)
        person = founders.founder_by_email(tx, email)
        assert person is not None  # noqa: S101 (added just now)
        return people.begin_session(tx, person, now=now)

    secret = await services.store.write(work)
    response = RedirectResponse("/desk", 303)
    set_cookie(response, services.settings, secret)
    return response


async def _require_setup(request: Request) -> None:
    services = services_of(request)
    token = request.path_params["token"]
    if not await services.store.read(people.may_set_up, token, now=services.clock.now()):
        raise AppError(
            404,
            "This link does not work any more.",
            "Set-up links work once, for half an hour. `fediletter init` prints a new one.",
        )


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


def _safe_path(text: str) -> str:
    """A path of the desk, never another site (WE-12)."""
    return text if text.startswith("/desk") and "\\" not in text and "//" not in text else "/desk"
