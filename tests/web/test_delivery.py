"""A letter on its way and what comes back, in a real browser: both widths, scripts on and off."""

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from storage import posts
from tests.fediletter.test_delivery_view import hold_back, published_to_readers
from tests.shop import running_shop
from tests.web.browser import DESKTOP, PHONE, browser, elsewhere, opened, violations
from tests.web.desk_shop import furnished

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("javascript", [False, True], ids=["bare", "scripts"]),
    pytest.mark.parametrize("width", [PHONE, DESKTOP]),
]


async def fits(page, name: str, width: int, javascript: bool) -> None:
    """Nothing scrolls sideways, axe-core finds nothing; a picture to look at, if one wants it."""
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, name
    if javascript:
        assert await violations(page) == [], name
    if folder := os.environ.get("FEDILETTER_PICTURES"):
        kind = "scripts" if javascript else "bare"
        await page.screenshot(path=Path(folder) / f"{name}-{width}-{kind}.png", full_page=True)


@pytest.mark.rule("RE-4")
async def test_the_delivery_view_moves_by_itself_and_its_buttons_act(tmp_path, width, javascript):
    async with (
        running_shop(tmp_path / "shop") as shop,
        browser() as chromium,
    ):
        post = await published_to_readers(shop)
        csrf = await shop.log_in()
        await hold_back(shop, "waiting")
        path = f"/desk/letters/{post.id}"
        async with opened(
            chromium, shop.base_url, width=width, javascript=javascript,
            cookies=dict(shop.client.cookies),
        ) as (page, asked):  # fmt: skip
            await page.goto(f"{path}/delivery")
            bar = page.locator("[data-channel=mail] progress")
            rows = page.locator("[data-live] tr", has_text="Lecteurs chez")
            await expect(bar).to_have_attribute("value", "0")
            await expect(rows).to_have_count(2)
            await expect(rows.first).to_contain_text("451 come back later")
            place = await rows.first.get_by_role("button", name="Abandonner").bounding_box()
            assert place["x"] + place["width"] <= width, "the buttons are in sight"
            await fits(page, "waiting", width, javascript)

            one = {"csrf": csrf, "domain": "one.example", "action": "give-up"}
            await shop.post(f"{path}/lane", **one)  # Another founder, at another desk.
            await expect(bar).to_have_js_property("value", 1, timeout=20_000)

            await page.goto(f"{path}/delivery")
            await rows.filter(has_text="two.example").get_by_role("button").first.click()
            await expect(page.get_by_role("link", name="Le reçu")).to_be_visible(timeout=20_000)
            await expect(bar).to_have_js_property("value", 2)
            await expect(rows).to_have_count(0)
            await fits(page, "finished", width, javascript)
            await page.get_by_role("link", name="Le reçu").click()
            await fits(page, "receipt", width, javascript)

            await hold_back(shop, "waiting")
            await page.goto(f"{path}/delivery")
            for left in (1, 0):
                await rows.first.get_by_role("button", name="Abandonner").click()
                await expect(rows).to_have_count(left)
            await expect(page.get_by_text("2 × abandonné depuis le bureau")).to_be_visible()
            assert elsewhere(asked, shop.base_url) == []


async def test_a_letter_is_written_looked_at_sent_and_stopped(tmp_path, width, javascript):
    async with (
        running_shop(tmp_path / "shop") as shop,
        browser() as chromium,
    ):
        await shop.subscribe("ana@example.org")
        await shop.log_in()
        async with opened(
            chromium, shop.base_url, width=width, javascript=javascript,
            cookies=dict(shop.client.cookies),
        ) as (page, asked):  # fmt: skip
            await page.goto("/desk/letters/new")
            await page.get_by_label("Titre", exact=True).fill("Le lin")
            await page.get_by_label("Texte, en Markdown").fill("Du *lin*.")
            await page.get_by_role("button", name="Relire et publier").click()
            await expect(page.locator(".mailtext")).to_contain_text("Du _lin_.")
            await page.locator("[name=to_fediverse]").uncheck()
            await page.locator("[name=window]").select_option("10")
            await page.locator("button[value=look]").click()
            await expect(page.locator(".mastodon")).to_have_count(0)
            await expect(page.locator("[name=window]")).to_have_value("10")
            await page.locator("button[value=test]").click()
            await expect(page.locator("#before [role=status]")).to_be_visible()
            await fits(page, "sheet", width, javascript)
            await page.get_by_role("button", name="Publier cette lettre").click()
            stop = page.locator("form[action$='/stop'] button")
            await expect(stop).to_be_visible()
            await fits(page, "second-thoughts", width, javascript)
            await stop.click()
            await expect(page.get_by_label("Texte, en Markdown")).to_have_value("Du *lin*.")
            kept = await shop.services.store.read(posts.get_post, 1)
            assert (kept.state, kept.to_fediverse) == ("draft", False)
            assert elsewhere(asked, shop.base_url) == []
        assert [mail.subject for mail in shop.mailbox() if "Le lin" in mail.subject] == [
            "[Test] Le lin"
        ]


async def test_answers_are_shown_hidden_answered_and_blocked_and_readers_found(
    tmp_path, width, javascript
):
    async with (
        furnished(tmp_path / "shop") as (shop, paths),
        browser() as chromium,
    ):
        await shop.log_in()
        async with opened(
            chromium, shop.base_url, width=width, javascript=javascript,
            cookies=dict(shop.client.cookies),
        ) as (page, asked):  # fmt: skip
            await page.goto(paths["answers"])
            replies = page.locator("article.reply")
            await expect(replies).to_have_count(4)
            for left, (reply, action) in enumerate(
                ((10, "block"), (7, "hide"), (4, "approve")), start=1
            ):
                await page.locator(f"#r-{reply} button[value={action}]").click()
                await expect(replies).to_have_count(4 - left)
            await page.locator("#r-1 summary").click()
            await page.locator("#r-1 textarea").fill("Merci à vous.")
            await page.get_by_role("button", name="Envoyer la réponse").click()
            await page.goto(paths["answers-all"])
            await expect(page.locator("#r-1 .answer")).to_contain_text("Merci à vous.")
            await fits(page, "answers", width, javascript)
            await page.goto(paths["blocks"])
            await expect(page.locator(".handle", has_text="many.example/users/9")).to_be_visible()

            await page.goto(paths["readers"])
            await page.locator("#q").fill("reader37@")
            await page.get_by_role("button", name="Chercher").click()
            await expect(page.get_by_text("reader37@example.org").first).to_be_visible()
            await expect(page.get_by_text("reader36@example.org")).to_have_count(0)
            await fits(page, "readers", width, javascript)
            assert elsewhere(asked, shop.base_url) == []
