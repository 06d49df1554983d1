"""One letter, unbroken: written, looked at, published, stopped, published again, under way, and its
receipt; in a real browser at both widths, scripts on and off, each page judged as it comes."""

import re

import pytest
from playwright.async_api import expect

from tests.fediletter.test_desk import picture
from tests.shop import EMAIL, PASSWORD, running_shop
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

TITLE = "Le lin de Normandie, du champ au sac"
BODY = """Voici « le lin » : douze rouleaux.[^1]

| Sac | Prix |
| --- | ---: |
| petit | 45 € |

[^1]: Tissés à Halluin."""


@pytest.mark.slow
@pytest.mark.parametrize("javascript", [False, True], ids=["bare", "scripts"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_a_letter_from_the_empty_form_to_its_receipt(tmp_path, width, javascript):
    found: dict[str, list[str]] = {}
    pages = tmp_path / "pages"
    pages.mkdir()
    async with running_shop(tmp_path / "shop") as shop, browser() as chromium:
        for reader in ("ana", "bo"):
            await shop.subscribe(f"{reader}@example.org")
        async with opened(chromium, shop.base_url, width=width, javascript=javascript) as (
            page,
            asked,
        ):

            async def look(name):
                (pages / f"{name}.html").write_bytes((await page.content()).encode())
                for scheme in ("light", "dark") if javascript else ():
                    await page.emulate_media(color_scheme=scheme)
                    found[f"{name}, {scheme}"] = await violations(page)
                found[name] = await scrolls_sideways(page)
                await page.set_viewport_size({"width": width, "height": 844})

            await page.goto("/desk/login")
            await page.get_by_label("Votre adresse électronique").fill(EMAIL)
            await page.get_by_label("Mot de passe").fill(PASSWORD)
            await page.get_by_role("button", name="Entrer").click()
            await page.get_by_role("link", name="Écrire une lettre").click()

            # Written: an empty title is said beside its field, with what was typed kept.
            await page.get_by_label("Texte, en Markdown").fill(BODY)
            await page.locator("details", has=page.locator("#cover")).locator("summary").click()
            await page.locator("#cover").set_input_files(
                {"name": "sac.jpg", "mimeType": "image/jpeg", "buffer": picture()}
            )
            await page.get_by_role("button", name="Relire et publier").click()
            await expect(page.locator("[aria-invalid=true]").first).to_be_visible()
            await expect(page.get_by_label("Texte, en Markdown")).to_have_value(BODY)
            await look("refused")
            await page.get_by_label("Titre", exact=True).fill(TITLE)
            await page.get_by_label("Accroche").fill("Douze rouleaux sont arrivés.")
            await page.locator("#cover").set_input_files(
                {"name": "sac.jpg", "mimeType": "image/jpeg", "buffer": picture()}
            )
            await page.locator("#cover_alt").fill("Un sac en lin")
            await page.get_by_role("button", name="Relire et publier").click()

            # Looked at: what each channel will show.
            await expect(page.get_by_role("heading", level=1)).to_contain_text(TITLE)
            for frame in ("web", "mail", "feed"):
                place = page.locator(f"iframe[src$='/{frame}']")
                await place.scroll_into_view_if_needed()  # Loaded when it comes into sight.
                shown = place.content_frame.locator("body")
                await expect(shown).to_contain_text("douze rouleaux")
            await expect(page.locator(".mastodon")).to_contain_text("Douze rouleaux")
            await expect(page.locator(".mailtext")).to_contain_text("45 €")
            await look("sheet")

            # Published, and stopped in time: nobody has seen anything of it.
            await page.locator("#window").select_option("10")
            await page.get_by_role("button", name="Publier cette lettre").click()
            stop = page.get_by_role("button", name="Tout arrêter")
            await expect(stop).to_be_visible()
            if javascript:
                await expect(page.locator(".countdown")).to_have_text(re.compile(r"^9:\d\d$"))
            await look("second-thoughts")
            assert TITLE not in (await shop.client.get("/")).text
            await stop.click()
            await expect(page.get_by_label("Titre", exact=True)).to_have_value(TITLE)

            # Published again, at once; then the way of the letter, to its receipt.
            await page.get_by_role("button", name="Relire et publier").click()
            await page.locator("#window").select_option("0")
            await page.get_by_role("button", name="Publier cette lettre").click()
            await expect(page.locator("[data-channel=mail]")).to_be_visible()
            await shop.mail_to("ana@example.org", count=2)
            await shop.mail_to("bo@example.org", count=2)
            receipt = page.get_by_role("link", name="Le reçu")
            while not javascript and not await receipt.count():
                await page.reload()  # As the page asks for, or as a person does.
            await expect(receipt).to_be_visible(timeout=20_000)
            await page.goto(page.url)  # It has come by itself, perhaps a moment before it is whole.
            await look("delivered")
            await receipt.click()
            lines = page.locator(".receipt div")
            await expect(lines.filter(has_text="courriel").first).to_contain_text("2")
            await expect(page.locator(".receipt")).to_contain_text("0")
            await look("receipt")
            assert elsewhere(asked, shop.base_url) == []
        assert TITLE in (await shop.client.get("/")).text

    assert {name: faults for name, faults in found.items() if faults} == {}
    assert html_faults(pages) == []
