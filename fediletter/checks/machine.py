"""What the doctor sees of the machine itself: room, files, SQLite, the clock."""

import ctypes
import sqlite3
import stat

from fediletter.checks.findings import Finding
from fediletter.room import room_in
from fediletter.settings import Settings
from storage.store import safe_journal_mode

_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2).
_TIMEX_BYTES = 512  # The kernel's `struct timex` has 208.


def machine_findings(settings: Settings) -> list[Finding]:
    """One for each thing that can be looked at before anything is opened."""
    return [_disk(settings), *_files(settings), _sqlite(), *_clock(clock_state())]


def clock_state() -> int | None:
    """What adjtimex(2) says of the kernel's clock, changing nothing; None where there is none."""
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (AttributeError, OSError, TypeError):  # Not Linux.
        return None


def _clock(state: int | None) -> list[Finding]:
    """Signatures hold for minutes: a clock that is off makes every peer refuse us."""
    if state is None or state < 0:  # Not known, or not for us to ask.
        return []
    is_kept = state != _UNSYNCHRONISED
    return [
        Finding(
            "clock",
            True,
            "The clock of this machine is kept right by a time service."
            if is_kept
            else "No time service keeps the clock of this machine right.",
            "Switch one on, for example with: timedatectl set-ntp true. Other servers refuse what "
            "is signed some minutes too early or too late.",
            is_amber=not is_kept,
        )
    ]


def _disk(settings: Settings) -> Finding:
    try:
        room = room_in(settings.data)
    except OSError:
        return Finding(
            "disk",
            False,
            "The data directory {path} does not exist.",
            "Run `fediletter init`.",
            {"path": str(settings.data)},
        )
    return Finding(
        "disk",
        room.has_place_for(),
        "{free} MB are free where the data lives.",
        "Make room: below {floor} MB nothing is published.",
        {"free": room.free_bytes >> 20, "floor": room.floor_bytes >> 20},
    )


def _files(settings: Settings) -> list[Finding]:
    findings = []
    for path, name in ((settings.secret_file, "secret"), (settings.data, "data")):
        if not path.exists():
            continue
        private = not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        findings.append(
            Finding(
                name,
                private,
                "{path} is readable by its owner alone."
                if private
                else "{path} can be read by others.",
                "Run: chmod go= {path}",
                {"path": str(path)},
            )
        )
    return findings


def _sqlite() -> Finding:
    mode = safe_journal_mode(sqlite3.sqlite_version_info)
    return Finding(
        "journal",
        True,
        "SQLite {version} keeps its journal as {mode}.",
        fields={"version": sqlite3.sqlite_version, "mode": mode},
    )
