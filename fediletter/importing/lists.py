"""A list from its file to its report: kept in the store, carried on by whoever finds it.

Each list has a folder of its own, which a process locks while it works on it; the lock dies with
the process. What is under way and not locked is carried on: reading begins anew, writing goes on
where the last transaction ended. The file and who stood in it go when the list is done.

Sources: email.md IM-5; security.md ME-9, L-56, CL-5; issue 4, "nothing half done".
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.exc import DBAPIError

from fediletter.errors import AppError
from fediletter.importing.deciding import Person
from fediletter.importing.notebook import PEOPLE, REFUSED, people_in
from fediletter.importing.reading import FILE, Report, read_list
from fediletter.importing.writing import Way, Wish, make_topics, way_for, weigh, write
from fediletter.limits import LIST_BYTES
from fediletter.newsletter.html import plain_name
from fediletter.newsletter.tokens import Tokens
from fediletter.room import no_room, room_in
from storage import audit, intakes
from storage.ids import FounderId
from storage.intakes import Intake
from storage.store import Store, Tx

BATCH = 1000  # IM-5
_LOCK = "lock"
_KEPT = timedelta(days=7)  # Reports.
_UNDECIDED = timedelta(days=1)  # Files that somebody looked at.
_UPLOAD = timedelta(hours=1)  # Before it is a list, a folder may stand alone so long.


@dataclass(frozen=True, slots=True)
class Desk:
    """What is the same for all lists of an installation."""

    store: Store
    tokens: Tokens
    folder: Path  # Of all lists.
    language: str  # Of people who have none.


@dataclass(frozen=True, slots=True)
class Look:
    """How the one who carries a list on is heard, and heard of."""

    now: Callable[[], datetime]
    moved: Callable[[int, int], None] = lambda _done, _total: None
    is_over: Callable[[], bool] = lambda: False  # True: stop after this batch.


def folder_of(settings_data: Path) -> Path:
    """Where lists are while they are under way."""
    return settings_data / "imports"


def take_in(
    desk: Desk,
    file: BinaryIO,
    *,
    name: str,
    wish: Wish,
    founder_id: FounderId | None,
    now: datetime,
) -> str:
    """Keep a file to be read; the token of its list.

    Raises:
        AppError: It is larger than IM-6 allows, or there is no room for it.
    """
    desk.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > LIST_BYTES:
        raise AppError(422, "This file is too large: 200 MB at most.")
    # The notebook is about as large as the file.
    if not room_in(desk.folder).has_place_for(3 * size):
        raise no_room()
    token = secrets.token_hex(8)
    folder = desk.folder / token
    folder.mkdir(mode=0o700)
    try:
        with (folder / FILE).open("wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            os.fsync(copy.fileno())
        desk.store.submit(
            intakes.add_intake,
            token,
            name=plain_name(name, 255),
            wish=wish.as_json(),
            total=size,
            founder_id=founder_id,
            now=now,
        ).result()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return token


def carry_on(desk: Desk, token: str, look: Look) -> Intake | None:
    """Read a list, write it if that is wished, as far as it goes; None if somebody else does.

    A list that cannot be read has failed, with its words; so has one whose file is gone. Trouble of
    the database passes through: the list waits where it is.
    """
    folder = desk.folder / token
    if not folder.is_dir():
        return None  # On another machine, or gone.
    with _locked(folder) as mine:
        if not mine:
            return None
        found = desk.store.submit(intakes.find_intake, token).result()
        if found.state == "reading":
            found = _read(desk, found, look)
        if found.state == "writing":
            found = _write(desk, found, look)
        return found


def tidy(desk: Desk, *, now: datetime) -> None:
    """Forget old reports, files that nobody decided about, and what belongs to no list."""
    store = desk.store
    store.submit(intakes.forget_intakes, states=("looked",), before=now - _UNDECIDED).result()
    store.submit(
        intakes.forget_intakes, states=("looked", "done", "failed"), before=now - _KEPT
    ).result()
    for one in store.submit(intakes.under_way).result():
        # Its machine is gone, or this is a restored backup: files of lists are in none.
        if one.at < now - _UNDECIDED and not (desk.folder / one.token).is_dir():
            _failed(desk, one, _gone())
    if not desk.folder.is_dir():
        return
    kept = store.submit(intakes.all_tokens).result()
    for folder in desk.folder.iterdir():
        age = now.timestamp() - folder.stat().st_mtime
        if folder.name not in kept and age > _UPLOAD.total_seconds():
            shutil.rmtree(folder, ignore_errors=True)


def drop(desk: Desk, token: str) -> None:
    """Throw a list away that was only looked at."""
    desk.store.submit(intakes.forget_intake, token).result()
    shutil.rmtree(desk.folder / token, ignore_errors=True)


def _read(desk: Desk, found: Intake, look: Look) -> Intake:
    wish, folder = Wish.from_json(found.wish), desk.folder / found.token

    def moved(done: int, total: int) -> None:
        look.moved(done, total)
        _moved(desk, found.token, done=done, total=total)
        if look.is_over():
            raise _Over

    try:
        report = read_list(
            folder,
            name=found.name,
            order=wish.order,
            language=desk.language,
            now=look.now(),
            moved=moved,
        )
        if wish.take and report.asks_order and not wish.order:
            raise AppError(
                422,
                "The dates of this file can be read in two ways.",
                "Say whether the day or the month comes first.",
            )
        if not wish.take:
            _weigh(desk, found.token, report, wish, look)
    except _Over:
        return found
    except AppError as wrong:
        return _failed(desk, found, wrong)
    except (OSError, sqlite3.Error) as trouble:
        return _failed(desk, found, no_room() if _is_full(trouble) else _gone())
    except DBAPIError:
        raise  # It will be there again.
    except Exception:
        _failed(desk, found, _gone())  # Else it would be tried again for ever.
        raise
    state = "writing" if wish.take else "looked"
    return _moved(
        desk, found.token, state=state, report=report.as_json(), done=0, total=report.people
    )


def _weigh(desk: Desk, token: str, report: Report, wish: Wish, look: Look) -> None:
    """What writing would do, counted into the report."""
    way = desk.store.submit(way_for, report, wish, desk.tokens, now=look.now()).result()
    for batch in people_in(desk.folder / token, after=0, size=BATCH):
        if look.is_over():
            raise _Over
        people = [one for _, one in batch]
        report.count(desk.store.submit(weigh, people, way).result())


def _write(desk: Desk, found: Intake, look: Look) -> Intake:
    wish, folder = Wish.from_json(found.wish), desk.folder / found.token
    report = Report(**found.report)
    if not (folder / PEOPLE).exists():
        return _failed(desk, found, _gone())
    try:
        desk.store.submit(make_topics, report, wish, now=look.now()).result()
    except AppError as wrong:
        return _failed(desk, found, wrong)
    way = desk.store.submit(way_for, report, wish, desk.tokens, now=look.now()).result()
    done = found.done
    for batch in people_in(folder, after=found.cursor, size=BATCH):
        if look.is_over():
            return found

        report, done = desk.store.submit(
            _write_batch, found.token, report, batch, way, done=done
        ).result()
        look.moved(done, report.people)

    def end(tx: Tx) -> None:
        intakes.move_intake(tx, found.token, state="done")
        audit.write(
            tx,
            "import readers",
            founder_id=found.founder_id,
            channel="" if found.founder_id else "cli",
            now=look.now(),
            detail={"added": report.added, "ended": report.ended},
        )

    desk.store.submit(end).result()
    _forget_people(folder)
    return desk.store.submit(intakes.find_intake, found.token).result()


def _write_batch(
    tx: Tx, token: str, report: Report, batch: list[tuple[int, Person]], way: Way, *, done: int
) -> tuple[Report, int]:
    """The place in the list moves with its people: after a kill nobody is lost or there twice."""
    new, done = replace(report), done + len(batch)
    new.count(write(tx, [one for _, one in batch], way))
    intakes.move_intake(tx, token, cursor=batch[-1][0], done=done, report=new.as_json())
    return new, done


def _moved(desk: Desk, token: str, **values: object) -> Intake:
    def work(tx: Tx) -> Intake:
        intakes.move_intake(tx, token, **values)
        return intakes.find_intake(tx, token)

    return desk.store.submit(work).result()


def _failed(desk: Desk, found: Intake, wrong: AppError) -> Intake:
    problem = {"words": wrong.words, "hint": wrong.hint, "fields": wrong.fields}
    failed = _moved(desk, found.token, state="failed", problem=problem)
    _forget_people(desk.folder / found.token)
    return failed


def _forget_people(folder: Path) -> None:
    """The file goes, and who stood in it; the refusals stay with the report."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in (REFUSED, _LOCK):
            path.unlink(missing_ok=True)


class _Over(Exception):
    """The process ends: somebody else will carry on."""


def _is_full(trouble: BaseException) -> bool:
    return getattr(trouble, "errno", None) == 28 or "full" in str(trouble)


def _gone() -> AppError:
    return AppError(500, "The list could not be read to its end.", "Give the file once more.")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """flock(2): released by the kernel with the process that holds it."""
    descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
