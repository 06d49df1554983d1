"""A whole running shop with a hostile peer before its doors, and all that is needed to judge it.

Names below `peer.example` resolve to the hostile peer; others to what no request may reach. Every
connection that the shop opens is recorded, every error that it logs too.
"""

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import sqlalchemy as sa
import uvicorn
from starlette.responses import JSONResponse, Response

from federation.network import Network
from federation.proofs import with_proof
from fediletter.clock import Clock
from fediletter.inbound.receive import Receiver
from storage.schema import follower, lane, received, remote_actor
from tests.federation.peer import ED25519, RSA, TYPE, Peer
from tests.fediletter.dump import dump, settled
from tests.shop import Shop, free_port, running_shop, until

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
# What keeping a proven request may move though nothing comes of it.
_BOOKS = ("received: ", "peer: ", "remote_actor: ", "remote_key: ", "tombstone: ")
_ADDRESSES = {
    "inside.example": ["10.0.0.5"],
    "metadata.example": ["169.254.169.254"],
    "mixed.example": ["127.0.0.1", "10.0.0.5"],
    "hidden.example": ["::ffff:127.0.0.1"],
}
_numbers = itertools.count(1)


class Errors(logging.Handler):
    """Everything that was logged as an error or with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.found.append(self.format(record))


@dataclass
class Siege:
    """The shop, the hostile peer at `base`, and what was seen of both."""

    shop: Shop
    receiver: Receiver
    base: str
    errors: Errors
    documents: dict[str, Response] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    got: list[dict] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    answers: dict[str, Response] = field(default_factory=dict)
    posted: list[tuple[str, dict]] = field(default_factory=list)

    # The peer ----------------------------------------------------------------------------------
    async def app(self, scope, receive, send):
        if scope["type"] != "http":
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        url = f"http://{headers['host']}{scope['path']}"
        if scope["method"] == "POST":
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            self.got.append(json.loads(body))
            self.posted.append((url, self.got[-1]))
            answer = self.answers.get(url, Response(status_code=202))
            await answer(scope, receive, send)
            return
        self.fetched.append(url)
        answer = self.documents.get(url) or JSONResponse(
            self.document(Peer(url)), headers={"Content-Type": TYPE}
        )
        await answer(scope, receive, send)

    def document(self, peer: Peer) -> dict:
        document = peer.document()
        document["assertionMethod"] = [
            {
                "id": f"{peer.id}#ed25519-key",
                "type": "Multikey",
                "controller": peer.id,
                "publicKeyMultibase": ED25519.public.text,
            }
        ]
        return document

    def show(self, url: str, document: object, *, status: int = 200, type: str = TYPE) -> None:
        """What the peer answers at a URL from now on."""
        self.documents[url] = JSONResponse(document, status, {"Content-Type": type})

    def somebody(self, host: str | None = None, key=RSA) -> Peer:
        """An actor that the shop has not met."""
        base = self.base if host is None else self.base.replace("a.peer.example", host)
        return Peer(f"{base}/users/u{next(_numbers)}", key)

    async def letter(self) -> str:
        """The id of a letter that was published to followers alone."""
        return (await self.shop.publish("Du lin", "Bonjour", to_email=False)).object_id

    # What it says ------------------------------------------------------------------------------
    def activity(self, peer: Peer, type: str, object, **more) -> dict:
        return {
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": f"{peer.id}/acts/{next(_numbers)}",
            "type": type,
            "actor": peer.id,
            "object": object,
        } | more

    def follow(self, peer: Peer, **more) -> dict:
        return self.activity(peer, "Follow", f"{self.shop.base_url}/ap/shop") | more

    def note(self, peer: Peer, answers: str, **more) -> dict:
        return {
            "id": f"{peer.id}/notes/{next(_numbers)}",
            "type": "Note",
            "attributedTo": peer.id,
            "inReplyTo": answers,
            "content": "<p>Bravo</p>",
            "to": [PUBLIC],
        } | more

    def proven(self, peer: Peer, document: dict, key=ED25519) -> dict:
        from federation.keys import Signer

        signer = Signer(f"{peer.id}#ed25519-key", key)
        return with_proof(document, signer, now=datetime.now(UTC))

    def headers(self, peer: Peer, body: bytes, *, inbox="/ap/inbox", **kw) -> dict[str, str]:
        url = self.shop.base_url + inbox
        return dict(peer.request(url, body, now=kw.pop("now", datetime.now(UTC)), **kw).headers)

    async def post(self, headers, body, *, inbox="/ap/inbox", caller=None) -> httpx.Response:
        """A raw request from an address of its own."""
        number = next(_numbers)
        caller = caller or f"198.51.{number // 200 % 200}.{number % 200 + 1}"
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        return await self.shop.client.post(
            inbox, content=body, headers=[*pairs, ("X-Forwarded-For", caller)]
        )

    async def send(self, peer: Peer, document, *, inbox="/ap/inbox", **kw) -> httpx.Response:
        """A properly signed request."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        caller = kw.pop("caller", None)
        headers = self.headers(peer, body, inbox=inbox, **kw)
        return await self.post(headers, body, inbox=inbox, caller=caller)

    # What became of it -------------------------------------------------------------------------
    async def settled(self) -> None:
        """Wait until everything that was kept has been applied and answered."""
        await settled(self.shop)

    async def idle_lanes(self) -> None:
        """Wait until no lane is being drained."""
        leased = sa.select(lane.c.id).where(lane.c.leased_by.is_not(None)).limit(1)

        async def idle():
            return await self.shop.services.store.read(lambda tx: tx.row(leased)) is None

        await until(idle)

    async def state(self) -> list[str]:
        await self.settled()
        return await self.shop.services.store.read(dump)

    async def effects(self) -> list[str]:
        """The state without the books of what was received from whom."""
        return [line for line in await self.state() if not line.startswith(_BOOKS)]

    async def follows(self, peer: Peer) -> bool:
        query = (
            sa.select(follower.c.state)
            .join(remote_actor, remote_actor.c.id == follower.c.remote_actor_id)
            .where(remote_actor.c.uri == peer.id)
        )
        await self.settled()
        return await self.shop.services.store.read(lambda tx: tx.scalar(query)) == "accepted"

    async def refused(self, sending, status: int) -> None:
        """A request that is answered so and changes not one row."""
        before = await self.state()
        answer = await sending
        assert (answer.status_code, len(answer.content) <= 200) == (status, True), answer.text
        assert set(await self.state()) ^ set(before) == set()

    async def ignored(self, sending) -> None:
        """A request that is accepted and has no effect."""
        before = await self.effects()
        assert (await sending).status_code == 202
        assert set(await self.effects()) ^ set(before) == set()

    async def outcome(self, document: dict) -> tuple[str, str]:
        """State and reason of what was received."""
        await self.settled()
        query = sa.select(received.c.state, received.c.reason).where(
            received.c.activity_uri == document["id"], received.c.signer == document["actor"]
        )
        return tuple(await self.shop.services.store.read(lambda tx: tx.row(query)))


@contextlib.asynccontextmanager
async def besieged(folder: Path, *, clock: Clock | None = None) -> AsyncIterator[Siege]:
    """The shop and the peer until the block ends; then nothing may have been logged as an error."""
    port = free_port()
    errors = Errors()
    logging.getLogger().addHandler(errors)
    settings = {
        "allow_addresses": "127.0.0.1/32",
        "trusted_proxies": "127.0.0.1/32",
    }
    real = Network._connect
    receivers: list[Receiver] = []
    made = Receiver.__init__

    def remembered(receiver, services):
        made(receiver, services)
        receivers.append(receiver)

    Receiver.__init__ = remembered
    try:
        async with running_shop(folder / "shop", clock=clock, **settings) as shop:
            siege = Siege(shop, receivers[-1], f"http://a.peer.example:{port}", errors)

            async def resolve(host, port):
                await asyncio.sleep(0)
                if host.endswith("peer.example"):
                    return ["127.0.0.1"]
                return _ADDRESSES.get(host, ["10.9.9.9"])

            async def connect(network, url, address):
                siege.connected.append(f"{address}:{url.port}")
                return await real(network, url, address)

            shop.services.network._resolve = resolve
            Network._connect = connect
            server = uvicorn.Server(
                uvicorn.Config(
                    siege.app, host="127.0.0.1", port=port, log_config=None, interface="asgi3"
                )
            )
            task = asyncio.create_task(server.serve())
            await until(lambda: server.started)
            try:
                yield siege
            finally:
                server.should_exit = True
                await task
            assert set(siege.connected) <= {f"127.0.0.1:{port}"}
    finally:
        Network._connect = real
        Receiver.__init__ = made
        logging.getLogger().removeHandler(errors)
    assert errors.found == []
