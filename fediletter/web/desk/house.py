"""The desk: topics, and what the newsletter says about itself."""

from datetime import datetime
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError, FormError
from fediletter.mail.addresses import BadAddress, parse_address
from fediletter.mail.compose import fits_a_header
from fediletter.newsletter.fields import FIELDS, fields_json, fields_of, problem_of
from fediletter.newsletter.posts import hashtag_of
from fediletter.newsletter.rhythm import holds_until, planned_too_near
from fediletter.newsletter.slugs import slug_of
from fediletter.outbound.profile import tell_profile
from fediletter.outbound.topics import give_actors
from fediletter.settings import LANGUAGES
from fediletter.web.context import services_of
from fediletter.web.desk.drafts import store_upload
from fediletter.web.desk.login import at_desk, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import file, one, read_form
from storage import audit, founders, topics
from storage.errors import Conflict
from storage.ids import TopicId
from storage.newsletters import get_newsletter, update_newsletter
from storage.rhythm import lock_rhythm
from storage.store import Tx


@at_desk
async def topics_page(request: Request) -> Response:
    """The topics."""
    return await _topics(request, {})


async def _topics(
    request: Request,
    problems: dict[str, str],
    *,
    status: int = 200,
    typed: dict[str, str] | None = None,
) -> Response:
    """The page; `typed` is what the form of one topic (or of a new one, `topic_id` "") held."""

    def look(tx: Tx) -> dict[str, Any]:
        return {"newsletter": get_newsletter(tx), "topics": topics.all_topics(tx)}

    found = await services_of(request).store.read(look)
    return desk_page(request, "topics.html", status=status, problems=problems, typed=typed, **found)


@at_desk
async def save_topic(request: Request) -> Response:
    """Add a topic, or change one."""
    services = services_of(request)
    form = await read_form(request)
    name = " ".join(one(form, "name").split())[:80]
    description = " ".join(one(form, "description").split())[:300]
    topic_id = one(form, "topic_id")
    typed = {"name": name, "description": description, "topic_id": topic_id}
    if not name:
        return await _topics(request, {"name": "A topic needs a name."}, status=422, typed=typed)

    def work(tx: Tx) -> None:
        if topic_id.isdigit():
            topics.update_topic(
                tx,
                TopicId(int(topic_id)),
                name=name,
                hashtag=hashtag_of(name),
                description=description,
                public=one(form, "hidden") != "yes",
            )
        else:
            topics.add_topic(
                tx,
                slug=slug_of(name),
                name=name,
                hashtag=hashtag_of(name),
                description=description,
                now=services.clock.now(),
            )

    try:
        await services.store.write(work)
    except Conflict:
        problem = {"name": "There is a topic of this name."}
        return await _topics(request, problem, status=422, typed=typed)
    await give_actors(services)
    return RedirectResponse("/desk/topics", 303)


@at_desk
async def settings_page(request: Request) -> Response:
    """What the newsletter says about itself."""
    newsletter, too_soon = await services_of(request).store.read(
        lambda tx: (get_newsletter(tx), planned_too_near(tx))
    )
    return desk_page(
        request,
        "settings.html",
        newsletter=newsletter,
        typed={name: getattr(newsletter, name) for name in newsletter.__dataclass_fields__},
        fields=_padded(fields_of(newsletter.profile_fields_json)),
        problems={},
        saved=request.query_params.get("saved") == "1",
        too_soon=too_soon,
    )


@at_desk
async def save_settings(request: Request) -> Response:
    """Save it; followers get the new profile."""
    services = services_of(request)
    form = await read_form(request)
    newsletter = await services.store.read(get_newsletter)
    changes: dict[str, Any] = {
        name: " ".join(one(form, name).split())[:300]
        for name in ("title", "description", "sender_name", "postal_address")
    }
    changes["reply_to"], changes["shop_url"] = one(form, "reply_to"), one(form, "shop_url")
    days = one(form, "rhythm_days")
    changes["rhythm_days"] = int(days) if days.isdigit() and len(days) < 4 else 0
    changes["approve_known"] = one(form, "approve_known") == "yes"
    language = one(form, "language")
    changes["language"] = language if language in LANGUAGES else newsletter.language
    fields = _typed_fields(form)
    changes["profile_fields_json"] = fields_json([pair for pair in fields if any(pair)])
    problems = _settings_problems(changes) | _field_problems(fields)
    icon = file(form, "icon")
    if icon is not None and not problems:
        try:
            changes["icon_media_id"] = await store_upload(request, form, "icon")
        except AppError as wrong:
            problems["icon"] = (
                wrong.problems["icon"] if isinstance(wrong, FormError) else wrong.words
            )

    def work(tx: Tx) -> datetime | None:
        now, founder = services.clock.now(), session_at(request).founder
        lock_rhythm(tx)
        until = holds_until(tx, changes["rhythm_days"], now)
        if until is None:
            update_newsletter(tx, **changes)
            founders.set_language(tx, founder.id, changes["language"])
            audit.write(tx, "settings", founder_id=founder.id, now=now)
        return until

    until = None if problems else await services.store.write(work)
    if until is not None:
        problems["rhythm_days"] = (
            "The last letter made this promise: it holds until {day}. "
            "A letter that has to come sooner can say why."
        )
    if problems:
        return desk_page(
            request,
            "settings.html",
            status=422,
            newsletter=newsletter,
            typed=changes,
            fields=fields,
            problems=problems,
            until=until,
            saved=False,
            too_soon=(),
        )
    await tell_profile(services)
    return RedirectResponse("/desk/settings?saved=1", 303)


def _settings_problems(changes: dict[str, Any]) -> dict[str, str]:
    problems = {}
    if not changes["title"]:
        problems["title"] = "The newsletter needs a name."
    for name in ("title", "sender_name"):
        if not fits_a_header(changes[name]):
            problems[name] = "This name has characters that a mail cannot carry."
    if changes["reply_to"]:
        try:
            parse_address(changes["reply_to"])
        except BadAddress as wrong:
            problems["reply_to"] = wrong.words
    if changes["shop_url"] and not changes["shop_url"].startswith(("https://", "http://")):
        problems["shop_url"] = "Begin the address with https://."
    return problems


def _typed_fields(form: FormData) -> list[tuple[str, str]]:
    """The profile's fields as they stand in the form, the empty ones too."""

    def said(name: str) -> str:
        return " ".join(one(form, name).split())

    numbers = range(1, FIELDS + 1)
    return [(said(f"field_{number}_name"), said(f"field_{number}_value")) for number in numbers]


def _field_problems(fields: list[tuple[str, str]]) -> dict[str, str]:
    found = {
        f"field_{number}": problem_of(name, value)
        for number, (name, value) in enumerate(fields, 1)
        if name or value
    }
    return {key: problem for key, problem in found.items() if problem}


def _padded(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return fields + [("", "")] * (FIELDS - len(fields))
