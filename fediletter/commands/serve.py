"""`serve` and `work`: the server, and more hands for it."""

import asyncio
import contextlib
import logging
import signal
import sys

import click

from fediletter.cli import settings_of
from fediletter.errors import AppError
from fediletter.logs import set_up_logs
from fediletter.settings import Settings

_log = logging.getLogger("fediletter")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--no-workers", is_flag=True, help="Only answer; `fediletter work` sends.")
@click.pass_context
def serve(ctx: click.Context, host: str, port: int, no_workers: bool) -> None:
    """Serve the web, and send and receive in the same process."""
    settings = settings_of(ctx)
    set_up_logs(settings.log)
    _warn(settings)
    run_server(settings, host=host, port=port, workers=not no_workers)


def run_server(settings: Settings, *, host: str, port: int, workers: bool) -> None:
    """Serve until SIGTERM or SIGINT. Raises AppError if it cannot start."""
    import uvicorn  # noqa: PLC0415 (start-up time of the other commands)

    from fediletter.app import (  # noqa: PLC0415 (the same)
        build_services,
        create_app,
        settle_down,
    )
    from fediletter.web.serving.front import server_config  # noqa: PLC0415 (the same)

    app = create_app(build_services(settings), workers=workers)
    settle_down()
    server = uvicorn.Server(server_config(app, host=host, port=port))
    for one in (signal.SIGTERM, signal.SIGINT):
        # Uvicorn ends in good order, then raises the signal once more: that was an ordinary end.
        signal.signal(one, lambda _number, _frame: None)
    try:
        server.run()
    except SystemExit as refused:
        raise AppError(
            500,
            "The server cannot listen on {host}:{port}.",
            "Another program may use this port: choose another one with --port.",
            {"host": host, "port": port},
        ) from refused
    if not server.started:
        raise AppError(
            500,
            "The server cannot listen on {host}:{port}.",
            "Another program may use this port: choose another one with --port.",
            {"host": host, "port": port},
        )


@click.command()
@click.option(
    "--only", type=click.Choice(["email", "activities"]), help="Send only this; default: both."
)
@click.pass_context
def work(ctx: click.Context, only: str | None) -> None:
    """Send and receive without answering the web; any number of them on PostgreSQL."""
    settings = settings_of(ctx)
    set_up_logs(settings.log)
    _warn(settings)
    kinds = frozenset({only} if only else {"email", "activities"})
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_work(settings, kinds))


async def _work(settings: Settings, kinds: frozenset[str]) -> None:
    from fediletter.app import build_services, settle_down  # noqa: PLC0415 (start-up time)
    from fediletter.workers.supervisor import Supervisor  # noqa: PLC0415 (the same)

    services = build_services(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    supervisor = Supervisor(services, kinds)
    await supervisor.start()
    settle_down()
    _log.info("working")
    await stop.wait()
    await supervisor.stop()
    services.store.close()


def _warn(settings: Settings) -> None:
    if settings.is_laboratory:
        _log.warning("FEDILETTER_ALLOW_ADDRESSES is set: for laboratories and tests only")
    if sys.version_info < (3, 11, 15):
        _log.info("this Python has known faults in its email package; work-arounds are active")
