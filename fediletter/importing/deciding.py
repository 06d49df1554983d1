"""What a row says of a person: whether they get letters, since when, which, and by what right.

Pure: a row in, a person out or the reason why not.

Sources: email.md section 13 (IM-1 to IM-4); security.md EM-3, PR-1.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fediletter.exporting.record import NoRecord, from_cell
from fediletter.importing.cells import Refused, is_yes, labels_of, moment_of, text_of
from fediletter.importing.files import Row, Sheet
from fediletter.importing.providers import OWN, Source
from fediletter.mail.addresses import Address, BadAddress, parse_address, parse_international
from fediletter.settings import LANGUAGES

COMPLAINT, GONE, LEFT, ACTIVE, PENDING = LEVELS = ("complaint", "gone", "left", "active", "pending")
# By the words of all programs; IM-4 wants the strictest first.
STATES = {
    **dict.fromkeys(("complained", "complaint", "spam"), COMPLAINT),
    **dict.fromkeys(
        ("suppressed", "undeliverable", "unreachable", "cleaned", "bounced", "gone"), GONE
    ),
    **dict.fromkeys(
        ("left", "unsubscribed", "removed", "disabled", "blocklisted", "blocked", "spammy"), LEFT
    ),
    **dict.fromkeys(
        ("", "active", "enabled", "subscribed", "confirmed", "regular", "premium", "gifted"), ACTIVE
    ),
    **dict.fromkeys(("trialed", "churning", "churned", "past_due", "paused", "unpaid"), ACTIVE),
    **dict.fromkeys(("pending", "unactivated", "unconfirmed", "upcoming"), PENDING),
}
_REASONS = ("complaint", "gone", "inactive", "full", "left", "founder", "erased")  # BO-9
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Person:
    """A row that can be taken; moments are None where the row says nothing."""

    address: Address
    level: str  # Of LEVELS.
    language: str
    rhythm: str
    topics: tuple[str, ...]  # As labels; hidden ones apart.
    hidden: tuple[str, ...]
    all_topics: bool | None  # Every letter, whatever topics are hidden here; None: not told.
    requested_at: datetime | None
    confirmed_at: datetime | None
    ended_at: datetime | None  # When they left, or their address was found dead.
    paused_until: datetime | None
    source: str  # Where they came to us from first; empty: by this list.
    reason: str  # For a suppression of ours; empty: what the level says.
    version: str  # Of the wording that they agreed to with us.
    text: str
    proof: str
    record: str  # Of `exporting.record`.


class Decider:
    """Decides on the rows of one sheet.

    Args:
        sheet: Whose rows.
        source: Its kind.
        order: Of day and month in its dates.
        language: Of who has none.
        now: The time.
    """

    def __init__(
        self, sheet: Sheet, source: Source, *, order: str, language: str, now: datetime
    ) -> None:
        self._source = source
        self._order, self._language, self._now = order, language, now
        self._width = len(sheet.columns)
        # The first column of a name wins.
        self._at = {name: at for at, name in reversed(list(enumerate(sheet.columns)))}
        self._never = sheet.name.lower().startswith("nonsubscribed_")
        self._file_level = next(
            (
                level
                for start, level in (("unsubscribe", LEFT), ("cleaned_", GONE))
                if sheet.name.lower().startswith(start)
            ),
            ACTIVE,
        )

    def person_of(self, row: Row) -> Person:
        """The person of a row. Raises Refused."""
        if any("\0" in cell for cell in row.cells):
            raise Refused("There is a NUL in this row: the file may be broken here.")
        if len(row.cells) > self._width:
            raise Refused("This row has more cells than the first line names columns.")
        if self._never:
            raise Refused("This person never subscribed there.")
        source = self._source
        cell = _Cells(row.cells, self._at)
        address = _address(cell.first(source.email), source)
        level = self._level(cell)
        ended = self._moment(cell, source.left_at) or self._moment(cell, source.gone_at)
        confirmed = self._moment(cell, source.confirmed)
        return Person(
            address,
            level,
            self._spoken(cell),
            "monthly" if cell.one("rhythm") == "monthly" and source is OWN else "every",
            labels_of(cell.first(source.topics)),
            labels_of(cell.one("hidden_topics")) if source is OWN else (),
            self._all_topics(cell),
            self._moment(cell, source.requested) or confirmed,
            confirmed,
            ended,
            *self._ours(cell),
        )

    def _all_topics(self, cell: "_Cells") -> bool | None:
        is_told = self._source is OWN and cell.has("all_topics")
        return is_yes(cell.one("all_topics")) if is_told else None

    def _ours(self, cell: "_Cells") -> tuple[datetime | None, str, str, str, str, str, str]:
        """What only our own export tells."""
        if self._source is not OWN:
            return None, "", "", "", "", "", ""
        reason = cell.one("reason")
        if reason and reason not in _REASONS:
            raise Refused("This row gives a reason that we do not know.")
        try:
            kept = from_cell(cell.whole("record"))
        except NoRecord as wrong:
            raise Refused("The record of this row cannot be read.") from wrong
        moments = [one.at for one in kept.events] + [one.at for one in kept.reports]
        if any(moment > self._now for moment in moments):
            raise Refused("A date in this row has not come yet.")
        return (
            moment_of(cell.one("paused_until"), self._order, now=self._now, may_come=True),
            cell.one("source")[:40],
            reason,
            cell.one("consent_version")[:40],
            cell.whole("consent_text"),
            cell.one("proof")[:_LONGEST],
            cell.whole("record"),
        )

    def _level(self, cell: "_Cells") -> str:
        source = self._source
        word = cell.first(source.status).lower()
        if word not in STATES:
            raise Refused("This row gives a state that we do not know.")
        found = [STATES[word], self._file_level]
        found += [LEFT for name in source.left_if_true if is_yes(cell.one(name))]
        found += [
            LEFT for name in source.stays_if_true if cell.has(name) and not is_yes(cell.one(name))
        ]
        if source is OWN:
            found += [COMPLAINT] if cell.one("reason") == "complaint" else []
        else:
            found += [LEFT for name in source.left_at if cell.one(name)]
            found += [GONE for name in source.gone_at if cell.one(name)]
        strictest = min(found, key=LEVELS.index)
        return PENDING if strictest == ACTIVE and PENDING in found else strictest

    def _moment(self, cell: "_Cells", names: Sequence[str]) -> datetime | None:
        for name in names:
            if text := cell.one(name):
                return moment_of(text, self._order, now=self._now)
        return None

    def _spoken(self, cell: "_Cells") -> str:
        said = [cell.first(self._source.language)]
        for name in self._source.attributes:
            said += _spoken_in(cell.one(name))
        for word in said:
            if word[:2].lower() in LANGUAGES:
                return word[:2].lower()
        return self._language


class _Cells:
    """A row by names of columns; what is missing is empty."""

    def __init__(self, cells: list[str], at: Mapping[str, int]) -> None:
        self._cells, self._at = cells, at

    def has(self, name: str) -> bool:
        return name in self._at

    def whole(self, name: str) -> str:
        at = self._at.get(name)
        return "" if at is None or at >= len(self._cells) else text_of(self._cells[at])

    def one(self, name: str) -> str:
        return self.whole(name).strip(" \n\ufeff\u00a0")

    def first(self, names: Sequence[str]) -> str:
        return next((self.one(name) for name in names if name in self._at), "")


def _address(text: str, source: Source) -> Address:
    # Whom we took with an accent before the @, our own list may bring back.
    parse = parse_international if source is OWN else parse_address
    if not text:
        raise Refused("There is no address in this row.")
    if text[:1] == "=":
        raise Refused("There is a formula where the address should be.")
    try:
        return parse(text)
    except BadAddress as wrong:
        raise Refused(wrong.words) from wrong


def _spoken_in(text: str) -> list[str]:
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return []
    if not isinstance(found, dict):
        return []
    return [
        value
        for name in ("language", "lang", "locale", "langue")
        if isinstance(value := found.get(name), str)
    ]
