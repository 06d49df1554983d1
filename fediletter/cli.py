"""The command line: `fediletter COMMAND`, as interface.md section 2 fixes it.

Each command is a module of `fediletter.commands`, loaded when it is called: `--help` is quick.
Help texts stand in the code in English, and are shown in the language of the terminal.
Errors are one line on stderr and exit code 1; wrong usage is 2.
"""

import contextlib
import copy
import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from fediletter import __version__
from fediletter.errors import AppError
from fediletter.settings import LANGUAGES, Settings, load
from fediletter.words import Words, words

_COMMANDS = {
    "init": "install",
    "serve": "serve",
    "work": "serve",
    "demo": "demo",
    "publish": "publish",
    "subscribers": "people",
    "followers": "peers",
    "founder": "people",
    "block": "peers",
    "status": "watch",
    "check": "watch",
    "backup": "keep",
    "restore": "keep",
    "export": "keep",
    "dkim": "mail",
    "migrate": "install",
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"fediletter.commands.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return spoken(command)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _wrong_usage_is_told(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _wrong_usage_is_told(ctx):
                return super().invoke(ctx)
        except AppError as wrong:
            language = words_here()
            fields = wrong.fields_in(language.gettext)
            text = language.gettext(wrong.words, **fields)
            hint = language.gettext(wrong.hint, **fields)
            click.echo(f"fediletter: {text}{' ' + hint if hint else ''}", err=True)
            ctx.exit(1)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fediletter")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for database, media and keys, instead of FEDILETTER_DATA.",
)
@click.pass_context
def cli(ctx: click.Context, data: Path | None) -> None:
    """One text in a form, to the fediverse, to mailboxes and to the web."""
    ctx.obj = data


def settings_of(ctx: click.Context) -> Settings:
    """The settings, with `--data` of the command line."""
    return load(data=ctx.find_root().obj)


def words_here() -> Words:
    """Words in the language of whoever sits at the terminal."""
    chosen = os.environ.get("FEDILETTER_LANGUAGE", "")  # noqa: TID251 (before settings are read)
    if chosen not in LANGUAGES:
        # Also where the machine has no such locale: we need its name alone.
        named = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))  # noqa: TID251
        found = next(filter(None, named), "")[:2].lower()
        chosen = found if found in LANGUAGES else "en"
    return words(chosen)


class _Help(click.HelpFormatter):
    """Click's own words in the language of the terminal."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or words_here().gettext("Usage:") + " ")

    def write_heading(self, heading: str) -> None:
        self.write(f"{words_here().gettext(heading + ':')}\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        _ = words_here().gettext
        said = [(name, _(text).replace("[default: ", _("[default: "))) for name, text in rows]
        super().write_dl(said, col_max, col_spacing)


class _Context(click.Context):
    formatter_class = _Help


def spoken(command: click.Command) -> click.Command:
    """A copy of a command, and of those below it, that explains itself as `words_here` speaks."""
    _ = words_here().gettext
    said = copy.copy(command)
    said.context_class = _Context
    said.help = _(inspect.cleandoc(command.help or ""))
    said.params = [_spoken(one) for one in command.params]
    if isinstance(said, click.Group):
        said.subcommand_metavar = _(said.subcommand_metavar)
        said.commands = {name: spoken(one) for name, one in said.commands.items()}
    return said


def _spoken(param: click.Parameter) -> click.Parameter:
    said = copy.copy(param)
    if isinstance(said, click.Option):
        said.help = words_here().gettext(said.help or "")
    return said


@contextlib.contextmanager
def _wrong_usage_is_told(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as wrong:
        where = wrong.ctx or ctx
        _ = words_here().gettext
        click.echo(where.get_usage(), err=True)
        click.echo(_("More: {command} --help", command=where.command_path), err=True)
        click.echo(f"\nfediletter: {_what_is_wrong(wrong)}", err=True)
        ctx.exit(2)


def _what_is_wrong(wrong: click.UsageError) -> str:
    _ = words_here().gettext
    match wrong:
        case click.NoSuchOption():
            return _("There is no option {name}.", name=wrong.option_name)
        case click.exceptions.NoSuchCommand():
            return _("There is no command {name}.", name=wrong.command_name)
        case click.MissingParameter(param=click.Parameter() as param):
            return _("{name} is missing.", name=param.opts[-1].upper())
        case click.BadParameter(param=click.Parameter() as param):
            reason = wrong.message
            return _("{name} cannot be this: {reason}", name=param.opts[-1], reason=reason)
        case _:
            return _(wrong.message)


def _let_click_speak(language: Words) -> None:
    """Click looks its own sentences up by gettext, among catalogues that we do not install."""
    catalogue = language.catalogue
    for module in (click.core, click.exceptions, click.parser, click.termui, click.types):
        vars(module).update(_=catalogue.gettext, ngettext=catalogue.ngettext)


def main() -> None:
    """The console script."""
    _let_click_speak(words_here())
    spoken(cli)(prog_name="fediletter")
    sys.exit(0)
