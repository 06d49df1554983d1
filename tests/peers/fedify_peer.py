"""Runs the Fedify peer and speaks to its control port."""

import asyncio
import contextlib
import fcntl
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from tests.needs import need
from tests.shop import free_port, until

FOLDER = Path(__file__).parent / "fedify"


def installed() -> Path:
    """The Node that npm carries, with Fedify beside it; installed at the first use."""
    npm = need("npm")
    node = FOLDER / "node_modules" / ".bin" / "node"
    # Tests that run side by side wait for one of them to install it.
    with (FOLDER / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not node.exists():
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)
    return node


class FedifyPeer:
    """A running peer."""

    def __init__(self, port: int, client: httpx.AsyncClient) -> None:
        self.actor = f"http://127.0.0.1:{port}/users/reader"
        self.courier = f"http://127.0.0.1:{port}/users/courier"
        self._client = client

    async def ask(self, action: str, **values: str) -> dict[str, Any]:
        """Let the peer act. Raises AssertionError with its words if it could not."""
        answer = await self._client.post(f"/{action}", json=values)
        assert answer.status_code == 200, answer.json()["error"]
        return answer.json()

    async def received(self, type: str, count: int = 1) -> list[dict[str, Any]]:
        """Verified activities of a type, waited for at most 30 seconds."""

        async def found():
            listed = (await self.ask("received"))["received"]
            return [one["document"] for one in listed if one["type"] == type]

        async def enough():
            return len(await found()) >= count

        await until(enough, seconds=30)
        return await found()


@contextlib.asynccontextmanager
async def running_fedify(
    authority: Path, *, first_knock: str, only: str | None = None
) -> AsyncIterator[FedifyPeer]:
    """A peer until the block ends.

    Args:
        authority: Certificates that it trusts, beside the usual ones.
        first_knock: `cavage` or `rfc9421`.
        only: The scheme that it knows; None for both.
    """
    node = await asyncio.to_thread(installed)
    port, control = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        str(node),
        "peer.mjs",
        str(port),
        str(control),
        cwd=FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "NODE_EXTRA_CA_CERTS": str(authority),
            "FIRST_KNOCK": first_knock,
        }
        | ({} if only is None else {"ONLY": only}),
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line == b"ready\n"
        base = f"http://127.0.0.1:{control}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
            yield FedifyPeer(port, client)
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)
