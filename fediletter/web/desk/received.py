"""The desk: what other servers sent that came to nothing, and why.

What could not prove who sent it was turned away at the door: nothing of it is kept (IN-1), so
nothing of it stands here.

Sources: issue 3, "Bad input"; security.md IN-33, WE-15.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.inbound.reasons import TOO_MANY_FOLLOWERS, told
from fediletter.web.context import services_of
from fediletter.web.desk.login import at_desk, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import choice, cursor
from storage import audit, received
from storage.ids import ReceivedId
from storage.newsletters import get_newsletter
from storage.store import Tx

_PAGE = 30
_STATES = ("all", "held", "failed", "ignored", "waiting")


@at_desk
async def came_to_nothing(request: Request) -> Response:
    """What was ignored, held or failed, the newest first."""
    state, before = choice(request, "state", _STATES), cursor(request, "before")

    def look(tx: Tx) -> dict[str, Any]:
        rows = received.told(
            tx, limit=_PAGE, state=None if state == "all" else state, before=before
        )
        return {"newsletter": get_newsletter(tx), "rows": rows}

    found = await services_of(request).store.read(look)
    return desk_page(
        request,
        "received.html",
        state=state,
        states=_STATES,
        size=_PAGE,
        told=told,
        elsewhere=TOO_MANY_FOLLOWERS,
        **found,
    )


@at_desk
async def try_again(request: Request) -> Response:
    """Take in anew what was held or failed."""
    services = services_of(request)
    received_id = ReceivedId(int(request.path_params["received_id"]))
    now = services.clock.now()

    def work(tx: Tx) -> None:
        if received.try_again(tx, received_id, now=now):
            founder_id = session_at(request).founder.id
            audit.write(tx, "take in", subject=str(received_id), founder_id=founder_id, now=now)

    await services.store.write(work)
    return RedirectResponse("/desk/received", 303)
