"""Composition root: settings become services, services become the web app and its workers."""

import asyncio
import contextlib
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterator

from starlette.applications import Starlette

from federation.network import Network, NetworkPolicy
from fediletter import __version__
from fediletter.clock import SystemClock
from fediletter.inbound.receive import Receiver
from fediletter.installation import open_store
from fediletter.keyring import KeyRing
from fediletter.links import Links
from fediletter.mail.dns import Dns
from fediletter.mail.domains import AnyDomain, KnownDomains
from fediletter.mail.mailers import open_mailer
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import load_vault
from fediletter.services import Services
from fediletter.settings import Settings
from fediletter.web.desk.census import Counted
from fediletter.web.errors import EXCEPTION_HANDLERS
from fediletter.web.routes import ROUTES
from fediletter.web.serving.guard import Guard
from fediletter.web.serving.kept import Shelf
from fediletter.workers.intakes import carry_on_lists
from fediletter.workers.supervisor import Supervisor

_SWITCH_SECONDS = 0.001


def build_services(settings: Settings) -> Services:
    """Everything that touches the world, made once.

    Raises:
        AppError: The secret or the database cannot be used.
    """
    vault = load_vault(settings.secret_file)
    store = open_store(settings)
    clock = SystemClock()
    links = Links(settings.base_url, settings.account_user)
    return Services(
        settings=settings,
        store=store,
        network=Network(
            NetworkPolicy(
                allow=settings.allow_addresses,
                user_agent=f"fediletter/{__version__} (+{settings.base_url}/)",
                # Not the handle's host, where that is another: accounts of others may be there.
                own_hosts=frozenset({settings.host, *settings.former_hosts}),
                ports=settings.ports,
            )
        ),
        mailer=open_mailer(settings.smtp_url),
        # The catcher and laboratories write to domains that do not exist.
        domains=AnyDomain()
        if settings.is_laboratory or settings.smtp_url.startswith("maildir:")
        else KnownDomains(Dns(), clock),
        vault=vault,
        tokens=Tokens(vault),
        keyring=KeyRing(store, vault, links),
        links=links,
        clock=clock,
    )


def settle_down() -> None:
    """What has been made so far lives as long as the process: the collector looks at it no more.

    And it looks less often: most of what a request makes is gone by its end.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    # The loop lets go of the interpreter at each read and write. A thread that commits would keep
    # it for five milliseconds each time, several times a request.
    sys.setswitchinterval(_SWITCH_SECONDS)


def create_app(services: Services, *, workers: bool = True) -> Guard:
    """The web app; with `workers` its process also sends and applies.

    Args:
        services: From `build_services`; closed when the app ends.
        workers: Whether the loops run in this process.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        supervisor = Supervisor(services) if workers else None
        if supervisor is not None:
            await supervisor.start()
        stopping = asyncio.Event()
        # Where the desk is, there are the files of its lists.
        lists = asyncio.create_task(carry_on_lists(services, stopping), name="imports")
        try:
            yield
        finally:
            stopping.set()
            await lists
            if supervisor is not None:
                await supervisor.stop()
            services.store.close()

    app = Starlette(routes=ROUTES, exception_handlers=EXCEPTION_HANDLERS, lifespan=lifespan)
    app.state.services = services
    app.state.receiver = Receiver(services)
    app.state.counted = Counted()
    app.state.inbox_answers = Counter()  # By status, for `/metrics`.
    guard = Guard(app, services.settings)
    app.state.shelf = Shelf(services.store, services.settings.language, guard.fields_for)
    return guard
