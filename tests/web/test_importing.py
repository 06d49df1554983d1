"""Lists of readers in a real browser: looked at, decided about, taken in; both widths, scripts on
and off."""

import pytest
from playwright.async_api import expect

from tests.fediletter.lists import AGREED
from tests.fediletter.readers import person
from tests.shop import running_shop
from tests.web.browser import (
    DESKTOP,
    PHONE,
    browser,
    elsewhere,
    html_faults,
    opened,
    scrolls_sideways,
    violations,
)
from tests.web.desk_shop import LONG

LIST = (
    "email,tags,created_at\n"
    + "".join(f"reader{at}@example.org,{LONG},04/05/2024\n" for at in range(3))
    + f"nobody at home,,\n{LONG}@,,\n"
)


@pytest.mark.slow
@pytest.mark.parametrize("javascript", [False, True], ids=["bare", "scripts"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_a_list_is_looked_at_refused_decided_about_and_taken_in(tmp_path, width, javascript):
    found: dict[str, list[str]] = {}
    pages = tmp_path / "pages"
    pages.mkdir()
    async with running_shop(tmp_path / "shop") as shop, browser() as chromium:
        await shop.log_in()
        async with opened(
            chromium, shop.base_url, width=width, javascript=javascript,
            cookies=dict(shop.client.cookies),
        ) as (page, asked):  # fmt: skip

            async def look(name):
                (pages / f"{name}.html").write_bytes((await page.content()).encode())
                for scheme in ("light", "dark") if javascript else ():
                    await page.emulate_media(color_scheme=scheme)
                    found[f"{name}, {scheme}"] = await violations(page)
                found[name] = await scrolls_sideways(page)
                await page.set_viewport_size({"width": width, "height": 844})

            async def give(octets, file="liste.csv"):
                await page.goto("/desk/readers/import")
                csv = {"name": file, "mimeType": "text/csv", "buffer": octets}
                await page.get_by_label("Le fichier").set_input_files(csv)
                await page.get_by_role("button", name="Regarder dedans").click()

            await page.goto("/desk/readers/import")
            await page.get_by_role("button", name="Regarder dedans").click()
            await expect(page.locator("#p-list")).to_be_visible()
            await look("nothing-chosen")
            await give(b"name;town\nAna;Lille\n")
            await expect(page.get_by_role("alert")).to_be_visible(timeout=15_000)
            await look("no-list")

            await give(LIST.encode())
            decision = page.get_by_role("heading", name="À vous de décider")
            await expect(decision).to_be_visible(timeout=15_000)
            await expect(page.get_by_text("3 à ajouter")).to_be_visible()
            await expect(page.locator("table.wide tbody tr")).to_have_count(2)
            await look("looked-at")
            await page.get_by_label("Ces personnes ont déjà donné leur accord").check()
            await page.get_by_role("button", name="Reprendre ces personnes").click()
            await expect(page.locator("#p-proof")).to_be_visible()
            await expect(
                page.get_by_label("Ces personnes ont déjà donné leur accord")
            ).to_be_checked()
            await look("without-proof")
            await page.get_by_label("Quand et comment").fill(AGREED["proof"])
            if await page.locator("[name=order]").count():
                await page.get_by_label("Le jour, comme dans").check()
            await page.get_by_role("button", name="Reprendre ces personnes").click()
            await expect(page.get_by_text("3 reprises")).to_be_visible(timeout=15_000)
            await look("taken-in")
            await page.goto("/desk/readers/import")
            await expect(page.get_by_role("link", name="liste.csv")).to_have_count(2)
            await look("lists")
            async with page.expect_download() as waited:
                await page.get_by_role("button", name="Télécharger la liste").click()
            assert (await (await waited.value).path()).read_text().count("@example.org") == 3
            assert elsewhere(asked, shop.base_url) == []
        assert (await person(shop, "reader1@example.org")).state == "active"

    assert {name: faults for name, faults in found.items() if faults} == {}
    assert html_faults(pages) == []
