"""The desk's pictures and sounds: look, describe, insert, add, delete.

Sources: issue 6.1; security.md section 5.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fediletter.errors import AppError, FormError
from fediletter.media.uploads import forget
from fediletter.web.context import services_of, words_of
from fediletter.web.desk.drafts import markdown_of, store_upload
from fediletter.web.desk.login import editors_too, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import choice, cursor, one, read_form
from storage import audit, media
from storage.errors import Conflict
from storage.ids import MediaId
from storage.newsletters import get_newsletter
from storage.store import Tx

_PAGE = 24
_KINDS = ("all", "image", "audio")
_LONGEST = 500


@editors_too
async def library(request: Request) -> Response:
    """What was uploaded, the newest first."""
    return await _library(request, {}, {})


async def _library(
    request: Request, problems: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response:
    services = services_of(request)
    kind = choice(request, "kind", _KINDS)
    before = cursor(request, "before")

    def look(tx: Tx) -> dict[str, Any]:
        return {
            "newsletter": get_newsletter(tx),
            "media": media.list_media(
                tx, limit=_PAGE, before=before, kind=None if kind == "all" else kind
            ),
        }

    found = await services.store.read(look)
    texts = {one.id: markdown_of(one, services.links.base) for one in found["media"]}
    return desk_page(
        request,
        "library.html",
        status=status,
        problems=problems,
        typed=typed,
        kind=kind,
        kinds=_KINDS,
        size=_PAGE,
        texts=texts,
        saved=request.query_params.get("saved") == "1",
        **found,
    )


@editors_too
async def add(request: Request) -> Response:
    """One more picture or sound; for the script the answer is the Markdown to insert."""
    services = services_of(request)
    form = await read_form(request)
    said = _said(form)
    field = "audio" if one(form, "kind") == "audio" else "image"
    problems: dict[str, str] = {}
    if field == "image" and not said["alt"]:
        problems["alt"] = "Describe the image in a few words, for those who cannot see it."
    media_id = None
    if not problems:
        try:
            media_id = await store_upload(request, form, field, alt=said["alt"])
        except FormError as wrong:
            problems = wrong.problems
        except AppError as wrong:
            problems[field] = wrong.words
    wants_json = "application/json" in request.headers.get("accept", "")
    if media_id is None:
        if wants_json:
            _ = words_of(request).gettext
            return JSONResponse({"problems": {key: _(one) for key, one in problems.items()}}, 422)
        return await _library(request, problems, said, status=422)
    await services.store.write(media.describe_media, media_id, **said)
    found = await services.store.read(media.get_media, media_id)
    if wants_json:
        return JSONResponse({"markdown": markdown_of(found, services.links.base)})
    return RedirectResponse("/desk/media?saved=1", 303)


@editors_too
async def change(request: Request) -> Response:
    """Describe a medium anew, or delete it when nothing shows it."""
    services = services_of(request)
    form = await read_form(request)
    media_id = MediaId(int(request.path_params["media_id"]))
    if one(form, "action") == "delete":
        try:
            await forget(services.store, services.settings.media, media_id)
        except Conflict:
            words = "A letter shows this file. Take it out there first."
            return await _library(request, {f"file-{media_id}": words}, {}, status=409)
        await services.store.write(
            audit.write,
            "delete media",
            subject=str(media_id),
            founder_id=session_at(request).founder.id,
            now=services.clock.now(),
        )
        return RedirectResponse("/desk/media", 303)
    said = _said(form)
    found = await services.store.read(media.get_media, media_id)
    if found.kind == "image" and not said["alt"]:
        problem = "Describe the image in a few words, for those who cannot see it."
        return await _library(request, {f"alt-{media_id}": problem}, said, status=422)
    await services.store.write(media.describe_media, media_id, **said)
    return RedirectResponse("/desk/media?saved=1", 303)


def _said(form: Any) -> dict[str, str]:
    return {
        name: " ".join(one(form, name).split())[:_LONGEST] for name in ("alt", "caption", "credit")
    }
