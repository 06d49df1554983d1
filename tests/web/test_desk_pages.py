"""Every page of the desk, looked at by judges that are not ours."""

import pytest

from tests.web.browser import DESKTOP, PHONE, browser, elsewhere, html_faults, opened, violations
from tests.web.desk_shop import furnished


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme", "language"), [(PHONE, "light", "fr"), (DESKTOP, "dark", "en")]
)
async def test_every_page_of_the_desk_is_for_everybody_and_asks_nobody_else(
    tmp_path, width, scheme, language
):
    found: dict[str, list[str]] = {}
    wide: list[str] = []
    async with (
        furnished(tmp_path / "shop", language=language, answers=90) as (shop, paths),
        browser() as chromium,
    ):
        await shop.log_in()
        async with opened(
            chromium,
            shop.base_url,
            width=width,
            scheme=scheme,
            language=language,
            cookies=dict(shop.client.cookies),
        ) as (page, asked):
            for name, path in paths.items():
                await page.goto(path)
                await page.evaluate(
                    "for (const one of document.querySelectorAll('details')) one.open = true"
                )
                if faults := await violations(page):
                    found[name] = faults
                if await page.evaluate("document.documentElement.scrollWidth") > width:
                    wide.append(name)

        strangers = elsewhere(asked, shop.base_url)
    assert found == {}
    assert wide == [], "pages that scroll sideways"
    assert strangers == []
    assert len(asked) > len(paths), "the record is kept"


@pytest.mark.slow
async def test_every_page_of_the_desk_is_html_as_it_is_written(tmp_path):
    folder = tmp_path / "pages"
    folder.mkdir()
    async with furnished(tmp_path / "shop") as (shop, paths):
        for name, path in (paths | {"login": "/desk/login"}).items():
            if name == "home":
                await shop.log_in()
            answer = await shop.client.get(path)
            assert answer.status_code == 200, (name, answer.text)
            (folder / f"{name}.html").write_bytes(answer.content)

    assert html_faults(folder) == []
