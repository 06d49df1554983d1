"""The three pictures of the README: the desk, a letter on a phone, what Mastodon will show.

python -m tests.web.screenshots docs
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.web.browser import browser, opened
from tests.web.desk_shop import furnished

_COLOURS = 128  # Calm pages need few: the files stay small.


async def main(target: Path) -> None:
    """Write `desk.png`, `letter.png` and `mastodon.png` into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        async with (
            furnished(Path(work) / "shop", showcase=True) as (shop, paths),
            browser() as chromium,
        ):
            await shop.log_in()
            cookies = dict(shop.client.cookies)
            async with opened(
                chromium, shop.base_url, height=800, language="fr-FR", cookies=cookies
            ) as (page, _):
                await page.goto(paths["letter"])
                await page.frame_locator(".live iframe").locator("h1").wait_for()
                await page.wait_for_timeout(300)
                await page.screenshot(path=target / "desk.png")
                await page.goto(paths["publish"])
                await page.locator(".mastodon").screenshot(path=target / "mastodon.png")
            async with opened(chromium, shop.base_url, width=390, height=844) as (page, _):
                await page.goto("/")
                await page.locator("main a[href*='/letters/']").first.click()
                await page.wait_for_timeout(300)
                await page.screenshot(path=target / "letter.png")
    for name in ("desk", "letter", "mastodon"):
        path = target / f"{name}.png"
        with Image.open(path) as image:
            image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
