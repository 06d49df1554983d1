"""A whole shop for tests: installed in a directory of its own, served on a real loopback port."""

import asyncio
import atexit
import contextlib
import functools
import re
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import uvicorn

from fediletter.app import build_services, create_app
from fediletter.clock import Clock
from fediletter.founders.passwords import hash_password
from fediletter.installation import install
from fediletter.mail.maildir import Caught, caught_mail
from fediletter.newsletter import posts as rules
from fediletter.outbound import publish as publishing
from fediletter.services import Services
from fediletter.settings import Settings, load
from fediletter.web.serving.front import server_config
from storage import founders, posts
from storage.posts import Draft

EMAIL, PASSWORD = "founder@shop.test", "a bag of linen and leather"
_HASH = hash_password(PASSWORD)


_OF_FIRST_ROWS = {"database_url", "secret_file", "account", "language"}


@functools.cache
def _installed() -> Path:
    """A directory as `install` leaves it, made once a process: its keys and tables are dear."""
    directory = Path(tempfile.mkdtemp(prefix="fediletter-installed-")) / "shop"
    atexit.register(shutil.rmtree, directory.parent)
    environ = {"FEDILETTER_BASE_URL": "http://127.0.0.1", "FEDILETTER_MAIL_FROM": "news@shop.test"}
    install(load(environ, data=directory), now=datetime.now(UTC), title="Atelier Rivière")
    return directory


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Shop:
    """A running shop and what a test does with it."""

    def __init__(self, services: Services, client: httpx.AsyncClient) -> None:
        self.services = services
        self.client = client
        self.base_url = services.settings.base_url
        self.handle = f"{services.settings.account_user}@{services.settings.account_host}"

    @property
    def settings(self) -> Settings:
        return self.services.settings

    def mailbox(self) -> list[Caught]:
        return caught_mail(Path(self.settings.smtp_url.removeprefix("maildir:")))

    async def mail_to(self, address: str, *, count: int = 1) -> list[Caught]:
        """The mails to an address, waited for."""

        def found() -> list[Caught]:
            return [mail for mail in self.mailbox() if mail.to == address]

        await until(lambda: len(found()) >= count)
        return found()

    async def draft(self, title="Du lin", body="Bonjour.", *, topics=(), **fields) -> tuple:
        now = datetime.now(UTC)
        draft = Draft(title, fields.pop("summary", "Une lettre."), body, "fr", **fields)

        def work(tx):
            ids = [rules.topic_named(tx, name, now=now).id for name in topics]
            post_id = rules.create(tx, draft, ids, public_id=publishing.new_public_id(), now=now)
            return posts.get_post(tx, post_id)

        return await self.services.store.write(work)

    async def publish(self, title="Du lin", body="Bonjour.", **fields) -> publishing.Published:
        post = await self.draft(title, body, **fields)
        return await publishing.publish(self.services, post.id, version=post.version)

    async def subscribe(self, address: str, *, topics=(), language="fr") -> None:
        """Subscribe and confirm, as a person does."""
        form = {"email": address, "topics": list(topics), "language": language}
        (await self.client.post("/subscribe", data=form)).raise_for_status()
        mail = (await self.mail_to(address))[0]
        link = re.search(r"/confirm/\S+", mail.text)
        assert link is not None
        (await self.client.get(link[0])).raise_for_status()
        headers = {"Origin": self.base_url}
        (await self.client.post(link[0], headers=headers)).raise_for_status()

    async def log_in(self) -> str:
        """Log in, unless that was done already; the token for the desk's forms."""
        token = re.compile(r'name="csrf" value="([^"]+)"')
        found = token.search((await self.client.get("/desk")).text)
        if found is None:
            form = {"email": EMAIL, "password": PASSWORD}
            headers = {"Origin": self.base_url}
            answer = await self.client.post("/desk/login", data=form, headers=headers)
            assert answer.status_code == 303, answer.text
            found = token.search((await self.client.get("/desk")).text)
        assert found is not None
        return found[1]

    async def post(self, path: str, **form) -> httpx.Response:
        return await self.client.post(path, data=form, headers={"Origin": self.base_url})


async def until(condition, *, seconds: float = 20.0) -> None:
    """Wait until something is true, at most so long."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_shop(
    directory: Path,
    *,
    workers: bool = True,
    founder: bool = True,
    certificates: tuple[Path, Path, Path] | None = None,
    clock: Clock | None = None,
    host: str = "127.0.0.1",
    **settings: str,
) -> AsyncIterator[Shop]:
    """A shop on a free port until the block ends.

    Args:
        directory: For its data.
        workers: Whether it sends.
        founder: Whether somebody may enter the desk.
        certificates: Authority, certificate and key, to serve by https.
        clock: Instead of the machine's.
        host: What browsers call it: passkeys need `localhost`.
        settings: `FEDILETTER_…` in lower case without the prefix.
    """
    port = free_port()
    environ = {
        "FEDILETTER_BASE_URL": f"http{'s' if certificates else ''}://{host}:{port}",
        "FEDILETTER_MAIL_FROM": "news@shop.test",
        "FEDILETTER_SECOND_THOUGHTS": "0",
        "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
    } | {f"FEDILETTER_{name.upper()}": value for name, value in settings.items()}
    loaded = load(environ, data=directory)
    now = datetime.now(UTC)
    if not directory.exists() and not settings.keys() & _OF_FIRST_ROWS:
        await asyncio.to_thread(shutil.copytree, await asyncio.to_thread(_installed), directory)
    await asyncio.to_thread(install, loaded, now=now, title="Atelier Rivière")
    services = build_services(loaded)
    if clock is not None:
        services = replace(services, clock=clock)
    if founder and not await services.store.read(founders.count_founders):
        await services.store.write(
            founders.add_founder, email=EMAIL, role="founder", password_hash=_HASH, now=now
        )
    server = uvicorn.Server(
        server_config(
            create_app(services, workers=workers),
            host="127.0.0.1",
            port=port,
            ssl_certfile=certificates[1] if certificates else None,
            ssl_keyfile=certificates[2] if certificates else None,
        )
    )
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificates:
        trusted.load_verify_locations(certificates[0])
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done())
    async with httpx.AsyncClient(
        base_url=loaded.base_url, trust_env=False, timeout=60, verify=trusted
    ) as client:
        try:
            yield Shop(services, client)
        finally:
            await client.aclose()  # Its kept TLS connection would hold up the server's end.
            server.should_exit = True
            await task
