"""The command line: `fediletter COMMAND`, as interface.md section 2 fixes it.

Each command is a module of `fediletter.commands`, loaded when it is called: `--help` is quick.
Errors are one line on stderr and exit code 1; wrong usage is 2.
"""

import contextlib
import importlib
import locale
import os
import sys
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
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AppError as wrong:
            language = words_here()
            text = language.gettext(wrong.words, **wrong.fields)
            hint = language.gettext(wrong.hint, **wrong.fields)
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
        found = locale.getlocale()[0] or os.environ.get("LANG", "")  # noqa: TID251
        chosen = found[:2].lower() if found[:2].lower() in LANGUAGES else "en"
    return words(chosen)


def main() -> None:
    """The console script."""
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    cli(prog_name="fediletter")
    sys.exit(0)
