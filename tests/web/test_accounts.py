"""The desk's door in a real browser: passkeys, codes, and forms whose session has ended."""

import contextlib
import re

import pyotp
import pytest

from storage.schema import founder, session
from tests.accounts import set_up_codes
from tests.shop import EMAIL, PASSWORD, running_shop
from tests.web.browser import DESKTOP, PHONE, browser, html_faults, opened, violations

_DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@contextlib.asynccontextmanager
async def device_in(started, shop):
    """A page under our real policy, and a device that keeps passkeys; what the console said."""
    context = await started.new_context(base_url=shop.base_url, locale="fr-FR")
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    tools = await context.new_cdp_session(page)
    await tools.send("WebAuthn.enable")
    added = await tools.send("WebAuthn.addVirtualAuthenticator", {"options": _DEVICE})
    try:
        yield page, tools, added["authenticatorId"], said
    finally:
        await context.close()


async def by_password(page, path="/desk/login"):
    await page.goto(path)
    await page.fill("#email", EMAIL)
    await page.fill("#password", PASSWORD)
    await page.click("form[action='/desk/login'] button")


@pytest.mark.slow
@pytest.mark.rule("WE-5")
async def test_a_passkey_of_a_real_browser_is_made_and_opens_the_desk(tmp_path):
    async with (
        running_shop(tmp_path / "shop", workers=False, host="localhost") as shop,
        browser() as started,
        device_in(started, shop) as (page, tools, device, said),
    ):
        await by_password(page)
        await page.goto("/desk/security")
        assert not await page.is_visible("[data-unscripted]")
        await page.fill("#label", "Mon ordinateur")
        await page.click("[data-passkey=create] button")
        await page.wait_for_selector(".codes")
        assert await page.locator(".codes li").count() == 10
        await page.goto("/desk/security")
        assert "Mon ordinateur" in await page.inner_text("main")

        # The device has one of ours: it makes no second one.
        await page.fill("#label", "Encore")
        await page.click("[data-passkey=create] button")
        await page.wait_for_selector("[data-passkey=create] .problem:not(:empty)")
        await page.click("header button")

        await page.wait_for_url("**/desk/login")
        await page.click("[data-passkey=get] button")
        await page.wait_for_url("**/desk")
        await page.click("header button")
        await page.wait_for_url("**/desk/login")

        await by_password(page)
        assert await page.is_visible("#code"), "the password alone is not enough any more"
        await page.click("[data-passkey=get] button")
        await page.wait_for_url("**/desk")
        await page.click("header button")
        await page.wait_for_url("**/desk/login")

        # Whoever holds the device must be its owner.
        await tools.send(
            "WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False}
        )
        await page.click("[data-passkey=get] button")
        await page.wait_for_selector("[data-passkey=get] .problem:not(:empty)")
        assert page.url.endswith("/desk/login")

    assert [line for line in said if "Content Security Policy" in line] == []


@pytest.mark.slow
@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("second", [False, True])
async def test_a_text_whose_session_ended_is_sent_after_all_that_the_door_asks(
    tmp_path, javascript, second
):
    async with (
        running_shop(tmp_path / "shop", workers=False) as shop,
        browser() as started,
        opened(started, shop.base_url, javascript=javascript) as (page, _),
    ):
        csrf, phone = await shop.log_in(), None
        if second:
            phone, _, _ = await set_up_codes(shop, csrf)
        await by_password(page, "/desk/login?next=/desk/letters/new")
        if phone is not None:
            await page.fill("#code", _next_code(phone, shop))
            await page.click("form[action='/desk/login/code'] button")
        await page.wait_for_url("**/desk/letters/new")
        await page.fill("#title", "Douze rouleaux")
        await shop.services.store.write(lambda tx: tx.execute(session.delete()))
        await shop.services.store.write(
            lambda tx: tx.execute(founder.update().values(totp_step=None))
        )
        text = "Première ligne\n\n« deuxième » & <b>\n" + "mot " * 400
        await page.fill("#body", text)
        await page.set_input_files(
            "#cover", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"x" * 2_000_000}
        )
        await page.click("button[value=save]")

        await page.fill("#email", EMAIL)
        await page.fill("#password", PASSWORD)
        await page.click("form[action='/desk/login'] button")
        if phone is not None:
            await page.fill("#code", "000000")
            await page.click("form[action='/desk/login/code'] button")
            assert await page.is_visible("#p-code"), "a wrong code loses nothing either"
            await page.fill("#code", phone.at(shop.services.clock.now()))
            await page.click("form[action='/desk/login/code'] button")
        if not javascript:
            await page.click("[data-go-on] button")
        await page.wait_for_url(re.compile(r"/desk/letters/\d+"))

        assert await page.input_value("#title") == "Douze rouleaux"
        assert (await page.input_value("#body")).strip() == text.strip()


def _next_code(phone: pyotp.TOTP, shop) -> str:
    """Not the one that the set-up has used."""
    return phone.at(int(shop.services.clock.now().timestamp()) + 30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme", "language"), [(PHONE, "dark", "fr"), (DESKTOP, "light", "en")]
)
async def test_the_pages_of_the_door_are_for_everybody(tmp_path, width, scheme, language):
    """Those that a plain address does not show: one step leads to the next."""
    found: dict[str, list[str]] = {}
    pages = tmp_path / "pages"
    pages.mkdir()
    async with (
        running_shop(tmp_path / "shop", workers=False, host="localhost", language=language) as shop,
        browser() as started,
        opened(started, shop.base_url, width=width, scheme=scheme, language=language) as (page, _),
    ):

        async def look(name):
            (pages / f"{name}.html").write_bytes((await page.content()).encode())
            found[name] = await violations(page)
            if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found[name].append("scrolls sideways")
            await page.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)

        tools = await page.context.new_cdp_session(page)
        await tools.send("WebAuthn.enable")
        await tools.send("WebAuthn.addVirtualAuthenticator", {"options": _DEVICE})
        await page.goto("/desk/login")
        await look("login")
        await by_password(page)
        await page.goto("/desk/security")
        await look("security-bare")
        await page.click("button[value=begin]")
        await look("codes")
        seed = (await page.inner_text("code.secret")).replace(" ", "")
        phone = pyotp.TOTP(seed)
        await page.fill("#code", "000000")
        await page.click("form[action='/desk/security/codes'] button")
        await look("codes-wrong")
        await page.fill("#code", phone.at(shop.services.clock.now()))
        await page.click("form[action='/desk/security/codes'] button")
        await page.wait_for_selector(".codes")
        await look("recovery")
        await page.goto("/desk/security")
        await page.fill("#label", "Téléphone d’Ana")
        await page.click("[data-passkey=create] button")
        await page.wait_for_selector("[role=status]")
        for summary in await page.query_selector_all("main details > summary"):
            await summary.click()
        await look("security")
        await page.goto("/desk/account")
        await look("account")
        await page.goto("/desk/people")
        await page.fill("#email", "no address")
        await page.click("form[action='/desk/people'] button")
        await look("people-wrong")
        await page.fill("#email", "ana@shop.test")
        await page.click("form[action='/desk/people'] button")
        link = await page.inner_text("code.secret")
        for summary in await page.query_selector_all("main details > summary"):
            await summary.click()
        await look("people")
        await page.goto("/desk/audit")
        await look("audit")
        await page.click("header button")
        await page.goto(link)
        await look("invited")
        await by_password(page)
        await look("second")
        await page.fill("#code", "000000")
        await page.click("form[action='/desk/login/code'] button")
        await look("second-wrong")

    assert {name: faults for name, faults in found.items() if faults} == {}
    assert html_faults(pages) == []
