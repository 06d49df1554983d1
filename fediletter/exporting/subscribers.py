"""Subscribers, a row each.

Sources: email.md section 13 (our own columns, IM-7); security.md WE-18.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from fediletter.exporting.record import Kept, as_cell
from fediletter.limits import REPORTS_OLDEST
from fediletter.newsletter.tokens import Tokens
from storage import crowds, subscribers
from storage.crowds import Record
from storage.store import Store, Tx
from storage.subscribers import Subscriber

FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    "email",
    "language",
    "rhythm",
    "topics",
    "state",
    "requested_at",
    "confirmed_at",
    "consent_version",
    "source",
    "left_at",
    "paused_until",
    "reason",
    "hidden_topics",
    "proof",
    "all_topics",
    "record",
)
_BATCH = 1000


def cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; a quote of its own is kept apart by one more.

    >>> cell("+ana@example.org"), cell("'t-hof@example.org"), cell("ana@example.org")
    ("'+ana@example.org", "''t-hof@example.org", 'ana@example.org')
    """
    return f"'{text}" if text[:1] in (*FORMULA, "'") else text


def subscriber_rows(store: Store, tokens: Tokens, *, now: datetime) -> Iterator[list[str]]:
    """The header, then a row for each subscriber, a batch at a time."""
    yield list(COLUMNS)
    after, told = 0, _Told(set(), set())
    while True:
        batch = store.submit(_batch, tokens, after, told, now=now).result()
        for person, record, reason, wordings in batch:
            yield _row(person, record, reason, wordings, told)
        if len(batch) < _BATCH:
            return
        after = batch[-1][0].id


@dataclass(frozen=True, slots=True)
class _Told:
    """What earlier rows hold already."""

    versions: set[str]
    slugs: set[str]


_Known = tuple[Subscriber, Record, str, dict[str, str]]


def _batch(tx: Tx, tokens: Tokens, after: int, told: _Told, *, now: datetime) -> list[_Known]:
    people = subscribers.list_subscribers(tx, limit=_BATCH, after=after)
    ids = [person.id for person in people]
    records = crowds.records_of(tx, ids, reported_since=now - REPORTS_OLDEST)
    agreed = {
        event.text_version
        for record in records.values()
        for event in record.events
        if event.text_version
    }
    wordings = crowds.wordings(tx, sorted(agreed - told.versions))
    hashes = {person.id: tokens.hash_address(person.identity) for person in people}
    reasons = crowds.suppressions_among(tx, list(hashes.values()))
    return [
        (person, records[person.id], reasons.get(hashes[person.id], ""), wordings)
        for person in people
    ]


def _row(
    person: Subscriber, record: Record, reason: str, wordings: dict[str, str], told: _Told
) -> list[str]:
    versions = [event.text_version for event in record.events if event.text_version]
    proofs = [event.proof for event in record.events if event.proof]
    new = {one: wordings[one] for one in versions if one in wordings and one not in told.versions}
    names = {
        slug: name
        for slug, name in (record.public | record.hidden).items()
        if slug not in told.slugs
    }
    told.versions.update(new)
    told.slugs.update(names)
    kept = Kept(
        held_until=person.held_until,
        follows_as=person.follows_as or "",
        events=record.events,
        reports=record.reports,
        wordings=new,
        topics=names,
    )
    row = [
        person.email,
        person.language,
        person.rhythm,
        ";".join(record.public),
        person.state,
        person.requested_at.isoformat(),
        _moment(person.confirmed_at),
        versions[-1] if versions else "",
        person.source,
        _moment(person.left_at),
        _moment(person.paused_until),
        reason,
        ";".join(record.hidden),
        proofs[-1] if proofs else "",
        "yes" if person.all_topics else "no",
        as_cell(kept),
    ]
    return [cell(text) for text in row]


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
