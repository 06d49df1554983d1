"""From a file to a notebook and a report; nothing of ours is changed.

Sources: email.md IM-1, IM-2, IM-5, IM-6.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fediletter.errors import AppError
from fediletter.exporting.record import from_cell
from fediletter.importing.cells import Refused, order_in
from fediletter.importing.deciding import Decider
from fediletter.importing.files import Sheet, open_sheet, rows, unpack
from fediletter.importing.notebook import Notebook
from fediletter.importing.providers import OWN, Source, source_of

FILE = "list"
_EVERY = 5_000  # Rows between two words on how far it is.
_MOST_SHOWN = 50
_MOST_LABELS = 2_000
_ENCODINGS = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp1252": "Windows-1252"}


@dataclass(slots=True)
class Report:
    """What a list holds, and what became of it."""

    source: str = ""
    encoding: str = ""
    files: list[str] = field(default_factory=list)  # Of an archive.
    passed_over: list[str] = field(default_factory=list)  # Tables of an archive, not read.
    dropped: list[str] = field(default_factory=list)  # Columns (IM-1).
    levels: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)  # Topics by how many carry them.
    hidden: list[str] = field(default_factory=list)  # Topics that founders gave (our own export).
    names: dict[str, str] = field(default_factory=dict)  # Of topics by slug (our own export).
    own: bool = False  # Our own export.
    order: str = ""  # Of day and month: `day`, `month`, empty where it does not matter.
    asks_order: bool = False  # It matters, and the file does not tell.
    refused: int = 0
    added: int = 0
    confirmed: int = 0  # Who waited for it, and is subscribed now.
    ended: int = 0  # Who was subscribed here, and left or is dead by this list.
    known: int = 0
    kept_out: int = 0  # Left, or get no mail, here: an import brings nobody back.

    @property
    def people(self) -> int:
        return sum(self.levels.values())

    def count(self, counts: Mapping[str, int]) -> None:
        """Add what was done with some people; counts by the names above."""
        for name, number in counts.items():
            setattr(self, name, getattr(self, name) + number)

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)


def read_list(
    folder: Path,
    *,
    name: str,
    order: str,
    language: str,
    now: datetime,
    moved: Callable[[int, int], None],
) -> Report:
    """Read the file of a list whole into a notebook.

    Args:
        folder: Holds the file.
        name: As it was called where it came from: a Mailchimp file says by it what is in it.
        order: Of day and month, if the founders said so; else empty.
        language: Of who has none.
        now: The time.
        moved: Told how many octets of how many are read.

    Raises:
        AppError: It cannot be read, is no list, or is beyond IM-6.
    """
    files, passed_over = unpack(folder / FILE, folder)
    alone = len(files) == 1 and not files[0][0]
    sheets = [open_sheet(name if alone else inner, path) for inner, path in files]
    people = [sheet for sheet in sheets if _has_addresses(sheet)] or sheets[:1]
    passed_over += [sheet.name for sheet in sheets if sheet not in people]
    sheets, sources = people, [_known(sheet) for sheet in people]
    said, decided, asks = _order(sheets, sources, order)
    report = Report(
        source=" + ".join(dict.fromkeys(source.name for source in sources)),
        encoding=", ".join(dict.fromkeys(_ENCODINGS[sheet.encoding] for sheet in sheets)),
        files=[] if alone else [sheet.name for sheet in sheets],
        passed_over=passed_over,
        dropped=_dropped(sheets, sources),
        own=all(source is OWN for source in sources),
        order=decided if said else "",
        asks_order=asks,
    )
    notebook = Notebook(folder)
    try:
        labels, report.hidden, report.names = _read(
            notebook, sheets, sources, alone, decided, language=language, now=now, moved=moved
        )
        report.levels = notebook.close()
    except BaseException:
        notebook.drop()
        raise
    report.refused = notebook.count_refused
    report.labels = dict(labels.most_common(_MOST_LABELS))
    return report


def _read(
    notebook: Notebook,
    sheets: list[Sheet],
    sources: list[Source],
    alone: bool,
    order: str,
    *,
    language: str,
    now: datetime,
    moved: Callable[[int, int], None],
) -> tuple[Counter[str], list[str], dict[str, str]]:
    labels: Counter[str] = Counter()
    hidden: dict[str, None] = {}
    names: dict[str, str] = {}
    total = sum(sheet.path.stat().st_size for sheet in sheets)
    before = 0
    for sheet, source in zip(sheets, sources, strict=True):
        decider = Decider(sheet, source, order=order, language=language, now=now)
        file = "" if alone else sheet.name
        address = _place(sheet, source)
        for number, row in enumerate(rows(sheet)):
            if number == 0:
                continue  # The header.
            try:
                person = decider.person_of(row)
            except Refused as wrong:
                text = row.cells[address] if address < len(row.cells) else ""
                notebook.refuse(file, row.line, text, wrong.words)
            else:
                notebook.keep(file, row.line, person)
                if len(labels) < _MOST_LABELS:
                    labels.update(person.topics)
                    hidden |= dict.fromkeys(person.hidden)
                    names |= from_cell(person.record).topics
            if number % _EVERY == 0:
                moved(before + row.end, total)
        before += sheet.path.stat().st_size
    return labels, list(hidden), names


def _known(sheet: Sheet) -> Source:
    source = source_of(sheet.columns)
    if not _has_addresses(sheet):
        raise AppError(
            422,
            "No column of this file is called {name}.",
            "The first line must name the columns.",
            {"name": source.email[0]},
        )
    return source


def _has_addresses(sheet: Sheet) -> bool:
    return any(name in sheet.columns for name in source_of(sheet.columns).email)


def _place(sheet: Sheet, source: Source) -> int:
    return next(sheet.columns.index(name) for name in source.email if name in sheet.columns)


def _dropped(sheets: list[Sheet], sources: list[Source]) -> list[str]:
    """Columns that are not read, as they are called in the file."""
    found = [
        name[:60]
        for sheet, source in zip(sheets, sources, strict=True)
        for name, column in zip(sheet.header, sheet.columns, strict=True)
        if name and column not in source.columns()
    ]
    return list(dict.fromkeys(found))[:_MOST_SHOWN]


def _order(sheets: list[Sheet], sources: list[Source], said: str) -> tuple[bool, str, bool]:
    """Whether day and month matter, in which order they stand, and whether that is a guess (IM-2).

    One value above 12 decides for all files of an archive; else the program that wrote them, else
    the founders are asked.
    """
    seen: set[str] = set()
    for sheet, source in zip(sheets, sources, strict=True):
        places = [at for at, name in enumerate(sheet.columns) if name in source.dates()]
        for row in rows(sheet) if places else ():
            seen |= {order_in(row.cells[at]) for at in places if at < len(row.cells)}
    seen.discard("")
    if not seen:
        return False, said or "day", False
    told = {"day", "month"} & seen
    if len(told) == 1:
        return True, told.pop(), False
    usual = next((source.order for source in sources if source.order), "")
    return True, said or usual or "day", not (said or usual)
