"""`subscribers`, `founder`: lists of people, in and out."""

import csv
import io
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click

from fediletter import importing
from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.errors import AppError
from fediletter.exporting.subscribers import subscriber_rows
from fediletter.founders import people
from fediletter.founders.passwords import hash_password, problem_with
from fediletter.installation import open_store
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import load_vault
from fediletter.words import Words
from storage import audit, factors, founders, intakes
from storage.errors import Conflict, NotThere
from storage.intakes import Intake
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
@click.option("--make-topics", is_flag=True, help="Make a topic of each label that is none yet.")
@click.option(
    "--dates",
    type=click.Choice(["day-first", "month-first"]),
    help="How to read dates like 04/05/2024, where the file does not tell.",
)
@click.pass_context
def import_(
    ctx: click.Context,
    file: Path,
    confirmed: bool,
    proof: str,
    dry_run: bool,
    make_topics: bool,
    dates: str | None,
) -> None:
    """Take in a list of this program, listmonk, Mailchimp, Substack, Ghost, Buttondown or Brevo.

    A CSV, or the zip that Mailchimp and Substack give. Without --confirmed people become pending
    and are asked once by mail. An import that was cut short goes on when it is called again.
    """
    if confirmed and not proof.strip():
        raise click.UsageError("--confirmed needs --proof TEXT: how did they agree?")
    settings = settings_of(ctx)
    tokens = Tokens(load_vault(settings.secret_file))
    wish = importing.Wish(
        take=not dry_run,
        confirmed=confirmed,
        proof=" ".join(proof.split())[:500],
        order=(dates or "").partition("-")[0],
        all_topics=make_topics,
    )

    def run(store: Store) -> None:
        desk = importing.Desk(store, tokens, importing.folder_of(settings.data), settings.language)
        with file.open("rb") as octets:
            token = importing.take_in(
                desk, octets, name=file.name, wish=wish, founder_id=None, now=_now()
            )
        found = _carried_on(desk, token, file.name)
        _tell(desk.folder / token, found, words_here())
        if dry_run:
            importing.drop(desk, token)
            click.echo(words_here().gettext("Nothing was changed."))

    _with_store(ctx, run)


def _carried_on(desk: importing.Desk, token: str, label: str) -> Intake:
    """The list when it is done, by this process or by a server that took it up first."""
    with click.progressbar(length=1, file=sys.stderr, label=label) as bar:

        def moved(done: int, total: int) -> None:
            bar.length = max(1, total)
            bar.update(done - bar.pos)

        while True:
            importing.carry_on(desk, token, importing.Look(_now, moved))
            found = desk.store.submit(intakes.find_intake, token).result()
            moved(found.done, found.total)
            if found.state not in intakes.UNDER_WAY:
                return found
            time.sleep(0.5)


def _tell(folder: Path, found: Intake, words: Words) -> None:
    """What is in the list, and what became of it.

    Raises:
        AppError: The list could not be read.
    """
    if found.problem is not None:
        raise AppError(422, **found.problem)
    report, _ = importing.Report(**found.report), words.gettext
    for row in importing.refusals(folder):
        where = f"{row.file}, " if row.file else ""
        said = {"line": row.line, "reason": _(row.reason), "address": row.address}
        click.echo(where + _("line {line}: {reason} ({address})", **said))
    if report.dropped:
        click.echo(_("Columns left out: {names}", names=", ".join(report.dropped)))
    if report.passed_over:
        click.echo(_("Files left out: {names}", names=", ".join(report.passed_over)))
    click.echo(_("Read as {encoding}.", encoding=report.encoding))
    if report.asks_order:
        click.echo(
            _("The dates of this file can be read in two ways.")
            + " --dates day-first, --dates month-first"
        )
    counts = (
        words.ngettext("{count} added", "{count} added", report.added),
        words.ngettext("{count} known already", "{count} known already", report.known),
        words.ngettext("{count} refused", "{count} refused", report.refused),
    )
    click.echo(_("{source}: {counts}.", source=report.source, counts=", ".join(counts)))
    levels = {
        "active": _("subscribed there"),
        "pending": _("not confirmed there"),
        "left": _("left there"),
        "gone": _("cannot be reached"),
        "complaint": _("complained there"),
    }
    told = (f"{name}: {report.levels[one]}" for one, name in levels.items() if one in report.levels)
    click.echo("; ".join(told))
    for count, one, many in (
        (report.confirmed, "{count} was waiting and is subscribed now.",
         "{count} were waiting and are subscribed now."),
        (report.ended, "{count} gets no letters any more: they left there.",
         "{count} get no letters any more: they left there."),
        (report.kept_out, "{count} stays away: they left here, or get no mail.",
         "{count} stay away: they left here, or get no mail."),
    ):  # fmt: skip
        if count:
            click.echo(words.ngettext(one, many, count))
    for label, count in sorted(report.labels.items(), key=lambda pair: -pair[1])[:50]:
        click.echo(_("Label {label}: {count}", label=label, count=count))


@subscribers.command()
@click.pass_context
def export(ctx: click.Context) -> None:
    """Write all subscribers as CSV to stdout; importing it again loses nothing."""
    tokens = Tokens(load_vault(settings_of(ctx).secret_file))

    def run(store: Store) -> None:
        now = _now()
        store.submit(audit.write, "export", subject="subscribers", channel="cli", now=now).result()
        # Lines end as RFC 4180 says, in UTF-8, whatever the terminal would like (IM-7).
        out = io.TextIOWrapper(sys.stdout.buffer, "utf-8", newline="")
        csv.writer(out).writerows(subscriber_rows(store, tokens, now=now))
        out.flush()
        out.detach()

    _with_store(ctx, run)


# --- founders --------------------------------------------------------------------------------


@click.group()
def founder() -> None:
    """People who may enter the desk."""


def _password(given: bool) -> str:
    if given:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt(
            words_here().gettext("Password"), hide_input=True, confirmation_prompt=True
        )
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
