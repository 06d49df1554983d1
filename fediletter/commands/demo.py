"""`demo`: the whole promise on this machine, to look at or to check."""

import contextlib
import signal
import socket
import tempfile
from pathlib import Path
from types import FrameType

import click

from fediletter.cli import words_here
from fediletter.demo import texts
from fediletter.demo.person import Failed
from fediletter.demo.run import Demo, running, walk_the_round
from fediletter.errors import AppError


@click.command()
@click.option("--check", is_flag=True, help="Walk the whole round without a person; exit 0 or 1.")
@click.option("--port", type=int, help="Of the shop; the reader's server takes the next. [8000]")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the demo keeps its data. [./demo-data]",
)
def demo(check: bool, port: int | None, data: Path | None) -> None:
    """Start a shop, a reader's server that follows it, and a mailbox; say where to click."""
    if check:
        _check(port, data)
        return
    shop = port or 8000
    one = Demo((data or Path("demo-data")).absolute(), shop, shop + 1)
    for number in (signal.SIGTERM, signal.SIGINT):  # Also where a shell has it ignored.
        signal.signal(number, _as_interrupt)
    with contextlib.suppress(KeyboardInterrupt), running(one) as is_new:
        if is_new:
            one.fill()
        _say_where(one)
        signal.pause()


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say_where(one: Demo) -> None:
    _ = words_here().gettext
    for label, value in (
        (_("The shop's letters"), f"{one.shop}/"),
        (_("The founders' desk"), f"{one.shop}/desk"),
        (_("  address"), texts.FOUNDER),
        (_("  password"), texts.PASSWORD),
        (_("A reader's server that follows the shop"), f"{one.reader}/"),
        (_("The mailbox of all readers"), f"{one.reader}/mail"),
    ):
        click.echo(f"{label}: {value}")
    click.echo(_("Ctrl-C ends it; a second start finds everything again."))


def _check(port: int | None, data: Path | None) -> None:
    with contextlib.ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fediletter-demo-")))
        one = Demo(data.absolute(), port or _free_port(), port + 1 if port else _free_port())
        stack.enter_context(running(one))
        try:
            walk_the_round(one, lambda text: click.echo(f"✓ {text}"))
        except Failed as wrong:
            click.echo(f"✗ {wrong}")
            raise AppError(500, "The round of the demo failed.") from wrong
    click.echo("✓ the whole round works")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
