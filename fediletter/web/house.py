"""The desk's other rooms: answers, readers, topics, settings of the newsletter."""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.errors import FormError
from fediletter.mail.addresses import BadAddress, parse_address
from fediletter.media.uploads import store_image
from fediletter.newsletter.posts import hashtag_of
from fediletter.newsletter.slugs import slug_of
from fediletter.outbound import answers as answering
from fediletter.outbound.profile import tell_profile
from fediletter.outbound.quotes import revoke
from fediletter.outbound.topics import give_actors
from fediletter.settings import LANGUAGES
from fediletter.web.context import services_of
from fediletter.web.desk import desk_page
from fediletter.web.forms import file, one, read_form
from fediletter.web.login import at_desk, session_at
from fediletter.web.pages import by_reply
from storage import audit, conversations, followers, founders, quotes, subscribers, topics
from storage.blocks import block
from storage.errors import Conflict
from storage.ids import PostId, ReplyId, TopicId
from storage.newsletters import get_newsletter, update_newsletter
from storage.store import Tx

_PAGE = 50


@at_desk
async def answers(request: Request) -> Response:
    """Replies that wait, or all of them."""
    services = services_of(request)
    everything = request.query_params.get("all") == "1"
    before = request.query_params.get("before", "")
    states = ("pending", "approved", "hidden") if everything else ("pending",)

    def look(tx: Tx) -> dict[str, Any]:
        replies = conversations.conversation(
            tx,
            limit=_PAGE,
            before=int(before) if before.isdigit() else None,
            states=states,
        )
        own = conversations.answers_to(tx, [reply.id for reply in replies])
        return {
            "newsletter": get_newsletter(tx),
            "replies": replies,
            "answers": by_reply(own, services.links),
            "quotes": quotes.list_quotes(tx, limit=_PAGE),
            "reports": conversations.open_reports(tx, limit=_PAGE),
        }

    found = await services.store.read(look)
    return desk_page(request, "answers.html", everything=everything, size=_PAGE, **found)


@at_desk
async def answer_reply(request: Request) -> Response:
    """Answer a reader."""
    form = await read_form(request)
    await answering.answer(
        services_of(request),
        ReplyId(int(request.path_params["reply_id"])),
        one(form, "text").replace("\r\n", "\n"),
        founder_id=session_at(request).founder.id,
    )
    return RedirectResponse("/desk/answers", 303)


@at_desk
async def own_answer(request: Request) -> Response:
    """Correct an answer of ours, or take it back."""
    services = services_of(request)
    form = await read_form(request)
    post_id = PostId(int(request.path_params["post_id"]))
    founder_id = session_at(request).founder.id
    if one(form, "action") == "withdraw":
        await answering.withdraw_answer(services, post_id, founder_id=founder_id)
    else:
        version = one(form, "version")
        await answering.revise_answer(
            services,
            post_id,
            one(form, "text").replace("\r\n", "\n"),
            version=int(version) if version.isdigit() else 0,
            founder_id=founder_id,
        )
    return RedirectResponse("/desk/answers?all=1", 303)


@at_desk
async def revoke_quote(request: Request) -> Response:
    """Take back the consent to a quote."""
    await revoke(
        services_of(request),
        request.path_params["public_id"],
        founder_id=session_at(request).founder.id,
    )
    return RedirectResponse("/desk/answers", 303)


@at_desk
async def settle_report(request: Request) -> Response:
    """A report is dealt with."""
    services = services_of(request)
    report_id, now = int(request.path_params["report_id"]), services.clock.now()

    def work(tx: Tx) -> None:
        conversations.settle_report(tx, report_id, now=now)
        founder_id = session_at(request).founder.id
        audit.write(tx, "report", subject=str(report_id), founder_id=founder_id, now=now)

    await services.store.write(work)
    return RedirectResponse("/desk/answers", 303)


@at_desk
async def decide(request: Request) -> Response:
    """Approve, hide, or block the author."""
    services = services_of(request)
    form = await read_form(request)
    reply_id = ReplyId(int(request.path_params["reply_id"]))
    action = one(form, "action")
    now = services.clock.now()

    def work(tx: Tx) -> None:
        state = "approved" if action == "approve" else "hidden"
        found = conversations.decide(tx, reply_id, state=state)
        if action == "block" and found.actor_uri is not None:
            block(tx, "actor", found.actor_uri, note="", now=now)
        audit.write(
            tx, action, subject=str(reply_id), founder_id=session_at(request).founder.id, now=now
        )

    await services.store.write(work)
    return RedirectResponse("/desk/answers", 303)


@at_desk
async def readers(request: Request) -> Response:
    """Subscribers and followers, with search."""
    services = services_of(request)
    search = request.query_params.get("q", "")[:100]
    after = request.query_params.get("after", "")
    own = await services.keyring.newsletter()

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "counts": subscribers.count_by_state(tx),
            "subscribers": subscribers.list_subscribers(
                tx, limit=_PAGE, after=int(after) if after.isdigit() else 0, search=search
            ),
            "followers": followers.list_followers(tx, own.id, limit=_PAGE, search=search),
            "follower_count": followers.count_followers(tx, own.id),
        }

    found = await services.store.read(look)
    return desk_page(request, "readers.html", search=search, size=_PAGE, **found)


@at_desk
async def topics_page(request: Request) -> Response:
    """The topics."""
    return await _topics(request, {})


async def _topics(request: Request, problems: dict[str, str], *, status: int = 200) -> Response:
    def look(tx: Tx) -> dict[str, Any]:
        return {"newsletter": get_newsletter(tx), "topics": topics.all_topics(tx)}

    found = await services_of(request).store.read(look)
    return desk_page(request, "topics.html", status=status, problems=problems, **found)


@at_desk
async def save_topic(request: Request) -> Response:
    """Add a topic, or change one."""
    services = services_of(request)
    form = await read_form(request)
    name = " ".join(one(form, "name").split())[:80]
    if not name:
        return await _topics(request, {"name": "A topic needs a name."}, status=422)
    description = " ".join(one(form, "description").split())[:300]
    topic_id = one(form, "topic_id")

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
        return await _topics(request, {"name": "There is a topic of this name."}, status=422)
    await give_actors(services)
    return RedirectResponse("/desk/topics", 303)


@at_desk
async def settings_page(request: Request) -> Response:
    """What the newsletter says about itself."""
    newsletter = await services_of(request).store.read(get_newsletter)
    return desk_page(
        request,
        "settings.html",
        newsletter=newsletter,
        typed={name: getattr(newsletter, name) for name in newsletter.__dataclass_fields__},
        problems={},
        saved=request.query_params.get("saved") == "1",
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
    problems = _settings_problems(changes)
    icon = file(form, "icon")
    if icon is not None and not problems:
        try:
            changes["icon_media_id"] = await store_image(
                services.store,
                services.settings.media,
                await icon.read(),
                icon.filename or "",
                now=services.clock.now(),
                founder_id=session_at(request).founder.id,
            )
        except FormError as wrong:
            problems["icon"] = next(iter(wrong.problems.values()))
    if problems:
        return desk_page(
            request,
            "settings.html",
            status=422,
            newsletter=newsletter,
            typed=changes,
            problems=problems,
            saved=False,
        )

    def work(tx: Tx) -> None:
        update_newsletter(tx, **changes)
        founder = session_at(request).founder
        founders.set_language(tx, founder.id, changes["language"])
        audit.write(tx, "settings", founder_id=founder.id, now=services.clock.now())

    await services.store.write(work)
    await tell_profile(services)
    return RedirectResponse("/desk/settings?saved=1", 303)


def _settings_problems(changes: dict[str, Any]) -> dict[str, str]:
    problems = {}
    if not changes["title"]:
        problems["title"] = "The newsletter needs a name."
    if "=?" in changes["title"] + changes["sender_name"]:
        problems["title"] = "The title has characters that a mail cannot carry."
    if changes["reply_to"]:
        try:
            parse_address(changes["reply_to"])
        except BadAddress as wrong:
            problems["reply_to"] = wrong.words
    if changes["shop_url"] and not changes["shop_url"].startswith(("https://", "http://")):
        problems["shop_url"] = "Begin the address with https://."
    return problems
