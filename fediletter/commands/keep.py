"""`backup`, `restore`, `export`: what must outlive the machine."""

import csv
import json
from datetime import datetime
from pathlib import Path

import click

from fediletter.backup import make_backup, restore_backup
from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.exporting import subscriber_rows
from fediletter.installation import open_store
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import load_vault
from fediletter.settings import Settings
from storage import audit, posts
from storage.posts import Post
from storage.store import Store, Tx


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
    """Write posts as Markdown with their media, and the subscribers, into a directory."""
    settings = settings_of(ctx)
    directory.mkdir(parents=True, exist_ok=True)
    store = open_store(settings)
    try:
        now = SystemClock().now()
        store.submit(audit.write, "export", channel="cli", now=now).result()
        count = _export_posts(store, directory, settings.media)
        with (directory / "subscribers.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(
                subscriber_rows(store, Tokens(load_vault(settings.secret_file)))
            )
    finally:
        store.close()
    click.echo(
        words_here().gettext("{count} letters written to {path}", count=count, path=directory)
    )


def _export_posts(store: Store, directory: Path, media: Path) -> int:
    folder = directory / "posts"
    folder.mkdir(exist_ok=True)

    def look(tx: Tx) -> list[Post]:
        return [
            post
            for state in ("draft", "scheduled", "published")
            for post in posts.posts_in_state(tx, state, limit=100_000)
        ]

    found = store.submit(look).result()
    for post in found:
        (folder / f"{post.slug}.md").write_text(_markdown(post), encoding="utf-8")
        if post.cover is not None:
            widest = json.loads(post.cover.renditions_json)[0]["name"]
            target = folder / widest
            target.write_bytes((media / widest).read_bytes())
    return len(found)


def _markdown(post: Post) -> str:
    fields = {
        "title": post.title,
        "summary": post.summary,
        "topics": ", ".join(topic.name for topic in post.topics),
        "language": post.language,
    }
    if post.cover is not None:
        fields["cover"] = json.loads(post.cover.renditions_json)[0]["name"]
        fields["cover_alt"] = post.cover_alt
    if post.published_at is not None:
        fields["at"] = post.published_at.isoformat()
    front = "\n".join(f"{name}: {value}" for name, value in fields.items() if value)
    return f"---\n{front}\n---\n{post.body_markdown}\n"
