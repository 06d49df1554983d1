"""Backup and restore: database, media, secret and erasures in one file, alike for both databases.

The archive holds the database as a SQLite file. SQLite is copied by its own online backup,
PostgreSQL row by row from one snapshot: a server may go on meanwhile (RE-16). So a backup of one
can be restored into the other, which is also how one moves to PostgreSQL.

What left after the backup was made is not in it. Restored mailings that were not finished are
therefore held until a founder lets them go on (RE-5), and who asked to be erased since is erased
again (PR-8).

Sources: security.md RE-5, RE-16, ME-9, PR-8.
"""

import sqlite3
import tarfile
import tempfile
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from fediletter import forgotten
from fediletter.errors import AppError
from fediletter.installation import open_store
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import load_vault
from fediletter.settings import Settings
from storage import founders
from storage.copying import copy_everything, is_empty
from storage.mailings import hold_unfinished
from storage.migrate import migrate
from storage.store import engine_for

_DATABASE, _SECRET, _MEDIA = "fediletter.db", "secret", "media"
_MOST_FILES = 200_000  # ME-9
_MOST_BYTES = 64 << 30  # Unpacked.
_MOST_RATIO = 200  # Unpacked to packed.


def make_backup(settings: Settings, target: Path) -> None:
    """Write an archive; the server may run meanwhile."""
    with tempfile.TemporaryDirectory(dir=settings.data) as work:
        copy = Path(work) / _DATABASE
        _copy_database(settings, copy)
        partial = target.with_name(target.name + ".part")
        try:
            with tarfile.open(partial, "w:gz") as archive:
                partial.chmod(0o600)
                archive.add(copy, _DATABASE)
                archive.add(settings.secret_file, _SECRET)
                erasures = settings.data / forgotten.NAME
                if erasures.exists():
                    archive.add(erasures, forgotten.NAME)
                if settings.media.is_dir():
                    archive.add(settings.media, _MEDIA, filter=_only_files)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def restore_backup(settings: Settings, source: Path, *, now: datetime) -> tuple[int, int]:
    """Put an archive back into an empty installation.

    Returns:
        How many mailings are held, and how many people were erased again.

    Raises:
        AppError: Something is there already, or the archive is none of ours (ME-9): nothing was
            written.
    """
    _refuse_what_is_there(settings)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.data) as work:
        _unpack(source, Path(work))
        _place_database(settings, Path(work) / _DATABASE)
        settings.secret_file.write_bytes((Path(work) / _SECRET).read_bytes())
        settings.secret_file.chmod(0o600)
        if (Path(work) / _MEDIA).is_dir():
            settings.media.mkdir(mode=0o700, exist_ok=True)
            for file in (Path(work) / _MEDIA).iterdir():
                file.replace(settings.media / file.name)
        _merge_erasures(settings, Path(work) / forgotten.NAME)
    store = open_store(settings, migrating=True)
    try:
        store.submit(founders.end_every_session).result()  # Some had ended since (WE-2).
        held = store.submit(hold_unfinished, reason="restored from a backup", now=now).result()
        erased = forgotten.erase_again(
            store, settings.data, Tokens(load_vault(settings.secret_file))
        )
    finally:
        store.close()
    return held, erased


def _copy_database(settings: Settings, copy: Path) -> None:
    database = _sqlite_path(settings)
    if database is not None:
        with sqlite3.connect(database) as here, sqlite3.connect(copy) as there:
            here.backup(there)
        there.close()
        here.close()
    else:
        source, target = engine_for(settings.database_url), engine_for(f"sqlite:///{copy}")
        try:
            migrate(target)
            copy_everything(source, target)
        finally:
            source.dispose()
            target.dispose()
    _check_whole(copy)


def _place_database(settings: Settings, unpacked: Path) -> None:
    _check_whole(unpacked)
    database = _sqlite_path(settings)
    if database is not None:
        unpacked.chmod(0o600)
        unpacked.replace(database)
        return
    source, target = engine_for(f"sqlite:///{unpacked}"), engine_for(settings.database_url)
    try:
        migrate(source)
        migrate(target)
        copy_everything(source, target)
    finally:
        source.dispose()
        target.dispose()


def _refuse_what_is_there(settings: Settings) -> None:
    database = _sqlite_path(settings)
    if database is not None:
        there, place = database.exists(), str(database)
    else:
        engine = engine_for(settings.database_url)
        there, place = not is_empty(engine), sa.make_url(settings.database_url).database or ""
        engine.dispose()
    if there:
        raise AppError(
            409,
            "There is a database at {path} already.",
            "Restore into an empty directory, or move it away first.",
            {"path": place},
        )


def _unpack(source: Path, work: Path) -> None:
    wrong = AppError(422, "This file is not a backup of fediletter.")
    try:
        with tarfile.open(source, "r:gz") as archive:
            members, size = [], 0
            for member in archive:  # One by one: a bomb is noticed before it is unpacked.
                members.append(member)
                size += member.size
                if not _is_ours(member) or len(members) > _MOST_FILES or size > _MOST_BYTES:
                    raise wrong
            if size > _MOST_RATIO * max(source.stat().st_size, 1 << 16):
                raise wrong
            if not {_DATABASE, _SECRET} <= {member.name for member in members}:
                raise wrong
            archive.extractall(work, members=members, filter="data")
    except (tarfile.TarError, EOFError, OSError) as broken:
        raise wrong from broken


def _merge_erasures(settings: Settings, unpacked: Path) -> None:
    """The list that stands here already is newer than the one of the backup."""
    path = settings.data / forgotten.NAME
    lines = set()
    for one in (unpacked, path):
        if one.exists():
            lines |= set(one.read_text().splitlines())
    if lines:
        path.write_text("\n".join(sorted(lines)) + "\n")
        path.chmod(0o600)


def _check_whole(copy: Path) -> None:
    try:
        with sqlite3.connect(copy) as connection:
            fine = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        connection.close()
    except sqlite3.DatabaseError:
        fine = False
    if not fine:
        raise AppError(422, "The database in this backup is damaged.")


def _sqlite_path(settings: Settings) -> Path | None:
    if not settings.database_url.startswith("sqlite:"):
        return None
    return Path(settings.database_url.removeprefix("sqlite:///"))


def _only_files(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return member if member.isfile() or member.name == _MEDIA else None


def _is_ours(member: tarfile.TarInfo) -> bool:
    if member.name in (_DATABASE, _SECRET, forgotten.NAME):
        return member.isfile()
    if member.name == _MEDIA:
        return member.isdir()
    folder, _, name = member.name.partition("/")
    return folder == _MEDIA and "/" not in name and ".." not in name and member.isfile()
