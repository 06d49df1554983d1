"""`backup`, `restore`, `export`: what must outlive the machine."""

import asyncio
import csv
import io
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import click

from fediletter.backup import make_backup, restore_backup
from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.exporting.followers import follower_rows, followers_by_actor
from fediletter.exporting.keys import key_files
from fediletter.exporting.letters import write_letters
from fediletter.exporting.site import site_files
from fediletter.exporting.subscribers import subscriber_rows
from fediletter.installation import open_store
from fediletter.settings import Settings
from storage import audit


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def backup(ctx: click.Context, file: Path) -> None:
    """Write database, media and keys into one archive; the server may run meanwhile."""
    settings = settings_of(ctx)
    make_backup(settings, file)
    _write_down(settings, "backup", SystemClock().now())
    click.echo(words_here().gettext("Written: {path}", path=file))


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def restore(ctx: click.Context, file: Path) -> None:
    """Put an archive back into an empty data directory; nothing recorded is sent again."""
    settings = settings_of(ctx)
    now = SystemClock().now()
    held, erased = restore_backup(settings, file, now=now)
    _write_down(settings, "restore", now)
    words = words_here()
    click.echo(words.gettext("Restored into {path}", path=settings.data))
    if held:
        click.echo(
            words.gettext(
                "Mailings held: {count}. Look at them at the desk: who got a letter after this "
                "backup was made would get it again.",
                count=held,
            )
        )
    if erased:
        click.echo(words.gettext("People erased again: {count}", count=erased))


def _write_down(settings: Settings, action: str, now: datetime) -> None:
    store = open_store(settings)
    try:
        store.submit(audit.write, action, channel="cli", now=now).result()
    finally:
        store.close()


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.pass_context
def export(ctx: click.Context, directory: Path) -> None:
    """Write everything in open formats into a directory.

    Posts as Markdown with their media, the site as files, subscribers with their consent,
    followers, and our private keys: keep it as you keep a password.
    """
    count = asyncio.run(_export(settings_of(ctx), directory))
    click.echo(
        words_here().gettext("{count} letters written to {path}", count=count, path=directory)
    )


async def _export(settings: Settings, directory: Path) -> int:
    from fediletter.app import build_services, create_app  # noqa: PLC0415 (start-up time)

    services = build_services(settings)
    try:
        now = services.clock.now()
        await services.store.write(audit.write, "export", channel="cli", now=now)
        count = write_letters(services.store, directory, settings.media)
        rows = subscriber_rows(services.store, services.tokens, now=now)
        _write(directory / "subscribers.csv", _table(rows))
        for name, handles in (await services.store.read(followers_by_actor)).items():
            _write(directory / f"followers-{name}.csv", _table(follower_rows(handles)))
        keys = await key_files(services.store, services.keyring, services.vault)
        for name, pem in keys.items():
            _write(directory / "keys" / name, pem)
        app = create_app(services, workers=False)
        async for name, octets in site_files(app, settings.base_url):
            _write(directory / "site" / name, octets, public=True)
    finally:
        services.store.close()
    return count


def _table(rows: Iterable[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, octets: bytes, *, public: bool = False) -> None:
    """A file for the caller's eyes alone, unless it is `public`."""
    path.parent.mkdir(mode=0o755 if public else 0o700, parents=True, exist_ok=True)
    path.touch(mode=0o644 if public else 0o600)
    path.write_bytes(octets)
