"""Backup and restore: database, media and secret in one file.

SQLite is copied by its own online backup, so a server may go on meanwhile (RE-16). PostgreSQL has
pg_dump; the archive then holds media and secret.
"""

import sqlite3
import tarfile
import tempfile
from pathlib import Path

from fediletter.errors import AppError
from fediletter.settings import Settings

_DATABASE, _SECRET, _MEDIA = "fediletter.db", "secret", "media"


def make_backup(settings: Settings, target: Path) -> bool:
    """Write an archive; False if the database is not in it (PostgreSQL)."""
    database = _sqlite_path(settings)
    with tempfile.TemporaryDirectory(dir=settings.data) as work:
        partial = target.with_name(target.name + ".part")
        with tarfile.open(partial, "w:gz") as archive:
            if database is not None:
                copy = Path(work) / _DATABASE
                _copy(database, copy)
                archive.add(copy, _DATABASE)
            archive.add(settings.secret_file, _SECRET)
            if settings.media.is_dir():
                archive.add(settings.media, _MEDIA)
        partial.chmod(0o600)
        partial.replace(target)
    return database is not None


def restore_backup(settings: Settings, source: Path) -> None:
    """Put an archive back into an empty data directory.

    Raises:
        AppError: Something is there already, or the archive is none of ours (ME-9).
    """
    database = _sqlite_path(settings)
    if database is not None and database.exists():
        raise AppError(
            409,
            "There is a database at {path} already.",
            "Restore into an empty directory, or move it away first.",
            {"path": database},
        )
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with tarfile.open(source, "r:gz") as archive:
            members = [member for member in archive.getmembers() if _is_ours(member)]
            if len(members) != len(archive.getmembers()) or not members:
                raise AppError(422, "This file is not a backup of fediletter.")
            archive.extractall(settings.data, members=members, filter="data")
    except tarfile.TarError as wrong:
        raise AppError(422, "This file is not a backup of fediletter.") from wrong
    unpacked = settings.data / _DATABASE
    if database is not None and unpacked != database:
        unpacked.replace(database)
    secret = settings.data / _SECRET
    if secret != settings.secret_file:
        secret.replace(settings.secret_file)
    settings.secret_file.chmod(0o600)


def _sqlite_path(settings: Settings) -> Path | None:
    if not settings.database_url.startswith("sqlite:"):
        return None
    return Path(settings.database_url.removeprefix("sqlite:///"))


def _copy(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as here, sqlite3.connect(target) as there:
        here.backup(there)
    there.close()
    here.close()


def _is_ours(member: tarfile.TarInfo) -> bool:
    if member.name in (_DATABASE, _SECRET):
        return member.isfile()
    if member.name == _MEDIA:
        return member.isdir()
    folder, _, name = member.name.partition("/")
    return folder == _MEDIA and "/" not in name and ".." not in name and member.isfile()
