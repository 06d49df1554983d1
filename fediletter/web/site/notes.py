"""The page of a short post: an answer of the founders, or a poll with its tally.

Sources: federation.md section 2 (`url`), 3.4.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.newsletter.html import from_markdown
from fediletter.web.context import page, services_of
from fediletter.web.serving.kept import kept
from fediletter.web.wanted import wants_activity
from storage import conversations, polls, posts
from storage.errors import NotThere
from storage.newsletters import get_newsletter
from storage.posts import Post
from storage.store import Tx


@kept
async def note(request: Request) -> Response:
    """An answer or a poll; for servers a way to its object."""
    services = services_of(request)
    if request.path_params["user"] != services.links.user:
        raise NotThere("note")
    post = await services.store.read(posts.post_by_public_id, request.path_params["public_id"])
    if post.kind == "issue" or post.audience not in conversations.SHOWN:
        raise NotThere("note")
    if post.state == "withdrawn":
        return page(request, "site/withdrawn.html", status=410)
    if post.state != "published":
        raise NotThere("note")
    if wants_activity(request):
        target = services.links.post_object(post.kind, post.public_id)
        response = RedirectResponse(target, 302)
        response.headers["Vary"] = "Accept"
        return response
    return await _note(request)


async def _note(request: Request) -> Response:
    services = services_of(request)

    def look(tx: Tx) -> dict[str, Any]:
        post = posts.post_by_public_id(tx, request.path_params["public_id"])
        return {"post": post, "newsletter": get_newsletter(tx), **_around(tx, post)}

    found = await services.store.read(look)
    post: Post = found["post"]
    response = page(
        request,
        "site/note.html",
        body=from_markdown(
            post.body_markdown,
            profile="web",
            language=post.language,
            base_url=services.links.base,
        ),
        object_id=services.links.post_object(post.kind, post.public_id),
        **found,
    )
    response.headers["Vary"] = "Accept, Accept-Language"
    return response


def _around(tx: Tx, post: Post) -> dict[str, Any]:
    if post.kind == "poll":
        return {"poll": polls.get_poll(tx, post.id), "reply": None}
    reply = conversations.answered_reply(tx, post.id)
    shown = reply.state == "approved" and reply.visibility in conversations.SHOWN
    return {"poll": None, "reply": reply if shown else None}
