"""Media files: what is kept of each, never the bytes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import FounderId, MediaId
from storage.newsletters import touch
from storage.schema import media, newsletter, post
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Rendition:
    """One stored file of a medium; sound has no width and no height (0)."""

    name: str  # File name: random, with our extension.
    mime: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Media:
    """A medium with its renditions, the widest first."""

    id: MediaId
    public_id: str
    kind: str  # image, audio
    mime: str
    seconds: int | None  # Audio alone.
    size_bytes: int
    alt: str
    caption: str
    credit: str
    name: str
    created_at: datetime
    renditions: tuple[Rendition, ...]


def add_media(
    tx: Tx,
    *,
    public_id: str,
    kind: str,
    name: str,
    sha256: bytes,
    renditions: Sequence[Rendition],
    now: datetime,
    founder_id: FounderId | None = None,
    seconds: int | None = None,
    alt: str = "",
) -> MediaId:
    """Keep a medium whose files are written already."""
    widest = renditions[0]
    found = tx.execute(
        sa.insert(media)
        .values(
            public_id=public_id,
            kind=kind,
            mime=widest.mime,
            width=widest.width or None,
            height=widest.height or None,
            seconds=seconds,
            alt=alt,
            size_bytes=sum(one.bytes for one in renditions),
            sha256=sha256,
            name=name,
            renditions_json=json.dumps([asdict(one) for one in renditions]),
            founder_id=founder_id,
            created_at=to_ms(now),
        )
        .returning(media.c.id)
    ).scalar_one()
    return MediaId(found)


_PLAIN = [name for name in Media.__dataclass_fields__ if name not in ("created_at", "renditions")]
_SELECT = sa.select(
    *(media.c[name] for name in _PLAIN), media.c.created_at, media.c.renditions_json
)


def _read(row: tuple[Any, ...]) -> Media:
    files = tuple(Rendition(**one) for one in json.loads(row[-1]))
    return Media(*(*row[:-2], from_ms(row[-2]), files))


def get_media(tx: Tx, media_id: MediaId) -> Media:
    """One medium. Raises NotThere."""
    row = tx.row(_SELECT.where(media.c.id == media_id))
    if row is None:
        raise NotThere(str(media_id))
    return _read(row)


def media_named(tx: Tx, public_ids: Sequence[str]) -> dict[str, Media]:
    """Media by their public ids; those that do not exist are left out."""
    if not public_ids:
        return {}
    rows = tx.rows(_SELECT.where(media.c.public_id.in_(public_ids)))
    return {found.public_id: found for found in map(_read, rows)}


def list_media(
    tx: Tx, *, limit: int, before: int | None = None, kind: str | None = None
) -> list[Media]:
    """Media, the newest first, beyond the id `before`."""
    query = _SELECT.order_by(media.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(media.c.id < before)
    if kind is not None:
        query = query.where(media.c.kind == kind)
    return [_read(row) for row in tx.rows(query)]


def describe_media(tx: Tx, media_id: MediaId, *, alt: str, caption: str, credit: str) -> None:
    """What is said of a medium. Raises NotThere."""
    changed = tx.execute(
        sa.update(media)
        .where(media.c.id == media_id)
        .values(alt=alt, caption=caption, credit=credit)
    )
    if changed.rowcount == 0:
        raise NotThere(str(media_id))
    touch(tx)


def is_used(tx: Tx, found: Media) -> bool:
    """Whether a post or the newsletter shows a medium, or a text names one of its files."""
    by_id = sa.or_(
        post.c.cover_media_id == found.id,
        post.c.audio_media_id == found.id,
        post.c.body_markdown.contains(found.public_id, autoescape=True),
    )
    used = sa.select(sa.literal(1)).where(by_id).limit(1)
    icon = sa.select(sa.literal(1)).where(
        sa.or_(newsletter.c.icon_media_id == found.id, newsletter.c.image_media_id == found.id)
    )
    return tx.row(used) is not None or tx.row(icon) is not None


def delete_media(tx: Tx, media_id: MediaId) -> Media:
    """Forget a medium that nothing shows; its files are the caller's to remove.

    Raises:
        Conflict: A letter or the newsletter shows it.
        NotThere: There is none.
    """
    found = get_media(tx, media_id)
    if is_used(tx, found):
        raise Conflict(str(media_id))
    tx.execute(sa.delete(media).where(media.c.id == media_id))
    return found


def bytes_stored(tx: Tx) -> int:
    """What all media take (L-55)."""
    return int(tx.scalar(sa.select(sa.func.coalesce(sa.func.sum(media.c.size_bytes), 0))))
