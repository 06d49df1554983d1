"""One's own account: name, language, hours, and where one is logged in.

Sources: security.md WE-1, WE-11, L-60.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.founders import door
from fediletter.settings import LANGUAGES
from fediletter.web.context import services_of
from fediletter.web.desk.login import editors_too, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import one, read_form
from fediletter.words import time_zones
from storage import audit, founders
from storage.newsletters import get_newsletter
from storage.store import Tx

_LONGEST_NAME = 80


@editors_too
async def account_page(request: Request) -> Response:
    """Who one is here, and on which devices."""
    return await _account(request, {})


async def _account(
    request: Request,
    problems: dict[str, str],
    *,
    typed: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    services, session = services_of(request), session_at(request)
    now = services.clock.now()

    def look(tx: Tx) -> dict[str, Any]:
        found = founders.sessions_of(tx, session.founder.id)
        return {
            "newsletter": get_newsletter(tx),
            "sessions": [one for one in found if door.is_alive(one, now=now)],
            "enrolled": door.enrolled(tx, session.founder.id),
        }

    person = session.founder
    return desk_page(
        request,
        "account.html",
        status=status,
        problems=problems,
        typed=typed
        or {
            "name": person.name,
            "language": person.language or services.settings.language,
            "time_zone": person.time_zone,
        },
        time_zones=time_zones(),
        current=session,
        saved=request.query_params.get("saved") == "1",
        **await services.store.read(look),
    )


@editors_too
async def save_account(request: Request) -> Response:
    """Another name, another language, other hours."""
    services, person = services_of(request), session_at(request).founder
    form = await read_form(request)
    typed = {
        "name": " ".join(one(form, "name").split()),
        "language": one(form, "language"),
        "time_zone": one(form, "time_zone"),
    }
    problems = {}
    if len(typed["name"]) > _LONGEST_NAME:
        problems["name"] = "This name is too long: 80 characters at most."
    if typed["language"] not in LANGUAGES:
        problems["language"] = "Choose one of the languages."
    if typed["time_zone"] not in ("", *time_zones()):
        problems["time_zone"] = "Choose one of the places."
    if problems:
        return await _account(request, problems, typed=typed, status=422)

    def work(tx: Tx) -> None:
        founders.set_name(tx, person.id, typed["name"])
        founders.set_language(tx, person.id, typed["language"])
        founders.set_time_zone(tx, person.id, typed["time_zone"])

    await services.store.write(work)
    return RedirectResponse("/desk/account?saved=1", 303)


@editors_too
async def end_sessions(request: Request) -> Response:
    """End one session of one's own, or all but this one."""
    services, session = services_of(request), session_at(request)
    form = await read_form(request)
    chosen = one(form, "session")
    now = services.clock.now()

    def work(tx: Tx) -> None:
        if chosen == "others":
            founders.end_other_sessions(tx, session.founder.id, session.token_hash)
        else:
            founders.end_own_session(tx, session.founder.id, _hash_in(chosen))
        audit.write(tx, "sessions ended", founder_id=session.founder.id, now=now)

    await services.store.write(work)
    return RedirectResponse("/desk/account?saved=1", 303)


def _hash_in(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as wrong:
        raise AppError(404, "There is nothing at this address.") from wrong
