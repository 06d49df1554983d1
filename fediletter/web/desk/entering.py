"""The desk's door: password, code, passkey; logging out.

A password alone is enough for whoever has enrolled nothing else. A passkey alone is enough always.
What was typed when a session ended travels through all steps.

Sources: security.md WE-1, WE-4 to WE-6, WE-12, L-62, L-63.
"""

import asyncio
import json

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fediletter.founders import door, passkeys
from fediletter.founders.passwords import hash_password, is_old, is_password
from fediletter.founders.people import hashed
from fediletter.limits import CHALLENGES_PER_PREFIX, LOGINS_PER_ACCOUNT, LOGINS_PER_PREFIX
from fediletter.services import Services
from fediletter.web.context import page, services_of
from fediletter.web.desk.login import (
    cookie_name,
    cookie_of,
    editors_too,
    login_form,
    safe_path,
    set_cookie,
    visit_of,
)
from fediletter.web.forms import one, read_fields
from storage import audit, founders
from storage.store import Tx
from storage.throttles import hit

_TOO_OFTEN = "That was too often. Wait five minutes."
_OVER = "That took too long, or was tried too often. Begin again."


def passkeys_of(services: Services) -> passkeys.House:
    """Whose passkeys they are."""
    return passkeys.House(services.settings.base_url, services.vault)


async def login_page(request: Request) -> Response:
    """The form."""
    services = services_of(request)
    session = await services.store.read(
        door.session_of, cookie_of(request), now=services.clock.now()
    )
    target = safe_path(request.query_params.get("next", ""))
    return login_form(request, session, target=target)


async def login(request: Request) -> Response:
    """Check the password; begin a session, or ask for more."""
    services = services_of(request)
    form = await read_fields(request)
    email, password = one(form, "email"), one(form, "password")
    now = services.clock.now()

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
        return _too_often(request, form, email)
    person = await services.store.read(founders.founder_by_email, email)
    stored = None if person is None or person.disabled_at is not None else person.password_hash
    if not await is_password(password, stored) or person is None or stored is None:
        subject = "" if person is None else str(person.id)
        await services.store.write(
            audit.write, "login refused", channel="web", subject=subject, now=now
        )
        return _refused(request, form, "Address or password do not fit.", email=email)
    if is_old(stored):
        newer = await asyncio.to_thread(hash_password, password)
        await services.store.write(founders.rehash, person.id, newer, former=stored)
    secret, token = await services.store.write(
        door.after_password, person.id, visit_of(request), now=now
    )
    if secret:
        return await _entered(request, form, secret)
    return await _ask_for_more(request, form, token)


async def code(request: Request) -> Response:
    """The second step: a code of the telephone, or a recovery code."""
    services = services_of(request)
    form = await read_fields(request)
    token = one(form, "attempt")
    secret = await services.store.write(
        door.show_code,
        services.vault,
        token,
        one(form, "code")[:100],
        visit_of(request),
        now=services.clock.now(),
    )
    if secret:
        return await _entered(request, form, secret)
    problem = "This code does not fit, or was used already. Wait for the next one."
    return await _ask_for_more(request, form, token, problem=problem)


async def passkey_options(request: Request) -> Response:
    """For the script: what the browser needs to show a passkey."""
    services = services_of(request)
    form = await read_fields(request)
    now = services.clock.now()

    def work(tx: Tx) -> tuple[str, str] | None:
        most, span = CHALLENGES_PER_PREFIX
        if not hit(tx, f"passkey:{request.state.client_prefix}", most=most, span=span, now=now):
            return None
        return door.ask_passkey(tx, passkeys_of(services), one(form, "attempt"), now=now)

    found = await services.store.write(work)
    if found is None:
        return JSONResponse({}, 429, headers={"Retry-After": "300"})
    return JSONResponse({"attempt": found[0], "options": json.loads(found[1])})


async def passkey(request: Request) -> Response:
    """A passkey was shown: alone, or after the password."""
    services = services_of(request)
    form = await read_fields(request)
    token, now = one(form, "attempt"), services.clock.now()
    secret = await services.store.write(
        door.show_passkey,
        passkeys_of(services),
        token,
        one(form, "credential"),
        visit_of(request),
        now=now,
    )
    if secret:
        return await _entered(request, form, secret)
    problem = "This passkey does not open the desk. Try again, or use another way."
    return await _ask_for_more(request, form, token, problem=problem)


async def _ask_for_more(
    request: Request, form: FormData, token: str, *, problem: str = ""
) -> Response:
    """The second step; the first one again if the second is over or never began."""
    services = services_of(request)
    step = await services.store.read(door.second_step, token, now=services.clock.now())
    if step is None:
        return _refused(request, form, problem if "passkey" in problem else _OVER)
    return page(
        request,
        "desk/second.html",
        status=401,
        problem=problem,
        attempt=token,
        has=step[1],
        next=safe_path(one(form, "next")),
        kept=_kept(form),
    )


async def _entered(request: Request, form: FormData, secret: str) -> Response:
    """Into the desk; after a session ended in the middle of writing, one press sends the form."""
    services = services_of(request)
    target, kept = safe_path(one(form, "next")), _kept(form)
    response: Response
    if kept:
        session = await services.store.read(door.session_of, secret, now=services.clock.now())
        assert session is not None  # noqa: S101 (begun just now)
        request.state.language = session.founder.language
        response = page(request, "desk/go_on.html", target=target, kept=kept, csrf=session.csrf)
    else:
        response = RedirectResponse(target, 303)
    set_cookie(response, services.settings, secret)
    return response


def _kept(form: FormData) -> list[tuple[str, str]]:
    return [
        (name.removeprefix("kept:"), value)
        for name, value in form.multi_items()
        if name.startswith("kept:") and isinstance(value, str)
    ]


def _refused(request: Request, form: FormData, problem: str, *, email: str = "") -> Response:
    target, kept = safe_path(one(form, "next")), _kept(form)
    return login_form(
        request, None, status=401, problem=problem, email=email, target=target, kept=kept
    )


def _too_often(request: Request, form: FormData, email: str) -> Response:
    response = _refused(request, form, _TOO_OFTEN, email=email)
    response.status_code = 429
    response.headers["Retry-After"] = "300"
    return response


@editors_too
async def logout(request: Request) -> Response:
    """End the session at the server."""
    services = services_of(request)
    await services.store.write(founders.end_session, hashed(cookie_of(request)))
    response = RedirectResponse("/desk/login", 303)
    response.delete_cookie(
        cookie_name(services.settings),
        path="/",
        secure=services.settings.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response
