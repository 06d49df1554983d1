"""The first minute of an installation: directory, secret, database, actors and their keys.

Doing it again changes nothing. Everything that needs to exist before the server starts is made
here, by `fediletter init`, the demo and the tests alike.
"""

import os
from datetime import datetime

from sqlalchemy.exc import DBAPIError

from federation.keys import Ed25519PrivateKey, RsaPrivateKey
from fediletter.errors import AppError
from fediletter.sealing import Vault, create_secret, load_vault
from fediletter.settings import Settings
from fediletter.words import words
from storage import newsletters
from storage.errors import Conflict, WrongSchema
from storage.ids import ActorId
from storage.migrate import check, migrate
from storage.newsletters import LocalKey
from storage.store import Store, Tx
from storage.wakeup import Wakeups

INSTANCE = "instance"


def install(settings: Settings, *, now: datetime, title: str | None = None) -> None:
    """Make what is missing.

    Raises:
        AppError: The directory or the database cannot be used; says which, and what to do.
    """
    make_directory(settings)
    create_secret(settings.secret_file)
    vault = load_vault(settings.secret_file)
    store = open_store(settings, migrating=True)
    try:
        store.submit(
            _first_rows,
            vault,
            settings,
            title or words(settings.language).gettext("Letters from the workshop"),
            now=now,
        ).result()
    finally:
        store.close()


def make_directory(settings: Settings) -> None:
    """The data directory, for its owner alone (CL-4)."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.media.mkdir(mode=0o700, exist_ok=True)
    except OSError as trouble:
        raise AppError(
            500,
            "The data directory {path} cannot be made: {reason}",
            "Choose another one with --data, or make it writable for this user.",
            {"path": settings.data, "reason": trouble.strerror},
        ) from trouble


def open_store(settings: Settings, *, migrating: bool = False) -> Store:
    """The post store, at this program's schema.

    Raises:
        AppError: There is no data directory; the database cannot be reached, is older (run
            `fediletter migrate`) or newer.
    """
    if not settings.data.is_dir():
        raise AppError(
            500,
            "The data directory {path} does not exist.",
            "Run `fediletter init`.",
            {"path": settings.data},
        )
    old_mask = os.umask(0o077)  # A new SQLite file is for its owner alone.
    try:
        store = Store(settings.database_url, Wakeups(), fail_at=settings.fail_at)
        if migrating:
            migrate(store.engine)
        elif not check(store.engine):
            raise AppError(
                500,
                "The database has not been prepared for this version.",
                "Run `fediletter init` for a new one, `fediletter migrate` for an old one.",
            )
    except WrongSchema as newer:
        raise AppError(
            500,
            "The database was written by a newer version of fediletter.",
            "Install that version, or restore a backup made with this one.",
        ) from newer
    except DBAPIError as trouble:
        raise AppError(
            503,
            "The database cannot be used: {reason}.",
            "Check FEDILETTER_DATABASE_URL, and that the database runs.",
            {"reason": str(trouble.orig).strip().splitlines()[0]},
        ) from trouble
    finally:
        os.umask(old_mask)
    return store


def _first_rows(tx: Tx, vault: Vault, settings: Settings, title: str, *, now: datetime) -> None:
    try:
        newsletters.create_newsletter(
            tx, title=title, language=settings.language, list_label="letters", now=now
        )
    except Conflict:
        return
    for username, kind in ((settings.account_user, "newsletter"), (INSTANCE, "instance")):
        actor_id = newsletters.add_actor(tx, username, kind, now=now)
        add_keys(tx, vault, actor_id, now=now)


def add_keys(tx: Tx, vault: Vault, actor_id: ActorId, *, now: datetime) -> None:
    """A new RSA and a new Ed25519 key for an actor of ours, private parts sealed (WE-19)."""
    rsa, ed25519 = RsaPrivateKey.generate(), Ed25519PrivateKey.generate()
    for key in (
        LocalKey(
            actor_id, "rsa", "main-key", rsa.public.text, vault.seal(rsa.to_bytes(), "actor-key")
        ),
        LocalKey(
            actor_id,
            "ed25519",
            "ed25519-key",
            ed25519.public.text,
            vault.seal(ed25519.to_bytes(), "actor-key"),
        ),
    ):
        newsletters.add_key(tx, key, now=now)
