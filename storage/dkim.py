"""Our own DKIM keys: made, published in DNS by a person, used, retired."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.schema import dkim_key
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key by its selector; the private part sealed."""

    selector: str
    kind: str  # rsa, ed25519
    record: str  # What stands at SELECTOR._domainkey.DOMAIN.
    sealed_private: bytes
    used_since: datetime | None = None
    retired_at: datetime | None = None


def add_key(tx: Tx, key: StoredKey, *, now: datetime) -> None:
    """Keep a new key, not yet used. Raises Conflict if the selector was used before."""
    statement = (
        tx.insert(dkim_key)
        .values(
            selector=key.selector,
            kind=key.kind,
            record=key.record,
            sealed_private=key.sealed_private,
            created_at=to_ms(now),
        )
        .on_conflict_do_nothing()
        .returning(dkim_key.c.selector)
    )
    if tx.row(statement) is None:
        raise Conflict(key.selector)


def all_keys(tx: Tx) -> list[StoredKey]:
    """Every key that ever was, the oldest first."""
    rows = tx.rows(
        sa.select(
            dkim_key.c.selector,
            dkim_key.c.kind,
            dkim_key.c.record,
            dkim_key.c.sealed_private,
            dkim_key.c.used_since,
            dkim_key.c.retired_at,
        ).order_by(dkim_key.c.id)
    )
    return [
        StoredKey(row[0], row[1], row[2], bytes(row[3]), from_ms(row[4]), from_ms(row[5]))
        for row in rows
    ]


def keys_in_use(tx: Tx) -> list[StoredKey]:
    """What signs now; RSA first, for it is never missing (DK-2)."""
    found = [key for key in all_keys(tx) if key.used_since and not key.retired_at]
    return sorted(found, key=lambda key: key.kind != "rsa")


def use_key(tx: Tx, selector: str, *, now: datetime) -> None:
    """Sign with this key from now on; another of its kind is retired (DK-2).

    Raises:
        NotThere: There is no such key, or it was retired.
    """
    kind = tx.scalar(
        sa.select(dkim_key.c.kind).where(
            dkim_key.c.selector == selector, dkim_key.c.retired_at.is_(None)
        )
    )
    if kind is None:
        raise NotThere(selector)
    tx.execute(
        sa.update(dkim_key)
        .where(
            dkim_key.c.kind == kind,
            dkim_key.c.selector != selector,
            dkim_key.c.used_since.is_not(None),
            dkim_key.c.retired_at.is_(None),
        )
        .values(retired_at=to_ms(now))
    )
    tx.execute(
        sa.update(dkim_key)
        .where(dkim_key.c.selector == selector)
        .values(used_since=sa.func.coalesce(dkim_key.c.used_since, to_ms(now)))
    )


def retire_key(tx: Tx, selector: str, *, now: datetime) -> None:
    """Sign with it no more; its record should stay in DNS for a month. Raises NotThere."""
    found = tx.execute(
        sa.update(dkim_key)
        .where(dkim_key.c.selector == selector, dkim_key.c.retired_at.is_(None))
        .values(retired_at=to_ms(now))
    )
    if found.rowcount == 0:
        raise NotThere(selector)
