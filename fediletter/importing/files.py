"""A file as it came: zip or text, its encoding, its rows; all within limits, in bounded memory.

Knows nothing of what the columns mean. Names within an archive are looked at, never used as paths.

Sources: email.md section 13 (detection, IM-6); security.md ME-9; RFC 4180; PKWARE appnote 4.4.
"""

import codecs
import csv
import io
import lzma
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fediletter.errors import AppError
from fediletter.limits import LIST_BYTES

_MOST_ROWS = 1_000_000  # IM-6, here and below.
_CELL = 64 << 10
_LINE = 4 << 20
_MOST_LISTS = 20  # Of an archive. A Substack export holds two files more for each letter:
_MOST_ENTRIES = 20_000  # those are counted here, and never unpacked.
_RATIO = 100
_SMALL = 1 << 20  # Below this a ratio says nothing: a short list of zeros is no bomb.
_CHUNK = 1 << 20
_COLUMNS = 500
# How Substack, Mailchimp and Buttondown begin the names of their lists.
_LISTS = (
    *("email_list", "subscribed_", "unsubscribed_", "cleaned_", "nonsubscribed_"),
    *("subscribers", "unsubscribers"),
)
# What reading an archive may raise: a wrong sum, an unknown method, a stream that breaks off.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError,
           EOFError, ValueError, struct.error)  # fmt: skip
_TOO_LARGE = AppError(422, "This file is too large: 200 MB at most.")


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `line` counts as a spreadsheet does, the header being 1."""

    line: int
    cells: list[str]
    end: int  # Octets of the file that were read by then.


@dataclass(frozen=True, slots=True)
class Sheet:
    """One list of people within what was given."""

    name: str  # As in the archive, without its folder; empty for a file that came alone.
    path: Path
    encoding: str
    header: tuple[str, ...]  # As it stands there.
    columns: tuple[str, ...]  # Without case, accents, quotes.
    delimiter: str


def unpack(path: Path, folder: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The lists in a file: itself, or what a zip holds, unpacked into `folder` under our names.

    Returns:
        Name and path of each, and the names of the tables that were passed over.

    Raises:
        AppError: It is larger than IM-6 allows, or an archive that tries something.
    """
    if path.stat().st_size > LIST_BYTES:
        raise _TOO_LARGE
    if not zipfile.is_zipfile(path):
        return [("", path)], []
    try:
        with zipfile.ZipFile(path) as archive:
            chosen, others = _lists_in(archive)
            return [
                (_base(entry.filename), _unpacked(archive, entry, folder / f"list-{number}"))
                for number, entry in enumerate(chosen)
            ], others
    except _BROKEN as broken:
        raise AppError(
            422, "This archive cannot be read.", "Unpack it and give the CSV in it."
        ) from broken


def open_sheet(name: str, path: Path) -> Sheet:
    """Find out encoding, delimiter and header.

    Raises:
        AppError: There is no text in it, or nothing at all.
    """
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as text:
        sample = text.read(16 << 10)
    if not sample.strip():
        raise AppError(422, "This file is empty.")
    if "\0" in sample.partition("\n")[0]:
        raise AppError(422, "This file is not text.", "Export it again as CSV, in UTF-8.")
    sheet = Sheet(name, path, encoding, (), (), _delimiter(sample.splitlines()[:10]))
    header = next(rows(sheet), None)
    if header is None:
        raise AppError(422, "This file is empty.")
    if len(header.cells) > _COLUMNS:
        raise AppError(422, "This file has more than 500 columns.")
    names = tuple(cell.strip().strip("\ufeff\"'").strip() for cell in header.cells)
    return Sheet(name, path, encoding, names, tuple(map(plain, names)), sheet.delimiter)


def rows(sheet: Sheet) -> Iterator[Row]:
    """All rows with something in them, the header first.

    Raises:
        AppError: A cell or the number of rows is beyond IM-6.
    """
    csv.field_size_limit(_CELL)
    with sheet.path.open("rb") as octets:
        text = io.TextIOWrapper(octets, sheet.encoding, newline="")
        reader = csv.reader(_lines(text), delimiter=sheet.delimiter)
        line = 0
        try:
            for cells in reader:
                line += 1
                if line > _MOST_ROWS + 1:
                    raise AppError(422, "This file has more than a million rows.")
                if any(cell and not cell.isspace() for cell in cells):
                    yield Row(line, cells, octets.tell())
        except csv.Error as wrong:
            words = "From line {line} on this file cannot be read."
            if "limit" in str(wrong) or isinstance(wrong, _Endless):
                words = "From line {line} on this file cannot be read: a cell is larger than 64 KB."
            raise AppError(
                422,
                words,
                "A quotation mark may lack its pair there.",
                {"line": line + 1},
            ) from wrong


def plain(name: str) -> str:
    """A column's name without case and accents."""
    folded = unicodedata.normalize("NFKD", name)
    return " ".join("".join(c for c in folded if not unicodedata.combining(c)).lower().split())


class _Endless(csv.Error):
    """A line that is longer than any row may be."""


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_LINE):
        if len(line) == _LINE and line[-1] not in "\r\n":
            raise _Endless
        yield line


def _delimiter(lines: list[str]) -> str:
    """What parts the names of the columns; if several could, what fits the rows below."""

    def fit(delimiter: str) -> tuple[int, int]:
        widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter)]
        return (widths[0] if widths else 0, widths.count(widths[0]) if widths else 0)

    return max(",;\t|", key=fit)


def _encoding(path: Path) -> str:
    with path.open("rb") as octets:
        start = octets.read(4)
    wide = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
    for encoding in ("utf-8-sig", wide):
        try:
            with path.open("rb") as octets:
                decode = codecs.getincrementaldecoder(encoding)().decode
                while chunk := octets.read(_CHUNK):
                    decode(chunk)
                decode(b"", True)
        except UnicodeDecodeError:
            continue
        return encoding
    raise AppError(422, "The encoding of this file is not known.", "Save it as UTF-8.")


# --- archives --------------------------------------------------------------------------------


def _lists_in(archive: zipfile.ZipFile) -> tuple[list[zipfile.ZipInfo], list[str]]:
    """What looks like a list of people, and the other tables."""
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise AppError(422, "This archive holds too many files.")
    for entry in entries:
        _refuse_tricks(entry)
    # What Finder and Windows put beside the files is not meant.
    tables = [
        one
        for one in entries
        if one.filename.lower().endswith(".csv")
        and not one.filename.startswith("__MACOSX/")
        and not _base(one.filename).startswith(".")
    ]
    known = [one for one in tables if _base(one.filename).lower().startswith(_LISTS)]
    chosen = known or [one for one in tables if "/" not in one.filename] or tables
    if not chosen:
        raise AppError(422, "There is no CSV in this archive.", "Export the list as CSV.")
    if len(chosen) > _MOST_LISTS:
        raise AppError(422, "This archive holds more than 20 lists.")
    if sum(one.file_size for one in chosen) > LIST_BYTES:
        raise _TOO_LARGE
    names = {one.filename for one in chosen}
    return chosen, [one.filename for one in tables if one.filename not in names][:20]


def _refuse_tricks(entry: zipfile.ZipInfo) -> None:
    name = entry.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or ":" in name.split("/")[0]:
        raise AppError(422, "A file in this archive names a place outside of it.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise AppError(422, "This archive holds a link.")
    if name.lower().endswith(".zip"):
        raise AppError(
            422, "There is an archive within this archive.", "Unpack it and give the inner one."
        )
    if entry.flag_bits & 1:
        raise AppError(422, "This archive is locked by a password.", "Unpack it and give the CSV.")
    if entry.file_size > _SMALL and entry.file_size > _RATIO * max(1, entry.compress_size):
        raise AppError(422, "This archive unpacks to far more than it is.")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> Path:
    # No more octets come than the entry says of itself, which was looked at: `zipfile` sees to it.
    with archive.open(entry) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy, _CHUNK)
    return target


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
