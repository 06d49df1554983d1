"""Subscribers, a row each.

Sources: email.md section 13 (our own columns, IM-7); security.md WE-18.
"""

from collections.abc import Iterator
from datetime import datetime

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
    "consent_text",
    "all_topics",
)
_BATCH = 1000


def cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; a quote of its own is kept apart by one more.

    >>> cell("+ana@example.org"), cell("'t-hof@example.org"), cell("ana@example.org")
    ("'+ana@example.org", "''t-hof@example.org", 'ana@example.org')
    """
    return f"'{text}" if text[:1] in (*FORMULA, "'") else text


def subscriber_rows(store: Store, tokens: Tokens) -> Iterator[list[str]]:
    """The header, then a row for each subscriber, a batch at a time."""
    yield list(COLUMNS)
    after = 0
    while True:
        batch = store.submit(_batch, tokens, after).result()
        for person, record, reason in batch:
            yield _row(person, record, reason)
        if len(batch) < _BATCH:
            return
        after = batch[-1][0].id


def _batch(tx: Tx, tokens: Tokens, after: int) -> list[tuple[Subscriber, Record, str]]:
    people = subscribers.list_subscribers(tx, limit=_BATCH, after=after)
    records = crowds.records_of(tx, [person.id for person in people])
    hashes = {person.id: tokens.hash_address(person.identity) for person in people}
    reasons = crowds.suppressions_among(tx, list(hashes.values()))
    return [(person, records[person.id], reasons.get(hashes[person.id], "")) for person in people]


def _row(person: Subscriber, record: Record, reason: str) -> list[str]:
    row = [
        person.email,
        person.language,
        person.rhythm,
        ";".join(record.public),
        person.state,
        person.requested_at.isoformat(),
        _moment(person.confirmed_at),
        record.version,
        person.source,
        _moment(person.left_at),
        _moment(person.paused_until),
        reason,
        ";".join(record.hidden),
        record.proof,
        record.text,
        "yes" if person.all_topics else "no",
    ]
    return [cell(text) for text in row]


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
