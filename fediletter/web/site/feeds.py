"""Feeds: Atom and JSON, of everything and of each topic; RSS for podcasts.

Sources: RFC 4287; JSON Feed 1.1; interface.md section 4.
"""

from starlette.requests import Request
from starlette.responses import Response

from fediletter.rendering.feed import atom, json_feed, podcast
from fediletter.web.context import services_of
from fediletter.web.serving.kept import kept
from storage import posts
from storage.errors import NotThere
from storage.media import Media, get_media
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Post
from storage.store import Tx
from storage.topics import topic_by_slug

_LENGTH = 30
_EPISODES = 300


@kept
async def feed_atom(request: Request) -> Response:
    """The newest letters, whole."""
    letter, found = await _newest(request)
    body = atom(found, services_of(request).links, letter)
    return Response(body, media_type="application/atom+xml")


@kept
async def feed_json(request: Request) -> Response:
    """The same as JSON Feed."""
    letter, found = await _newest(request)
    body = json_feed(found, services_of(request).links, letter)
    return Response(body, media_type="application/feed+json")


@kept
async def topic_atom(request: Request) -> Response:
    """The newest letters of one topic."""
    services = services_of(request)

    def look(tx: Tx) -> tuple[Newsletter, list[Post], str]:
        topic = topic_by_slug(tx, request.path_params["slug"])
        if not topic.public:
            raise NotThere("topic")
        found = posts.published_issues(tx, limit=_LENGTH, topic_id=topic.id)
        return get_newsletter(tx), found, topic.name

    letter, found, name = await services.store.read(look)
    slug = request.path_params["slug"]
    body = atom(
        found, services.links, letter, name=name, path=f"/topics/{slug}", feed_name="feed.atom"
    )
    return Response(body, media_type="application/atom+xml")


@kept
async def podcast_rss(request: Request) -> Response:
    """Letters that can be listened to."""
    services = services_of(request)

    def look(tx: Tx) -> tuple[Newsletter, list[tuple[Post, Media]], str | None]:
        letter = get_newsletter(tx)
        found = posts.published_issues(tx, limit=_EPISODES, with_audio=True)
        sounds = [(one, get_media(tx, one.audio_media_id)) for one in found if one.audio_media_id]
        icon = letter.icon_media_id
        return letter, sounds, None if icon is None else get_media(tx, icon).renditions[0].name

    letter, found, icon = await services.store.read(look)
    body = podcast(found, services.links, letter, icon=icon)
    return Response(body, media_type="application/rss+xml")


async def _newest(request: Request) -> tuple[Newsletter, list[Post]]:
    def look(tx: Tx) -> tuple[Newsletter, list[Post]]:
        return get_newsletter(tx), posts.published_issues(tx, limit=_LENGTH)

    return await services_of(request).store.read(look)
