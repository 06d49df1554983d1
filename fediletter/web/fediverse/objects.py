"""What we said, at its ids: posts as objects, their activities and collections, quote stamps.

What is public is served to everybody. What is for followers, or an answer to one person, is served
to signed requests from their servers alone; to anybody else it does not exist.

Sources: federation.md 3.4, 7.6, 9.9, 10; security.md 1.7, 2.3; vectors P08, P12, P16, I16.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from federation import collections
from federation.origins import host_of
from fediletter.inbound.receive import Receiver
from fediletter.limits import COLLECTION_PAGE
from fediletter.newsletter.conversations import around
from fediletter.rendering.documents import document_of
from fediletter.rendering.objects import AS, OBJECT_CONTEXT, tombstone_of
from fediletter.rendering.quotes import STAMP_CONTEXT, stamp_of
from fediletter.services import Services
from fediletter.web.context import services_of
from fediletter.web.fediverse.peers import ActivityResponse, as_received
from fediletter.web.serving.kept import kept
from fediletter.web.wanted import ACTIVITY_JSON, wants_activity
from storage import activities, conversations, followers, posts, quotes
from storage.errors import NotThere
from storage.posts import Post
from storage.store import Tx


@kept
async def post_object(request: Request) -> Response:
    """A post at its id: JSON for servers, its page for people, 410 when it was withdrawn."""
    services = services_of(request)
    post = await _readable_post(services, request)
    if post.state == "withdrawn":
        return _gone(services, post)
    if not wants_activity(request) and post.audience in conversations.SHOWN:
        response = RedirectResponse(page_of(services, post), 302)
        response.headers["Vary"] = "Accept"
        return response

    def look(tx: Tx) -> dict[str, Any]:
        return document_of(post, services.links, around(tx, post))

    document = await services.store.read(look)
    return _for(post, ActivityResponse({"@context": OBJECT_CONTEXT, **document}))


def page_of(services: Services, post: Post) -> str:
    """The page of a post for people."""
    if post.kind == "issue":
        return services.links.letter(post.slug)
    return services.links.note(post.public_id)


def _gone(services: Services, post: Post) -> Response:
    tombstone = {"@context": AS, **tombstone_of(post, services.links)}
    return _for(post, ActivityResponse(tombstone, 410))


def _for(post: Post, response: Response) -> Response:
    if post.audience not in conversations.SHOWN:
        response.headers["Cache-Control"] = "private, no-store"
        response.headers["Vary"] = "Accept, Signature"
    return response


@kept
async def post_create(request: Request) -> Response:
    """The Create of a post at its id, as it was sent."""
    services = services_of(request)
    post = await _readable_post(services, request)
    if post.state == "withdrawn":
        return _gone(services, post)
    uri = f"{services.links.post_object(post.kind, post.public_id)}/activity"
    return _for(post, await _stored_activity(services, uri))


@kept
async def sent_activity(request: Request) -> Response:
    """Any other activity at its id; what it says of a post is as public as the post is now."""
    services = services_of(request)
    uri = services.links.activity(request.path_params["token"])
    type, post_id = await services.store.read(activities.about_post, uri)
    if post_id is None:
        return await _stored_activity(services, uri)
    post = await services.store.read(posts.get_post, post_id)
    await _check_readable(request, post)
    if post.state == "withdrawn" and type == "Update":
        return _gone(services, post)  # Its words went with the post.
    return _for(post, await _stored_activity(services, uri))


async def _stored_activity(services: Services, uri: str) -> Response:
    body = await services.store.read(activities.activity_body, uri)
    return Response(body, headers={"Content-Type": ACTIVITY_JSON, "Vary": "Accept"})


async def post_collection(request: Request) -> Response:
    """Replies, likes, shares or context of a post."""
    services = services_of(request)
    post = await _readable_post(services, request)
    name = request.path_params["collection"]
    if post.state == "withdrawn" or name not in ("likes", "shares", "replies", "context"):
        raise NotThere("collection")
    uri = services.links.post_object(post.kind, post.public_id)
    if name in ("likes", "shares"):
        found = await services.store.read(conversations.reactions_of, post.id)
        total = found.get("like" if name == "likes" else "announce", 0)
        counted = collections.counted(f"{uri}/{name}", total, ordered=False)
        return _for(post, ActivityResponse(counted))
    lead = [uri] if name == "context" else []
    return _for(post, await _conversation(request, post, f"{uri}/{name}", lead))


async def _conversation(
    request: Request, post: Post, base: str, lead: list[str]
) -> ActivityResponse:
    """Ids of approved public posts below a letter, by pages of L-28.

    `context` is in the order of time and begins with the letter; `replies` has our own first, and
    only what is public (federation.md 10.3, 10.4).
    """
    services = services_of(request)
    is_context = bool(lead)

    def look(tx: Tx) -> list[str]:
        own = [
            (one.published_at, services.links.post_object("note", one.public_id))
            for one in conversations.answers_below(tx, post.id, shown_only=True)
        ]
        theirs = [
            (one.published_at, one.uri)
            for one in conversations.approved_replies(tx, post.id, limit=5000)
            if one.channel == "fediverse"
        ]
        found = sorted(own + theirs) if is_context else own + theirs
        return lead + [uri for _, uri in found]

    items = await services.store.read(look)
    if len(items) <= COLLECTION_PAGE and "page" not in request.query_params:
        return ActivityResponse(collections.whole(base, items, ordered=is_context))
    cursor = request.query_params.get("page")
    if cursor is None:
        first = f"{base}?page={services.tokens.cursor(base, 0)}"
        return ActivityResponse(collections.paged(base, len(items), first, ordered=is_context))
    start = services.tokens.read_cursor(base, cursor)
    if start is None or start > len(items):
        raise NotThere("page")
    end = start + COLLECTION_PAGE
    following = f"{base}?page={services.tokens.cursor(base, end)}" if end < len(items) else None
    return ActivityResponse(
        collections.page(
            f"{base}?page={cursor}", base, items[start:end], following, ordered=is_context
        )
    )


async def quote_stamp(request: Request) -> Response:
    """That a quote of ours was agreed to (FEP-044f); 410 once that was taken back."""
    services = services_of(request)
    if request.path_params["user"] != services.links.user:
        raise NotThere("quote")
    found = await services.store.read(quotes.quote_by_public_id, request.path_params["public_id"])
    if found.revoked_at is not None or found.post_state != "published":
        tombstone = {"id": services.links.quote(found.public_id), "type": "Tombstone"}
        return ActivityResponse({"@context": AS, **tombstone}, 410)
    document = stamp_of(found, services.links)
    return ActivityResponse({"@context": STAMP_CONTEXT, **document})


async def _readable_post(services: Services, request: Request) -> Post:
    """A post that this request may see; everything else is absent alike (security.md 1.7)."""
    if request.path_params["user"] != services.links.user:
        raise NotThere("post")
    post = await services.store.read(posts.post_by_public_id, request.path_params["public_id"])
    if post.state not in ("published", "withdrawn") or not post.to_fediverse:
        raise NotThere("post")
    if request.path_params["kind"] != ("issues" if post.kind == "issue" else "notes"):
        raise NotThere("post")
    await _check_readable(request, post)
    return post


async def _check_readable(request: Request, post: Post) -> None:
    if post.audience not in conversations.SHOWN and not await _is_reader(request, post):
        raise NotThere("post")


async def _is_reader(request: Request, post: Post) -> bool:
    services = services_of(request)
    signature = request.headers.get("signature") or request.headers.get("authorization")
    if not signature:
        return False
    own = await services.keyring.newsletter()

    def hosts(tx: Tx) -> frozenset[str]:
        if post.audience == "followers":
            return frozenset(followers.hosts_of(tx, own.id))
        reader = conversations.answered_reply(tx, post.id).actor_uri
        return frozenset({host_of(reader)} if reader else set())

    receiver: Receiver = request.app.state.receiver
    allowed = await services.store.read(hosts)
    return await receiver.may_read(as_received(request, b""), hosts=allowed)
