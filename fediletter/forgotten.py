"""Erasures, beside the database: a backup made before must not bring a person back (PR-8).

One line each: a day and the keyed hash of the address. Nothing else is in it, and lines older than
any backup should be are dropped.
"""

import fcntl
import os
from datetime import datetime, timedelta
from pathlib import Path

from fediletter.newsletter.tokens import Tokens
from storage import farewells, subscribers
from storage.store import Store, Tx

NAME = "erasures"
KEPT = timedelta(days=90)  # The age limit of backups, as deploy/README.md says.
_BATCH = 1000


def remember_erasure(data: Path, address_hash: bytes, *, now: datetime) -> None:
    """Add a line, durably; drop the old ones."""
    path = data / NAME
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        oldest = (now - KEPT).date().isoformat()
        lines = [line for line in file.read().decode().splitlines() if line[:10] >= oldest]
        lines.append(f"{now.date().isoformat()} {address_hash.hex()}")
        file.truncate(0)
        file.write(("\n".join(lines) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)


def erased(data: Path) -> dict[str, str]:
    """The day of each erasure (`2026-11-24`) by the keyed hash in hexadecimal."""
    path = data / NAME
    if not path.exists():
        return {}
    return {line[11:]: line[:10] for line in path.read_text().splitlines()}


def erase_again(store: Store, data: Path, tokens: Tokens) -> int:
    """After a restore: forget whoever asked for it since; how many were there again."""
    wanted = erased(data)
    gone, after = 0, 0
    while wanted:
        last, count = store.submit(_erase_batch, tokens, wanted, after).result()
        gone += count
        if last is None:
            break
        after = last
    return gone


def _erase_batch(
    tx: Tx, tokens: Tokens, wanted: dict[str, str], after: int
) -> tuple[int | None, int]:
    people = subscribers.list_subscribers(tx, limit=_BATCH, after=after)
    gone = [
        one
        for one in people
        # Who came back later is there by their own wish.
        if one.requested_at.date().isoformat()
        <= wanted.get(tokens.hash_address(one.identity).hex(), "")
    ]
    for one in gone:
        farewells.forget_subscriber(tx, one.id)
    return (people[-1].id if people else None), len(gone)
