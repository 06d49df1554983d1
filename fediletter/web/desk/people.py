"""The people of the desk and the list of who did what: for founders.

Sources: security.md WE-2, WE-11, CL-5; design: roles in `fediletter.founders.people`.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.founders import door, people
from fediletter.mail.addresses import BadAddress, parse_address
from fediletter.web.context import services_of
from fediletter.web.desk.audit_words import about_of, posts_in, words_for
from fediletter.web.desk.login import at_desk, at_desk_anew, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import cursor, one, read_form
from storage import audit, founders, posts
from storage.errors import Conflict
from storage.ids import FounderId
from storage.newsletters import get_newsletter
from storage.store import Tx

_LONGEST_NAME = 80
_PAGE = 50


@at_desk
async def people_page(request: Request) -> Response:
    """Who may enter."""
    return await _people(request, {})


async def _people(
    request: Request,
    problems: dict[str, str],
    *,
    typed: dict[str, str] | None = None,
    link: str = "",
    status: int = 200,
) -> Response:
    def look(tx: Tx) -> dict[str, Any]:
        everybody = founders.all_founders(tx)
        return {
            "newsletter": get_newsletter(tx),
            "people": everybody,
            "enrolled": {one.id: door.enrolled(tx, one.id) for one in everybody},
        }

    return desk_page(
        request,
        "people.html",
        status=status,
        problems=problems,
        typed=typed or {"email": "", "name": "", "role": "editor"},
        link=link,
        **await services_of(request).store.read(look),
    )


@at_desk_anew
async def invite(request: Request) -> Response:
    """Somebody may come; the link is shown once."""
    services, me = services_of(request), session_at(request).founder
    form = await read_form(request)
    typed = {
        "email": one(form, "email").strip(),
        "name": " ".join(one(form, "name").split())[:_LONGEST_NAME],
        "role": one(form, "role"),
    }
    problems = {}
    try:
        parse_address(typed["email"])
    except BadAddress as wrong:
        problems["email"] = wrong.words
    if typed["role"] not in people.ROLES:
        problems["role"] = "Choose what this person may do."
    if problems:
        return await _people(request, problems, typed=typed, status=422)
    now = services.clock.now()

    def work(tx: Tx) -> str:
        founder_id, token = people.invite(tx, **typed, now=now)
        subject = f"{founder_id} {typed['role']}"
        audit.write(tx, "person invited", subject=subject, founder_id=me.id, now=now)
        return token

    try:
        token = await services.store.write(work)
    except Conflict:
        problems["email"] = "This person may enter already."
        return await _people(request, problems, typed=typed, status=422)
    return await _people(request, {}, link=services.links.page(f"/desk/setup/{token}"))


@at_desk_anew
async def change(request: Request) -> Response:
    """A new link, another role, or out."""
    services, me = services_of(request), session_at(request).founder
    form = await read_form(request)
    founder_id = FounderId(int(request.path_params["founder_id"]))
    action, role = one(form, "action"), one(form, "role")
    now = services.clock.now()

    def work(tx: Tx) -> str:
        founders.founder_by_id(tx, founder_id)
        token, done, subject = "", "person removed", str(founder_id)
        if action == "remove":
            people.remove(tx, founder_id)
        elif action == "link":
            token, done = people.invitation(tx, founder_id, now=now), "person invited"
        elif role in people.ROLES:
            people.change_role(tx, founder_id, role)
            done, subject = "role changed", f"{founder_id} {role}"
        else:
            raise AppError(422, "Choose what this person may do.")
        audit.write(tx, done, subject=subject, founder_id=me.id, now=now)
        return token

    try:
        token = await services.store.write(work)
    except AppError as wrong:
        if wrong.status not in (409, 422):
            raise
        return await _people(request, {f"person-{founder_id}": wrong.words}, status=wrong.status)
    if token:
        return await _people(request, {}, link=services.links.page(f"/desk/setup/{token}"))
    return RedirectResponse("/desk/people", 303)


@at_desk
async def audit_page(request: Request) -> Response:
    """Who did what, the newest first."""
    before = cursor(request, "before")

    def look(tx: Tx) -> dict[str, Any]:
        entries = audit.newest(tx, limit=_PAGE, before=before)
        return {
            "newsletter": get_newsletter(tx),
            "people": {one.id: one.name or one.email for one in founders.all_founders(tx)},
            "titles": posts.titles(tx, posts_in(entries)),
            "entries": entries,
        }

    found = await services_of(request).store.read(look)
    return desk_page(
        request, "audit.html", size=_PAGE, words_for=words_for, about_of=about_of, **found
    )
