"""What was read of a list, beside its file: one entry for each person, a line for each refusal.

A list may be longer than memory, and who left on its last row has left: so people stand in a small
database of their own, which lives as long as the list is under way. Refused rows stand in a text
that stays with the report.

Sources: email.md IM-4, IM-5; security.md PR-3 (masked).
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fediletter.importing.deciding import LEVELS, Person
from fediletter.mail.addresses import Address, mask

PEOPLE, REFUSED = "people.db", "refused.jsonl"
_TIMES = ("requested_at", "confirmed_at", "ended_at", "paused_until")
_LONGEST = 80
TWICE = "This address stands here twice: the stricter of its rows counts."


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken; `reason` is a message id."""

    file: str  # Of an archive; empty for a file that came alone.
    line: int
    address: str  # Masked.
    reason: str


class Notebook:
    """Written once from the first row to the last, then read by batches.

    Args:
        folder: Of the list.
    """

    def __init__(self, folder: Path) -> None:
        for name in (PEOPLE, REFUSED):
            (folder / name).unlink(missing_ok=True)
        self._folder = folder
        self._people = sqlite3.connect(folder / PEOPLE, isolation_level=None)
        self._people.execute("PRAGMA journal_mode=OFF")
        self._people.execute("PRAGMA synchronous=OFF")
        self._people.execute("BEGIN")
        self._people.execute(
            "CREATE TABLE person (id INTEGER PRIMARY KEY, identity TEXT UNIQUE NOT NULL,"
            " level INTEGER NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL,"
            " entry TEXT NOT NULL)"
        )
        self._refused = (folder / REFUSED).open("w", encoding="utf-8")
        self.count_refused = 0

    def refuse(self, file: str, line: int, text: str, reason: str) -> None:
        """A row is not taken."""
        refusal = Refusal(file, line, _shown(text.replace("\0", "")[:_LONGEST]), reason)
        self._refused.write(json.dumps(asdict(refusal)) + "\n")
        self.count_refused += 1

    def keep(self, file: str, line: int, person: Person) -> None:
        """A person; of two rows the stricter counts (IM-4)."""
        identity, level = person.address.identity, LEVELS.index(person.level)
        found = self._people.execute(
            "SELECT id, level, file, line FROM person WHERE identity = :whose", {"whose": identity}
        ).fetchone()
        if found is None:
            self._people.execute(
                "INSERT INTO person (identity, level, file, line, entry) VALUES (?, ?, ?, ?, ?)",
                (identity, level, file, line, _written(person)),
            )
            return
        if found[1] <= level:
            self.refuse(file, line, identity, TWICE)
            return
        self.refuse(found[2], found[3], identity, TWICE)
        self._people.execute(
            "UPDATE person SET (level, file, line, entry) = (?, ?, ?, ?) WHERE id = (?)",
            (level, file, line, _written(person), found[0]),
        )

    def close(self) -> dict[str, int]:
        """All is on the disk; how many people there are of each level."""
        rows = self._people.execute("SELECT level, count(*) FROM person GROUP BY level").fetchall()
        self._people.execute("COMMIT")
        self._people.close()
        self._refused.flush()
        os.fsync(self._refused.fileno())
        self._refused.close()
        for path in (self._folder / PEOPLE, self._folder):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        return {LEVELS[level]: count for level, count in rows}

    def drop(self) -> None:
        """Reading ended before its time."""
        self._people.close()
        self._refused.close()


def people_in(folder: Path, *, after: int, size: int) -> Iterator[list[tuple[int, Person]]]:
    """People with their numbers, beyond the number `after`, `size` at a time."""
    with sqlite3.connect(f"file:{folder / PEOPLE}?mode=ro", uri=True) as people:
        while True:
            found = people.execute(
                "SELECT id, entry FROM person WHERE id > :after ORDER BY id LIMIT :size",
                {"after": after, "size": size},
            ).fetchall()
            if not found:
                break
            yield [(row[0], _person(json.loads(row[1]))) for row in found]
            after = found[-1][0]
    people.close()


def refusals(folder: Path, *, limit: int | None = None) -> Iterator[Refusal]:
    """What was refused, in the order in which it was found."""
    path = folder / REFUSED
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if limit is not None and number >= limit:
                return
            yield Refusal(**json.loads(line))


def _shown(text: str) -> str:
    """Enough to find the row again; what is no address may be anything, and only begins."""
    return mask(text) if "@" in text else f"{text[:1]}…" if text else ""


def _written(person: Person) -> str:
    entry: dict[str, Any] = {
        name: getattr(person, name) for name in Person.__dataclass_fields__ if name != "address"
    }
    entry |= {name: entry[name].isoformat() for name in _TIMES if entry[name] is not None}
    return json.dumps(entry | {"address": [person.address.local, person.address.domain]})


def _person(entry: dict[str, Any]) -> Person:
    entry |= {name: datetime.fromisoformat(entry[name]) for name in _TIMES if entry[name]}
    entry |= {name: tuple(entry[name]) for name in ("topics", "hidden")}
    return Person(**entry | {"address": Address(*entry["address"])})
