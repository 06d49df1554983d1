"""What other servers ask for and send: discovery, actors, their collections, inboxes.

Nothing here asks for a signature to be read, and no GET makes us fetch anything (R10). What an
actor said stands in `objects.py`. An inbox answers by the table of security.md 2.1, with short
fixed texts.

Sources: federation.md 2, 3, 4, 10; security.md 2.1, 2.3, 5.3, L-1, L-3, L-14,
L-28.
"""

import asyncio
import json
import logging
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from federation import collections, nodeinfo, webfinger
from federation.errors import FederationError
from federation.inbox import InboxRequest
from fediletter import __version__
from fediletter.inbound.receive import Receiver, TooOften
from fediletter.keyring import OwnActor
from fediletter.limits import BODY_SECONDS, COLLECTION_PAGE, INBOX_BYTES
from fediletter.newsletter.actors import document_now
from fediletter.rendering.activities import encode
from fediletter.rendering.objects import OBJECT_CONTEXT
from fediletter.services import Services
from fediletter.web.context import services_of
from fediletter.web.serving.kept import kept, target_of
from fediletter.web.wanted import ACTIVITY_JSON, wants_activity
from storage import activities, followers, posts
from storage.errors import NotThere
from storage.ids import ActivityId
from storage.topics import Topic, all_topics, get_topic, topic_by_slug

_INBOX_TYPES = (ACTIVITY_JSON, "application/ld+json", "application/json")
_log = logging.getLogger("fediletter.inbox")


class ActivityResponse(Response):
    """An ActivityStreams document (security.md 5.3)."""

    media_type = ACTIVITY_JSON

    def __init__(self, document: dict[str, Any], status_code: int = 200) -> None:
        super().__init__(encode(document), status_code, {"Content-Type": ACTIVITY_JSON})
        self.headers["Vary"] = "Accept"
        self.headers["Cache-Control"] = "public, max-age=60"
        self.headers["Access-Control-Allow-Origin"] = "*"


# --- discovery -------------------------------------------------------------------------------


async def well_known_webfinger(request: Request) -> Response:
    """RFC 7033: the same answer for every alias of an account."""
    services = services_of(request)
    asked = request.query_params.get("resource")
    if not asked:
        return PlainTextResponse("resource is missing", 400)
    resource = webfinger.resource_of(asked)
    own = None if resource is None else await _actor_of_resource(services, resource)
    if own is None:
        return PlainTextResponse("not found", 404)
    settings, links = services.settings, services.links
    if own.row.kind == "instance":
        subject = f"acct:{_bare(settings.host)}@{settings.host}"
        service = {"rel": "https://www.w3.org/ns/activitystreams#Service", "href": own.uri}
        document = webfinger.descriptor(
            subject=subject, aliases=[own.uri], actor_id=own.uri, extra=[service]
        )
    else:
        topic = await _topic_of(services, own)
        profile = links.profile if topic is None else links.topic(topic.slug)
        document = webfinger.descriptor(
            subject=f"acct:{own.row.username}@{settings.account_host}",
            aliases=[profile, own.uri],
            actor_id=own.uri,
            profile=profile,
        )
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}
    return JSONResponse(document, headers=headers, media_type=webfinger.CONTENT_TYPE)


async def _actor_of_resource(services: Services, resource: str) -> OwnActor | None:
    settings, links = services.settings, services.links
    if resource.startswith(("https://", "http://")):
        if resource == f"{links.base}/":  # FEP-d556
            return await services.keyring.instance()
        if resource.lower() == links.profile.lower():
            return await services.keyring.newsletter()
        if resource.startswith(f"{links.base}/topics/"):
            return await _actor_of_topic(services, resource.removeprefix(f"{links.base}/topics/"))
        own = await services.keyring.by_name(resource.rpartition("/")[2])
        return own if own is not None and own.uri.lower() == resource.lower() else None
    user, _, host = resource.removeprefix("acct:").partition("@")
    if host not in (settings.host, settings.account_host):
        return None
    if user == _bare(settings.host):
        return await services.keyring.instance()
    own = await services.keyring.by_name(user)
    return None if own is None or own.row.kind == "instance" else own


async def _actor_of_topic(services: Services, slug: str) -> OwnActor | None:
    try:
        topic = await services.store.read(topic_by_slug, slug)
    except NotThere:
        return None
    owners = [one for one in await services.keyring.all() if one.row.topic_id == topic.id]
    return owners[0] if owners else None


def _bare(host: str) -> str:
    return host.partition(":")[0]


async def host_meta(request: Request) -> Response:
    """RFC 6415: where WebFinger is."""
    body = webfinger.host_meta(services_of(request).links.base)
    return Response(body, media_type="application/xrd+xml")


async def well_known_nodeinfo(request: Request) -> Response:
    """Leads to the NodeInfo documents."""
    links = services_of(request).links
    return JSONResponse(nodeinfo.well_known(links.base, links.instance_actor))


async def nodeinfo_document(request: Request) -> Response:
    """NodeInfo 2.0 or 2.1."""
    version = request.path_params["version"]
    if version not in ("2.0", "2.1"):
        return PlainTextResponse("not found", 404)
    said, answers = await services_of(request).store.read(posts.count_published)
    document = nodeinfo.document(version, __version__, nodeinfo.Usage(said, answers))
    return JSONResponse(document, headers={"Content-Type": nodeinfo.content_type(version)})


# --- actors ----------------------------------------------------------------------------------


@kept
async def actor(request: Request) -> Response:
    """An actor of ours: JSON for servers, the profile page for people."""
    services = services_of(request)
    own = await _own(services, request)
    if not wants_activity(request) and own.row.kind != "instance":
        topic = await _topic_of(services, own)
        page = services.links.profile if topic is None else services.links.topic(topic.slug)
        response = RedirectResponse(page, 302)
        response.headers["Vary"] = "Accept"
        return response
    document = await services.store.read(
        document_now, own, services.links, account_host=services.settings.account_host
    )
    return ActivityResponse(document)


async def _topic_of(services: Services, own: OwnActor) -> Topic | None:
    if own.row.topic_id is None:
        return None
    return await services.store.read(get_topic, own.row.topic_id)


async def _own(services: Services, request: Request) -> OwnActor:
    own = await services.keyring.by_name(request.path_params["user"])
    if own is None or own.row.username != request.path_params["user"]:
        raise NotThere("actor")
    return own


async def outbox(request: Request) -> Response:
    """What an actor of ours said in public, newest first, by cursor."""
    services = services_of(request)
    own = await _own(services, request)
    base = f"{own.uri}/outbox"
    cursor = request.query_params.get("page")
    if cursor is None:
        total = await services.store.read(activities.count_listed, own.id)
        return ActivityResponse(collections.paged(base, total, f"{base}?page=true"))
    before = None
    if cursor != "true":
        position = services.tokens.read_cursor(base, cursor)
        if position is None:
            raise NotThere("page")
        before = ActivityId(position)
    rows = await services.store.read(
        activities.outbox_page, own.id, limit=COLLECTION_PAGE, before=before
    )
    next_page = None
    if len(rows) == COLLECTION_PAGE:
        next_page = f"{base}?page={services.tokens.cursor(base, rows[-1].id)}"
    document = collections.page(
        f"{base}?page={cursor}", base, [_embedded(row.body) for row in rows], next_page
    )
    return ActivityResponse(document | {"@context": OBJECT_CONTEXT})


def _embedded(body: bytes) -> dict[str, Any]:
    """A stored activity as it stands inside of another document: its proof holds only alone."""
    document: dict[str, Any] = json.loads(body)
    document.pop("@context", None)
    document.pop("proof", None)
    return document


async def follower_count(request: Request) -> Response:
    """How many follow, and not who (federation.md 10.2)."""
    services = services_of(request)
    own = await _own(services, request)
    _refuse_pages(request)
    total = await services.store.read(followers.count_followers, own.id)
    return ActivityResponse(collections.counted(f"{own.uri}/followers", total))


async def following(request: Request) -> Response:
    """We follow nobody."""
    own = await _own(services_of(request), request)
    _refuse_pages(request)
    return ActivityResponse(collections.counted(f"{own.uri}/following", 0))


def _refuse_pages(request: Request) -> None:
    if "page" in request.query_params:
        raise NotThere("page")


async def featured(request: Request) -> Response:
    """The newest letter, as an id: Mastodon skips embedded Articles (federation.md 10.5)."""
    services = services_of(request)
    own = await _own(services, request)
    newest = (
        await services.store.read(posts.published_issues, limit=COLLECTION_PAGE)
        if own.row.kind == "newsletter"
        else []
    )
    # One that stayed on the site has no object here.
    said = [one for one in newest if one.to_fediverse][:1]
    items = [services.links.post_object(one.kind, one.public_id) for one in said]
    return ActivityResponse(collections.whole(f"{own.uri}/featured", items))


async def featured_tags(request: Request) -> Response:
    """The topics as hashtags."""
    services = services_of(request)
    own = await _own(services, request)
    topics = await services.store.read(all_topics, public_only=True)
    items = [
        {
            "type": "Hashtag",
            "name": f"#{topic.hashtag}",
            "href": services.links.topic(topic.slug),
        }
        for topic in topics
        if own.row.topic_id in (None, topic.id)
    ]
    document = collections.whole(f"{own.uri}/tags", items, ordered=False)
    return ActivityResponse(document | {"@context": OBJECT_CONTEXT})


async def nothing(_request: Request) -> Response:
    """What looks like an id of ours and is none; a slash at its end counts too (R1, R10)."""
    raise NotThere("id")


# --- inboxes ---------------------------------------------------------------------------------


async def inbox(request: Request) -> Response:
    """The shared inbox and those of our actors: proven, durable, then 202."""
    answer = await _taken_in(request)
    request.app.state.inbox_answers[answer.status_code] += 1
    return answer


async def _taken_in(request: Request) -> Response:
    if request.method != "POST":
        return _short("method", 405, {"Allow": "POST"})
    services = services_of(request)
    owner = (await _own(services, request)).uri if "user" in request.path_params else None
    refusal = _unreadable(request)
    if refusal is not None:
        return refusal
    receiver: Receiver = request.app.state.receiver
    caller: str = request.state.caller
    try:
        receiver.admit(caller)
        body = await _body(request)
    except TooOften as wrong:
        return _refused(wrong)
    except TimeoutError:
        return _short("too slow", 408, {"Connection": "close"})
    if body is None:
        return _short("too large", 413)
    received = as_received(request, body)
    try:
        await receiver.receive(received, caller=caller, owner=owner)
    except FederationError as wrong:
        return _refused(wrong)
    return Response(status_code=202)


def _refused(wrong: FederationError) -> Response:
    _log.info(
        "refused a request to an inbox",
        extra={"status": wrong.status, "reason": wrong.detail[:200]},
    )
    headers = {"Retry-After": "300"} if wrong.status == 503 else {}
    if isinstance(wrong, TooOften):
        headers = {"Retry-After": str(wrong.seconds)}
    return _short(wrong.words, wrong.status, headers)


def _unreadable(request: Request) -> Response | None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _INBOX_TYPES or "content-encoding" in request.headers:
        return _short("media type", 415)
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > INBOX_BYTES:
        return _short("too large", 413)
    return None


async def _body(request: Request) -> bytes | None:
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > INBOX_BYTES:
                    return None
    except ClientDisconnect:
        return b""
    return bytes(found)


def as_received(request: Request, body: bytes) -> InboxRequest:
    """A request as signatures see it."""
    return InboxRequest(
        request.method,
        target_of(request).decode("latin-1"),
        tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in request.headers.raw
        ),
        body,
    )


def _short(words: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(words, status, headers)
