"""The desk: what readers answered, what was reported, who is blocked.

Sources: issue 6.3; federation.md 9.5; security.md IN-32, WE-15.
"""

import csv
import io
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.newsletter import showing
from fediletter.newsletter.mailroom import Mailroom
from fediletter.outbound import answers as answering
from fediletter.outbound.quotes import revoke
from fediletter.web.context import services_of
from fediletter.web.desk.drafts import version_in
from fediletter.web.desk.login import (
    at_desk,
    editors_too,
    is_founder,
    only_founders,
    session_at,
)
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import choice, cursor, file, one, read_form
from fediletter.web.site.pages import by_reply
from storage import audit, blocks, conversations, quotes
from storage.ids import PostId, ReplyId
from storage.newsletters import get_newsletter
from storage.showing import asks_about
from storage.store import Tx

_PAGE = 30
_BLOCKS_PAGE = 100
_STATES = {
    "waiting": ("pending",),
    "shown": ("approved",),
    "hidden": ("hidden",),
    "all": ("pending", "approved", "hidden"),
}
_CHANNELS = ("all", "fediverse", "email")
_MOST_BLOCKS = 50_000


@editors_too
async def answers(request: Request) -> Response:
    """Replies of every channel, by state, the newest first."""
    return await _answers(request, {}, {})


async def _answers(
    request: Request, problems: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response:
    services = services_of(request)
    state = choice(request, "state", tuple(_STATES))
    channel = choice(request, "channel", _CHANNELS)
    before, letter = cursor(request, "before"), cursor(request, "letter")

    def look(tx: Tx) -> dict[str, Any]:
        replies = conversations.conversation(
            tx,
            limit=_PAGE,
            before=before,
            states=_STATES[state],
            channel=None if channel == "all" else channel,
            post_id=None if letter is None else PostId(letter),
        )
        own = conversations.answers_to(tx, [reply.id for reply in replies])
        return {
            "newsletter": get_newsletter(tx),
            "replies": replies,
            "answers": by_reply(own, services.links),
            "asks": asks_about(tx, [one.id for one in replies if one.channel == "email"]),
        }

    return desk_page(
        request,
        "answers.html",
        status=status,
        state=state,
        states=tuple(_STATES),
        channel=channel,
        channels=_CHANNELS,
        letter=letter,
        size=_PAGE,
        problems=problems,
        typed=typed,
        here=f"/desk/answers?{request.url.query}",
        query=request.url.query,
        **await services.store.read(look),
    )


@editors_too
async def answer_reply(request: Request) -> Response:
    """Answer a reader where they wrote; what cannot be sent stays in its field."""
    form = await read_form(request)
    reply_id = ReplyId(int(request.path_params["reply_id"]))
    text = one(form, "text").replace("\r\n", "\n")
    try:
        await answering.answer(
            services_of(request), reply_id, text, founder_id=session_at(request).founder.id
        )
    except AppError as wrong:
        if wrong.status not in (409, 422):
            raise
        typed = {"reply_id": str(reply_id), "text": text}
        return await _answers(request, {"text": wrong.words}, typed, status=wrong.status)
    return RedirectResponse(_back(f"/desk/answers?{request.url.query}", "/desk/answers"), 303)


@editors_too
async def own_answer(request: Request) -> Response:
    """Correct an answer of ours, or take it back; what cannot be sent stays in its field."""
    services = services_of(request)
    form = await read_form(request)
    post_id = PostId(int(request.path_params["post_id"]))
    founder_id = session_at(request).founder.id
    text = one(form, "text").replace("\r\n", "\n")
    try:
        if one(form, "action") == "withdraw":
            await answering.withdraw_answer(services, post_id, founder_id=founder_id)
        else:
            await answering.revise_answer(
                services, post_id, text, version=version_in(form), founder_id=founder_id
            )
    except AppError as wrong:
        if wrong.status not in (409, 422):
            raise
        typed = {"own_id": str(post_id), "text": text}
        return await _answers(request, {"text": wrong.words}, typed, status=wrong.status)
    return RedirectResponse(_back(one(form, "back"), "/desk/answers"), 303)


@editors_too
async def decide(request: Request) -> Response:
    """Show, hide, or block the author."""
    services = services_of(request)
    form = await read_form(request)
    reply_id = ReplyId(int(request.path_params["reply_id"]))
    action = one(form, "action")
    if action not in ("approve", "hide", "block"):
        raise HTTPException(422)
    if action == "block" and not is_founder(request):
        raise only_founders()
    now = services.clock.now()

    def work(tx: Tx) -> None:
        if action == "approve":
            showing.check_may_show(tx, reply_id)
        state = "approved" if action == "approve" else "hidden"
        found = conversations.decide(tx, reply_id, state=state)
        if action == "block" and found.actor_uri is not None:
            blocks.block(tx, "actor", found.actor_uri, note="", now=now)
        audit.write(
            tx, action, subject=str(reply_id), founder_id=session_at(request).founder.id, now=now
        )

    await services.store.write(work)
    return RedirectResponse(_back(one(form, "back"), "/desk/answers"), 303)


@editors_too
async def ask_writer(request: Request) -> Response:
    """Ask the writer of a mail whether it may be shown."""
    services = services_of(request)
    form = await read_form(request)
    reply_id = ReplyId(int(request.path_params["reply_id"]))

    def work(tx: Tx) -> None:
        showing.ask_writer(
            tx,
            reply_id,
            Mailroom(get_newsletter(tx), services.links, services.settings.mail_from),
            services.tokens,
            founder_id=session_at(request).founder.id,
            now=services.clock.now(),
        )

    await services.store.write(work)
    return RedirectResponse(_back(one(form, "back"), "/desk/answers"), 303)


def _back(text: str, otherwise: str) -> str:
    """Where the form stood: one of our own lists, or the list without filters (WE-12)."""
    safe = text.startswith(otherwise) and not set("\\\r\n") & set(text) and "//" not in text
    return text if safe else otherwise


# --- quotes ---------------------------------------------------------------------------------


@at_desk
async def quoted(request: Request) -> Response:
    """Who quotes our letters with our consent."""
    before = cursor(request, "before")

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "quotes": quotes.list_quotes(tx, limit=_PAGE, before=before),
        }

    found = await services_of(request).store.read(look)
    return desk_page(request, "quotes.html", size=_PAGE, **found)


@at_desk
async def revoke_quote(request: Request) -> Response:
    """Take back the consent to a quote."""
    await revoke(
        services_of(request),
        request.path_params["public_id"],
        founder_id=session_at(request).founder.id,
    )
    return RedirectResponse("/desk/quotes", 303)


# --- reports ---------------------------------------------------------------------------------


@at_desk
async def reports(request: Request) -> Response:
    """What other servers reported to us."""
    services = services_of(request)
    state = choice(request, "state", ("open", "settled"))
    before = cursor(request, "before")

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "reports": conversations.reports(
                tx, limit=_PAGE, settled=state == "settled", before=before
            ),
        }

    found = await services.store.read(look)
    return desk_page(request, "reports.html", state=state, size=_PAGE, **found)


@at_desk
async def settle(request: Request) -> Response:
    """A report is dealt with."""
    services = services_of(request)
    report_id, now = int(request.path_params["report_id"]), services.clock.now()

    def work(tx: Tx) -> None:
        if conversations.settle_report(tx, report_id, now=now):
            founder_id = session_at(request).founder.id
            audit.write(tx, "settle report", subject=str(report_id), founder_id=founder_id, now=now)

    await services.store.write(work)
    return RedirectResponse("/desk/reports", 303)


# --- blocks ----------------------------------------------------------------------------------


@at_desk
async def blocked(request: Request) -> Response:
    """Who may not speak to us."""
    return await _blocked(request, {}, {})


async def _blocked(
    request: Request, problems: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response:
    services = services_of(request)
    search = request.query_params.get("q", "")[:100]
    before = cursor(request, "before")

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "blocks": blocks.list_blocks(tx, limit=_BLOCKS_PAGE, before=before, search=search),
        }

    found = await services.store.read(look)
    return desk_page(
        request,
        "blocks.html",
        status=status,
        problems=problems,
        typed=typed,
        search=search,
        size=_BLOCKS_PAGE,
        added=request.query_params.get("added", ""),
        **found,
    )


@at_desk
async def block(request: Request) -> Response:
    """Block an account or a server, lift a block, or take in Mastodon's list."""
    form = await read_form(request)
    action = one(form, "action")
    if action == "import":
        return await _import(request)
    value, note = one(form, "value").strip(), " ".join(one(form, "note").split())[:300]
    services, now = services_of(request), services_of(request).clock.now()
    kind, plain = _kind(value)
    if action != "lift" and not plain:
        problem = "Write a server, such as spam.example, or an account's address with https://."
        return await _blocked(
            request, {"value": problem}, {"value": value, "note": note}, status=422
        )

    def work(tx: Tx) -> None:
        if action == "lift":
            blocks.remove_block(tx, value)
        else:
            blocks.block(tx, kind, plain, note=note, now=now)
        done = "unblock" if action == "lift" else "block"
        audit.write(tx, done, subject=kind, founder_id=session_at(request).founder.id, now=now)

    await services.store.write(work)
    return RedirectResponse("/desk/blocks", 303)


async def _import(request: Request) -> Response:
    form = await read_form(request)
    services, now = services_of(request), services_of(request).clock.now()
    upload = file(form, "list")
    try:
        domains = _domains(b"" if upload is None else await upload.read())
    except AppError as wrong:
        return await _blocked(request, {"list": wrong.words}, {}, status=422)
    note = (upload.filename or "")[:100] if upload is not None else ""

    def work(tx: Tx) -> int:
        added = sum(blocks.block(tx, "domain", one, note=note, now=now) for one in domains)
        founder_id = session_at(request).founder.id
        audit.write(tx, "import blocks", founder_id=founder_id, now=now, detail={"added": added})
        return added

    added = await services.store.write(work)
    return RedirectResponse(f"/desk/blocks?added={added}", 303)


def _domains(octets: bytes) -> list[str]:
    """The servers of Mastodon's CSV. Raises AppError when it is not one."""
    try:
        rows = csv.DictReader(io.StringIO(octets.decode("utf-8-sig"), newline=""))
        names = [name for name in rows.fieldnames or [] if name.lstrip("#").lower() == "domain"]
        if not names:
            raise AppError(422, "This is not a list of servers: no column is called domain.")
        found = {}
        for row in rows:
            kind, plain = _kind(row.get(names[0]) or "")
            if plain and kind == "domain":
                found[plain] = True
            if len(found) > _MOST_BLOCKS:
                raise AppError(422, "This list has more than 50,000 servers.")
    except (UnicodeDecodeError, csv.Error) as wrong:
        raise AppError(422, "This file is not text.") from wrong
    return list(found)


def _kind(value: str) -> tuple[str, str]:
    """What is to be blocked: `actor` with its id, or `domain`; nothing if it is neither."""
    text = value.strip()
    if text.startswith(("https://", "http://")):
        return "actor", text if " " not in text else ""
    domain = text.lower().removeprefix("@").rpartition("@")[2].rstrip(".")
    labels = domain.partition(":")[0].split(".")
    good = len(labels) > 1 and all(
        label and label.replace("-", "").isalnum() and len(label) < 64 for label in labels
    )
    # An account by its handle would block its whole server: its address says who it is.
    return "domain", domain if good and "@" not in text.removeprefix("@") else ""
