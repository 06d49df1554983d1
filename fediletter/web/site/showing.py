"""The page on which a reader sees how their mail would be shown, agrees, or takes it back.

A GET changes nothing, whoever opens the link (EM-7): the form needs a press.

Sources: issue 4 point 6; security.md EM-7, EM-9, PR-9.
"""

from starlette.requests import Request
from starlette.responses import Response

from fediletter.errors import FormError
from fediletter.newsletter import showing as rules
from fediletter.web.context import page, services_of, words_of
from fediletter.web.forms import one, read_fields
from storage.newsletters import get_newsletter


async def showing_page(request: Request) -> Response:
    """The mail as it would stand there, and the question."""
    return await _show(request, await _look_up(request))


async def decide(request: Request) -> Response:
    """Yes, or not any more."""
    services = services_of(request)
    opened = await _look_up(request)
    form = await read_fields(request)
    token, now = request.path_params["token"], services.clock.now()
    if one(form, "action") == "withdraw":
        await services.store.write(rules.withdraw, token, services.tokens, now=now)
        return await _show(request, await _look_up(request))
    name = one(form, "name")
    try:
        await services.store.write(
            rules.agree,
            token,
            name,
            services.tokens,
            language=words_of(request).language,
            now=now,
        )
    except FormError as wrong:
        return await _show(request, opened, wrong.problems["name"], name)
    return await _show(request, await _look_up(request))


async def _look_up(request: Request) -> rules.Opened:
    services = services_of(request)
    opened = await services.store.read(rules.look_up, request.path_params["token"], services.tokens)
    request.state.language = opened.letter.language
    return opened


async def _show(
    request: Request, opened: rules.Opened, problem: str = "", typed: str = ""
) -> Response:
    services = services_of(request)
    newsletter = await services.store.read(get_newsletter)
    return page(
        request,
        "site/showing.html",
        status=422 if problem else 200,
        newsletter=newsletter,
        letter=opened.letter,
        ask=opened.ask,
        expired=services.clock.now() > opened.ask.expires_at,
        question=rules.QUESTION,
        terms=rules.TERMS,
        name=typed if problem else opened.name,
        problem=problem,
    )
