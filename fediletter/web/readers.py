"""The desk: who reads, how their number grows, and lists from elsewhere.

Sources: issue 6.3; email.md IM-1 to IM-6; security.md IN-29, ME-9, WE-15.
"""

import asyncio
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.importing import Report, import_file
from fediletter.inbound import parked
from fediletter.web.census import census_of
from fediletter.web.chart import chart_of
from fediletter.web.context import services_of
from fediletter.web.desk import desk_page
from fediletter.web.forms import choice, cursor, file, one, read_form
from fediletter.web.login import at_desk, session_at
from storage import audit, followers, subscribers
from storage.errors import NotThere
from storage.newsletters import get_newsletter
from storage.store import Tx

_PAGE = 50
_MOST_COUNTED = 1000  # Of those who wait.
_STATES = ("all", "active", "pending", "left", "suppressed")
_SHOWN_REFUSALS = 200
_KEPT_RUNS = 20


@at_desk
async def readers(request: Request) -> Response:
    """Subscribers or followers, with search and filters; and how many they became."""
    services = services_of(request)
    channel = choice(request, "channel", ("mail", "fediverse"))
    state = choice(request, "state", _STATES)
    search = request.query_params.get("q", "").strip()[:100]
    before = cursor(request, "before")
    counted = await census_of(request)
    own = await services.keyring.newsletter()

    def look(tx: Tx) -> dict[str, Any]:
        found: list[Any]
        if channel == "mail":
            chosen = None if state == "all" else state
            found = subscribers.newest_subscribers(
                tx, limit=_PAGE, before=before, state=chosen, search=search
            )
        else:
            found = list(
                followers.list_followers(tx, own.id, limit=_PAGE, before=before, search=search)
            )
        return {
            "newsletter": get_newsletter(tx),
            "people": found,
            "waiting": followers.list_followers(tx, own.id, limit=_PAGE, state="parked"),
            "count_waiting": followers.count_parked(tx, own.id, most=_MOST_COUNTED),
        }

    return desk_page(
        request,
        "readers.html",
        channel=channel,
        state=state,
        states=_STATES,
        search=search,
        size=_PAGE,
        counted=counted,
        chart=chart_of(counted, now=services.clock.now()),
        **await services.store.read(look),
    )


@at_desk
async def decide(request: Request) -> Response:
    """Accept or refuse followers who wait for a decision (IN-29)."""
    form = await read_form(request)
    chosen = form.getlist("follower")
    ids = [int(it) for it in chosen if isinstance(it, str) and re.fullmatch("[0-9]{1,18}", it)]
    action = one(form, "action")
    if action not in ("accept", "refuse") or not ids:
        raise AppError(
            422, "Choose whom to accept or to refuse.", "Go back, reload, send it again."
        )
    await parked.decide(
        services_of(request),
        ids,
        accepted=action == "accept",
        founder_id=session_at(request).founder.id,
    )
    return RedirectResponse("/desk/readers?channel=fediverse", 303)


# --- lists from elsewhere --------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """An import that goes on while its page is looked at."""

    name: str
    size: int
    moved: int = 0
    report: Report | None = None
    problem: AppError | None = None

    @property
    def finished(self) -> bool:
        return self.report is not None or self.problem is not None


class Runs:
    """The last imports of this process; the same file twice changes nothing (IM-4)."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, run: Run, work: Any) -> str:
        """Let it run; its name for the page that watches it."""
        token = secrets.token_hex(8)
        while len(self._runs) >= _KEPT_RUNS:
            del self._runs[next(iter(self._runs))]
        self._runs[token] = run
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return token

    def find(self, token: str) -> Run:
        """One run. Raises NotThere."""
        if token not in self._runs:
            raise NotThere(token)
        return self._runs[token]


@at_desk
async def import_page(request: Request) -> Response:
    """The form for a list from elsewhere."""
    return await _import_form(request, {}, {})


async def _import_form(
    request: Request, problems: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response:
    newsletter = await services_of(request).store.read(get_newsletter)
    return desk_page(
        request,
        "import.html",
        status=status,
        newsletter=newsletter,
        problems=problems,
        typed=typed,
    )


@at_desk
async def import_list(request: Request) -> Response:
    """Take a CSV in; the next page shows how far it is."""
    services = services_of(request)
    form = await read_form(request)
    confirmed, dry_run = one(form, "confirmed") == "yes", one(form, "dry_run") == "yes"
    typed = {"proof": " ".join(one(form, "proof").split())[:500]}
    typed |= {"confirmed": "yes" if confirmed else "", "dry_run": "yes" if dry_run else ""}
    upload = file(form, "list")
    problems = {}
    if upload is None:
        problems["list"] = "Choose a file."
    if confirmed and not typed["proof"]:
        problems["proof"] = "Say when and how these people agreed: it is kept with each of them."
    if problems or upload is None:
        return await _import_form(request, problems, typed, status=422)
    folder = tempfile.TemporaryDirectory(prefix="fediletter-import-")
    path = Path(folder.name) / "list.csv"
    await asyncio.to_thread(path.write_bytes, await upload.read())
    run = Run((upload.filename or "")[:255], path.stat().st_size)
    founder_id, now = session_at(request).founder.id, services.clock.now()

    async def work() -> None:
        try:
            run.report = await asyncio.to_thread(
                import_file,
                services.store,
                path,
                services.tokens,
                confirmed=confirmed,
                proof=typed["proof"],
                dry_run=dry_run,
                now=now,
                language=services.settings.language,
                moved=lambda octets: setattr(run, "moved", run.moved + octets),
            )
        except AppError as wrong:
            run.problem = wrong
        except Exception:
            run.problem = AppError(500, "The list could not be read to its end.", "Try again.")
            raise
        finally:
            folder.cleanup()
        if run.report is not None and not dry_run:
            await services.store.write(
                audit.write,
                "import readers",
                founder_id=founder_id,
                now=now,
                detail={"added": run.report.added},
            )

    token = request.app.state.imports.begin(run, work())
    return RedirectResponse(f"/desk/readers/import/{token}", 303)


@at_desk
async def import_view(request: Request) -> Response:
    """How far an import is, and what it did."""
    run: Run = request.app.state.imports.find(request.path_params["token"])
    newsletter = await services_of(request).store.read(get_newsletter)
    refused = run.report.refused[:_SHOWN_REFUSALS] if run.report is not None else []
    return desk_page(
        request,
        "imported.html",
        newsletter=newsletter,
        run=run,
        refused=refused,
    )


@at_desk
async def import_state(request: Request) -> Response:
    """The same for the script that moves the bar."""
    run: Run = request.app.state.imports.find(request.path_params["token"])
    return JSONResponse({"done": run.moved, "total": run.size, "finished": run.finished})
