"""A founder at the desk of a server under test, over real HTTP."""

import re
from typing import Any

import httpx

from fediletter.newsletter import posts as rules
from fediletter.outbound.publish import new_public_id
from storage import founders
from storage.posts import Draft
from tests.faults.bench import Bench, expect
from tests.shop import _HASH, EMAIL, PASSWORD


class Founder:
    """Logged in once; the session outlives the server's kills."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.client = httpx.AsyncClient(
            base_url=bench.base_url, trust_env=False, headers={"Origin": bench.base_url}, timeout=30
        )
        self.csrf = ""

    async def enter(self) -> None:
        """Become a founder and log in."""
        await self.bench.store.write(
            founders.add_founder,
            email=EMAIL,
            role="founder",
            password_hash=_HASH,
            now=self.bench.now(),
        )
        answer = await self.client.post("/desk/login", data={"email": EMAIL, "password": PASSWORD})
        expect(answer.status_code == 303, f"the desk answers {answer.status_code} to the login")
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.client.get("/desk")).text)
        expect(found, "no form at the desk")
        self.csrf = found[1]  # type: ignore[index]

    async def draft(self, title: str, body: str = "Bonjour.") -> int:
        """A draft, written straight into the store; its id."""
        now = self.bench.now()

        def work(tx: Any) -> int:
            draft = Draft(title, "Une lettre.", body, "fr")
            return int(rules.create(tx, draft, [], public_id=new_public_id(), now=now))

        return await self.bench.store.write(work)

    async def post(self, path: str, **form: str) -> httpx.Response:
        return await self.client.post(path, data={"csrf": self.csrf, **form})

    async def publish(self, post_id: int, version: int = 1) -> httpx.Response:
        return await self.post(f"/desk/letters/{post_id}/publish", version=str(version))

    async def close(self) -> None:
        await self.client.aclose()
