"""An upload becomes stored files, or a sentence about why not.

Sources: security.md ME-1 to ME-8, L-50 to L-56.
"""

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from fediletter.errors import AppError, FormError
from fediletter.limits import (
    AUDIO_BYTES,
    IMAGE_CPU_SECONDS,
    MEDIA_QUOTA_BYTES,
    UPLOAD_BYTES,
    UPLOADS_PER_PERSON,
)
from fediletter.newsletter.html import plain_name
from fediletter.room import no_room, room_in
from storage.ids import FounderId, MediaId
from storage.media import Media, Rendition, add_media, bytes_stored, delete_media
from storage.store import Store
from storage.throttles import hit

NO_IMAGE = "This file is not an image that we can read."
_NO_SOUND = "This file is not a sound that we can read: MP3, M4A or Ogg."
_DISAGREES = "The name of this file says another kind of image than what is in it."
_LONGEST_NAME = 255
_WORK, _WORK_KEPT = ".upload-", timedelta(hours=1)
_two_at_once = asyncio.Semaphore(2)
# What a file of each kind begins with, is called, and says of itself (ME-1).
_KINDS: tuple[tuple[bytes, frozenset[str], str], ...] = (
    (b"\xff\xd8\xff", frozenset({"jpg", "jpeg", "jpe", "jfif"}), "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", frozenset({"png"}), "image/png"),
    (b"GIF8", frozenset({"gif"}), "image/gif"),
    (b"RIFF", frozenset({"webp"}), "image/webp"),
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came: `name` and `declared` are the sender's words, nothing to rely on."""

    octets: bytes
    name: str
    declared: str = ""  # Content-Type of its part.


async def store_image(
    store: Store,
    directory: Path,
    upload: Upload,
    *,
    now: datetime,
    field: str = "cover",
    alt: str = "",
    founder_id: FounderId | None = None,
) -> MediaId:
    """Decode, encode anew, keep.

    Args:
        store: The post store.
        directory: Of media files.
        upload: The file.
        now: The time.
        field: Of the form, for problems.
        alt: What it shows.
        founder_id: Whose upload it is.

    Raises:
        FormError: The file cannot be taken; says why.
        AppError: There is no room (507).
    """
    problem = _problem_with(upload)
    if problem:
        raise FormError({field: problem})
    await _require_room(store, directory, founder_id, now)
    with tempfile.TemporaryDirectory(dir=directory, prefix=_WORK) as work:
        source = await _written(Path(work), upload.octets)
        answer = await _child("images", NO_IMAGE, str(source), work)
        if "problem" in answer:
            raise FormError({field: answer["problem"]})
        public_id = secrets.token_hex(10)
        files = [_keep(directory, Path(work), public_id, one) for one in answer["files"]]
    return await _add(store, "image", public_id, upload, files, now, founder_id, alt=alt)


async def store_sound(
    store: Store,
    directory: Path,
    upload: Upload,
    *,
    now: datetime,
    field: str = "audio",
    founder_id: FounderId | None = None,
) -> MediaId:
    """Take the tags out of a sound, keep it. Arguments and refusals as `store_image`."""
    if len(upload.octets) > AUDIO_BYTES:
        raise FormError({field: "This file is too large: 120 MB at most."})
    if not upload.octets:
        raise FormError({field: "This file is empty."})
    await _require_room(store, directory, founder_id, now)
    with tempfile.TemporaryDirectory(dir=directory, prefix=_WORK) as work:
        source = await _written(Path(work), upload.octets)
        answer = await _child("sound", _NO_SOUND, str(source))
        if "problem" in answer:
            raise FormError({field: answer["problem"]})
        public_id = secrets.token_hex(10)
        name = f"{public_id}-{answer['seconds']}.{answer['suffix']}"
        size = source.stat().st_size
        source.replace(directory / name)
    files = [Rendition(name, answer["mime"], 0, 0, size)]
    return await _add(
        store, "audio", public_id, upload, files, now, founder_id, seconds=answer["seconds"]
    )


async def forget(store: Store, directory: Path, media_id: MediaId) -> None:
    """Delete a medium that nothing shows, files and row. Raises Conflict, NotThere."""
    gone: Media = await store.write(delete_media, media_id)
    for one in gone.renditions:
        (directory / one.name).unlink(missing_ok=True)


def tidy(directory: Path, *, now: datetime) -> None:
    """Take away what uploads left that were killed in the middle (ME-8)."""
    for left in directory.glob(f"{_WORK}*"):
        if now.timestamp() - left.stat().st_mtime > _WORK_KEPT.total_seconds():
            shutil.rmtree(left, ignore_errors=True)


def _problem_with(upload: Upload) -> str:
    """What the first bytes, the name and the declared type say, before anything is decoded."""
    if len(upload.octets) > UPLOAD_BYTES:
        return "This file is too large: 10 MB at most."
    if not upload.octets:
        return "This file is empty."
    found = next((kind for kind in _KINDS if upload.octets.startswith(kind[0])), None)
    if found is None:
        return NO_IMAGE
    _, suffixes, mime = found
    suffix = upload.name.rpartition(".")[2].lower() if "." in upload.name else ""
    declared = upload.declared.partition(";")[0].strip().lower()
    if suffix and suffix not in suffixes:
        return _DISAGREES
    says_nothing = declared in ("", "application/octet-stream")
    return "" if says_nothing or declared in (mime, "image/jpg") else _DISAGREES


async def _require_room(
    store: Store, directory: Path, founder_id: FounderId | None, now: datetime
) -> None:
    if not room_in(directory).has_place_for():
        raise no_room()
    if await store.read(bytes_stored) > MEDIA_QUOTA_BYTES:
        raise AppError(507, "All files together are too large.", "Delete some first.")
    most, span = UPLOADS_PER_PERSON
    if founder_id is not None and not await store.write(
        hit, f"uploads:{founder_id}", most=most, span=span, now=now
    ):
        raise AppError(429, "These are many files at once.", "Go on in an hour.")


async def _written(work: Path, octets: bytes) -> Path:
    source = work / "source"
    await asyncio.to_thread(source.write_bytes, octets)
    return source


async def _child(module: str, otherwise: str, *arguments: str) -> dict[str, Any]:
    """What the child process says; a child that dies or dawdles leaves the server as it was.

    Two at once: together with the server they fit into a small machine (L-54).
    """
    async with _two_at_once:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            f"fediletter.media.{module}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
        try:
            async with asyncio.timeout(IMAGE_CPU_SECONDS + 5):
                out, _ = await child.communicate()
            answer: dict[str, Any] = json.loads(out)
        except (TimeoutError, json.JSONDecodeError):
            return {"problem": otherwise}
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
    return answer


def _keep(directory: Path, work: Path, public_id: str, one: dict[str, Any]) -> Rendition:
    width = int(one["width"])
    suffix = one["file"].rpartition(".")[2]
    name = f"{public_id}-{width}.{suffix}"
    (work / one["file"]).replace(directory / name)
    return Rendition(name, one["mime"], width, int(one["height"]), int(one["bytes"]))


async def _add(
    store: Store,
    kind: str,
    public_id: str,
    upload: Upload,
    files: Sequence[Rendition],
    now: datetime,
    founder_id: FounderId | None,
    *,
    alt: str = "",
    seconds: int | None = None,
) -> MediaId:
    return await store.write(
        add_media,
        public_id=public_id,
        kind=kind,
        name=plain_name(upload.name, _LONGEST_NAME),
        sha256=sha256(upload.octets).digest(),
        renditions=files,
        now=now,
        founder_id=founder_id,
        seconds=seconds,
        alt=alt,
    )
