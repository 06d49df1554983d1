"""Stored files: fixed types, no scripts, cached for ever (security.md 5.2, 5.3)."""

import re

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from fediletter.web.context import STATIC, services_of
from storage.errors import NotThere

_NAME = re.compile(r"[0-9a-f]{20}-\d{1,6}\.(jpg|png|mp3|m4a|ogg)")
_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
}
_STATIC_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


async def media(request: Request) -> Response:
    """One stored file."""
    found = _NAME.fullmatch(request.path_params["name"])
    if not found:
        raise NotThere("media")
    path = services_of(request).settings.media / found[0]
    if not path.is_file():
        raise NotThere("media")
    if "," in request.headers.get("range", ""):
        # One range at most (security.md 5.3): who asks for several gets the whole file.
        kept = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
        request.scope["headers"] = kept
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Content-Disposition": f'inline; filename="{found[0]}"',
    }
    return FileResponse(path, media_type=_TYPES[found[1]], headers=headers)


async def static(request: Request) -> Response:
    """Our own style sheet and script."""
    name = request.path_params["name"]
    path = STATIC / name
    if not re.fullmatch(r"[a-z-]+\.(css|js|svg)", name) or not path.is_file():
        raise NotThere("static")
    headers = {"Cache-Control": "public, max-age=3600"}
    return FileResponse(path, media_type=_STATIC_TYPES[name.rpartition(".")[2]], headers=headers)
