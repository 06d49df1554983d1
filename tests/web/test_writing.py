"""Writing in a real browser: whatever happens, nothing that was typed is lost."""

import re

import pytest
from playwright.async_api import expect

from storage import posts
from tests.fediletter.test_desk import picture
from tests.shop import EMAIL, PASSWORD, until
from tests.web.browser import browser, opened

pytestmark = pytest.mark.slow
DROP = """async ([octets, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(octets)], name, { type: "image/jpeg" }));
  document.querySelector("#body").dispatchEvent(
    new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
async def desk(shop):
    """A page at the desk, logged in, and the shop."""
    await shop.log_in()
    async with (
        browser() as chromium,
        opened(chromium, shop.base_url, cookies=dict(shop.client.cookies)) as (page, _),
    ):
        yield page, shop


async def body_of(shop, post_id=1) -> str:
    return (await shop.services.store.read(posts.get_post, post_id)).body_markdown


async def saved(page):
    await expect(page.locator("[data-state]")).to_have_text("C’est enregistré.", timeout=15_000)


async def test_typing_saves_by_itself_and_shows_the_page_beside(desk):
    page, shop = desk
    await page.goto("/desk/letters/new")
    await page.fill("#title", "Le lin")
    await page.fill("#body", "Du *lin*.")
    await saved(page)

    assert page.url.endswith("/desk/letters/1")
    assert await body_of(shop) == "Du *lin*."
    frame = page.frame_locator(".live iframe")
    await expect(frame.locator("em")).to_have_text("lin")
    await page.fill("#body", "De la *laine*.")
    await expect(frame.locator("em")).to_have_text("laine", timeout=15_000)


async def test_without_a_connection_the_browser_keeps_the_text_and_saves_it_later(desk):
    page, shop = desk
    await page.goto("/desk/letters/new")
    await page.fill("#title", "Le lin")
    await page.fill("#body", "Un")
    await saved(page)

    await page.context.set_offline(True)
    await page.fill("#body", "Un deux")
    await expect(page.locator("[data-state]")).to_contain_text("Pas de connexion", timeout=15_000)
    assert await body_of(shop) == "Un"
    kept = await page.evaluate("localStorage.getItem('fediletter-letter-1')")
    assert "Un deux" in kept
    await page.context.set_offline(False)
    await saved(page)

    assert await body_of(shop) == "Un deux"
    assert await page.evaluate("localStorage.getItem('fediletter-letter-1')") is None


async def test_a_tab_that_died_before_saving_gives_its_text_back(desk):
    page, shop = desk
    post = await shop.draft("Le lin", "Un")
    await page.goto(f"/desk/letters/{post.id}")
    await page.route("**/autosave", lambda route: route.abort())
    await page.fill("#body", "Un deux trois")
    await expect(page.locator("[data-state]")).to_contain_text("Pas de connexion", timeout=15_000)
    await page.unroute("**/autosave")

    await page.goto("/desk")
    await page.goto(f"/desk/letters/{post.id}")

    await expect(page.locator("#body")).to_have_value("Un deux trois")
    await saved(page)
    assert await body_of(shop, post.id) == "Un deux trois"


async def test_two_tabs_show_their_conflict_with_both_texts(desk):
    page, shop = desk
    post = await shop.draft("Le lin", "Un")
    other = await page.context.new_page()
    for tab in (page, other):
        await tab.goto(f"/desk/letters/{post.id}")
    await page.fill("#body", "Mon texte")
    await saved(page)

    await other.fill("#body", "Ton texte")
    await expect(other.locator("[data-state]")).to_contain_text("autre texte", timeout=15_000)
    await other.get_by_role("button", name="Enregistrer le brouillon").click()

    await expect(other.locator(".other")).to_contain_text("Mon texte")
    await expect(other.locator("#body")).to_have_value("Ton texte")
    await other.get_by_role("button", name="Enregistrer le brouillon").click()
    assert await body_of(shop, post.id) == "Ton texte"
    history = await other.context.new_page()
    await history.goto(f"/desk/letters/{post.id}/versions")
    await expect(history.locator("main")).to_contain_text("Mon texte")


async def test_a_session_that_ends_in_the_middle_goes_on_after_logging_in_elsewhere(desk):
    page, shop = desk
    post = await shop.draft("Le lin", "Un")
    await page.goto(f"/desk/letters/{post.id}")
    await page.context.clear_cookies()
    await page.fill("#body", "Un deux")
    await expect(page.locator("[data-state]")).to_contain_text("déconnecté", timeout=15_000)

    other = await page.context.new_page()
    await other.goto("/desk/login")
    await other.fill("#email", EMAIL)
    await other.fill("#password", PASSWORD)
    await other.get_by_role("button", name="Entrer").click()

    await until(lambda: _is(shop, post.id, "Un deux"))


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_form_sent_without_a_session_is_sent_again_after_logging_in(shop, javascript):
    await shop.log_in()
    async with (
        browser() as chromium,
        opened(
            chromium,
            shop.base_url,
            javascript=javascript,
            width=390,
            cookies=dict(shop.client.cookies),
        ) as (page, _),
    ):
        await page.goto("/desk/letters/new")
        await page.context.clear_cookies()
        await page.fill("#title", "Gardé")
        await page.fill("#body", "\nLigne 1\n\nLigne 2 « é »")
        await page.get_by_role("button", name="Enregistrer le brouillon").click()
        await page.fill("#email", EMAIL)
        await page.fill("#password", PASSWORD)
        await page.get_by_role("button", name="Entrer").click()
        if not javascript:
            await page.get_by_role("button", name="Continuer").click()
        await expect(page.locator("#title")).to_have_value("Gardé")

    assert await body_of(shop) == "\nLigne 1\n\nLigne 2 « é »"


async def test_an_image_dropped_onto_the_text_asks_for_words_then_stands_in_it(desk):
    page, shop = desk
    post = await shop.draft("Le lin", "Avant.")
    await page.goto(f"/desk/letters/{post.id}")
    await page.evaluate(DROP, [list(picture(size=(600, 400))), "sac.jpg"])
    put = page.get_by_role("button", name="La mettre dans le texte")

    await put.click()
    await expect(page.locator("#p-figure_alt")).to_be_visible()
    await page.fill("#figure_alt", "Un sac en lin")
    await page.fill("#figure_credit", "Ana")
    await put.click()

    await expect(page.locator("#body")).to_have_value(
        re.compile(r'!\[Un sac en lin\]\(http\S+/media/\S+\.jpg "© Ana"\)')
    )
    await until(lambda: _has(shop, post.id, "Un sac en lin"))
    image = page.frame_locator(".live iframe").get_by_alt_text("Un sac en lin")
    await expect(image).to_be_visible(timeout=15_000)


async def test_second_thoughts_count_down_and_a_button_stops_everything(tmp_path):
    from tests.web.desk_shop import furnished

    async with furnished(tmp_path / "shop", answers=1) as (shop, paths), browser() as chromium:
        await shop.log_in()
        cookies = dict(shop.client.cookies)
        async with opened(chromium, shop.base_url, cookies=cookies) as (page, _):
            await page.goto(paths["publish"])
            await page.locator("#window").select_option("10")
            await page.locator("button[value=publish]").first.click()
            await expect(page.locator(".countdown")).to_have_text(re.compile(r"^9:\d\d$"))
            await page.get_by_role("button", name="Tout arrêter").click()
            await expect(page.locator("#title")).to_have_value(re.compile("Brouillon"))


async def _is(shop, post_id, text) -> bool:
    return await body_of(shop, post_id) == text


async def _has(shop, post_id, text) -> bool:
    return text in await body_of(shop, post_id)
