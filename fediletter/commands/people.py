"""`subscribers`, `founder`: lists of people, in and out."""

import csv
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click

from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.errors import AppError
from fediletter.exporting import subscriber_rows
from fediletter.founders import people
from fediletter.founders.passwords import hash_password, problem_with
from fediletter.importing import Report, import_file
from fediletter.installation import open_store
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import load_vault
from storage import audit, factors, founders
from storage.errors import Conflict, NotThere
from storage.store import Store, Tx

T = TypeVar("T")


def _with_store(ctx: click.Context, work: Callable[[Store], T]) -> T:
    store = open_store(settings_of(ctx))
    try:
        return work(store)
    finally:
        store.close()


def _now() -> datetime:
    return SystemClock().now()


# --- subscribers -----------------------------------------------------------------------------


@click.group()
def subscribers() -> None:
    """Subscribers by mail: import and export."""


@subscribers.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--confirmed", is_flag=True, help="They have agreed already; needs --proof.")
@click.option("--proof", default="", help="Where and how they agreed; kept with each person.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@click.pass_context
def import_(ctx: click.Context, file: Path, confirmed: bool, proof: str, dry_run: bool) -> None:
    """Take in a CSV of this program, listmonk, Mailchimp, Substack, Ghost, Buttondown or Brevo.

    Without --confirmed people become pending: nobody gets letters whom nobody asked.
    """
    if confirmed and not proof.strip():
        raise click.UsageError("--confirmed needs --proof TEXT: how did they agree?")
    settings = settings_of(ctx)
    tokens = Tokens(load_vault(settings.secret_file))

    def run(store: Store) -> Report:
        with click.progressbar(
            length=max(1, file.stat().st_size), file=sys.stderr, label=file.name
        ) as bar:
            return import_file(
                store,
                file,
                tokens,
                confirmed=confirmed,
                proof=proof,
                dry_run=dry_run,
                now=_now(),
                language=settings.language,
                moved=bar.update,
            )

    report = _with_store(ctx, run)
    words = words_here()
    for refusal in report.refused:
        click.echo(
            words.gettext(
                "line {line}: {reason} ({address})",
                line=refusal.line,
                reason=words.gettext(refusal.reason),
                address=refusal.address,
            )
        )
    click.echo(
        words.gettext(
            "{source}: {added} added, {known} known already, {refused} refused.",
            source=report.source,
            added=report.added,
            known=report.known,
            refused=len(report.refused),
        )
    )
    if dry_run:
        click.echo(words.gettext("Nothing was changed."))


@subscribers.command()
@click.pass_context
def export(ctx: click.Context) -> None:
    """Write all subscribers as CSV to stdout; importing it again loses nothing."""

    def run(store: Store) -> None:
        store.submit(
            audit.write, "export", subject="subscribers", channel="cli", now=_now()
        ).result()
        writer = csv.writer(sys.stdout, lineterminator="\r\n")
        for row in subscriber_rows(store):
            writer.writerow(row)

    _with_store(ctx, run)


# --- founders --------------------------------------------------------------------------------


@click.group()
def founder() -> None:
    """People who may enter the desk."""


def _password(given: bool) -> str:
    if given:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    problem = problem_with(password)
    if problem is not None:
        raise AppError(422, problem)
    return hash_password(password)


@founder.command()
@click.argument("email")
@click.option("--role", type=click.Choice(["founder", "editor"]), default="founder")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.pass_context
def add(ctx: click.Context, email: str, role: str, password_stdin: bool) -> None:
    """Let a person enter."""
    hashed = _password(password_stdin)

    def work(tx: Tx) -> None:
        founders.add_founder(tx, email=email, role=role, password_hash=hashed, now=_now())
        audit.write(tx, "founder added", channel="cli", now=_now())

    try:
        _with_store(ctx, lambda store: store.submit(work).result())
    except Conflict as taken:
        raise AppError(409, "This person may enter already.") from taken


@founder.command()
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.pass_context
def password(ctx: click.Context, email: str, password_stdin: bool) -> None:
    """Set a person's password; all their sessions end."""
    hashed = _password(password_stdin)

    def work(tx: Tx) -> None:
        person = founders.founder_by_email(tx, email)
        if person is None:
            raise NotThere(email)
        founders.set_password(tx, person.id, hashed)
        factors.end_attempts(tx, person.id)
        audit.write(tx, "password set", channel="cli", now=_now())

    try:
        _with_store(ctx, lambda store: store.submit(work).result())
    except NotThere as nobody:
        raise AppError(404, "Nobody with this address may enter.") from nobody


@founder.command("list")
@click.pass_context
def list_founders(ctx: click.Context) -> None:
    """Who may enter."""
    for one in _with_store(ctx, lambda store: store.submit(founders.all_founders).result()):
        click.echo(f"{one.email}\t{one.role}")


@founder.command()
@click.argument("email")
@click.pass_context
def remove(ctx: click.Context, email: str) -> None:
    """A person may not enter any more, from now on."""

    def work(tx: Tx) -> None:
        person = founders.founder_by_email(tx, email)
        if person is None:
            raise NotThere(email)
        people.remove(tx, person.id)
        audit.write(tx, "founder removed", subject=str(person.id), channel="cli", now=_now())

    try:
        _with_store(ctx, lambda store: store.submit(work).result())
    except NotThere as nobody:
        raise AppError(404, "Nobody with this address may enter.") from nobody


@founder.command()
@click.argument("email")
@click.pass_context
def reset(ctx: click.Context, email: str) -> None:
    """For somebody who lost everything: print a link, good once and for half an hour.

    Whoever opens it sets a new password; codes, passkeys and recovery codes are taken off then.
    """

    def work(tx: Tx) -> str:
        token = people.reset(tx, email, now=_now())
        audit.write(tx, "reset link", channel="cli", now=_now())
        return token

    try:
        token = _with_store(ctx, lambda store: store.submit(work).result())
    except NotThere as nobody:
        raise AppError(404, "Nobody with this address may enter.") from nobody
    click.echo(f"{settings_of(ctx).base_url}/desk/setup/{token}")
