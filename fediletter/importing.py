"""Subscribers in, from our own CSV and from others' exports.

The file is read whole and checked before anything is written; the same file twice changes nothing;
nobody who left is brought back (IM-4).

Sources: email.md section 13 (IM-1 to IM-6), OP-8.
"""

import csv
import io
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fediletter.errors import AppError
from fediletter.mail.addresses import Address, BadAddress, mask, parse_address
from fediletter.newsletter.posts import topic_named
from fediletter.newsletter.tokens import Tokens
from storage import subscribers
from storage.store import Store, Tx
from storage.subscribers import Event

_LARGEST_BYTES = 200 << 20
_MOST_ROWS = 1_000_000
_BATCH = 1000
_TRUE = frozenset({"true", "yes", "oui", "1", "t", "x"})
_FALSE = frozenset({"false", "no", "non", "0", "f", ""})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken; `reason` is a message id."""

    line: int
    address: str  # Masked.
    reason: str


@dataclass(frozen=True, slots=True)
class Person:
    """A row that can be taken."""

    line: int
    address: Address
    state: str  # active, pending, left
    topics: tuple[str, ...]
    language: str
    rhythm: str
    confirmed_at: datetime | None


@dataclass(slots=True)
class Report:
    """What an import did, or would do."""

    source: str
    added: int = 0
    known: int = 0
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file comes from, by its header."""

    name: str
    email: str
    marks: frozenset[str]
    left: tuple[str, ...] = ()  # Filled or true: the person has left.
    stays: str = ""  # False: the person has left.
    status: str = ""
    topics: str = ""
    confirmed: tuple[str, ...] = ()


_SOURCES = (
    Source(
        "fediletter",
        "email",
        frozenset({"consent_version", "rhythm"}),
        status="state",
        topics="topics",
        confirmed=("confirmed_at",),
    ),
    Source(
        "Mailchimp",
        "email address",
        frozenset({"leid", "euid"}),
        left=("unsub_time", "clean_time"),
        topics="tags",
        confirmed=("confirm_time", "optin_time"),
    ),
    Source(
        "Substack",
        "email",
        frozenset({"active_subscription"}),
        left=("email_disabled",),
        confirmed=("created_at",),
    ),
    Source(
        "Ghost",
        "email",
        frozenset({"subscribed_to_emails"}),
        left=("deleted_at",),
        stays="subscribed_to_emails",
        topics="labels",
        confirmed=("created_at",),
    ),
    Source(
        "listmonk",
        "email",
        frozenset({"uuid", "attributes"}),
        status="status",
        confirmed=("created_at",),
    ),
    Source(
        "Buttondown",
        "email_address",
        frozenset({"email_address"}),
        status="type",
        topics="tags",
        confirmed=("creation_date",),
    ),
    Source(
        "Brevo",
        "email",
        frozenset({"email_blacklisted"}),
        left=("email_blacklisted", "blacklist"),
        confirmed=("added_time",),
    ),
    Source("Keila", "email", frozenset({"external id", "status"}), status="status"),
    Source("CSV", "email", frozenset()),
)
_LEFT_STATES = frozenset(
    "left suppressed blocklisted disabled unsubscribed removed undeliverable unreachable "
    "complained blocked".split()
)
_PENDING_STATES = frozenset({"pending", "unactivated"})
_PRECEDENCE = {"left": 0, "active": 1, "pending": 2}


def import_file(
    store: Store,
    path: Path,
    tokens: Tokens,
    *,
    confirmed: bool,
    proof: str,
    dry_run: bool,
    now: datetime,
    language: str,
    moved: Callable[[int], None] = lambda _octets: None,
) -> Report:
    """Read, check, and write in batches.

    Args:
        store: The post store.
        path: A CSV file.
        tokens: For the keyed hashes of suppressed addresses.
        confirmed: People have agreed already; otherwise they become pending.
        proof: How they agreed, kept in the consent record.
        dry_run: Change nothing.
        now: The time.
        language: Of who has none.
        moved: Told of octets read, for a progress bar.

    Raises:
        AppError: The file cannot be read, is too large or has no column of addresses.
    """
    if path.stat().st_size > _LARGEST_BYTES:
        raise AppError(422, "This file is too large: 200 MB at most.")
    source, rows = _read(path)
    report = Report(source.name)
    people = _strictest(
        _people(rows, source, report, confirmed=confirmed, language=language), report
    )
    size = path.stat().st_size
    for start in range(0, max(1, len(people)), _BATCH):
        batch = people[start : start + _BATCH]
        if batch:
            added, known = store.submit(
                _count if dry_run else _write, batch, tokens, proof=proof, now=now
            ).result()
            report.added += added
            report.known += known
        moved(size * len(batch) // max(1, len(people)))
    return report


def _read(path: Path) -> tuple[Source, list[tuple[int, dict[str, str]]]]:
    raw = path.read_bytes()
    text = _decoded(raw)
    if "\0" in text:
        raise AppError(422, "This file is not text.", "Export it again as CSV.")
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:8192], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    reader = csv.reader(io.StringIO(text), dialect)
    try:
        header = [name.strip().strip('"').lower() for name in next(reader)]
    except StopIteration as empty:
        raise AppError(422, "This file is empty.") from empty
    source = next((one for one in _SOURCES if one.marks <= set(header)), _SOURCES[-1])
    if source.email not in header:
        raise AppError(
            422,
            "No column of this file is called {name}.",
            "The first line must name the columns.",
            {"name": source.email},
        )
    rows: list[tuple[int, dict[str, str]]] = []
    for number, values in enumerate(reader, start=2):
        if len(rows) >= _MOST_ROWS:
            raise AppError(422, "This file has more than a million rows.")
        if any(value.strip() for value in values):
            rows.append((number, dict(zip(header, values, strict=False))))
    return source, rows


def _decoded(raw: bytes) -> str:
    for encoding in ("utf-8-sig", "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AppError(422, "The encoding of this file is not known.", "Save it as UTF-8.")


def _strictest(people: Iterator[Person], report: Report) -> list[Person]:
    """One row for each person: who left on any line has left (IM-4)."""
    kept: dict[str, Person] = {}
    for person in people:
        other = kept.get(person.address.identity)
        if other is None:
            kept[person.address.identity] = person
            continue
        first, second = sorted((other, person), key=lambda one: _PRECEDENCE[one.state])
        kept[person.address.identity] = first
        report.refused.append(
            Refusal(second.line, mask(str(second.address)), "This address stands here twice.")
        )
    return list(kept.values())


def _people(
    rows: list[tuple[int, dict[str, str]]],
    source: Source,
    report: Report,
    *,
    confirmed: bool,
    language: str,
) -> Iterator[Person]:
    for line, row in rows:
        text = row.get(source.email, "").strip().removeprefix("'")
        try:
            address = parse_address(text)
            state = _state(row, source, confirmed=confirmed)
        except (BadAddress, ValueError) as wrong:
            reason = wrong.words if isinstance(wrong, BadAddress) else str(wrong)
            report.refused.append(Refusal(line, mask(text), reason))
            continue
        yield Person(
            line,
            address,
            state,
            _topics(row.get(source.topics, "")),
            row["language"] if row.get("language") in ("fr", "en") else language,
            "monthly" if row.get("rhythm") == "monthly" else "every",
            _date(row, source),
        )


def _state(row: dict[str, str], source: Source, *, confirmed: bool) -> str:
    status = row.get(source.status, "").strip().lower() if source.status else ""
    has_left = status in _LEFT_STATES
    for name in source.left:
        value = row.get(name, "").strip().lower()
        has_left |= value not in _FALSE
    if source.stays:
        value = row.get(source.stays, "").strip().lower()
        if value not in _TRUE | _FALSE:
            raise ValueError("A column that says yes or no says something else.")
        has_left |= value in _FALSE
    if has_left:
        return "left"
    if status in _PENDING_STATES:
        return "pending"
    # Our own export carries its proof along: the consent record was ours.
    return "active" if confirmed or source.name == "fediletter" else "pending"


def _topics(text: str) -> tuple[str, ...]:
    text = text.strip().removeprefix("'")
    if text.startswith("["):
        try:
            listed = [str(one) for one in json.loads(text)]
        except (json.JSONDecodeError, TypeError):
            listed = []
    else:
        listed = text.replace(";", ",").split(",")
    return tuple(name.strip().strip('"') for name in listed if name.strip().strip('"'))


def _date(row: dict[str, str], source: Source) -> datetime | None:
    for name in source.confirmed:
        text = row.get(name, "").strip()
        for form in ("", "%d-%m-%Y %H:%M"):
            try:
                moment = (
                    datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007
                )
            except ValueError:
                continue
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return None


def _count(
    tx: Tx, people: list[Person], tokens: Tokens, *, proof: str, now: datetime
) -> tuple[int, int]:
    known = sum(_is_known(tx, person, tokens) for person in people)
    return len(people) - known, known


def _write(
    tx: Tx, people: list[Person], tokens: Tokens, *, proof: str, now: datetime
) -> tuple[int, int]:
    added = known = 0
    for person in people:
        if _is_known(tx, person, tokens):
            known += 1
            continue
        subscriber_id = subscribers.add_subscriber(
            tx,
            key=secrets.token_bytes(10),
            email=str(person.address),
            identity=person.address.identity,
            state=person.state,
            language=person.language,
            rhythm=person.rhythm,
            source="import",
            now=now,
            confirmed_at=(person.confirmed_at or now) if person.state == "active" else None,
        )
        slugs = [topic_named(tx, name, now=now).slug for name in person.topics]
        taken = subscribers.choose_topics(tx, subscriber_id, slugs, now=now)
        subscribers.record_consent(
            tx,
            subscriber_id,
            Event("imported", now, "import", person.language, topics_after=taken, proof=proof),
        )
        added += 1
    return added, known


def _is_known(tx: Tx, person: Person, tokens: Tokens) -> bool:
    """Here already, or gone for a reason: an import never revives (IM-4)."""
    if subscribers.find_subscriber(tx, person.address.identity) is not None:
        return True
    return subscribers.suppression_of(tx, tokens.hash_address(person.address.identity)) is not None
