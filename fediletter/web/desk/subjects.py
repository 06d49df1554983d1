"""The desk: proposals to decide on, subjects to put to the vote, the winner as a draft."""

import re
import secrets
from datetime import timedelta
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError, FormError
from fediletter.newsletter import agenda as rules
from fediletter.newsletter import posts as letters
from fediletter.outbound.polls import publish_poll
from fediletter.outbound.publish import new_public_id
from fediletter.web.context import services_of
from fediletter.web.desk.login import at_desk, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import one, read_form, some
from storage import agenda, audit, polls
from storage.errors import Conflict
from storage.ids import PostId
from storage.newsletters import get_newsletter
from storage.posts import Draft
from storage.store import Tx

_MOST_DAYS = 60
_WAITING = 200


@at_desk
async def subjects_page(request: Request) -> Response:
    """Everything on the agenda."""
    return await _subjects(request, {}, {})


async def _subjects(
    request: Request, problems: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response:
    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "proposed": agenda.subjects(tx, "proposed", limit=_WAITING),
            "agenda": rules.agenda_of(tx),
        }

    found = await services_of(request).store.read(look)
    return desk_page(
        request, "subjects.html", status=status, problems=problems, typed=typed, **found
    )


@at_desk
async def act(request: Request) -> Response:
    """Add, accept, decline, put to the vote, close the vote, or make a draft."""
    form = await read_form(request)
    action = one(form, "action")
    try:
        if action == "ask":
            await _ask(request, form)
        elif action == "draft":
            post_id = await _draft(request, one(form, "subject"))
            return RedirectResponse(f"/desk/letters/{post_id}", 303)
        else:
            await _small(request, form, action)
    except FormError as wrong:
        typed = {name: one(form, name) for name in ("title", "description", "question", "days")}
        return await _subjects(request, wrong.problems, typed, status=422)
    except Conflict as late:
        raise AppError(
            409, "This was decided meanwhile.", "Look at the agenda as it stands now."
        ) from late
    return RedirectResponse("/desk/agenda", 303)


async def _small(request: Request, form: FormData, action: str) -> None:
    services = services_of(request)
    now = services.clock.now()
    title, description = (" ".join(one(form, name).split()) for name in ("title", "description"))
    problems = rules.check_subject(title, description) if action == "add" else {}
    if problems:
        raise FormError(problems)

    def work(tx: Tx) -> None:
        if action == "add":
            _add(tx, title, description)
        elif action == "accept":
            agenda.accept(tx, one(form, "subject"))
        elif action == "decline":
            agenda.decline(tx, one(form, "subject"))
        elif action == "close":
            poll_id = agenda.last_poll(tx)
            if poll_id is None:
                raise Conflict("poll")
            polls.end_now(tx, poll_id, now=now)
        else:
            raise Conflict(action)
        founder_id = session_at(request).founder.id
        audit.write(tx, f"agenda: {action}", founder_id=founder_id, now=now)

    def _add(tx: Tx, title: str, description: str) -> None:
        try:
            agenda.add_subject(
                tx, title, description, state="open", public_id=secrets.token_hex(10), now=now
            )
        except Conflict as taken:
            raise FormError({"title": "There is a subject of this name."}) from taken

    await services.store.write(work)


async def _ask(request: Request, form: FormData) -> None:
    """Put subjects to the vote: a poll for followers, and the same for readers by mail."""
    services = services_of(request)
    found = await services.store.read(rules.agenda_of)
    if found.is_voting:
        raise Conflict("poll")
    chosen = [one for one in found.subjects if one.public_id in some(form, "subjects")]
    days = one(form, "days")
    if not re.fullmatch("[1-9][0-9]?", days) or int(days) > _MOST_DAYS:
        raise FormError({"days": "A vote lasts from one to sixty days."})
    ids = [one.public_id for one in chosen]
    await publish_poll(
        services,
        one(form, "question"),
        [one.title for one in chosen],
        multiple=False,
        ends_at=services.clock.now() + timedelta(days=int(days)),
        founder_id=session_at(request).founder.id,
        also=lambda tx, poll_id: agenda.put_to_vote(tx, ids, poll_id),
    )


async def _draft(request: Request, public_id: str) -> PostId:
    """The draft of a subject; the one there is, if it was made before."""
    services = services_of(request)
    founder_id, now = session_at(request).founder.id, services.clock.now()

    def work(tx: Tx) -> PostId:
        subject = agenda.get_subject(tx, public_id)
        if subject.post_id is not None:
            return subject.post_id
        draft = Draft(subject.title, "", subject.description, get_newsletter(tx).language)
        post_id = letters.create(
            tx, draft, [], public_id=new_public_id(), now=now, founder_id=founder_id
        )
        agenda.choose(tx, public_id, post_id)
        audit.write(tx, "agenda: draft", subject=str(post_id), founder_id=founder_id, now=now)
        return post_id

    return await services.store.write(work)
