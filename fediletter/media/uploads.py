"""An upload becomes stored renditions, or a sentence about why not.

Sources: security.md ME-1 to ME-8, L-50 to L-56.
"""

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from fediletter.errors import AppError, FormError
from fediletter.limits import FREE_SPACE_BYTES, IMAGE_CPU_SECONDS, MEDIA_QUOTA_BYTES, UPLOAD_BYTES
from storage.ids import FounderId, MediaId
from storage.media import Rendition, add_media, bytes_stored
from storage.store import Store

FIELD = "cover"


async def store_image(
    store: Store,
    directory: Path,
    octets: bytes,
    name: str,
    *,
    now: datetime,
    founder_id: FounderId | None = None,
) -> MediaId:
    """Decode, encode anew, keep.

    Args:
        store: The post store.
        directory: Of media files.
        octets: As uploaded.
        name: What the person calls it: display text only.
        now: The time.
        founder_id: Whose upload it is.

    Raises:
        FormError: The file cannot be taken; says why.
        AppError: There is no room (507).
    """
    if len(octets) > UPLOAD_BYTES:
        raise FormError({FIELD: "This file is too large: 10 MB at most."})
    if not octets:
        raise FormError({FIELD: "This file is empty."})
    if shutil.disk_usage(directory).free < FREE_SPACE_BYTES:
        raise AppError(507, "There is no room left on the server.", "Make room, then try again.")
    if await store.read(bytes_stored) > MEDIA_QUOTA_BYTES:
        raise AppError(507, "All images together are too large.", "Delete some first.")
    with tempfile.TemporaryDirectory(dir=directory, prefix=".upload-") as work:
        files = await _convert(octets, Path(work))
        public_id = secrets.token_hex(10)
        renditions = [_keep(directory, Path(work), public_id, one) for one in files]
    return await store.write(
        add_media,
        public_id=public_id,
        kind="image",
        name=name[:255],
        sha256=sha256(octets).digest(),
        renditions=renditions,
        now=now,
        founder_id=founder_id,
    )


async def _convert(octets: bytes, work: Path) -> list[dict[str, str]]:
    source = work / "source"
    source.write_bytes(octets)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "fediletter.media.images",
        str(source),
        str(work),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(IMAGE_CPU_SECONDS + 5):
            out, _ = await child.communicate()
        answer = json.loads(out)
    except (TimeoutError, json.JSONDecodeError):
        if child.returncode is None:
            child.kill()
            await child.wait()
        answer = {"problem": "This file is not an image that we can read."}
    if "problem" in answer:
        raise FormError({FIELD: answer["problem"]})
    files: list[dict[str, str]] = answer["files"]
    return files


def _keep(directory: Path, work: Path, public_id: str, one: dict[str, str]) -> Rendition:
    width = int(one["width"])
    suffix = one["file"].rpartition(".")[2]
    name = f"{public_id}-{width}.{suffix}"
    (work / one["file"]).replace(directory / name)
    return Rendition(name, one["mime"], width, int(one["height"]), int(one["bytes"]))
