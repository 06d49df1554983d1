"""A real browser and three judges of what it shows: axe-core, the Nu HTML checker, the network.

Other tests use this: `browser()` and `opened()` give pages that write down every address they ask
for, `violations()` runs axe-core in one, `html_faults()` asks the Nu HTML checker.
"""

import contextlib
import fcntl
import json
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright
from starlette.routing import Route

from fediletter.web.routes import ROUTES
from tests.needs import need, need_chromium

FOLDER = Path(__file__).parent
PHONE, DESKTOP = 390, 1280
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def package(name: str) -> Path:
    """A package of npm beside this file; installed at the first use."""
    found = FOLDER / "node_modules" / name
    with (FOLDER / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Tests beside each other: one installs.
        if not (FOLDER / "node_modules" / ".package-lock.json").exists():
            npm = need("npm")
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)
    return found


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=need_chromium(), args=_ARGUMENTS)
        try:
            yield started
        finally:
            await started.close()


@contextlib.asynccontextmanager
async def opened(
    browser: Browser,
    base_url: str,
    *,
    width: int = DESKTOP,
    height: int = 844,
    scheme: str = "light",
    javascript: bool = True,
    language: str = "fr-FR",
    cookies: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page, and the list of every address that it asks for.

    Args:
        browser: Of `browser()`.
        base_url: Of the shop.
        width, height: In CSS pixels.
        scheme: `light` or `dark`.
        javascript: Whether scripts run.
        language: Of the browser.
        cookies: Of a client that has logged in.
    """
    context = await browser.new_context(
        base_url=base_url,
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=javascript,
        locale=language,
        reduced_motion="reduce",
        # axe-core is injected; what the policy says of the pages' own scripts, others test.
        bypass_csp=True,
    )
    if cookies:
        await context.add_cookies(
            [{"name": name, "value": value, "url": base_url} for name, value in cookies.items()]
        )
    page = await context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        yield page, asked
    finally:
        await context.close()


def elsewhere(asked: list[str], base_url: str) -> list[str]:
    """Requests to anybody but us."""
    return [
        url for url in asked if not url.startswith((base_url + "/", "data:", "about:", "blob:"))
    ]


async def scrolls_sideways(page: Page) -> list[str]:
    """Where the page is wider than its window: as it is, at 320 px (which is 1280 at 400 %), at
    640 px (1280 at 200 %), and with letters of twice the size. It is then as it was."""
    chosen = page.viewport_size
    assert chosen is not None
    found = []
    for width, size in ((chosen["width"], ""), (320, ""), (640, ""), (chosen["width"], "212.5%")):
        await page.set_viewport_size({"width": width, "height": chosen["height"]})
        await page.evaluate("size => { document.documentElement.style.fontSize = size; }", size)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            found.append(f"{wide} px at {width} px{size and ', letters of twice the size'}")
    await page.evaluate("document.documentElement.style.fontSize = ''")
    return found


def unvisited(paths: Iterable[str], *, below: str = "") -> set[str]:
    """The pages of our table of routes that none of these paths is; `below` `/desk` or readers'."""
    visited = [path.partition("?")[0].partition("#")[0] for path in paths]
    return {
        route.path
        for route in ROUTES
        if isinstance(route, Route)
        and "GET" in (route.methods or ())
        and route.path.startswith("/desk") is bool(below)
        and not any(route.path_regex.match(path) for path in visited)
    }


async def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it is now, a line each; empty: nothing."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.add_script_tag(path=str(package("axe-core") / "axe.min.js"))
    found: dict[str, Any] = await page.evaluate(
        """levels => axe.run(document, {
            runOnly: { type: "tag", values: levels }, resultTypes: ["violations"] })""",
        _LEVELS,
    )
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:200]} – "
        f"{' / '.join(check['message'] for check in node['any'] + node['all'])[:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def html_faults(folder: Path) -> list[str]:
    """What the Nu HTML checker says of the `*.html` files in a folder; empty: nothing."""
    java = need("java")
    jar = package("vnu-jar") / "build" / "dist" / "vnu.jar"
    done = subprocess.run(
        [java, "-Xss4m", "-jar", str(jar), "--format", "json", "--skip-non-html", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    messages = json.loads(done.stderr)["messages"]
    return [
        f"{Path(one['url']).name}:{one.get('lastLine')}: {one['message']} {one.get('extract', '')}"
        for one in messages
        # Browsers that do not know `inputmode` show the keyboard of all letters: no harm.
        if "“inputmode”" not in one["message"]
        and (one["type"] in ("error", "non-document-error") or one.get("subType") == "warning")
    ]
