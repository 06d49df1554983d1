"""The agenda: readers see subjects to come, propose, and vote by a link that is mailed to them.

There is no cookie to know a reader by, and no ballot for who cannot be known: a vote is that of a
confirmed address, through the link in each letter or one that is mailed on demand, or that of an
account on the fediverse, in the poll there. A GET shows, a POST votes (EM-8).

Sources: issue 6.6; security.md EM-8, EM-10, EM-11; interface.md section 4.
"""

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fediletter.limits import PROPOSALS_PER_PREFIX, SUBSCRIBES_PER_PREFIX
from fediletter.mail.addresses import BadAddress, parse_address
from fediletter.newsletter import agenda as rules
from fediletter.newsletter.joining import left_already
from fediletter.newsletter.polls import vote as count_vote
from fediletter.web.context import page, services_of
from fediletter.web.forms import one, read_fields
from fediletter.web.serving.kept import kept
from fediletter.web.site.preferences import chooser
from storage import agenda as subjects
from storage import polls, posts
from storage.asks import add_ask
from storage.newsletters import get_newsletter
from storage.store import Tx
from storage.throttles import hit


@kept
async def agenda(request: Request) -> Response:
    """Subjects to come."""
    return await _agenda(request, {}, {})


async def _agenda(
    request: Request, problems: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response:
    services = services_of(request)

    def look(tx: Tx) -> dict[str, Any]:
        found = rules.agenda_of(tx)
        post = posts.get_post(tx, found.poll.post_id) if found.poll else None
        letters = {one.post_id: posts.get_post(tx, one.post_id) for one in found.chosen
                   if one.post_id is not None}  # fmt: skip
        return {
            "newsletter": get_newsletter(tx),
            "agenda": found,
            "poll_uri": services.links.post_object(post.kind, post.public_id) if post else "",
            "letters": {
                key: one for key, one in letters.items() if one.state == "published" and one.to_web
            },
        }

    return page(
        request,
        "site/agenda.html",
        status=status,
        problems=problems,
        typed=typed,
        **await services.store.read(look),
    )


async def propose(request: Request) -> Response:
    """A reader proposes a subject; a founder reads it before it is shown."""
    services = services_of(request)
    form = await read_fields(request)
    typed = {name: " ".join(one(form, name).split()) for name in ("title", "description")}
    problems = rules.check_subject(**typed)
    if problems:
        return await _agenda(request, problems, typed, status=422)
    now = services.clock.now()

    def work(tx: Tx) -> bool:
        most, span = PROPOSALS_PER_PREFIX
        key = f"propose:{request.state.client_prefix}"
        if not hit(tx, key, most=most, span=span, now=now):
            return False
        if subjects.count_proposed(tx) >= rules.MOST_PROPOSED:
            return False
        public_id = secrets.token_hex(10)
        subjects.add_subject(tx, **typed, state="proposed", public_id=public_id, now=now)
        return True

    if not one(form, "website") and not await services.store.write(work):
        problem = {"title": "There are very many proposals just now. Come back tomorrow."}
        return await _agenda(request, problem, typed, status=429)
    newsletter = await services.store.read(get_newsletter)
    return page(request, "site/proposed.html", newsletter=newsletter, title=typed["title"])


async def send_ballot(request: Request) -> Response:
    """Mail the link to vote with; the answer is the same for every address (EM-10)."""
    services = services_of(request)
    form = await read_fields(request)
    typed = {"email": one(form, "email"), "choice": one(form, "choice")}
    try:
        address = parse_address(typed["email"])
    except BadAddress as wrong:
        return await _agenda(request, {"email": wrong.words}, typed, status=422)
    now = services.clock.now()
    choice = typed["choice"] if typed["choice"].isdigit() and len(typed["choice"]) < 19 else ""

    def work(tx: Tx) -> None:
        most, span = SUBSCRIBES_PER_PREFIX
        key = f"subscribe:{request.state.client_prefix}"
        if services.settings.is_laboratory or hit(tx, key, most=most, span=span, now=now):
            add_ask(tx, "vote", str(address), {"choice": choice}, now=now)

    await services.store.write(work)
    return page(request, "site/link_sent.html", address=str(address))


async def ballot_page(request: Request) -> Response:
    """Shows the vote to whoever holds the link of a letter."""
    person, _ = await chooser(request)
    return await _ballot(request, rules.voter_of(person), "")


async def cast(request: Request) -> Response:
    """Counts their vote, once."""
    services = services_of(request)
    person, _ = await chooser(request)
    form = await read_fields(request)
    if person.state != "active":
        raise left_already()
    voter, now = rules.voter_of(person), services.clock.now()

    def work(tx: Tx) -> str | None:
        found = rules.agenda_of(tx)
        names = [name for name, key in found.options.items() if str(key) == one(form, "choice")]
        if found.poll is None or not names:
            return "no subject was chosen"
        return count_vote(tx, found.poll.post_id, names, voter, now=now)

    refused = await services.store.write(work)
    return await _ballot(request, voter, "counted" if refused is None else "refused")


async def _ballot(request: Request, voter: str, note: str) -> Response:
    def look(tx: Tx) -> dict[str, Any]:
        found = rules.agenda_of(tx)
        chosen = polls.choices_of(tx, found.poll.post_id, voter) if found.poll else set()
        return {
            "newsletter": get_newsletter(tx),
            "agenda": found,
            "mine": [name for name, key in found.options.items() if key in chosen],
        }

    choice = request.query_params.get("choice", "")
    return page(
        request,
        "site/ballot.html",
        status=422 if note == "refused" else 200,
        note=note,
        choice=int(choice) if choice.isdigit() and len(choice) < 19 else None,
        **await services_of(request).store.read(look),
    )
