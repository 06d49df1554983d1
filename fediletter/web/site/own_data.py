"""The page behind a fresh mailed link: a copy of one's data, a new address, or the end of it all.

Also the two answers that other links ask for: "stay" after years, and "yes, this is my account".

Sources: security.md PR-4, PR-5, EM-9; email.md UN-9, OP-6, OP-7.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from fediletter.errors import AppError
from fediletter.forgotten import remember_erasure
from fediletter.mail.addresses import BadAddress, mask
from fediletter.newsletter import own_data, retention
from fediletter.newsletter.mailroom import Mailroom
from fediletter.outbound import handles
from fediletter.services import reader_address
from fediletter.web.context import page, services_of
from fediletter.web.forms import one, read_fields
from fediletter.web.site.preferences import chooser
from storage.followers import handle_of
from storage.newsletters import get_newsletter
from storage.store import Tx


async def data_page(request: Request) -> Response:
    """Says what the button does; changes nothing."""
    return await _show(request, await _look_up(request))


async def data(request: Request) -> Response:
    """Does what the link is for."""
    opened = await _look_up(request)
    match opened.purpose:
        case "export":
            return await _export(request)
        case "erase":
            return await _erase(request, opened)
        case "change-address":
            return await _ask_to_move(request, opened)
        case _:
            return await _move(request)


async def _look_up(request: Request) -> own_data.Opened:
    services = services_of(request)
    opened = await services.store.read(
        own_data.look_up,
        request.path_params["token"],
        services.tokens,
        now=services.clock.now(),
    )
    if opened.purpose == handles.PURPOSE:
        raise AppError(404, "This link does not work.")
    request.state.language = opened.person.language
    return opened


async def _show(
    request: Request, opened: own_data.Opened, problem: str = "", typed: str = ""
) -> Response:
    newsletter = await services_of(request).store.read(get_newsletter)
    return page(
        request,
        "site/data.html",
        status=422 if problem else 200,
        newsletter=newsletter,
        purpose=opened.purpose,
        address=mask(opened.detail or opened.person.email),
        problem=problem,
        typed=typed,
    )


async def _export(request: Request) -> Response:
    services = services_of(request)
    content = await services.store.write(
        own_data.export,
        request.path_params["token"],
        services.tokens,
        now=services.clock.now(),
    )
    headers = {"Content-Disposition": 'attachment; filename="my-data.json"'}
    return Response(content, media_type="application/json", headers=headers)


async def _erase(request: Request, opened: own_data.Opened) -> Response:
    services = services_of(request)
    form = await read_fields(request)
    now = services.clock.now()
    # First beside the database: a backup made before must not bring them back (PR-8).
    hashed = services.tokens.hash_address(opened.person.identity)
    await asyncio.to_thread(remember_erasure, services.settings.data, hashed, now=now)
    await services.store.write(
        own_data.erase,
        request.path_params["token"],
        services.tokens,
        hash_too=one(form, "everything") == "yes",
        now=now,
    )
    return page(request, "site/erased.html")


async def _ask_to_move(request: Request, opened: own_data.Opened) -> Response:
    services = services_of(request)
    typed = one(await read_fields(request), "email")
    try:
        address = reader_address(services, typed)
    except BadAddress as wrong:
        return await _show(request, opened, wrong.words, typed)

    def work(tx: Tx) -> None:
        own_data.ask_to_move(
            tx,
            request.path_params["token"],
            address,
            Mailroom(get_newsletter(tx), services.links, services.settings.mail_from),
            services.tokens,
            now=services.clock.now(),
        )

    await services.store.write(work)
    return page(request, "site/link_sent.html", address=str(address))


async def _move(request: Request) -> Response:
    services = services_of(request)

    def work(tx: Tx) -> str:
        person = own_data.move(
            tx,
            request.path_params["token"],
            Mailroom(get_newsletter(tx), services.links, services.settings.mail_from),
            services.tokens,
            now=services.clock.now(),
        )
        return services.tokens.preferences(person.key, person.epoch)

    token = await services.store.write(work)
    return page(request, "site/moved.html", preferences=services.links.preferences(token))


async def stay_page(request: Request) -> Response:
    """The question after years, with one button."""
    person, _ = await chooser(request)
    newsletter = await services_of(request).store.read(get_newsletter)
    return page(
        request, "site/stay.html", newsletter=newsletter, address=mask(person.email), done=False
    )


async def stay(request: Request) -> Response:
    """They want to go on."""
    services = services_of(request)
    person, _ = await chooser(request)
    await services.store.write(retention.stay, person.id, now=services.clock.now())
    newsletter = await services.store.read(get_newsletter)
    return page(
        request, "site/stay.html", newsletter=newsletter, address=mask(person.email), done=True
    )


async def account_page(request: Request) -> Response:
    """What joining the two channels means, with one button; reached from a private message."""
    return await _account(request, done=False)


async def account(request: Request) -> Response:
    """The owner of the account says that it is theirs."""
    services = services_of(request)
    response = await _account(request, done=True)
    await services.store.write(
        handles.join,
        request.path_params["token"],
        services.tokens,
        now=services.clock.now(),
    )
    return response


async def _account(request: Request, *, done: bool) -> Response:
    services = services_of(request)
    opened = await services.store.read(
        own_data.look_up,
        request.path_params["token"],
        services.tokens,
        now=services.clock.now(),
    )
    if opened.purpose != handles.PURPOSE:
        raise AppError(404, "This link does not work.")
    request.state.language = opened.person.language
    return page(
        request,
        "site/account.html",
        newsletter=await services.store.read(get_newsletter),
        handle=await services.store.read(handle_of, opened.detail),
        address=mask(opened.person.email),
        done=done,
    )
