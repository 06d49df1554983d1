"""How one proves who one is: password, codes of a telephone, passkeys, recovery codes.

Everything here asks whoever showed it long ago to show it again (L-60), and every change ends all
other sessions of the person (WE-2).

Sources: security.md WE-2, WE-4, WE-5, L-60, L-63, L-64.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.founders import codes as phone
from fediletter.founders import door
from fediletter.founders import passkeys as keys
from fediletter.founders.passwords import hash_password, is_password
from fediletter.founders.people import hashed
from fediletter.limits import CODES_PER_ATTEMPT, LOGINS_PER_ACCOUNT
from fediletter.web.context import services_of
from fediletter.web.desk.entering import passkeys_of
from fediletter.web.desk.login import editors_anew, session_at, set_cookie, visit_of
from fediletter.web.desk.page import desk_page
from fediletter.web.desk.setting_up import password_problems
from fediletter.web.forms import one, read_form
from storage import audit, factors, founders
from storage.newsletters import get_newsletter
from storage.store import Tx
from storage.throttles import hit

_ADD_CODES, _ADD_PASSKEY = "add-codes", "add-passkey"
_NO_PASSWORD = "This is not your password."  # noqa: S105 (words)
_LONGEST_LABEL = 60


@editors_anew
async def security_page(request: Request) -> Response:
    """What one has enrolled."""
    return await _security(request, {})


async def _security(
    request: Request, problems: dict[str, str], *, status: int = 200, label: str = ""
) -> Response:
    services, person = services_of(request), session_at(request).founder

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "enrolled": door.enrolled(tx, person.id),
            "passkeys": factors.passkeys_of(tx, person.id),
        }

    return desk_page(
        request,
        "security.html",
        status=status,
        problems=problems,
        label=label,
        passkeys_work=passkeys_of(services).can,
        saved=request.query_params.get("saved") == "1",
        **await services.store.read(look),
    )


async def _is_own_password(request: Request, form: FormData) -> bool:
    """Whether the current password was typed; counted like a log-in (L-62)."""
    services, person = services_of(request), session_at(request).founder
    most, span = LOGINS_PER_ACCOUNT
    key, now = f"password:{person.id}", services.clock.now()
    if not await services.store.write(hit, key, most=most, span=span, now=now):
        raise AppError(429, "That was too often.", "Wait an hour.")
    return await is_password(one(form, "current"), person.password_hash)


async def _change(
    request: Request, action: str, work: Callable[[Tx], list[str] | None]
) -> Response:
    """Change something in one transaction with its line in the list; other sessions end.

    Args:
        request: Of the person.
        action: For the list.
        work: Does it; recovery codes that it returns are shown.
    """
    services, session = services_of(request), session_at(request)
    now = services.clock.now()

    def all_of_it(tx: Tx) -> tuple[str, list[str] | None]:
        shown = work(tx)
        if not door.enrolled(tx, session.founder.id).any:
            factors.set_recovery_codes(tx, session.founder.id, [])
        audit.write(tx, action, founder_id=session.founder.id, now=now)
        return door.renew(tx, session, visit_of(request), now=now), shown

    secret, shown = await services.store.write(all_of_it)
    if shown is None:
        response: Response = RedirectResponse("/desk/security?saved=1", 303)
    else:
        renewed = await services.store.read(door.session_of, secret, now=now)
        request.state.session = renewed
        newsletter = await services.store.read(get_newsletter)
        response = desk_page(request, "recovery.html", newsletter=newsletter, codes=shown)
    set_cookie(response, services.settings, secret)
    return response


def _with_recovery(request: Request, tx: Tx) -> list[str] | None:
    """The first recovery codes, with the first thing that can be lost."""
    services, person = services_of(request), session_at(request).founder
    if factors.recovery_hashes(tx, person.id):
        return None
    return phone.new_recovery_codes(tx, services.vault, person.id)


# --- password --------------------------------------------------------------------------------


@editors_anew
async def change_password(request: Request) -> Response:
    """Another password."""
    person = session_at(request).founder
    form = await read_form(request)
    problems = password_problems(one(form, "password"), one(form, "again"))
    if not await _is_own_password(request, form):
        problems["current"] = _NO_PASSWORD
    if problems:
        return await _security(request, problems, status=422)
    password_hash = await asyncio.to_thread(hash_password, one(form, "password"))

    def work(tx: Tx) -> None:
        founders.set_password(tx, person.id, password_hash)

    return await _change(request, "password changed", work)


# --- codes of a telephone ----------------------------------------------------------------------


@editors_anew
async def codes(request: Request) -> Response:
    """Begin, confirm, or switch off."""
    form = await read_form(request)
    action = one(form, "action")
    if action == "off":
        return await _codes_off(request, form)
    if action == "confirm":
        return await _confirm_codes(request, form)
    services, session = services_of(request), session_at(request)
    seed = phone.new_seed()
    token = await services.store.write(
        door.begin,
        _ADD_CODES,
        founder_id=session.founder.id,
        session=session,
        secret=phone.seal(services.vault, session.founder.id, seed),
        now=services.clock.now(),
    )
    return await _codes_form(request, token, seed, {})


async def _codes_form(
    request: Request, token: str, seed: str, problems: dict[str, str], *, status: int = 200
) -> Response:
    services, person = services_of(request), session_at(request).founder
    newsletter = await services.store.read(get_newsletter)
    return desk_page(
        request,
        "codes.html",
        status=status,
        newsletter=newsletter,
        problems=problems,
        attempt=token,
        picture=phone.picture(seed, account=person.email, issuer=newsletter.title or "fediletter"),
        seed=" ".join(seed[start : start + 4] for start in range(0, len(seed), 4)),
    )


async def _confirm_codes(request: Request, form: FormData) -> Response:
    services, session = services_of(request), session_at(request)
    token, now, person = one(form, "attempt"), services.clock.now(), session.founder
    begun = await services.store.write(
        factors.try_once, hashed(token), (_ADD_CODES,), most=CODES_PER_ATTEMPT, now=now
    )
    if begun is None or begun.session_hash != session.token_hash or begun.secret is None:
        return await _security(request, {"codes": "That took too long. Begin again."}, status=422)
    sealed = begun.secret
    seed = phone.unseal(services.vault, person.id, sealed)
    step = phone.step_of(seed, one(form, "code"), now=now)
    if step is None:
        problem = {"code": "This code does not fit. Type the one that the telephone shows now."}
        return await _codes_form(request, token, seed, problem, status=422)

    def work(tx: Tx) -> list[str] | None:
        factors.set_seed(tx, person.id, sealed, step=step)
        return _with_recovery(request, tx)

    return await _change(request, "codes on", work)


async def _codes_off(request: Request, form: FormData) -> Response:
    """Needs the password and a code."""
    services, person = services_of(request), session_at(request).founder
    problems = {}
    if not await _is_own_password(request, form):
        problems["off_current"] = _NO_PASSWORD
    elif not await services.store.write(
        door.try_code, services.vault, person.id, one(form, "code"), now=services.clock.now()
    ):
        problems["off_code"] = "This code does not fit, or was used already. Wait for the next one."
    if problems:
        return await _security(request, problems, status=422)

    def work(tx: Tx) -> None:
        factors.set_seed(tx, person.id, None, step=None)

    return await _change(request, "codes off", work)


# --- recovery codes ----------------------------------------------------------------------------


@editors_anew
async def recovery(request: Request) -> Response:
    """Ten new ones; those before open nothing any more."""
    services, person = services_of(request), session_at(request).founder
    if not (await services.store.read(door.enrolled, person.id)).any:
        return await _security(request, {}, status=422)

    def work(tx: Tx) -> list[str]:
        return phone.new_recovery_codes(tx, services.vault, person.id)

    return await _change(request, "recovery codes renewed", work)


@editors_anew
async def recovery_file(request: Request) -> Response:
    """The codes that the page shows, as a file: only those that are this person's."""
    services, person = services_of(request), session_at(request).founder
    form = await read_form(request)
    known = await services.store.read(factors.recovery_hashes, person.id)
    shown = one(form, "codes").split()[:20]
    own = [code for code in shown if phone.recovery_hash(services.vault, person.id, code) in known]
    text = "\n".join([services.settings.base_url + "/desk", person.email, "", *own, ""])
    headers = {"Content-Disposition": 'attachment; filename="fediletter-codes.txt"'}
    return PlainTextResponse(text, headers=headers)


# --- passkeys ------------------------------------------------------------------------------


@editors_anew
async def passkey_options(request: Request) -> Response:
    """For the script: what the browser needs to make a passkey."""
    services, session = services_of(request), session_at(request)
    challenge = keys.new_challenge()

    def work(tx: Tx) -> dict[str, Any]:
        known = factors.passkeys_of(tx, session.founder.id)
        options = keys.options_to_add(
            passkeys_of(services),
            session.founder,
            known,
            challenge,
            site=get_newsletter(tx).title or "fediletter",
        )
        token = door.begin(
            tx,
            _ADD_PASSKEY,
            founder_id=session.founder.id,
            session=session,
            secret=challenge,
            now=services.clock.now(),
        )
        return {"attempt": token, "options": json.loads(options)}

    return JSONResponse(await services.store.write(work))


@editors_anew
async def passkeys(request: Request) -> Response:
    """Add one, rename one, or take one away."""
    services, person = services_of(request), session_at(request).founder
    form = await read_form(request)
    action = one(form, "action")
    label = " ".join(one(form, "label").split())[:_LONGEST_LABEL]
    passkey_id = int(one(form, "passkey")) if one(form, "passkey").isdigit() else 0
    if action == "remove":

        def remove(tx: Tx) -> None:
            factors.remove_passkey(tx, person.id, passkey_id)

        return await _change(request, "passkey removed", remove)
    if not label:
        field = "label" if action == "add" else f"label-{passkey_id}"
        return await _security(
            request, {field: "Give it a name, such as the device it is on."}, status=422
        )
    if action == "rename":
        await services.store.write(factors.rename_passkey, person.id, passkey_id, label)
        return RedirectResponse("/desk/security?saved=1", 303)
    return await _add_passkey(request, form, label)


async def _add_passkey(request: Request, form: FormData, label: str) -> Response:
    services, session = services_of(request), session_at(request)
    now, token = services.clock.now(), hashed(one(form, "attempt"))
    begun = await services.store.write(
        factors.try_once, token, (_ADD_PASSKEY,), most=1, now=now
    )  # The challenge is used up, whatever comes of it.

    def work(tx: Tx) -> list[str] | None:
        if begun is None or begun.secret is None or begun.session_hash != session.token_hash:
            raise keys.Unfit("no challenge of this session")
        keys.add(
            tx,
            passkeys_of(services),
            session.founder.id,
            one(form, "credential"),
            begun.secret,
            label=label,
            now=now,
        )
        return _with_recovery(request, tx)

    try:
        return await _change(request, "passkey added", work)
    except keys.Unfit:
        problem = {"label": "This passkey could not be taken. Try again."}
        return await _security(request, problem, status=422, label=label)
