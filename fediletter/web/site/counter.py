"""For the counter and for parcels: the handle and a QR code, of the shop and of each topic.

The code leads to a page with the join box: a camera opens web pages, not accounts.
"""

import io

from starlette.requests import Request
from starlette.responses import Response

from fediletter.web.context import page, services_of
from fediletter.web.serving.kept import kept
from storage.errors import NotThere
from storage.newsletters import Newsletter, get_newsletter
from storage.store import Tx
from storage.topics import Topic, topic_by_slug, topic_names


@kept
async def counter(request: Request) -> Response:
    """A sheet to print: a sign, and small ones to cut out."""
    services = services_of(request)
    newsletter, topic, name = await services.store.read(_look, request.path_params.get("slug"))
    user = name or services.settings.account_user
    return page(
        request,
        "site/counter.html",
        newsletter=newsletter,
        topic=topic,
        handle=None if topic and not name else f"@{user}@{services.settings.account_host}",
        target=_target(request),
        image=f"/topics/{topic.slug}/qr.svg" if topic else "/qr.svg",
    )


@kept
async def qr(request: Request) -> Response:
    """The code alone, black on white with its quiet zone, in any size."""
    import segno  # noqa: PLC0415 (memory)

    await services_of(request).store.read(_look, request.path_params.get("slug"))
    out = io.BytesIO()
    code = segno.make(_target(request), error="m", micro=False)
    code.save(out, kind="svg", border=4, dark="#000", light="#fff", xmldecl=False, omitsize=True)
    return Response(out.getvalue(), media_type="image/svg+xml")


def _target(request: Request) -> str:
    links, slug = services_of(request).links, request.path_params.get("slug")
    return links.topic(slug) if slug else links.page("/subscribe")


def _look(tx: Tx, slug: str | None) -> tuple[Newsletter, Topic | None, str | None]:
    if slug is None:
        return get_newsletter(tx), None, None
    topic = topic_by_slug(tx, slug)
    if not topic.public:
        raise NotThere("topic")
    return get_newsletter(tx), topic, topic_names(tx).get(topic.id)
