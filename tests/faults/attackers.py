"""FT-26: a thousand hosts that invent people, in a process of their own.

What is measured, and the far side that measures it, share no thread with them. Run as
`python -m tests.faults.attackers BASE_URL`; it attacks until a line comes in, then rests until the
next, and after each rest prints how many attacks there were.
"""

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass, field

import httpx

from tests.faults.peers import Peers
from tests.faults.sinks import TYPE, Ask, Fediverse, status

HOSTS = 1000
_PER_SECOND = 40
_ADDRESSES = 100


@dataclass
class _Attack:
    """Hosts on loopback; each request comes from an actor that nobody has heard of."""

    base_url: str
    fediverse: Fediverse = field(default_factory=Fediverse)
    number: int = 0

    def __post_init__(self) -> None:
        self._peers = Peers(self, hosts=HOSTS, first_host=500)
        self._clients = [
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(local_address=f"127.9.0.{number}"), timeout=30
            )
            for number in range(1, _ADDRESSES + 1)
        ]
        self.fediverse.script = self._answer

    async def _answer(self, ask: Ask) -> bytes:
        """Documents for whatever is asked; inboxes that hang or fail."""
        name = ask.path.rpartition("/")[2]
        if ask.method == "GET" and name.isdigit() and int(name) % 4:
            body = json.dumps(self._peers.peer(int(name)).document()).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
            return head.encode() + body
        if ask.method == "POST" and hash(ask.host) % 2:
            await asyncio.sleep(60)
        return status(500 if ask.method == "POST" else 404)

    async def go_on(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self.number += 1
                group.create_task(self._one(self.number))
                await asyncio.sleep(1 / _PER_SECOND)

    async def _one(self, number: int) -> None:
        kind, target = ("Like", f"{self.base_url}/nothing/{number}")
        if number % 8 == 1:
            kind, target = ("Follow", f"{self.base_url}/ap/shop")
        body, headers = self._peers.request(self._peers.activity(number, kind, target))
        if number % 8 == 3:
            body += b" "  # The digest is wrong.
        with contextlib.suppress(httpx.HTTPError):
            await self._clients[number % len(self._clients)].post(
                f"{self.base_url}/ap/shop/inbox", content=body, headers=headers
            )


async def _main(base_url: str) -> None:
    attack = _Attack(base_url)
    await attack.fediverse.start()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while await lines.readline():
        going = asyncio.create_task(attack.go_on())
        await lines.readline()
        going.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going
        sys.stdout.write(f"{attack.number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(_main(sys.argv[1]))
