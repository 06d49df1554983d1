"""Lists that come in: nobody is lost, nobody is written to who left elsewhere, all is said."""

import csv
import io
import zipfile

import pytest

from fediletter import importing
from fediletter.services import desk_of
from storage import intakes, subscribers
from tests.fediletter.readers import person
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


@pytest.fixture
async def desk(shop) -> ListDesk:
    return ListDesk(shop, await shop.log_in())


async def suppression(shop, address: str) -> str | None:
    hashed = shop.services.tokens.hash_address(address)
    return await shop.services.store.read(subscribers.suppression_of, hashed)


def zipped(**files: str | bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".csv", text)
    return out.getvalue()


async def test_a_list_is_looked_at_first_and_taken_in_with_its_proof(desk, shop):
    path, page = await desk.look("email\nana@example.org\nnot an address\nben@example.org\n")
    assert "Personne n’a été ajouté" in page
    assert "2 à ajouter" in page
    assert await desk.states() == {}

    bare = await shop.post(path, csrf=desk.csrf, action="take", confirmed="yes")
    assert bare.status_code == 422
    assert 'id="p-proof"' in bare.text
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    page = await desk.finished(path)

    assert "2 reprises, 0 déjà connues, 1 refusées" in page
    assert await desk.states() == {"ana@example.org": "active", "ben@example.org": "active"}
    ana = await person(shop, "ana@example.org")
    record = await shop.services.store.read(subscribers.consent_of, ana.id)
    assert [(event.kind, event.proof) for event in record] == [("imported", AGREED["proof"])]
    assert sorted(one.name for one in (desk_of(shop.services).folder / path[-16:]).iterdir()) == [
        "lock",
        "refused.jsonl",
    ]


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize(
    ("status", "state"),
    [("active", "active"), ("unsubscribed", "left"), ("unreachable", "suppressed")],
)
async def test_who_left_or_cannot_be_reached_at_keila_gets_no_letter(desk, shop, status, state):
    await desk.take(f"{KEILA}ana@example.org,A,B,{{}},{status},1\n", **AGREED)

    assert await desk.states() == {"ana@example.org": state}
    reason = {"active": None, "unsubscribed": "left", "unreachable": "gone"}[status]
    assert await suppression(shop, "ana@example.org") == reason


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize("order", [("active", "unsubscribed"), ("unsubscribed", "active")])
async def test_who_left_on_one_line_of_a_file_is_not_active_by_another(desk, order):
    rows = "".join(f"ana@example.org,A,B,{{}},{status},1\n" for status in order)

    path, _ = await desk.look(KEILA + rows)

    line = order.index("active") + 2
    assert (await desk.refused(path))[0][:3] == ["", str(line), "a…@example.org"]
    await desk.shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)
    assert await desk.states() == {"ana@example.org": "left"}
