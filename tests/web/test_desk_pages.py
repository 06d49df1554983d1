"""Every page of the desk, looked at by judges that are not ours."""

import pytest

from tests.web.browser import (
    DESKTOP,
    PHONE,
    browser,
    elsewhere,
    html_faults,
    opened,
    scrolls_sideways,
    unvisited,
    violations,
)
from tests.web.desk_shop import furnished

# Judged where something has to be done first to see them, or no pages.
JUDGED_ELSEWHERE = {
    "/desk/login": "test_accounts",
    "/desk/setup/{token}": "test_accounts",
    "/desk/readers/import/{token}": "test_importing",
    "/desk/letters/{post_id:int}/receipt": "test_a_letters_way",
}
NO_PAGES = {
    "/desk/token",
    "/desk/frames/{post_id:int}/{kind}",  # Of the sheet: judged within it.
    "/desk/letters/{post_id:int}/delivery.json",
    "/desk/readers/import/{token}/state",
    "/desk/readers/import/{token}/refused.csv",
}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "language"), [(PHONE, "fr"), (DESKTOP, "en")])
async def test_every_page_of_the_desk_is_for_everybody_and_asks_nobody_else(
    tmp_path, width, language
):
    found: dict[str, list[str]] = {}
    async with (
        furnished(tmp_path / "shop", language=language, answers=90) as (shop, paths),
        browser() as chromium,
    ):
        await shop.log_in()
        async with opened(
            chromium,
            shop.base_url,
            width=width,
            language=language,
            cookies=dict(shop.client.cookies),
        ) as (page, asked):
            for name, path in paths.items():
                await page.goto(path)
                await page.evaluate(
                    "for (const one of document.querySelectorAll('details')) one.open = true"
                )
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme=scheme)
                    if faults := await violations(page):
                        found[f"{name}, {scheme}"] = faults
                if wide := await scrolls_sideways(page):
                    found[name] = wide
                await page.set_viewport_size({"width": width, "height": 844})

        strangers = elsewhere(asked, shop.base_url)
    assert found == {}
    assert strangers == []
    assert len(asked) > len(paths), "the record is kept"
    assert unvisited(paths.values(), below="/desk") == set(JUDGED_ELSEWHERE) | NO_PAGES


@pytest.mark.slow
async def test_every_page_of_the_desk_is_html_as_it_is_written(tmp_path):
    folder = tmp_path / "pages"
    folder.mkdir()
    async with furnished(tmp_path / "shop") as (shop, paths):
        answers = {"login": await shop.client.get("/desk/login")}
        await shop.log_in()
        for name, path in paths.items():
            answers[name] = await shop.client.get(path)
            assert answers[name].status_code == 200, (name, answers[name].text)
        csrf = await shop.log_in()
        for name, path in paths.items():  # What a form says that was sent with nothing in it.
            if name in ("published", "publish", "blocks", "topics", "settings", "import"):
                answers[f"{name}-refused"] = await shop.post(path, csrf=csrf, title="", name="")
                assert answers[f"{name}-refused"].status_code in (409, 422), name
        for name, answer in answers.items():
            (folder / f"{name}.html").write_bytes(answer.content)
        for place in ("web", "mail", "feed"):
            path = paths["publish"].replace("letters", "frames").replace("publish", place)
            frame = await shop.client.get(path)
            if place != "mail":  # Judged with what mails need, in test_mail_pages.
                (folder / f"frame-{place}.html").write_bytes(frame.content)

    assert html_faults(folder) == []
