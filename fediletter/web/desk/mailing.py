"""The desk's buttons for mail: a correction on purpose, going on after a pause.

Sources: issue 4.7; email.md TR-22; security.md RE-5, RE-6.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.outbound import mailing
from fediletter.web.context import services_of
from fediletter.web.desk.delivery import show_delivery
from fediletter.web.desk.drafts import post_id_of
from fediletter.web.desk.login import at_desk, session_at
from fediletter.web.forms import one, read_form
from storage import mailings
from storage.ids import DeliveryId


@at_desk
async def send_correction(request: Request) -> Response:
    """The changed letter, to whoever had it by mail."""
    post_id = post_id_of(request)
    founder_id = session_at(request).founder.id
    try:
        await mailing.send_correction(services_of(request), post_id, founder_id=founder_id)
    except AppError as wrong:
        return await show_delivery(request, uncorrected=wrong)
    return RedirectResponse(f"/desk/letters/{post_id}/delivery", 303)


@at_desk
async def resume(request: Request) -> Response:
    """Mail pauses no more."""
    services, post_id = services_of(request), post_id_of(request)
    await services.store.write(mailings.resume_post, post_id, now=services.clock.now())
    return RedirectResponse(f"/desk/letters/{post_id}/delivery", 303)


@at_desk
async def decide_uncertain(request: Request) -> Response:
    """A message that may have arrived: once more, or left as it is."""
    services = services_of(request)
    form = await read_form(request)
    number = one(form, "delivery")
    if number.isdigit():
        await services.store.write(
            mailings.decide_uncertain,
            DeliveryId(int(number)),
            again=one(form, "action") == "again",
            now=services.clock.now(),
        )
    return RedirectResponse(f"/desk/letters/{post_id_of(request)}/delivery", 303)
