"""A founder before the page for lists."""

import csv
import io
import json

from fediletter import importing
from storage import intakes, subscribers
from tests.shop import until

KEILA = "Email,First name,Last name,Data,Status,External ID\n"
AGREED = {"confirmed": "yes", "proof": "Au marché, en mai"}


class ListDesk:
    """A founder before the page for lists."""

    def __init__(self, shop, csrf: str) -> None:
        self.shop, self.csrf = shop, csrf

    async def give(self, octets: bytes | str, name: str = "list.csv"):
        """Upload; the answer and the path of the list's page."""
        octets = octets.encode() if isinstance(octets, str) else octets
        answer = await self.shop.client.post(
            "/desk/readers/import",
            data={"csrf": self.csrf},
            files={"list": (name, octets, "text/csv")},
            headers={"Origin": self.shop.base_url},
        )
        return answer, answer.headers.get("location", "")

    async def finished(self, path: str) -> str:
        """The page, when nothing moves any more."""

        async def found():
            return (await self.shop.client.get(f"{path}/state")).json()["finished"]

        await until(found)
        return (await self.shop.client.get(path)).text.replace("\u00a0", " ")

    async def look(self, octets: bytes | str, name: str = "list.csv") -> tuple[str, str]:
        """Path and page of a list that was read."""
        answer, path = await self.give(octets, name)
        assert answer.status_code == 303, answer.text
        return path, await self.finished(path)

    async def take(self, octets: bytes | str, name: str = "list.csv", **wish) -> str:
        """Look, then take in; the page afterwards."""
        path, _ = await self.look(octets, name)
        answer = await self.shop.post(path, csrf=self.csrf, action="take", **wish)
        assert answer.status_code == 303, answer.text
        return await self.finished(path)

    async def report(self, path: str) -> importing.Report:
        found = await self.shop.services.store.read(intakes.find_intake, path.rpartition("/")[2])
        return importing.Report(**found.report)

    async def refused(self, path: str) -> list[list[str]]:
        """The table of refusals without its header."""
        answer = await self.shop.client.get(f"{path}/refused.csv")
        assert answer.headers["content-disposition"] == 'attachment; filename="refused.csv"'
        return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))[1:]

    async def states(self) -> dict[str, str]:
        people = await self.shop.services.store.read(subscribers.list_subscribers, limit=1000)
        return {one.email: one.state for one in people}


async def suppression(shop, address: str) -> str | None:
    hashed = shop.services.tokens.hash_address(address)
    return await shop.services.store.read(subscribers.suppression_of, hashed)


def known(listed):
    """What a list tells of each, but that it was imported: there that happened once more."""
    rows = list(csv.DictReader(io.StringIO(listed.decode("utf-8-sig"))))
    for row in rows:
        record = json.loads(row["record"] or "{}")
        consent = [one for one in record.pop("consent", []) if one["kind"] != "imported"]
        row["record"] = record | {"consent": consent}
    return rows
