"""Everything out, in open formats.

Sources: email.md section 13 (our own columns, IM-7); security.md WE-18.
"""

from collections.abc import Iterator

from storage import subscribers
from storage.store import Store, Tx
from storage.subscribers import Subscriber

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
)
_BATCH = 1000


def cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def subscriber_rows(store: Store) -> Iterator[list[str]]:
    """The header, then a row for each subscriber, a batch at a time."""
    yield list(COLUMNS)
    after = 0
    while True:
        batch = store.submit(_batch, after).result()
        for person, topics, version in batch:
            yield _row(person, topics, version)
        if len(batch) < _BATCH:
            return
        after = batch[-1][0].id


def _batch(tx: Tx, after: int) -> list[tuple[Subscriber, tuple[str, ...], str]]:
    return [
        (
            person,
            subscribers.topics_of(tx, person.id),
            next(
                (
                    event.text_version
                    for event in reversed(subscribers.consent_of(tx, person.id))
                    if event.text_version
                ),
                "",
            ),
        )
        for person in subscribers.list_subscribers(tx, limit=_BATCH, after=after)
    ]


def _row(person: Subscriber, topics: tuple[str, ...], version: str) -> list[str]:
    confirmed = person.confirmed_at.isoformat() if person.confirmed_at else ""
    row = [
        person.email,
        person.language,
        person.rhythm,
        ";".join(topics),
        person.state,
        person.requested_at.isoformat(),
        confirmed,
        version,
        person.source,
    ]
    return [cell(text) for text in row]
