"""Servers elsewhere that sign: actors with keys on loopback hosts, their requests to our inbox."""

from datetime import UTC, datetime
from typing import Any, Protocol

import httpx

from federation.keys import RsaPrivateKey
from tests.faults.sinks import Fediverse
from tests.federation.peer import Peer


class World(Protocol):
    """What they need to know: where they stand, and of whom."""

    fediverse: Fediverse
    base_url: str


class Peers:
    """Actors `0 … n`, spread over a few hosts that serve their documents."""

    def __init__(self, bench: World, *, hosts: int, first_host: int = 240) -> None:
        self._bench = bench
        self._hosts = hosts
        self._first = first_host
        self._key = RsaPrivateKey.generate()
        self.client = httpx.AsyncClient(
            trust_env=False, timeout=60, limits=httpx.Limits(max_connections=64)
        )

    def host(self, number: int) -> str:
        return self._bench.fediverse.host(self._first + number % self._hosts)

    def peer(self, number: int) -> Peer:
        return Peer(f"http://{self.host(number)}/people/{number}", self._key)

    async def introduce(self, count: int = 200) -> None:
        """Let their hosts know them."""
        for number in range(count):
            peer = self.peer(number)
            key = f"{self.host(number)}/people/{number}"
            self._bench.fediverse.documents[key] = peer.document()

    def activity(self, number: int, kind: str, object: Any, serial: int = 1, **more: Any) -> Any:
        peer = self.peer(number)
        return peer, {
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": f"{peer.id}/acts/{kind}/{serial}",
            "type": kind,
            "actor": peer.id,
            "object": object,
        } | more

    def follow(self, number: int, serial: int = 1) -> Any:
        return self.activity(number, "Follow", f"{self._bench.base_url}/ap/shop", serial)

    def request(self, signed: Any) -> tuple[bytes, dict[str, str]]:
        peer, activity = signed
        request = peer.request(
            f"{self._bench.base_url}/ap/shop/inbox", activity, now=datetime.now(UTC)
        )
        return request.body, dict(request.headers)

    async def send(self, signed: Any) -> int:
        """Sign and send; the status."""
        body, headers = self.request(signed)
        answer = await self.client.post(
            f"{self._bench.base_url}/ap/shop/inbox", content=body, headers=headers
        )
        return answer.status_code
