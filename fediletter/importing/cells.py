"""What stands in a cell: yes or no, a moment, a list of labels, an escaped text.

Sources: email.md IM-2, IM-3, IM-7.
"""

import json
import re
from datetime import UTC, datetime, timedelta

from fediletter.exporting.subscribers import FORMULA

_TRUE = frozenset({"true", "yes", "oui", "1", "t", "x"})
_FALSE = frozenset({"false", "no", "non", "0", "f", ""})
_NUMBERS = re.compile(
    r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})"
    r"(?:,?[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?: ?([AaPp])\.?[Mm]\.?)?)?"
)
_ZONES_AHEAD = timedelta(hours=14)  # A date without a zone is read as UTC: it may lie so far ahead.
_OLDEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_LONGEST_LABEL, _MOST_LABELS = 60, 50


class Refused(ValueError):
    """A row that cannot be taken.

    Args:
        words: Why, as a message id.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def text_of(cell: str) -> str:
    """Without the quote that keeps a spreadsheet from calculating (IM-7)."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in (*FORMULA, "'") else cell


def is_yes(cell: str) -> bool:
    """Raises Refused for anything but the words of IM-3."""
    word = cell.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Refused("A column that says yes or no says something else.")


def order_in(cell: str) -> str:
    """What a date tells of the order of its file: `day`, `month`, `either`, or nothing."""
    found = _NUMBERS.fullmatch(cell.strip())
    if found is None:
        return ""
    first, second = int(found[1]), int(found[2])
    if first == second:
        return ""
    return "day" if first > 12 else "month" if second > 12 else "either"


def moment_of(cell: str, order: str, *, now: datetime, may_come: bool = False) -> datetime | None:
    """A date; None if the cell is empty.

    Args:
        cell: ISO 8601, or numbers with the year last; without a zone it is UTC.
        order: `day` or `month` comes first where both are numbers.
        now: The time.
        may_come: Whether it may lie ahead.

    Raises:
        Refused: It is none, or lies ahead.
    """
    text = cell.strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _numbered(text, order)
    # Compared where it stands: at the ends of the calendar it cannot be moved to UTC.
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if not _OLDEST < moment < _LATEST:
        raise Refused("A date in this row is none that we can read.")
    moment = moment.astimezone(UTC)
    if moment > now + _ZONES_AHEAD and not may_come:
        raise Refused("A date in this row has not come yet.")
    return moment if may_come else min(moment, now)


def labels_of(cell: str) -> tuple[str, ...]:
    """Names from `a, b`, `a;b`, `"a","b"` or a JSON list; each once."""
    text = cell.strip()
    if text.startswith("["):
        try:
            listed = [str(one) for one in json.loads(text)]
        except (ValueError, RecursionError):
            raise Refused("The labels of this row cannot be read.") from None
    else:
        listed = text.replace(";", ",").split(",")
    names = (" ".join(name.strip(" \"'\t").split())[:_LONGEST_LABEL] for name in listed)
    return tuple(dict.fromkeys(one for one in names if one and one.isprintable()))[:_MOST_LABELS]


def _numbered(text: str, order: str) -> datetime:
    found = _NUMBERS.fullmatch(text)
    if found is None:
        raise Refused("A date in this row is none that we can read.")
    first, second, year = int(found[1]), int(found[2]), int(found[3])
    day, month = (second, first) if order == "month" else (first, second)
    hour = int(found[4] or 0)
    if found[7]:
        hour = hour % 12 + (12 if found[7].lower() == "p" else 0)
    try:
        return datetime(year, month, day, hour, int(found[5] or 0), int(found[6] or 0), tzinfo=UTC)
    except ValueError:
        raise Refused("A date in this row is none that we can read.") from None
