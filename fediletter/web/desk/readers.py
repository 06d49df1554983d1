"""The desk: who reads, and how their number grows.

Sources: issue 6.3; security.md IN-29, WE-15.
"""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.inbound import parked
from fediletter.web.context import services_of
from fediletter.web.desk.census import census_of
from fediletter.web.desk.chart import chart_of
from fediletter.web.desk.login import at_desk, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import choice, cursor, one, read_form
from storage import followers, subscribers
from storage.newsletters import get_newsletter
from storage.store import Tx

_PAGE = 50
_MOST_COUNTED = 1000  # Of those who wait.
_STATES = ("all", "active", "pending", "left", "suppressed")


@at_desk
async def readers(request: Request) -> Response:
    """Subscribers or followers, with search and filters; and how many they became."""
    return await _readers(request)


async def _readers(request: Request, problem: str = "", *, status: int = 200) -> Response:
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
        status=status,
        problem=problem,
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
        return await _readers(request, "Choose whom to accept or to refuse.", status=422)
    await parked.decide(
        services_of(request),
        ids,
        accepted=action == "accept",
        founder_id=session_at(request).founder.id,
    )
    return RedirectResponse("/desk/readers?channel=fediverse", 303)
