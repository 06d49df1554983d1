"""The desk's mailroom: what came back, what pauses, what is in doubt; everything can be undone.

Sources: email.md BO-9, TR-22, 9.4; issue 4 point 6.
"""

import contextlib
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.newsletter.bounces import lift
from fediletter.outbound.relay_watch import kind_of
from fediletter.services import house_of
from fediletter.web.context import services_of
from fediletter.web.desk.login import at_desk, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import one, read_form
from storage import audit, mailings, suppressions
from storage.errors import NotThere
from storage.ids import DeliveryId, MailingId, SubscriberId
from storage.newsletters import get_newsletter
from storage.progress import mail_rest
from storage.store import Tx

_PAGE = 50


@at_desk
async def mailroom(request: Request) -> Response:
    """Who gets no mail and why, mailings that pause, messages in doubt."""
    return await _page(request, {}, {})


async def _page(
    request: Request, problems: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response:
    services = services_of(request)
    now = services.clock.now()
    after = request.query_params.get("after", "")

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "mail_rest": mail_rest(tx),
            "paused": suppressions.paused_mailings(tx),
            "stopped": suppressions.stopped_domains(tx, now=now),
            "doubtful": suppressions.doubtful(tx, limit=_PAGE),
            "silent": suppressions.silent_readers(
                tx, limit=_PAGE, after=int(after) if after.isdigit() else 0, now=now
            ),
        }

    found = await services.store.read(look)
    return desk_page(
        request,
        "mail.html",
        status=status,
        problems=problems,
        typed=typed,
        size=_PAGE,
        kind_of=kind_of,
        now=now,
        **found,
    )


@at_desk
async def act(request: Request) -> Response:
    """Resume, try again, send again, leave, lift."""
    services = services_of(request)
    form = await read_form(request)
    action, subject = one(form, "action"), one(form, "subject")
    note = " ".join(one(form, "note").split())[:300]
    if action == "lift" and not note:
        problem = "Write why this reader gets letters again."
        return await _page(
            request, {"note": problem}, {"subject": subject, "note": note}, status=422
        )
    number = int(subject) if subject.isdigit() and len(subject) < 16 else 0
    now = services.clock.now()

    def work(tx: Tx) -> None:
        match action:
            case "resume":
                suppressions.resume_mailing(tx, MailingId(number), now=now)
            case "domain":
                suppressions.try_domain(tx, subject[:253].lower(), now=now)
            case "again":
                mailings.decide_uncertain(tx, DeliveryId(number), again=True, now=now)
            case "leave":
                mailings.decide_uncertain(tx, DeliveryId(number), again=False, now=now)
            case "lift":
                lift(tx, SubscriberId(number), note, house_of(services), now=now)
            case _:
                return
        founder_id = session_at(request).founder.id
        audit.write(tx, f"mail {action}", subject=subject[:60], founder_id=founder_id, now=now)

    with contextlib.suppress(NotThere):  # The reader was forgotten meanwhile.
        await services.store.write(work)
    return RedirectResponse("/desk/mail", 303)
