"""Joining: the form, its questions, the page of the confirmation link. No cookie, no script.

One field takes an email address or an account on the fediverse. What begins with @ is an account,
`me@my.server` is an address unless the button for following was pressed. A POST of an address keeps
the ask and answers; what follows for the address is done later (EM-10).

Sources: email.md section 8; security.md EM-3, EM-6, EM-7, EM-10, L-70, L-73; interface.md 4.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from fediletter.errors import FormError
from fediletter.limits import CONFIRMATIONS_PER_SITE, FORM_AGE, SUBSCRIBES_PER_PREFIX
from fediletter.mail.addresses import Address, BadAddress, mask
from fediletter.mail.typing_help import did_you_mean
from fediletter.newsletter import joining as rules
from fediletter.newsletter import wording
from fediletter.newsletter.tokens import Tokens
from fediletter.services import reader_address
from fediletter.settings import LANGUAGES
from fediletter.web.context import page, services_of, words_of
from fediletter.web.forms import one, read_fields, some
from fediletter.web.site.following import way_to_follow
from fediletter.words import Words
from storage.asks import add_ask
from storage.newsletters import Newsletter, get_newsletter
from storage.store import Tx
from storage.throttles import hit
from storage.topics import Topic, all_topics


@dataclass(slots=True)
class _Shown:
    """What the form shows beside its fields."""

    problems: dict[str, str] = field(default_factory=dict)
    typed: FormData = field(default_factory=FormData)
    meant: str = ""  # The address with a slip in its domain mended, as a question.
    sums: tuple[str, str] | None = None  # A question for people, and its seal.


async def subscribe_form(request: Request) -> Response:
    """The form."""
    return await _form(request, _Shown())


async def subscribe(request: Request) -> Response:
    """Somebody asks for letters; the answer is the same for everybody (EM-10)."""
    services = services_of(request)
    form = await read_fields(request)
    if one(form, "by") == "fediverse" or one(form, "email").lstrip().startswith("@"):
        return await _follow(request, form)
    try:
        address = reader_address(services, one(form, "email"))
    except BadAddress as wrong:
        return await _form(request, _Shown({"email": wrong.words}, form), status=422)
    meant = did_you_mean(address)
    if meant is not None and one(form, "use") == "meant":
        address = meant
    elif meant is not None and one(form, "use") != "typed":
        return await _form(request, _Shown(typed=form, meant=str(meant)))
    age = _age(request, form)
    if age is not None and age > FORM_AGE[1]:
        problems = {"form": "This page was open for more than a day. Press the button once more."}
        return await _form(request, _Shown(problems, form), status=422)
    if not _is_robot(form, age) and not await _keep(request, form, address):
        shown = _Shown(typed=form)
        shown.sums = _sum(words_of(request), services.tokens, services.clock.now())
        if one(form, "sum"):
            shown.problems["sum"] = "That was not it. Here is another one."
        return await _form(request, shown)
    return page(request, "site/asked.html", address=str(address))


async def _follow(request: Request, form: FormData) -> Response:
    try:
        return await way_to_follow(request, one(form, "email"), some(form, "topics"))
    except FormError as wrong:
        return await _form(request, _Shown(wrong.problems, form), status=422)


async def _keep(request: Request, form: FormData, address: Address) -> bool:
    """Keep the ask, or let it fall over L-70. False: a person must answer a question first (L-73).

    An insert and counters, the same for every address.
    """
    services = services_of(request)
    now = services.clock.now()
    wish = await _wish(request, form)
    seal, answered = one(form, "seal"), _is_right(form, services.tokens, now)

    def work(tx: Tx) -> bool:
        most, span = SUBSCRIBES_PER_PREFIX
        key = f"subscribe:{request.state.client_prefix}"
        if not services.settings.is_laboratory and not hit(tx, key, most=most, span=span, now=now):
            return True
        most, span = CONFIRMATIONS_PER_SITE
        if not hit(tx, "mail:site", most=most, span=span, now=now) and not (
            answered and hit(tx, f"sum:{seal}", most=1, span=FORM_AGE[1], now=now)
        ):
            return False
        add_ask(tx, "subscribe", str(address), wish, now=now)
        return True

    return await services.store.write(work)


def _age(request: Request, form: FormData) -> timedelta | None:
    services = services_of(request)
    return services.tokens.age_of_stamp("subscribe", one(form, "stamp"), services.clock.now())


async def _wish(request: Request, form: FormData) -> dict[str, object]:
    """As it is kept until it is done; with the wording that stood on the screen (OP-5)."""
    language, rhythm = one(form, "language"), one(form, "rhythm")
    words = words_of(request)
    newsletter, topics = await services_of(request).store.read(_form_data)
    return {
        "topics": some(form, "topics"),
        "rhythm": rhythm if rhythm in rules.RHYTHMS else "every",
        "language": language if language in LANGUAGES else words.language,
        "text": wording.of_box(words, newsletter, topics, some(form, "topics"))
        if one(form, "form") == "box"
        else wording.of_form(words, newsletter, topics),
    }


def _is_robot(form: FormData, age: timedelta | None) -> bool:
    """A field that people do not see is filled, or the stamp is false or too fresh (OP-1)."""
    if one(form, "website"):
        return True
    if not one(form, "stamp"):
        return False  # A form of one's own (interface.md section 4).
    return age is None or age < FORM_AGE[0]


def _sum(words: Words, tokens: Tokens, now: datetime) -> tuple[str, str]:
    """A question that needs a reader: the two numbers in words, and the sealed answer."""
    first, second = 1 + secrets.randbelow(20), 1 + secrets.randbelow(20)
    # Salted: each seal serves once, whoever was asked the same at that moment.
    seal = secrets.token_urlsafe(6) + "."
    return (
        words.gettext(
            "How much is {first} plus {second}? In figures.",
            first=words.spelled(first),
            second=words.spelled(second),
        ),
        seal + tokens.stamp(f"sum:{seal}{first + second}", now),
    )


def _is_right(form: FormData, tokens: Tokens, now: datetime) -> bool:
    salt, dot, stamp = one(form, "seal").partition(".")
    if not dot:
        return False
    typed = one(form, "sum").strip()
    # In the figures of any script: a phone's keyboard may offer no others.
    figures = str(int(typed)) if typed.isdecimal() else ""
    age = tokens.age_of_stamp(f"sum:{salt}.{figures}", stamp, now)
    return age is not None and age <= FORM_AGE[1]


def _form_data(tx: Tx) -> tuple[Newsletter, list[Topic]]:
    return get_newsletter(tx), all_topics(tx, public_only=True)


async def _form(request: Request, shown: _Shown, *, status: int = 200) -> Response:
    services = services_of(request)
    newsletter, topics = await services.store.read(_form_data)
    age = _age(request, shown.typed)
    # A question between does not make the form young again.
    is_good = age is not None and age <= FORM_AGE[1]
    return page(
        request,
        "site/subscribe.html",
        status=status,
        newsletter=newsletter,
        topics=topics,
        chosen=some(shown.typed, "topics"),
        problems=shown.problems,
        typed=shown.typed,
        meant=shown.meant,
        sums=shown.sums,
        legend=wording.LEGEND,
        stamp=one(shown.typed, "stamp")
        if is_good
        else services.tokens.stamp("subscribe", services.clock.now()),
    )


async def confirm_page(request: Request) -> Response:
    """Shows what the link confirms, its choices, and a button (EM-7)."""
    services = services_of(request)
    person, found = await services.store.read(
        rules.look_up_confirmation,
        request.path_params["token"],
        services.tokens,
        now=services.clock.now(),
    )
    request.state.language = found.wish["language"]
    newsletter, topics = await services.store.read(_form_data)
    return page(
        request,
        "site/confirm.html",
        newsletter=newsletter,
        topics=topics,
        wish=found.wish,
        legend=wording.LEGEND,
        address=mask(person.email),
        done=found.used_at is not None,
    )


async def confirm(request: Request) -> Response:
    """The owner of the address presses the button."""
    services = services_of(request)
    form = await read_fields(request)
    choice = None
    if one(form, "choices") == "shown":
        language, rhythm = one(form, "language"), one(form, "rhythm")
        choice = rules.Choice(
            some(form, "topics"),
            rhythm if rhythm in rules.RHYTHMS else "every",
            language if language in LANGUAGES else words_of(request).language,
        )
    person = await services.store.write(
        rules.confirm,
        request.path_params["token"],
        services.tokens,
        now=services.clock.now(),
        choice=choice,
    )
    request.state.language = person.language
    preferences = services.tokens.preferences(person.key, person.epoch)
    return page(
        request,
        "site/confirmed.html",
        newsletter=await services.store.read(get_newsletter),
        preferences=services.links.preferences(preferences),
    )
