"""Every kind of mail as people see it: narrow and wide, light and dark, without images.

`FEDILETTER_PICTURES=folder` keeps a picture of each, to look at.
"""

import os
import re
from email import message_from_bytes, policy
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fediletter.mail.kinds import every_kind
from tests.shop import running_shop
from tests.web.browser import browser, html_faults, opened, violations

SHOWN_BY_GMAIL = 102_000  # Octets of HTML; what follows is hidden, the way out with it.
# Width, scheme, and what else is missing: nothing, images, or the style in the head.
LOOKS = [
    (width, scheme, without)
    for width in (360, 700)
    for scheme, without in (("light", ""), ("dark", ""), ("light", "images"), ("light", "style"))
]
# What a page may not hold and a mail must: Outlook lays out by these (HT-2, HT-3, HT-10).
OLD = re.compile(
    r"“mso-hide”|The “(?:cellpadding|cellspacing|border|align|width)” attribute on the “t"
)
JUDGED = ("color-contrast", "image-alt", "link-name", "target-size", "heading-order", "html-has")


@pytest.mark.slow
@pytest.mark.rule("HT-1")
@pytest.mark.rule("HT-5")
@pytest.mark.rule("HT-9")
@pytest.mark.rule("HT-14")
@pytest.mark.rule("MI-8")
@pytest.mark.rule("TX-1")
@pytest.mark.rule("TX-2")
async def test_every_mail_is_readable_however_it_is_shown(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    async with running_shop(tmp_path / "shop", workers=False) as shop, browser() as chromium:
        kinds = await every_kind(shop)
        assert len(kinds) == 28
        for name, raw in kinds.items():
            message = message_from_bytes(raw, policy=policy.default)
            _text_is_good(message.get_body(("plain",)).get_content(), name)
            html = message.get_body(("html",))
            if html is None:
                continue
            markup = html.get_content()
            assert len(markup.encode()) < SHOWN_BY_GMAIL
            (pages / f"{name}.html").write_text(markup)
            for look in LOOKS:
                await _shown(chromium, shop.base_url, name, markup, look)
    assert {one.stem for one in pages.iterdir()} == {
        f"{kind}-{language}" for kind in ("letter", "test", "digest") for language in ("fr", "en")
    }
    assert [one for one in html_faults(pages) if not OLD.search(one)] == []


def _text_is_good(text, name):
    lines = text.splitlines()
    assert "\r" not in text.replace("\r\n", "")
    for line in lines:
        is_code = line.startswith("    ")
        assert len(line) <= 72 or "://" in line or is_code, (name, line)
        assert "</" not in line, (name, line)
    for before, line in pairwise(lines):
        if line.startswith(("====", "----")) and before:
            assert len(line) in (len(before), 20), (name, before)


async def _shown(chromium, base_url, name, markup, look):
    width, scheme, without = look
    if without == "style":
        markup = re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL)
    async with opened(chromium, base_url, width=width, scheme=scheme) as (page, asked):
        if without == "images":
            await page.route("**/media/**", lambda route: route.abort())
        await page.goto("/healthz")
        await page.set_content(markup, wait_until="load")
        text = await page.inner_text("body")
        assert "<" not in text, (name, text[:500])  # Tags that are shown are a mistake.
        size = await page.evaluate("document.documentElement.scrollWidth")
        assert size <= width, (name, look)
        if without != "images":
            broken = "[...document.images].filter(i => !i.naturalWidth).length"
            assert await page.evaluate(broken) == 0, name
        found = [one for one in await violations(page) if one.startswith(JUDGED)]
        assert found == [], (name, look, found)
        assert all(url.startswith(base_url) for url in asked), asked
        if folder := os.environ.get("FEDILETTER_PICTURES"):
            path = Path(folder) / f"{name}-{width}-{scheme}{without and f'-no-{without}'}.png"
            await page.screenshot(path=path, full_page=True)
