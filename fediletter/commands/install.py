"""`init` and `migrate`: the first minute, and each new version's."""

import sys
from datetime import datetime

import click

from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.errors import AppError
from fediletter.founders import people
from fediletter.founders.passwords import hash_password, problem_with
from fediletter.installation import install, make_directory, open_store
from fediletter.mail.addresses import BadAddress, parse_address
from fediletter.mail.compose import fits_a_header
from storage import founders
from storage.store import Tx


@click.command()
@click.option("--title", help="Name of the newsletter.")
@click.option("--founder-email", help="Make this founder at once; with --password-stdin.")
@click.option("--password-stdin", is_flag=True, help="Read that founder's password from stdin.")
@click.pass_context
def init(
    ctx: click.Context, title: str | None, founder_email: str | None, password_stdin: bool
) -> None:
    """Create data directory, keys and database; print the link for the first founder.

    Doing it again changes nothing, and prints a new link while nobody may enter.
    """
    if password_stdin != (founder_email is not None):
        raise click.UsageError("--founder-email and --password-stdin belong together")
    if title is not None and not fits_a_header(title):
        raise click.UsageError("--title has characters that a mail cannot carry")
    settings = settings_of(ctx)
    password = sys.stdin.readline().rstrip("\n") if password_stdin else ""
    if founder_email is not None:
        _check(founder_email, password)
    now = SystemClock().now()
    install(settings, now=now, title=title)
    words = words_here()
    store = open_store(settings)
    try:
        if founder_email is not None:
            hashed = hash_password(password)
            store.submit(_first_founder, founder_email, hashed, now=now).result()
            click.echo(words.gettext("Ready. Log in at {url}", url=f"{settings.base_url}/desk"))
            return
        if store.submit(founders.count_founders).result():
            click.echo(words.gettext("Ready. Log in at {url}", url=f"{settings.base_url}/desk"))
            return
        token = store.submit(people.create_setup_link, now=now).result()
    finally:
        store.close()
    click.echo(words.gettext("Ready. Start the server with `fediletter serve`, then open this"))
    click.echo(words.gettext("link within 30 minutes to choose your password:"))
    click.echo(f"{settings.base_url}/desk/setup/{token}")


def _check(email: str, password: str) -> None:
    try:
        parse_address(email)
    except BadAddress as wrong:
        raise AppError(422, wrong.words) from wrong
    problem = problem_with(password)
    if problem is not None:
        raise AppError(422, problem)


def _first_founder(tx: Tx, email: str, password_hash: str, *, now: datetime) -> None:
    if founders.founder_by_email(tx, email) is None:
        founders.add_founder(tx, email=email, role="founder", password_hash=password_hash, now=now)


@click.command()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring the database to this version's schema."""
    settings = settings_of(ctx)
    make_directory(settings)
    open_store(settings, migrating=True).close()
    click.echo(words_here().gettext("The database is up to date."))
