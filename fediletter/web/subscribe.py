"""Joining, confirming, choosing, leaving: ordinary forms, no cookie, no script.

A GET never changes anything; whoever holds a link needs no session.

Sources: email.md sections 7 and 8; security.md EM-6 to EM-10; interface.md section 4.
"""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fediletter.errors import AppError
from fediletter.limits import SUBSCRIBES_PER_PREFIX
from fediletter.mail.addresses import BadAddress, mask, parse_address
from fediletter.newsletter import subscribers as rules
from fediletter.newsletter.mailroom import Mailroom
from fediletter.newsletter.subscribers import Wish
from fediletter.settings import LANGUAGES
from fediletter.web.context import page, services_of, words_of
from fediletter.web.forms import one, read_form, some
from storage import subscribers
from storage.newsletters import get_newsletter
from storage.store import Tx
from storage.throttles import hit
from storage.topics import Topic, all_topics

CONSENT = (
    "I want to receive these letters by email. I can stop at any time with one click; "
    "nothing is tracked."
)
_YOUNGEST, _OLDEST = timedelta(seconds=3), timedelta(hours=24)


async def subscribe_form(request: Request) -> Response:
    """The form."""
    return await _form(request, {})


async def subscribe(request: Request) -> Response:
    """Somebody asks for letters; the answer is the same for everybody (EM-10)."""
    services = services_of(request)
    form = await read_form(request)
    words = words_of(request)
    try:
        address = parse_address(one(form, "email"))
    except BadAddress as wrong:
        return await _form(request, {"email": wrong.words}, dict(form), status=422)
    language = one(form, "language")
    rhythm = one(form, "rhythm")
    wish = Wish(
        address,
        some(form, "topics"),
        rhythm if rhythm in rules.RHYTHMS else "every",
        language if language in LANGUAGES else words.language,
        words.gettext(CONSENT),
    )
    now = services.clock.now()
    if _is_robot(request, one(form, "website"), one(form, "stamp")):
        return page(request, "site/asked.html", address=str(address))

    def work(tx: Tx) -> None:
        most, span = SUBSCRIBES_PER_PREFIX
        key = f"subscribe:{request.state.client_prefix}"
        if not services.settings.is_laboratory and not hit(tx, key, most=most, span=span, now=now):
            return
        mailroom = Mailroom(get_newsletter(tx), services.links, services.settings.mail_from)
        rules.request(tx, wish, mailroom, services.tokens, now=now)

    await services.store.write(work)
    return page(request, "site/asked.html", address=str(address))


def _is_robot(request: Request, honeypot: str, stamp: str) -> bool:
    """A field that people do not see is filled, or the stamp is false, too fresh or too old."""
    if honeypot:
        return True
    if not stamp:
        return False  # A form of one's own (interface.md section 4).
    services = services_of(request)
    age = services.tokens.age_of_stamp("subscribe", stamp, services.clock.now())
    return age is None or not _YOUNGEST <= age <= _OLDEST


async def _form(
    request: Request,
    problems: dict[str, str],
    typed: dict[str, object] | None = None,
    *,
    status: int = 200,
) -> Response:
    services = services_of(request)
    topics = await services.store.read(all_topics, public_only=True)
    return page(
        request,
        "site/subscribe.html",
        status=status,
        newsletter=await services.store.read(get_newsletter),
        topics=topics,
        problems=problems,
        typed=typed or {},
        consent=CONSENT,
        stamp=services.tokens.stamp("subscribe", services.clock.now()),
    )


async def confirm_page(request: Request) -> Response:
    """Shows what the link confirms, and a button (EM-7)."""
    services = services_of(request)
    token = request.path_params["token"]
    person, found = await services.store.read(
        rules.look_up_confirmation, token, services.tokens, now=services.clock.now()
    )
    request.state.language = found.wish["language"]
    return page(
        request,
        "site/confirm.html",
        newsletter=await services.store.read(get_newsletter),
        address=mask(person.email),
        done=found.used_at is not None,
    )


async def confirm(request: Request) -> Response:
    """The owner of the address presses the button."""
    services = services_of(request)
    token = request.path_params["token"]
    person = await services.store.write(
        rules.confirm, token, services.tokens, now=services.clock.now()
    )
    request.state.language = person.language
    preferences = services.tokens.preferences(person.key, person.epoch)
    return page(
        request,
        "site/confirmed.html",
        newsletter=await services.store.read(get_newsletter),
        preferences=services.links.preferences(preferences),
    )


async def unsubscribe_page(request: Request) -> Response:
    """Shows what will stop, and one button."""
    key = await _leaver(request)
    person = await services_of(request).store.read(subscribers.subscriber_by_key, key)
    return page(
        request,
        "site/unsubscribe.html",
        newsletter=await services_of(request).store.read(get_newsletter),
        state="gone" if person is None or person.state == "left" else "here",
        preferences=None
        if person is None
        else services_of(request).links.preferences(
            services_of(request).tokens.preferences(person.key, person.epoch)
        ),
    )


async def unsubscribe(request: Request) -> Response:
    """Leaves: the page's button, or a provider's one click (RFC 8058). Idempotent."""
    services = services_of(request)
    key = await _leaver(request)
    form = await read_form(request)
    now = services.clock.now()
    if one(form, "undo"):
        undone = await services.store.write(rules.undo_leave, key, services.tokens, now=now)
        return page(request, "site/undone.html", undone=undone)
    by_page = one(form, "leave") == "yes"
    channel = "page" if by_page else "one-click"
    await services.store.write(rules.leave, key, services.tokens, channel=channel, now=now)
    if not by_page:
        return PlainTextResponse(words_of(request).gettext("You will get no more letters."))
    return page(request, "site/left.html")


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


async def preferences_page(request: Request) -> Response:
    """Topics, rhythm, language and pause, as they are."""
    person = await _chooser(request)
    return await _preferences(request, person, saved=False)


async def preferences(request: Request) -> Response:
    """Sets them; topics may be added as well as left."""
    services = services_of(request)
    person = await _chooser(request)
    form = await read_form(request)
    language = one(form, "language")
    pause = one(form, "pause")
    changed = await services.store.write(
        rules.choose,
        person.key,
        topics=some(form, "topics"),
        rhythm=one(form, "rhythm"),
        language=language if language in LANGUAGES else person.language,
        pause_days=int(pause) if pause in ("30", "90") else 0,
        now=services.clock.now(),
    )
    request.state.language = changed.language
    return await _preferences(request, changed, saved=True)


async def _preferences(
    request: Request, person: subscribers.Subscriber, *, saved: bool
) -> Response:
    services = services_of(request)

    def look(tx: Tx) -> tuple[list[Topic], tuple[str, ...]]:
        return all_topics(tx, public_only=True), subscribers.topics_of(tx, person.id)

    topics, chosen = await services.store.read(look)
    return page(
        request,
        "site/preferences.html",
        newsletter=await services.store.read(get_newsletter),
        person=person,
        address=mask(person.email),
        topics=topics,
        chosen=chosen,
        saved=saved,
        leave=services.links.unsubscribe(services.tokens.unsubscribe(person.key)),
    )


async def _chooser(request: Request) -> subscribers.Subscriber:
    services = services_of(request)
    found = services.tokens.read_preferences(request.path_params["token"])
    person = (
        None
        if found is None
        else await services.store.read(subscribers.subscriber_by_key, found[0])
    )
    if person is None or found is None or person.epoch != found[1]:
        raise AppError(404, "This link does not work.", "Use the link at the end of a letter.")
    request.state.language = person.language
    if person.state == "left":
        raise AppError(
            410, "You have left these letters.", "Enter your address if you want them again."
        )
    return person
