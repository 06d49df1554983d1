"""One-time links: the first founder, somebody who was invited, somebody who lost everything.

Sources: security.md WE-4, WE-22, L-64, L-65.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.founders import door, people
from fediletter.founders.passwords import hash_password, problem_with
from fediletter.founders.people import RESET, Opening
from fediletter.mail.addresses import BadAddress, parse_address
from fediletter.web.context import page, services_of
from fediletter.web.desk.login import set_cookie, visit_of
from fediletter.web.forms import one, read_fields
from fediletter.words import time_zones
from storage import founders
from storage.store import Tx


async def setup_page(request: Request) -> Response:
    """The form; 404 for a link that does not work, saying why."""
    return _form(request, await _opening(request), {}, "")


async def setup(request: Request) -> Response:
    """Set the password. Into the desk, but after a reset to the login page (WE-4)."""
    services = services_of(request)
    opening = await _opening(request)
    form = await read_fields(request)
    email = one(form, "email") if opening.person is None else opening.person.email
    password = one(form, "password")
    problems = {}
    if opening.person is None:
        try:
            parse_address(email)
        except BadAddress as wrong:
            problems["email"] = wrong.words
    problems |= password_problems(password, one(form, "again"))
    if problems:
        return _form(request, opening, problems, email, status=422)
    password_hash = await asyncio.to_thread(hash_password, password)
    now = services.clock.now()

    def work(tx: Tx) -> str:
        opened, founder_id = people.set_up(
            tx, request.path_params["token"], email=email, password_hash=password_hash, now=now
        )
        if (place := one(form, "time_zone")) in time_zones():  # Filled by the browser, if it can.
            founders.set_time_zone(tx, founder_id, place)
        if opened.purpose == RESET:
            return ""
        return door.enter(tx, founder_id, frozenset({"password"}), visit_of(request), now=now)

    secret = await services.store.write(work)
    if not secret:
        return RedirectResponse("/desk/login", 303)
    response = RedirectResponse("/desk", 303)
    set_cookie(response, services.settings, secret)
    return response


def password_problems(password: str, again: str) -> dict[str, str]:
    """What is wrong with a new password, typed twice."""
    if (found := problem_with(password)) is not None:
        return {"password": found}
    return {} if password == again else {"again": "The two passwords differ."}


async def _opening(request: Request) -> Opening:
    services = services_of(request)
    token = request.path_params["token"]
    return await services.store.read(people.open_link, token, now=services.clock.now())


def _form(
    request: Request, opening: Opening, problems: dict[str, str], email: str, *, status: int = 200
) -> Response:
    return page(
        request, "desk/setup.html", status=status, problems=problems, email=email, opening=opening
    )
