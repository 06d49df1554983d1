"""`followers`, `block`: who hears us on the fediverse, and who does not.

Sources: interface.md section 2; federation.md 9.8.
"""

import asyncio
import csv
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from fediletter.app import build_services
from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.errors import AppError
from fediletter.exporting.followers import follower_rows, followers_by_actor
from fediletter.outbound import profile
from fediletter.services import Services
from storage import audit, blocks
from storage.peers import actor_by_handle
from storage.store import Tx

T = TypeVar("T")
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_-]+)*(:\d{1,5})?")


def _with_services(ctx: click.Context, work: Callable[[Services], Awaitable[T]]) -> T:
    async def run() -> T:
        services = build_services(settings_of(ctx))
        try:
            return await work(services)
        finally:
            services.store.close()

    return asyncio.run(run())


# --- followers -------------------------------------------------------------------------------


@click.group()
def followers() -> None:
    """Followers on the fediverse."""


@followers.command("export")
@click.pass_context
def export_followers(ctx: click.Context) -> None:
    """Write the followers' handles as CSV to stdout, in Mastodon's form."""

    def look(tx: Tx) -> list[str]:
        audit.write(tx, "export", subject="followers", channel="cli", now=SystemClock().now())
        return next(iter(followers_by_actor(tx).values()))

    handles = _with_services(ctx, lambda services: services.store.write(look))
    csv.writer(sys.stdout, lineterminator="\r\n").writerows(follower_rows(handles))


@followers.command("alias")
@click.argument("actor")
@click.pass_context
def alias(ctx: click.Context, actor: str) -> None:
    """Say that ACTOR (name@server or its id) is this newsletter too.

    Its followers can then be moved here: start the move over there.
    """
    found = _with_services(ctx, lambda services: profile.add_alias(services, actor))
    click.echo(words_here().gettext("{account} is an alias of this newsletter.", account=found))


@followers.command("move-to")
@click.argument("actor")
@click.pass_context
def move_to(ctx: click.Context, actor: str) -> None:
    """Ask all followers to follow ACTOR (name@server or its id) instead.

    ACTOR must have this newsletter as an alias. Keep this server running for a while: other servers
    ask it whether the move is true.
    """
    found = _with_services(ctx, lambda services: profile.move_to(services, actor))
    click.echo(words_here().gettext("The followers are asked to follow {account}.", account=found))


# --- blocks ----------------------------------------------------------------------------------


@click.group()
def block() -> None:
    """Blocked actors and domains."""


def _domain(text: str) -> str:
    domain = text.strip().lower()
    if not _DOMAIN.fullmatch(domain):
        raise AppError(
            422,
            "{value} is neither a domain nor an account.",
            "Write a domain (bad.example), an account (name@bad.example) or the id of an actor.",
            {"value": text},
        )
    return domain


async def _meant(services: Services, value: str) -> tuple[str, str]:
    """Kind and value of what shall be blocked: a domain, an actor's id, or a handle."""
    if value.startswith(("https://", "http://")):
        return "actor", value
    if "@" not in value.strip("@"):
        return "domain", _domain(value)
    username, _, host = value.strip("@").partition("@")
    known = await services.store.read(actor_by_handle, username, host)
    if known is not None:
        return "actor", known
    return "actor", (await profile.find(services, value)).id


@block.command("add")
@click.argument("value")
@click.option("--note", default="")
@click.pass_context
def add_block(ctx: click.Context, value: str, note: str) -> None:
    """Block a domain, or an actor by its id or name@server.

    Followers from there are removed, their replies hidden, and nothing is sent there any more.
    """

    async def run(services: Services) -> None:
        kind, meant = await _meant(services, value)
        now = services.clock.now()

        def work(tx: Tx) -> None:
            blocks.block(tx, kind, meant, note=note, now=now)
            audit.write(tx, "block", channel="cli", subject=kind, now=now)

        await services.store.write(work)

    _with_services(ctx, run)


@block.command("remove")
@click.argument("value")
@click.pass_context
def remove_block(ctx: click.Context, value: str) -> None:
    """Lift a block."""

    async def run(services: Services) -> bool:
        _, meant = await _meant(services, value)
        now = services.clock.now()

        def work(tx: Tx) -> bool:
            lifted = blocks.remove_block(tx, meant)
            if lifted:
                audit.write(tx, "unblock", channel="cli", now=now)
            return lifted

        return await services.store.write(work)

    if not _with_services(ctx, run):
        raise AppError(404, "This was not blocked.")


@block.command("list")
@click.pass_context
def list_blocks(ctx: click.Context) -> None:
    """What is blocked."""
    for one in _with_services(ctx, lambda services: services.store.read(blocks.all_blocks)):
        click.echo(f"{one.kind}\t{one.value}\t{one.note}")


@block.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def import_blocks(ctx: click.Context, file: Path) -> None:
    """Take in a CSV of Mastodon: blocked domains of a server or a person, or blocked accounts.

    Of a server's list only what is suspended there is blocked here. Names that were made
    unreadable on purpose, and accounts that are not found, are told and left out.
    """
    wanted, passed = _rows_of(file)

    async def run(services: Services) -> tuple[int, list[str]]:
        meant, refused = [], []
        for value, note in wanted:
            try:
                meant.append((*await _meant(services, value), note))
            except AppError:
                refused.append(value)
        now = services.clock.now()

        def work(tx: Tx) -> int:
            added = sum(
                blocks.block(tx, kind, value, note=note or file.name, now=now)
                for kind, value, note in meant
            )
            audit.write(tx, "block", channel="cli", subject=f"import {added}", now=now)
            return added

        return await services.store.write(work), refused

    added, refused = _with_services(ctx, run)
    words = words_here()
    for value in refused:
        click.echo(words.gettext("left out: {value}", value=value))
    click.echo(words.ngettext("{count} blocked.", "{count} blocked.", added))
    if passed:
        click.echo(
            words.gettext("{count} that are only limited there were passed over.", count=passed)
        )


def _rows_of(file: Path) -> tuple[list[tuple[str, str]], int]:
    """What to block with its comment, and how many rows are no suspensions."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = [row for row in csv.reader(text) if row and row[0].strip()]
    names = [name.strip().lstrip("#").lower() for name in rows[0]] if rows else []
    if not names or names[0] not in ("domain", "account address"):
        return [(row[0].strip(), "") for row in rows], 0  # A person's list has no heading.
    wanted, passed = [], 0
    for row in rows[1:]:
        fields = dict(zip(names, row, strict=False))
        if fields.get("severity", "suspend") not in ("suspend", ""):
            passed += 1
            continue
        wanted.append((fields[names[0]].strip(), fields.get("public_comment", "").strip()))
    return wanted, passed
