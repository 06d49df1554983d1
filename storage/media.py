"""Media files: what is kept of each, never the bytes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.errors import NotThere
from storage.ids import FounderId, MediaId
from storage.schema import media
from storage.store import Tx
from storage.times import to_ms


@dataclass(frozen=True, slots=True)
class Rendition:
    """One stored file of a medium."""

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
    kind: str
    alt: str
    name: str
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
) -> MediaId:
    """Keep a medium whose files are written already."""
    widest = renditions[0]
    found = tx.execute(
        sa.insert(media)
        .values(
            public_id=public_id,
            kind=kind,
            mime=widest.mime,
            width=widest.width,
            height=widest.height,
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


def get_media(tx: Tx, media_id: MediaId) -> Media:
    """One medium. Raises NotThere."""
    row = tx.row(
        sa.select(
            media.c.id,
            media.c.public_id,
            media.c.kind,
            media.c.alt,
            media.c.name,
            media.c.renditions_json,
        ).where(media.c.id == media_id)
    )
    if row is None:
        raise NotThere(str(media_id))
    return Media(*(*row[:-1], tuple(Rendition(**one) for one in json.loads(row[-1]))))


def bytes_stored(tx: Tx) -> int:
    """What all media take (L-55)."""
    return int(tx.scalar(sa.select(sa.func.coalesce(sa.func.sum(media.c.size_bytes), 0))))
