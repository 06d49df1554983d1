"""Leaving: one press on a page, or a provider's one click. The token is the authority.

Sources: email.md section 7 (UN-1 to UN-10); security.md EM-8; RFC 8058.
"""

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fediletter.errors import AppError
from fediletter.newsletter import subscribers as rules
from fediletter.newsletter.tokens import TEST_KEY
from fediletter.web.context import page, services_of, words_of
from fediletter.web.forms import read_fields
from storage import subscribers
from storage.newsletters import get_newsletter


async def unsubscribe(request: Request) -> Response:
    """The page; or, by POST, the end of the letters. No request here is ever redirected (UN-2).

    It is the same for who has left already, or was erased: who is sent a letter on is not told.
    """
    if request.method == "POST":
        return await _leave(request)
    services = services_of(request)
    key = await _leaver(request)
    person = await services.store.read(subscribers.subscriber_by_key, key)
    return page(
        request,
        "site/unsubscribe.html",
        newsletter=await services.store.read(get_newsletter),
        is_test=key == TEST_KEY,
        preferences=None if person is None else _preferences(request, person),
    )


async def _leave(request: Request) -> Response:
    """Idempotent; whatever the body is, it is meant to leave."""
    services = services_of(request)
    key = await _leaver(request)
    form = await _lenient_form(request)
    now = services.clock.now()
    if form.get("undo") == "yes":
        undone = await services.store.write(
            rules.undo_leave, key, services.tokens, channel="page", now=now
        )
        person = await services.store.read(subscribers.subscriber_by_key, key)
        return page(
            request,
            "site/undone.html",
            undone=undone,
            preferences=None if person is None else _preferences(request, person),
        )
    by_page = form.get("leave") == "yes"
    channel = "page" if by_page else "one-click"
    await services.store.write(rules.leave, key, services.tokens, channel=channel, now=now)
    if not by_page:
        return PlainTextResponse(words_of(request).gettext("You will get no more letters."))
    person = await services.store.read(subscribers.subscriber_by_key, key)
    return page(
        request,
        "site/left.html",
        preferences=None if person is None else _preferences(request, person),
    )


async def _lenient_form(request: Request) -> FormData:
    """The fields; none where the body is no form (RFC 8058 §3.2: the POST is what counts)."""
    try:
        return await read_fields(request)
    except HTTPException:
        return FormData()


async def _leaver(request: Request) -> bytes:
    """The key in the link; sets the page's language to the reader's."""
    services = services_of(request)
    key = services.tokens.read_unsubscribe(request.path_params["token"])
    if key is None:
        raise AppError(404, "This link does not work.", "Use the link at the end of a letter.")
    person = await services.store.read(subscribers.subscriber_by_key, key)
    if person is not None:
        request.state.language = person.language
    return key


def _preferences(request: Request, person: subscribers.Subscriber) -> str:
    services = services_of(request)
    return services.links.preferences(services.tokens.preferences(person.key, person.epoch))
