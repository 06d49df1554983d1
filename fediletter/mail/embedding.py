"""Images that travel inside the mail, where a founder wants it so for one letter.

They open without a request to us, but every reader is sent the octets. An image that our files do
not hold would still be fetched, so such a letter is refused.

Sources: email.md MI-2, HT-17; RFC 2387, RFC 2392.
"""

import mimetypes
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fediletter.errors import AppError

MOST_BYTES = 150_000  # Of all images together (HT-17).
# `>` may stand in a quoted value; a quote in one is always written as an entity.
_SOURCE = re.compile(r'(<img\b(?:[^>"]|"[^"]*")*?\ssrc=")([^"]*)(?=")')
_FILE_NAME = re.compile(r"[0-9a-f]{20}-\d+\.(?:jpg|png|gif)")  # As `media.uploads` names them.


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """One image of a mail."""

    content_id: str  # Without angle brackets.
    name: str
    mime: str
    octets: bytes


class CannotEmbed(AppError):
    """The images of a letter cannot travel inside its mail (422)."""


def images_of(html: str, media_url: str, directory: Path) -> dict[str, bytes]:
    """The images that a mail shows, each once, by their addresses.

    Args:
        html: Of the mail.
        media_url: What the addresses of our own images begin with.
        directory: Of media files.

    Raises:
        CannotEmbed: They are too large together, or one is not ours.
    """
    files = {}
    for _, address in _SOURCE.findall(html):
        file = _file(address, media_url, directory)
        if file is None:
            raise CannotEmbed(
                422,
                "An image of this letter is none of your files: it cannot travel inside the mail.",
                "Take it out of the text, or leave the images on your site.",
            )
        files[address] = file
    if sum(file.stat().st_size for file in files.values()) > MOST_BYTES:
        raise CannotEmbed(
            422,
            "The images of this letter are too large to travel inside the mail: 150 kB at most.",
            "Make them smaller or fewer, or leave them on your site.",
        )
    return {address: file.read_bytes() for address, file in files.items()}


def weights_of(html: str, media_url: str, directory: Path) -> list[int]:
    """Octets of each of our images that a mail shows. Arguments as `images_of`."""
    found = {_file(address, media_url, directory) for _, address in _SOURCE.findall(html)}
    return [one.stat().st_size for one in found if one is not None]


def _file(address: str, media_url: str, directory: Path) -> Path | None:
    name = address.removeprefix(media_url)
    file = directory / name
    return file if _FILE_NAME.fullmatch(name) and file.is_file() else None


def embed(
    html: str, images: Mapping[str, bytes], domain: str
) -> tuple[str, tuple[EmbeddedImage, ...]]:
    """The HTML that names its images by Content-ID, and those images.

    Args:
        html: Of the mail.
        images: What `images_of` gave for it.
        domain: Right of the @ in each Content-ID.
    """
    found = {}
    for address, octets in images.items():
        name = address.rpartition("/")[2]
        mime = mimetypes.types_map["." + name.rpartition(".")[2]]
        found[address] = EmbeddedImage(f"{secrets.token_hex(16)}@{domain}", name, mime, octets)
    html = _SOURCE.sub(lambda one: f"{one[1]}cid:{found[one[2]].content_id}", html)
    return html, tuple(found.values())
