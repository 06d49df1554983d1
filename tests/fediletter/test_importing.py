"""Lists that come in: who left elsewhere is not written to from here."""

import asyncio
from datetime import UTC, datetime

import pytest

from fediletter.importing import import_file
from tests.fediletter.readers import person

KEILA = "Email,First name,Last name,Data,Status,External ID\n"


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize(
    ("status", "state"),
    [("active", "active"), ("unsubscribed", "left"), ("unreachable", "left")],
)
async def test_who_left_or_cannot_be_reached_at_keila_gets_no_letter(shop, tmp_path, status, state):
    path = tmp_path / "contacts.csv"
    path.write_text(f"{KEILA}ana@example.org,A,B,{{}},{status},1\n")

    report = await asyncio.to_thread(
        import_file, shop.services.store, path, shop.services.tokens, confirmed=True,
        proof="signed at the fair", dry_run=False, now=datetime.now(UTC), language="fr",
    )  # fmt: skip

    assert (report.source, report.added) == ("Keila", 1)
    assert (await person(shop, "ana@example.org")).state == state


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize("order", [("active", "unsubscribed"), ("unsubscribed", "active")])
async def test_who_left_on_one_line_of_a_file_is_not_active_by_another(shop, tmp_path, order):
    path = tmp_path / "contacts.csv"
    rows = "".join(f"ana@example.org,A,B,{{}},{status},1\n" for status in order)
    path.write_text(KEILA + rows)

    report = await asyncio.to_thread(
        import_file, shop.services.store, path, shop.services.tokens, confirmed=True,
        proof="signed at the fair", dry_run=False, now=datetime.now(UTC), language="fr",
    )  # fmt: skip

    assert (report.added, len(report.refused)) == (1, 1)
    assert (await person(shop, "ana@example.org")).state == "left"
