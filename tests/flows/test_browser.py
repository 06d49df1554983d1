"""A founder and a reader in a real browser, bare on a phone and whole on a desktop."""

import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import async_playwright, expect

from fediletter.founders import people
from tests.needs import need_chromium
from tests.shop import EMAIL, PASSWORD, running_shop

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def picture(path: Path) -> Path:
    out = BytesIO()
    Image.new("RGB", (900, 480), "#efe6d8").save(out, "JPEG")
    path.write_bytes(out.getvalue())
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("javascript", "width"), [(False, 390), (True, 1280)], ids=["phone-bare", "desktop"]
)
async def test_from_the_one_time_link_to_the_letter_in_the_mailbox(
    tmp_path: Path, javascript: bool, width: int
):
    asked: list[str] = []
    async with (
        running_shop(tmp_path / "shop", founder=False) as shop,
        async_playwright() as playwright,
        await playwright.chromium.launch(
            executable_path=need_chromium(), args=_ARGUMENTS
        ) as browser,
        await browser.new_context(
            base_url=shop.base_url,
            java_script_enabled=javascript,
            viewport={"width": width, "height": 844},
            locale="fr-FR",
        ) as context,
    ):
        page = await context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        await _subscribe(page, shop)
        await _set_up(page, shop)
        await _write(page, picture(tmp_path / "sac.jpg"))
        await _publish(page, shop)
        await _fits(page, ["/", "/letters/le-lin", "/subscribe", "/desk", "/desk/letters/1"], width)

    elsewhere = [url for url in asked if not url.startswith((shop.base_url, "data:", "about:"))]
    assert elsewhere == [], "nothing is asked of anybody else"


async def _subscribe(page, shop):
    await page.goto("/")
    await page.goto("/subscribe")
    await page.get_by_label("Votre adresse électronique").fill("ana@example.org")
    if await page.evaluate("1") is not None:  # A person takes a moment; a robot does not.
        await page.wait_for_timeout(3100)
    await page.get_by_role("button", name="Envoyez-moi une confirmation").click()
    await expect(page.get_by_role("heading")).to_have_text("Regardez dans votre boîte aux lettres")
    mail = (await shop.mail_to("ana@example.org"))[0]
    await page.goto(re.search(r"/confirm/[\w-]+", mail.text)[0])
    await page.get_by_role("button", name="Oui, envoyez-moi les lettres").click()
    await expect(page.get_by_role("heading")).to_have_text("Bienvenue")


async def _set_up(page, shop):
    token = await shop.services.store.write(people.create_setup_link, now=datetime.now(UTC))
    await page.goto(f"/desk/setup/{token}")
    await page.get_by_label("Votre adresse électronique").fill(EMAIL)
    await page.get_by_label("Mot de passe").fill(PASSWORD)
    await page.get_by_label("Le même encore une fois").fill(PASSWORD)
    await page.get_by_role("button", name="Entrer au bureau").click()
    await page.goto("/desk/topics")
    await page.locator("#name").fill("Lin")
    await page.get_by_role("button", name="Ajouter le sujet").click()


async def _write(page, cover: Path):
    await page.goto("/desk/letters/new")
    await page.get_by_label("Titre", exact=True).fill("Le lin")
    await page.get_by_label("Accroche").first.fill("Douze rouleaux")
    await page.get_by_label("Texte, en Markdown").fill("## Bonjour\n\nDu *lin*.")
    await page.locator("#cover").set_input_files(cover)
    await page.get_by_role("button", name="Relire et publier").click()
    await expect(page.locator("#p-cover_alt")).to_be_visible()
    await expect(page.get_by_label("Texte, en Markdown")).to_have_value("## Bonjour\n\nDu *lin*.")
    await page.get_by_label("Ce qu’elle montre").fill("Un sac")
    await page.get_by_label("Lin").check()
    await page.get_by_role("button", name="Relire et publier").click()
    await expect(page.locator(".mastodon")).to_contain_text("Douze rouleaux")
    await expect(page.locator(".mailtext")).to_contain_text("Du _lin_.")


async def _publish(page, shop):
    await page.get_by_role("button", name="Publier cette lettre").click()
    await shop.mail_to("ana@example.org", count=2)
    await page.reload()
    await expect(page.get_by_text("Tout est parti.")).to_be_visible(timeout=15_000)
    await page.goto("/letters/le-lin")
    await expect(page.get_by_role("heading", name="Le lin")).to_be_visible()
    await expect(page.get_by_alt_text("Un sac")).to_be_visible()


async def _fits(page, paths, width):
    for path in paths:
        await page.goto(path)
        wide = await page.locator("html").evaluate("one => one.scrollWidth")
        assert wide <= width, f"{path} scrolls sideways"
