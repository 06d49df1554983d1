"""The desk: lists from elsewhere, looked at first, then taken in; and the whole list out.

Sources: issue 4.8; email.md IM-1 to IM-7, OP-8; security.md ME-9, PR-9, WE-7, WE-15, WE-18, CL-5.
"""

import asyncio
import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from fediletter import importing
from fediletter.errors import AppError
from fediletter.exporting.subscribers import cell, subscriber_rows
from fediletter.importing import Report, Wish
from fediletter.services import desk_of
from fediletter.web.context import services_of, words_of
from fediletter.web.desk.login import at_desk, at_desk_anew, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import file, one, read_form, some
from storage import audit, intakes
from storage.intakes import Intake
from storage.newsletters import get_newsletter
from storage.store import Tx

_SHOWN_REFUSALS = 200
_SHOWN_LABELS = 40  # A form has a hundred fields at most (L-5).
_SHOWN_LISTS = 5
_ORDERS = ("", "day", "month")


@at_desk
async def import_page(request: Request) -> Response:
    """The form for a list from elsewhere, and the last lists."""
    return await _form(request, {})


async def _form(request: Request, problems: dict[str, str]) -> Response:
    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "lists": intakes.newest_intakes(tx, limit=_SHOWN_LISTS),
        }

    found = await services_of(request).store.read(look)
    status = 422 if problems else 200
    return desk_page(request, "import.html", status=status, problems=problems, typed={}, **found)


@at_desk
async def import_list(request: Request) -> Response:
    """Keep a file; the next page shows what is in it. Nobody is added yet."""
    services = services_of(request)
    upload = file(await read_form(request), "list")
    if upload is None:
        return await _form(request, {"list": "Choose a file."})
    try:
        token = await asyncio.to_thread(
            importing.take_in,
            desk_of(services),
            upload.file,
            name=(upload.filename or "").replace("\\", "/").rpartition("/")[2],
            wish=Wish(),
            founder_id=session_at(request).founder.id,
            now=services.clock.now(),
        )
    except AppError as wrong:
        if wrong.status != 422:
            raise
        return await _form(request, {"list": wrong.words})
    return RedirectResponse(f"/desk/readers/import/{token}", 303)


@at_desk
async def import_view(request: Request) -> Response:
    """How far a list is, what is in it, what was done."""
    return await _view(request, {}, {})


async def _view(request: Request, problems: dict[str, str], typed: dict[str, Any]) -> Response:
    services = services_of(request)
    token = request.path_params["token"]

    def look(tx: Tx) -> tuple[Intake, Any, dict[str, Any]]:
        found = intakes.find_intake(tx, token)
        labels = list(found.report.get("labels", ()))
        return found, get_newsletter(tx), importing.topics_of_labels(tx, labels)

    found, newsletter, topics = await services.store.read(look)
    report = Report(**found.report) if found.report else None
    refused = await asyncio.to_thread(_refused, request, token, _SHOWN_REFUSALS)
    labels = sorted(report.labels.items(), key=lambda pair: -pair[1]) if report else []
    return desk_page(
        request,
        "imported.html",
        status=422 if problems else 200,
        newsletter=newsletter,
        run=found,
        report=report,
        refused=refused,
        known_labels=[(topics[name].name, count) for name, count in labels if name in topics],
        labels=[pair for pair in labels if pair[0] not in topics][:_SHOWN_LABELS],
        problems=problems,
        typed=typed,
    )


def _refused(request: Request, token: str, limit: int | None) -> list[importing.Refusal]:
    folder = desk_of(services_of(request)).folder / token
    return list(importing.refusals(folder, limit=limit))


@at_desk
async def decide_list(request: Request) -> Response:
    """Take a list in that was looked at, or drop it."""
    services, form = services_of(request), await read_form(request)
    token = request.path_params["token"]
    if one(form, "action") == "drop":
        await asyncio.to_thread(importing.drop, desk_of(services), token)
        return RedirectResponse("/desk/readers/import", 303)
    found = await services.store.read(intakes.find_intake, token)
    if found.state != "looked":  # The button was pressed twice.
        return RedirectResponse(f"/desk/readers/import/{token}", 303)
    wish = Wish(
        take=True,
        confirmed=one(form, "confirmed") == "yes",
        proof=" ".join(one(form, "proof").split())[:500],
        order=one(form, "order") if one(form, "order") in _ORDERS else "",
        new_topics=tuple(name for name in some(form, "topic") if name in found.report["labels"]),
    )
    problems = {}
    if wish.confirmed and not wish.proof:
        problems["proof"] = "Say when and how these people agreed: it is kept with each of them."
    if found.report["asks_order"] and not wish.order:
        problems["order"] = "Say whether the day or the month comes first."
    if problems:
        return await _view(request, problems, wish.as_json())
    # Dates are read anew in the order that was chosen now.
    state = "reading" if wish.order else "writing"

    def take(tx: Tx) -> None:
        if intakes.find_intake(tx, token).state != "looked":
            return
        report = Report(**found.report)
        fresh = replace(report, added=0, confirmed=0, ended=0, known=0, kept_out=0)
        intakes.move_intake(
            tx, token, state=state, wish=wish.as_json(), report=fresh.as_json(), done=0
        )

    await services.store.write(take)
    return RedirectResponse(f"/desk/readers/import/{token}", 303)


@at_desk
async def import_state(request: Request) -> Response:
    """How far it is, for the script that moves the bar."""
    found = await services_of(request).store.read(intakes.find_intake, request.path_params["token"])
    finished = found.state not in intakes.UNDER_WAY
    return JSONResponse({"done": found.done, "total": found.total, "finished": finished})


@at_desk
async def refused_rows(request: Request) -> Response:
    """All refused rows as a table for a spreadsheet."""
    token = request.path_params["token"]
    await services_of(request).store.read(intakes.find_intake, token)
    _ = words_of(request).gettext

    def table() -> Iterator[list[str]]:
        yield [_("File"), _("Line"), _("Address"), _("Why")]
        for row in importing.refusals(desk_of(services_of(request)).folder / token):
            yield [cell(row.file), str(row.line), cell(row.address), cell(_(row.reason))]

    return _download(table(), "refused.csv")


@at_desk_anew
async def export_list(request: Request) -> Response:
    """All subscribers with their consent, as the import takes them."""
    services, now = services_of(request), services_of(request).clock.now()
    await services.store.write(
        audit.write,
        "export",
        subject="subscribers",
        founder_id=session_at(request).founder.id,
        now=now,
    )
    return _download(subscriber_rows(services.store, services.tokens, now=now), "subscribers.csv")


def _download(table: Iterator[list[str]], name: str) -> Response:
    """UTF-8 with its mark, which spreadsheets need to see the accents (IM-7)."""

    def octets() -> Iterator[bytes]:
        yield b"\xef\xbb\xbf"
        for row in table:
            line = io.StringIO(newline="")
            csv.writer(line).writerow(row)
            yield line.getvalue().encode()

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(octets(), media_type="text/csv; charset=utf-8", headers=headers)
