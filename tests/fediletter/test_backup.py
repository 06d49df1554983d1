"""Backup and restore: both databases, from one to the other, and what must not come back."""

import io
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from fediletter import forgotten
from fediletter.backup import make_backup, restore_backup
from fediletter.errors import AppError
from fediletter.installation import install, open_store
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import load_vault
from fediletter.settings import load
from storage.schema import metadata
from storage.subscribers import add_subscriber, find_subscriber
from tests.postgres import new_database

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def settings_at(directory: Path, url: str | None = None):
    environ = {"FEDILETTER_BASE_URL": "http://127.0.0.1:8123"}
    if url is not None:
        environ["FEDILETTER_DATABASE_URL"] = url
    return load(environ, data=directory)


def fill(settings) -> None:
    store = open_store(settings)

    def work(tx):
        for number in range(1200):
            add_subscriber(
                tx,
                key=number.to_bytes(10, "big"),
                email=f"r{number}@example.org",
                identity=f"r{number}@example.org",
                state="active",
                language="fr",
                source="form",
                now=NOW,
            )
        tx.execute(sa.text("DELETE FROM subscriber WHERE id > 1190"))

    store.submit(work).result()
    store.close()


def everything(settings) -> dict[str, list[tuple]]:
    store = open_store(settings)

    def look(tx):
        return {
            table.name: sorted(map(tuple, tx.rows(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
        }

    found = store.submit(look).result()
    store.close()
    return found


@pytest.mark.slow
@pytest.mark.rule("RE-16")
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_a_backup_of_either_database_comes_back_into_either(tmp_path, request, source, target):
    def url(kind):
        if kind == "sqlite":
            return None
        return new_database(request.getfixturevalue("postgres_url"))

    here = settings_at(tmp_path / "here", url(source))
    there = settings_at(tmp_path / "there", url(target))
    install(here, now=NOW)
    fill(here)
    (here.media / "a.jpg").write_bytes(b"picture")
    make_backup(here, tmp_path / "backup.tgz")

    assert restore_backup(there, tmp_path / "backup.tgz", now=NOW) == (0, 0)

    assert everything(there) == everything(here)
    assert (there.media / "a.jpg").read_bytes() == b"picture"
    with pytest.raises(AppError):
        restore_backup(there, tmp_path / "backup.tgz", now=NOW)
    store = open_store(there)
    number = store.submit(
        add_subscriber, key=b"0123456789", email="n@example.org", identity="n@example.org",
        state="active", language="fr", source="form", now=NOW,
    ).result()  # fmt: skip
    store.close()
    assert getattr(number, "id", number) == 1201, "ids of deleted rows are not handed out again"


@pytest.mark.rule("PR-8")
def test_who_was_erased_after_the_backup_stays_erased(tmp_path):
    here = settings_at(tmp_path / "here")
    install(here, now=NOW)
    fill(here)
    make_backup(here, tmp_path / "backup.tgz")
    there = settings_at(tmp_path / "there")
    there.data.mkdir()
    tokens = Tokens(load_vault(here.secret_file))
    forgotten.remember_erasure(
        there.data, tokens.hash_address("r7@example.org"), now=NOW + timedelta(days=2)
    )

    held, erased = restore_backup(there, tmp_path / "backup.tgz", now=NOW + timedelta(days=3))

    assert (held, erased) == (0, 1)
    store = open_store(there)
    assert store.submit(find_subscriber, "r7@example.org").result() is None
    assert store.submit(find_subscriber, "r8@example.org").result() is not None
    store.close()


def archive_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)) if member.isfile() else None)
    return path


def member(name: str, *, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = ""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


@pytest.mark.rule("ME-9")
@pytest.mark.parametrize(
    "evil",
    [
        member("../escaped", size=3),
        member("/tmp/absolute", size=3),
        member("media/../../escaped", size=3),
        member("media/a", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("media/a", kind=tarfile.LNKTYPE, link="../secret"),
        member("secret", kind=tarfile.FIFOTYPE),
        member("stranger", size=3),
        member("media/bomb", size=300 << 20),
        member("media", kind=tarfile.DIRTYPE),  # Alone: database and secret are missing.
    ],
    ids=lambda one: f"{one.name}-{one.type.decode()}",
)
def test_an_archive_that_is_none_of_ours_writes_nothing(tmp_path, evil):
    needed = [member("fediletter.db", size=4), member("secret", size=4)]
    if evil.name == "media":
        needed = []
    archive = archive_with(tmp_path / "evil.tgz", *needed, evil)
    there = settings_at(tmp_path / "there")

    with pytest.raises(AppError) as refused:
        restore_backup(there, archive, now=NOW)

    assert refused.value.status == 422
    assert list(there.data.iterdir()) == []
    assert not (tmp_path / "escaped").exists()


def test_a_damaged_database_in_an_archive_is_refused(tmp_path):
    archive = archive_with(
        tmp_path / "bad.tgz", member("fediletter.db", size=9000), member("secret", size=4)
    )
    there = settings_at(tmp_path / "there")

    with pytest.raises(AppError):
        restore_backup(there, archive, now=NOW)

    assert list(there.data.iterdir()) == []
