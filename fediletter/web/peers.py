"""What other servers ask for and send: discovery, actors, objects, collections, inboxes.

Nothing here asks for a signature to be read, and no GET makes us fetch anything (R10): only public
documents are served. An inbox answers by the table of security.md 2.1, with short fixed texts.

Sources: federation.md 2, 3, 4, 10; security.md 2.1, 2.3, 5.3, L-1, L-28.
"""

import json
import logging
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from federation import collections, nodeinfo, webfinger
from federation.errors import FederationError
from federation.inbox import InboxRequest
from fediletter import __version__
from fediletter.inbound.receive import Receiver
from fediletter.keyring import OwnActor
from fediletter.limits import COLLECTION_PAGE, INBOX_BYTES
from fediletter.rendering.activities import encode
from fediletter.rendering.actor import actor_document, instance_document
from fediletter.rendering.objects import (
    ARTICLE_CONTEXT,
    AS,
    Counts,
    article_of,
    tombstone_of,
)
from fediletter.services import Services
from fediletter.web.context import services_of
from storage import activities, conversations, followers, media, newsletters, posts
from storage.errors import NotThere
from storage.ids import ActivityId
from storage.posts import Post
from storage.store import Tx
from storage.times import from_ms
from storage.topics import all_topics

ACTIVITY_JSON = "application/activity+json"
_INBOX_TYPES = ("activity+json", "ld+json", "application/json")
_log = logging.getLogger("fediletter.inbox")


class ActivityResponse(Response):
    """An ActivityStreams document (security.md 5.3)."""

    media_type = ACTIVITY_JSON

    def __init__(self, document: dict[str, Any], status_code: int = 200) -> None:
        super().__init__(encode(document), status_code, {"Content-Type": ACTIVITY_JSON})
        self.headers["Vary"] = "Accept"
        self.headers["Cache-Control"] = "public, max-age=60"
        self.headers["Access-Control-Allow-Origin"] = "*"


def wants_activity(request: Request) -> bool:
    """Whether the Accept header prefers ActivityStreams to HTML (federation.md 3.4)."""
    weights = {"activity": 0.0, "html": 0.0}
    for part in request.headers.get("accept", "").split(","):
        kind, *parameters = [one.strip().lower() for one in part.split(";")]
        quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        try:
            weight = float(quality)
        except ValueError:
            weight = 0.0
        if kind in (ACTIVITY_JSON, "application/ld+json"):
            weights["activity"] = max(weights["activity"], weight)
        elif kind in ("text/html", "application/xhtml+xml"):
            weights["html"] = max(weights["html"], weight)
    return weights["activity"] > 0 and weights["activity"] >= weights["html"]


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
        document = webfinger.descriptor(subject=subject, aliases=[own.uri], actor_id=own.uri)
    else:
        document = webfinger.descriptor(
            subject=f"acct:{own.row.username}@{settings.account_host}",
            aliases=[links.profile, own.uri],
            actor_id=own.uri,
            profile=links.profile,
        )
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}
    return JSONResponse(document, headers=headers, media_type=webfinger.CONTENT_TYPE)


async def _actor_of_resource(services: Services, resource: str) -> OwnActor | None:
    settings, links = services.settings, services.links
    if resource.startswith(("https://", "http://")):
        if resource == links.profile:
            return await services.keyring.newsletter()
        if resource == f"{links.base}/":  # FEP-d556
            return await services.keyring.instance()
        return next((own for own in await services.keyring.all() if own.uri == resource), None)
    user, _, host = resource.removeprefix("acct:").partition("@")
    if host not in (settings.host, settings.account_host):
        return None
    if user == _bare(settings.host):
        return await services.keyring.instance()
    own = await services.keyring.by_name(user)
    return None if own is None or own.row.kind == "instance" else own


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
    posts_out = await services_of(request).store.read(posts.count_published)
    document = nodeinfo.document(version, __version__, nodeinfo.Usage(posts_out, 0))
    return JSONResponse(document, headers={"Content-Type": nodeinfo.content_type(version)})


# --- actors ----------------------------------------------------------------------------------


async def actor(request: Request) -> Response:
    """An actor of ours: JSON for servers, the profile page for people."""
    services = services_of(request)
    own = await _own(services, request)
    if not wants_activity(request) and own.row.kind == "newsletter":
        response = RedirectResponse(services.links.profile, 302)
        response.headers["Vary"] = "Accept"
        return response
    letter = await services.store.read(newsletters.get_newsletter)
    if own.row.kind == "instance":
        created = from_ms(letter.created_at)
        return ActivityResponse(instance_document(own, services.links, created))
    icon = await _picture(services, letter.icon_media_id)
    image = await _picture(services, letter.image_media_id)
    return ActivityResponse(
        actor_document(
            own,
            services.links,
            letter,
            account_host=services.settings.account_host,
            icon=icon,
            image=image,
        )
    )


async def _picture(services: Services, media_id: Any) -> dict[str, Any] | None:
    if media_id is None:
        return None
    found = await services.store.read(media.get_media, media_id)
    first = found.renditions[0]
    return {
        "type": "Image",
        "mediaType": first.mime,
        "url": services.links.media(first.name),
        "name": found.alt,
    }


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
    before = ActivityId(int(cursor)) if cursor.isdigit() and len(cursor) < 16 else None
    rows = await services.store.read(
        activities.outbox_page, own.id, limit=COLLECTION_PAGE, before=before
    )
    next_page = f"{base}?page={rows[-1].id}" if len(rows) == COLLECTION_PAGE else None
    document = collections.page(
        f"{base}?page={cursor}", base, [_embedded(row.body) for row in rows], next_page
    )
    return ActivityResponse(document)


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
        await services.store.read(posts.published_issues, limit=1)
        if own.row.kind == "newsletter"
        else []
    )
    items = [services.links.post_object(one.kind, one.public_id) for one in newest]
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
    ]
    return ActivityResponse(collections.whole(f"{own.uri}/tags", items, ordered=False))


# --- objects ---------------------------------------------------------------------------------


async def post_object(request: Request) -> Response:
    """A post at its id: JSON for servers, its page for people, 410 when it was withdrawn."""
    services = services_of(request)
    post = await _public_post(services, request)
    if post.state == "withdrawn":
        return ActivityResponse({"@context": AS, **tombstone_of(post, services.links)}, 410)
    if not wants_activity(request):
        response = RedirectResponse(services.links.letter(post.slug), 302)
        response.headers["Vary"] = "Accept"
        return response
    document = await _article(services, post)
    return ActivityResponse({"@context": ARTICLE_CONTEXT, **document})


async def post_create(request: Request) -> Response:
    """The Create of a post at its id, as it was sent."""
    services = services_of(request)
    post = await _public_post(services, request)
    if post.state == "withdrawn":
        return ActivityResponse({"@context": AS, **tombstone_of(post, services.links)}, 410)
    uri = f"{services.links.post_object(post.kind, post.public_id)}/activity"
    return await _stored_activity(services, uri)


async def sent_activity(request: Request) -> Response:
    """Any other public activity at its id; answers to single people are not public."""
    services = services_of(request)
    uri = services.links.activity(request.path_params["token"])
    return await _stored_activity(services, uri)


async def _stored_activity(services: Services, uri: str) -> Response:
    body = await services.store.read(activities.activity_body, uri)
    return Response(body, headers={"Content-Type": ACTIVITY_JSON, "Vary": "Accept"})


async def post_collection(request: Request) -> Response:
    """Replies, likes, shares or context of a post."""
    services = services_of(request)
    post = await _public_post(services, request)
    if post.state == "withdrawn":
        raise NotThere("collection")
    name = request.path_params["collection"]
    uri = services.links.post_object(post.kind, post.public_id)
    if name in ("likes", "shares"):
        found = await services.store.read(conversations.reactions_of, post.id)
        total = found.get("like" if name == "likes" else "announce", 0)
        return ActivityResponse(collections.counted(f"{uri}/{name}", total, ordered=False))
    replies = await services.store.read(conversations.approved_replies, post.id, limit=1000)
    items = [reply.uri for reply in replies if reply.channel == "fediverse"]
    if name == "context":
        return ActivityResponse(collections.whole(f"{uri}/context", [uri, *items]))
    return ActivityResponse(collections.whole(f"{uri}/replies", items, ordered=False))


async def _public_post(services: Services, request: Request) -> Post:
    """A post whose existence is public; everything else is absent alike (security.md 1.7)."""
    post = await services.store.read(posts.post_by_public_id, request.path_params["public_id"])
    was_public = post.audience != "followers" and post.to_fediverse
    if post.state not in ("published", "withdrawn") or not was_public:
        raise NotThere("post")
    if (post.kind == "issue") != (request.path_params["kind"] == "issues"):
        raise NotThere("post")
    return post


async def _article(services: Services, post: Post) -> dict[str, Any]:
    def work(tx: Tx) -> tuple[newsletters.Newsletter, Counts]:
        reactions = conversations.reactions_of(tx, post.id)
        counts = Counts(
            conversations.count_replies(tx, post.id),
            reactions.get("like", 0),
            reactions.get("announce", 0),
        )
        return newsletters.get_newsletter(tx), counts

    letter, counts = await services.store.read(work)
    return article_of(post, services.links, letter, counts=counts)


# --- inboxes ---------------------------------------------------------------------------------


async def inbox(request: Request) -> Response:
    """The shared inbox and those of our actors: proven, durable, then 202."""
    services = services_of(request)
    if "user" in request.path_params:
        await _own(services, request)
    refusal = _unreadable(request)
    if refusal is not None:
        return refusal
    body = await _body(request)
    if body is None:
        return _short("too large", 413)
    received = InboxRequest(
        request.method,
        _raw_target(request),
        tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in request.headers.raw
        ),
        body,
    )
    receiver: Receiver = request.app.state.receiver
    try:
        await receiver.receive(received)
    except FederationError as wrong:
        _log.info(
            "refused a request to an inbox",
            extra={"status": wrong.status, "reason": wrong.detail[:200]},
        )
        headers = {"Retry-After": "300"} if wrong.status == 503 else None
        return PlainTextResponse(wrong.words, wrong.status, headers)
    return Response(status_code=202)


def _unreadable(request: Request) -> Response | None:
    kind = request.headers.get("content-type", "").lower()
    if not any(name in kind for name in _INBOX_TYPES) or "content-encoding" in request.headers:
        return _short("media type", 415)
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > INBOX_BYTES:
        return _short("too large", 413)
    return None


async def _body(request: Request) -> bytes | None:
    found = bytearray()
    try:
        async for chunk in request.stream():
            found += chunk
            if len(found) > INBOX_BYTES:
                return None
    except ClientDisconnect:
        return b""
    return bytes(found)


def _raw_target(request: Request) -> str:
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope.get("query_string", b"")
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _short(words: str, status: int) -> Response:
    return PlainTextResponse(words, status)
