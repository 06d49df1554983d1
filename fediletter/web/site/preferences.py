"""Choosing: topics both ways, language, rhythm, a pause, the channel; and the way to the page.

Whoever holds a letter holds its links, so that the page shows the address masked and changes no
address (UN-9); what concerns the data itself goes by a fresh mailed link (`own_data.py`).

Sources: email.md section 7; security.md EM-9, EM-10, EM-11; issue of topics both ways.
"""

from starlette.requests import Request
from starlette.responses import Response

from fediletter.errors import AppError
from fediletter.limits import SUBSCRIBES_PER_PREFIX
from fediletter.mail.addresses import BadAddress, mask, parse_international
from fediletter.newsletter import own_data, wording
from fediletter.newsletter import subscribers as rules
from fediletter.newsletter.joining import left_already
from fediletter.newsletter.mailroom import Mailroom
from fediletter.newsletter.tokens import TEST_KEY
from fediletter.outbound import handles
from fediletter.settings import LANGUAGES
from fediletter.web.context import page, services_of
from fediletter.web.forms import one, read_fields, some
from storage import subscribers
from storage.asks import add_ask
from storage.followers import handle_of
from storage.newsletters import Newsletter, get_newsletter
from storage.store import Tx
from storage.subscribers import Subscriber
from storage.throttles import hit
from storage.topics import Topic, all_topics

_NOTES = {
    "saved": "Saved.",
    "mailed": "We have sent a link to your address. It works once, for a day.",
    "asked": "If this account follows us, a private message is on its way to it. Open its link.",
    "parted": "The letters come by email again, whether you follow us or not.",
}


async def link_form(request: Request) -> Response:
    """For who lost the link: an address, and it is mailed there."""
    return await _link_form(request, "", "")


async def send_link(request: Request) -> Response:
    """The answer is the same whether the address is known or not (EM-10)."""
    services = services_of(request)
    form = await read_fields(request)
    try:
        address = parse_international(one(form, "email"))
    except BadAddress as wrong:
        return await _link_form(request, one(form, "email"), wrong.words, status=422)
    now = services.clock.now()

    def work(tx: Tx) -> None:
        most, span = SUBSCRIBES_PER_PREFIX
        key = f"subscribe:{request.state.client_prefix}"
        if services.settings.is_laboratory or hit(tx, key, most=most, span=span, now=now):
            add_ask(tx, "link", str(address), {}, now=now)

    await services.store.write(work)
    return page(request, "site/link_sent.html", address=str(address))


async def _link_form(request: Request, typed: str, problem: str, *, status: int = 200) -> Response:
    newsletter = await services_of(request).store.read(get_newsletter)
    return page(
        request,
        "site/lost_link.html",
        status=status,
        newsletter=newsletter,
        typed=typed,
        problem=problem,
    )


async def preferences_page(request: Request) -> Response:
    """Everything as it is."""
    person, _ = await chooser(request)
    return await _show(request, person)


async def preferences(request: Request) -> Response:
    """Sets what was chosen, or mails the link that a button asks for."""
    services = services_of(request)
    person, epoch = await chooser(request)
    form = await read_fields(request)
    now = services.clock.now()
    if one(form, "data"):
        return await _mail_link(request, person, one(form, "data"))
    if one(form, "channel") and person.state == "left":
        raise left_already()
    if one(form, "channel") == "claim":
        own = await services.keyring.newsletter()
        await services.store.write(
            handles.ask, person, one(form, "handle"), own.id, services.links, services.tokens,
            now=now,
        )  # fmt: skip
        return await _show(request, person, "asked")
    if one(form, "channel") == "part":
        await services.store.write(handles.part, person, now=now)
        return await _show(request, await _again(request, person), "parted")
    language = one(form, "language")
    changed = await services.store.write(
        rules.choose,
        person.key,
        services.tokens,
        topics=some(form, "topics"),
        rhythm=one(form, "rhythm"),
        language=language if language in LANGUAGES else person.language,
        pause=one(form, "pause") or "0",
        epoch=epoch,
        now=now,
    )
    request.state.language = changed.language
    return await _show(request, changed, "saved")


async def _mail_link(request: Request, person: Subscriber, purpose: str) -> Response:
    services = services_of(request)

    def work(tx: Tx) -> None:
        mailroom = Mailroom(get_newsletter(tx), services.links, services.settings.mail_from)
        own_data.send_link(tx, person, purpose, mailroom, services.tokens, now=services.clock.now())

    await services.store.write(work)
    return await _show(request, person, "mailed")


async def _again(request: Request, person: Subscriber) -> Subscriber:
    return await services_of(request).store.read(subscribers.get_subscriber, person.id)


async def _show(request: Request, person: Subscriber, note: str = "") -> Response:
    services = services_of(request)

    now = services.clock.now()

    def look(tx: Tx) -> tuple[Newsletter, list[Topic], tuple[str, ...], str | None, bool]:
        return (
            get_newsletter(tx),
            all_topics(tx, public_only=True),
            subscribers.topics_of(tx, person.id),
            handle_of(tx, person.follows_as) if person.follows_as else None,
            rules.may_undo(tx, person, services.tokens, now=now),
        )

    newsletter, topics, chosen, handle, may_undo = await services.store.read(look)
    paused = person.paused_until if person.paused_until and person.paused_until > now else None
    return page(
        request,
        "site/preferences.html",
        newsletter=newsletter,
        person=person,
        paused=paused,
        address=mask(person.email),
        topics=topics,
        chosen=chosen,
        handle=handle,
        may_undo=may_undo,
        legend=wording.LEGEND,
        note=_NOTES.get(note, ""),
        here=services.links.preferences(request.path_params["token"]),
        leave=services.links.unsubscribe(services.tokens.unsubscribe(person.key)),
    )


async def chooser(request: Request) -> tuple[Subscriber, int]:
    """Who holds the link, and its epoch; a newer link than the last used one is as good.

    Using it ends those before: nobody can end another's links by knowing an address (EM-11).
    """
    services = services_of(request)
    found = services.tokens.read_preferences(request.path_params["token"])
    if found is not None and found[0] == TEST_KEY:
        raise AppError(200, "This link is of a test letter: it belongs to no reader.")  # HD-23
    person = (
        None
        if found is None
        else await services.store.read(subscribers.subscriber_by_key, found[0])
    )
    if person is None or found is None or found[1] not in (person.epoch, person.epoch + 1):
        raise AppError(
            404, "This link does not work.", "Ask for a new link with your address, or join anew."
        )
    request.state.language = person.language
    return person, found[1]
