"""Every page for readers, looked at by judges that are not ours: axe-core, the Nu HTML checker, the
network; and every flow in a real browser, with and without scripts."""

import gzip
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import feedparser
import pytest
from playwright.async_api import expect
from starlette.routing import Route

from fediletter.web.routes import ROUTES
from storage import subscribers
from storage.newsletters import update_newsletter
from tests.federation.test_network import Scripted
from tests.shop import running_shop, until
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
from tests.web.feeds import feed_faults, json_feed_faults
from tests.web.readers_shop import LONG_TITLE, REPLIES, readable
from tests.web.test_readers_pages import OSTATUS, jrd

MOST_BYTES = 30_000
NO_PAGES = {
    route.path
    for route in ROUTES
    if isinstance(route, Route)
    and not route.path.startswith("/desk")
    and (
        route.path.startswith(("/ap/", "/.well-known/", "/nodeinfo/", "/media/", "/static/"))
        or route.path.endswith((".atom", ".json", ".rss", ".svg", ".txt", ".ico"))
        or route.path in ("/healthz", "/metrics", "/@{user}")
    )
}


class Judged:
    """A reader's browser whose pages are judged as they come, also those that answer a form.

    axe-core is a script: it judges where scripts run, at both widths, light and dark. The Nu HTML
    checker gets each page as it was sent.
    """

    def __init__(self, page, folder, *, javascript):
        self._page, self._folder, self._javascript = page, folder, javascript
        self._newest = None
        self._count = 0
        self.found: dict[str, list[str]] = {}
        folder.mkdir()
        page.on("response", self._note)

    def _note(self, response):
        if response.request.is_navigation_request():
            self._newest = response

    async def look(self, heading, *, status=200):
        """The page of this heading has come: judge it."""
        page = self._page
        await expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        assert self._newest.status == status, heading
        self._count += 1
        name = f"{self._count:02}-{re.sub('[^a-zé]+', '-', heading.lower())}"
        (self._folder / f"{name}.html").write_bytes(await self._newest.body())
        chosen = page.viewport_size
        for width in (PHONE, DESKTOP):
            await page.set_viewport_size({"width": width, "height": 844})
            if await page.evaluate("document.documentElement.scrollWidth") > width:
                self.found[f"{name} at {width}"] = ["scrolls sideways"]
            for scheme in ("light", "dark") if self._javascript else ():
                await page.emulate_media(color_scheme=scheme)
                if faults := await violations(page):
                    self.found[f"{name} at {width}, {scheme}"] = faults
        await page.set_viewport_size(chosen)

    def verdict(self):
        """What both found, over all pages."""
        return list(self.found.items()) + html_faults(self._folder)


async def show_problems(page):
    """The subscribe form with each of its problems, as if a reader had met them."""
    await page.goto("/subscribe")
    await page.locator("#email").fill("@nobody@127.0.0.1:1")
    await page.locator("button[value=fediverse]").click()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "language"), [(PHONE, "fr"), (DESKTOP, "en")])
async def test_every_page_for_readers_is_for_everybody_and_asks_nobody_else(
    tmp_path, width, language
):
    found: dict[str, list[str]] = {}
    wide: list[str] = []
    async with (
        readable(tmp_path / "shop", language=language) as (shop, paths),
        browser() as chromium,
        opened(chromium, shop.base_url, width=width, language=language) as (page, asked),
    ):
        for name, path in (paths | {"problems": ""}).items():
            if path:
                await page.goto(path)
            else:
                await show_problems(page)
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)
                if faults := await violations(page):
                    found[f"{name}, {scheme}"] = faults
            wide += [f"{name}: {one}" for one in await scrolls_sideways(page)]
            await page.set_viewport_size({"width": width, "height": 844})

        assert await page.context.cookies() == []
        strangers = elsewhere(asked, shop.base_url)
    assert found == {}
    assert wide == []
    assert strangers == []
    assert len(asked) > len(paths), "the record is kept"
    assert unvisited(paths.values()) == NO_PAGES


@pytest.mark.slow
@pytest.mark.parametrize("language", ["fr", "en"])
async def test_every_page_for_readers_is_light_html_as_it_is_written(tmp_path, language, capsys):
    folder = tmp_path / "pages"
    folder.mkdir()
    heavy = {}
    async with readable(tmp_path / "shop", language=language) as (shop, paths):
        style = (await shop.client.get("/static/site.css")).content
        for name, path in paths.items():
            answer = await shop.client.get(path, headers={"Accept-Language": language})
            assert "set-cookie" not in answer.headers
            spoken = "fr" if name == "showing" else language  # As the letter is.
            assert f'<html lang="{spoken}"' in answer.text, name
            (folder / f"{name.replace(' ', '-')}.html").write_bytes(answer.content)
            weight = len(answer.content) + len(style)
            with capsys.disabled():
                packed = len(gzip.compress(answer.content)) + len(gzip.compress(style))
                print(f"{weight:7} octets, {packed:6} packed: {name}")  # noqa: T201
            if weight > MOST_BYTES:
                heavy[name] = weight

    assert heavy == {}
    assert html_faults(folder) == []


both_ways = pytest.mark.parametrize(
    ("javascript", "width"), [(False, PHONE), (True, DESKTOP)], ids=["phone-bare", "desktop"]
)


@pytest.mark.slow
@both_ways
async def test_readers_join_choose_vote_propose_leave_and_come_back(tmp_path, javascript, width):
    async with (
        readable(tmp_path / "shop") as (shop, _paths),
        browser() as chromium,
        opened(chromium, shop.base_url, width=width, javascript=javascript) as (page, asked),
    ):
        judged = Judged(page, tmp_path / "pages", javascript=javascript)
        await page.goto("/")
        await page.get_by_label("Votre adresse électronique").fill("zoe@example.org")
        await page.get_by_role("button", name="Envoyez-moi une confirmation").click()
        await judged.look("Regardez")
        mail = (await shop.mail_to("zoe@example.org"))[0]
        await page.goto(re.search(r"/confirm/[\w-]+", mail.text)[0])
        await page.get_by_label("Cuir végétal").check()
        await page.get_by_role("button", name="Oui, envoyez-moi les lettres").click()
        await judged.look("Bienvenue")
        await page.get_by_role("link", name="Choisir").click()
        await expect(page.get_by_label("Cuir végétal")).to_be_checked()
        await page.get_by_label("Un courriel par mois").check()
        await page.get_by_role("button", name="Enregistrer").click()
        await expect(page.get_by_role("status")).to_be_visible()
        await judged.look("Vos lettres")

        await page.goto("/agenda")
        await page.locator("#vote ~ form").get_by_label("Le cuir végétal").check()
        await page.locator("#vote ~ form").get_by_role("textbox").fill("zoe@example.org")
        await page.get_by_role("button", name="M’envoyer le lien pour voter").click()
        await judged.look("Regardez")
        mails = await shop.mail_to("zoe@example.org", count=2)
        link = next(
            found[0]
            for one in mails
            if (found := re.search(r"/preferences/[\w-]+/agenda\S*", one.text))
        )
        await page.goto(link)
        await expect(page.get_by_label("Le cuir végétal")).to_be_checked()
        await page.get_by_role("button", name="Compter ma voix").click()
        await expect(page.get_by_role("status")).to_contain_text("comptée")
        await judged.look("Sujets à venir")
        await page.get_by_role("link", name="Proposer un sujet").click()
        await page.get_by_label("Sur quoi aimeriez-vous lire").fill("Les boutons")
        await page.get_by_role("button", name="Proposer").click()
        await judged.look("Merci")

        await page.goto(link.partition("/agenda")[0])
        await page.get_by_role("link", name="Ne plus recevoir").click()
        await page.get_by_role("button", name="Oui, arrêter").click()
        await judged.look("Vous ne recevrez plus")
        await page.get_by_role("button", name="C’était une erreur").click()
        await judged.look("à nouveau")

        async with Scripted() as server:
            base = server.url.removesuffix("/inbox")
            template = {"rel": OSTATUS, "template": base + "/follow?uri={uri}"}
            server.answers.append(jrd(base, template))
            await page.goto("/topics/le-lin")
            await page.locator("#email").fill("@zoe@" + base.partition("//")[2])
            await page.keyboard.press("Enter")
            button = page.get_by_role("link", name="Suivre Le lin sur")
            await expect(button).to_have_attribute("href", re.compile(f"^{re.escape(base)}/follow"))
            await judged.look("Suivre")
        assert await page.context.cookies() == []
        strangers = elsewhere(asked, shop.base_url)
    assert strangers == []
    assert judged.verdict() == []


@pytest.mark.slow
@pytest.mark.rule("PR-4")
@pytest.mark.rule("PR-5")
@both_ways
async def test_a_reader_takes_a_copy_moves_and_is_forgotten(tmp_path, javascript, width):
    async with (
        readable(tmp_path / "shop") as (shop, paths),
        browser() as chromium,
        opened(chromium, shop.base_url, width=width, javascript=javascript) as (page, asked),
    ):
        judged = Judged(page, tmp_path / "pages", javascript=javascript)

        async def follow_mailed_link(address):
            """The one new link to one's data that was sent there, when it has come."""

            def unseen():
                texts = [mail.text for mail in shop.mailbox() if mail.to == address]
                links = {one for text in texts for one in re.findall(r"/data/[\w-]+", text)}
                return links - seen

            await until(unseen)
            (link,) = unseen()
            seen.add(link)
            await page.goto(link)

        seen = set()
        await page.goto("/preferences")
        await page.get_by_label("Votre adresse électronique").fill("ana@example.org")
        await page.get_by_role("button", name="M’envoyer mon lien").click()
        await judged.look("Regardez")

        await page.goto(paths["preferences"])
        await page.get_by_role("button", name="Une copie de mes données").click()
        await expect(page.get_by_role("status")).to_be_visible()
        await judged.look("Vos lettres")
        await follow_mailed_link("ana@example.org")
        used = page.url
        async with page.expect_download() as waited:
            await page.get_by_role("button", name="Télécharger le fichier").click()
        copy = json.loads(Path(await (await waited.value).path()).read_text())
        assert copy["subscriber"]["email"] == "ana@example.org"
        await page.goto(used)
        await judged.look("Ce lien", status=404)

        await page.goto(paths["preferences"])
        await page.get_by_role("button", name="Une autre adresse").click()
        await follow_mailed_link("ana@example.org")
        await page.get_by_label("La nouvelle adresse").fill("ana, chez elle")
        await page.get_by_role("button", name="Envoyer le message").click()
        await expect(page.get_by_label("La nouvelle adresse")).to_have_value("ana, chez elle")
        await judged.look("Une autre adresse", status=422)
        await page.get_by_label("La nouvelle adresse").fill("ana@example.net")
        await page.get_by_role("button", name="Envoyer le message").click()
        await judged.look("Regardez")
        await follow_mailed_link("ana@example.net")
        await page.get_by_role("button", name="Oui, à cette adresse").click()
        await judged.look("Les lettres arrivent ici")
        await page.get_by_role("link", name="Choisir sujets et langue").click()
        await expect(page.get_by_text("a…@example.net")).to_be_visible()
        choices = page.url

        await page.get_by_role("button", name="Tout effacer").click()
        await follow_mailed_link("ana@example.net")
        await page.get_by_label("L’empreinte de mon adresse aussi").check()
        await page.get_by_role("button", name="Oui, tout effacer").click()
        await judged.look("Tout est effacé")
        await page.goto(choices)
        await judged.look("Ce lien", status=404)
        gone = [
            await shop.services.store.read(subscribers.find_subscriber, f"ana@example.{end}")
            for end in ("org", "net")
        ]
        assert await page.context.cookies() == []
        strangers = elsewhere(asked, shop.base_url)
    assert gone == [None, None]
    assert strangers == []
    assert judged.verdict() == []


@pytest.mark.slow
async def test_the_keyboard_reaches_everything_and_is_seen(tmp_path):
    async with (
        readable(tmp_path / "shop") as (shop, paths),
        browser() as chromium,
        opened(chromium, shop.base_url, width=PHONE) as (page, _),
    ):
        for name in ("front", "letter", "agenda", "preferences"):
            await page.goto(paths[name])
            count = await page.evaluate(
                """() => [...document.querySelectorAll('a[href], button, audio')].length"""
            )
            await page.keyboard.press("Tab")
            if name != "preferences":
                assert await page.evaluate("document.activeElement.className") == "skip"
                box = await page.locator(".skip").bounding_box()
                assert box["x"] >= 0, "the way past the navigation is seen"
            seen = set()
            for _ in range(count + 60):
                state = await page.evaluate(
                    """() => { const one = document.activeElement, css = getComputedStyle(one);
                    return [one.tagName, one.outerHTML.slice(0, 90),
                            css.outlineStyle !== 'none' && parseFloat(css.outlineWidth) >= 2]; }"""
                )
                if state[0] == "BODY":
                    break
                assert state[2] or state[0] == "AUDIO", f"{name}: {state[1]} shows no focus"
                seen.add(state[1])
                await page.keyboard.press("Tab")
            assert len(seen) > 5, name


@pytest.mark.slow
async def test_on_paper_a_letter_is_its_text_and_the_counter_its_signs(tmp_path):
    colours = """() => { const css = getComputedStyle(document.body);
        return [css.color, css.backgroundColor]; }"""
    async with (
        readable(tmp_path / "shop") as (shop, paths),
        browser() as chromium,
        opened(chromium, shop.base_url, scheme="dark") as (page, _),
    ):
        await shop.services.store.write(update_newsletter, rhythm_days=0)
        linked = await shop.publish("Liens", "Voir [la laine](https://wool.example/a).")
        await page.emulate_media(media="print", color_scheme="dark")
        await page.goto(linked.url)
        for gone in ("header nav", ".join", "form"):
            await expect(page.locator(gone).first).to_be_hidden()
        await expect(page.locator("h1")).to_be_visible()
        after = "one => getComputedStyle(one, '::after').content"
        link = page.get_by_role("link", name="la laine")
        assert "https://wool.example/a" in await link.evaluate(after)
        assert await page.evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]

        await page.goto(paths["counter"])
        await expect(page.locator(".sign .qr")).to_be_visible()
        await expect(page.locator(".cards .qr")).to_have_count(8)
        assert (await page.pdf(format="A4")).count(b"/Type /Page\n") == 2, "a sign, and the cards"


@pytest.mark.slow
async def test_a_letter_with_many_answers_shows_them_page_by_page(tmp_path):
    async with readable(tmp_path / "shop") as (shop, paths):
        path, seen = paths["letter"], []
        while path:
            page = (await shop.client.get(path)).text
            seen += re.findall(r"Réponse (\d+) :", page)
            following = re.search(r'href="(\?after=\d+#answers)" rel="next"', page)
            path = paths["letter"] + following[1].partition("#")[0] if following else ""

    assert [int(one) for one in seen] == list(range(REPLIES))


@pytest.mark.slow
async def test_every_feed_is_valid_full_and_empty(tmp_path):
    """Jing by the grammars of RFC 4287 and of RSS with Apple's tags; feedparser reads each too."""
    found = {}
    async with (
        readable(tmp_path / "shop") as (shop, _),
        running_shop(tmp_path / "new", workers=False) as new,
    ):
        paths = ("/feed.atom", "/topics/le-lin/feed.atom", "/podcast.rss")
        feeds = [(shop, path, 0) for path in paths] + [(new, paths[0], 1), (new, paths[2], 1)]
        for one, path, empty in feeds:
            answer = await one.client.get(path)
            kind = "rss" if path.endswith("rss") else "atom"
            assert answer.headers["content-type"].startswith(f"application/{kind}+xml")
            file = tmp_path / f"{path.strip('/').replace('/', '-')}-{empty}.xml"
            file.write_bytes(answer.content)
            found[file.name] = feed_faults(file, one.base_url + path)
            read = feedparser.parse(answer.content)
            assert not read.bozo
            assert bool(read.entries) is not bool(empty)
        for one in (shop, new):
            answer = await one.client.get("/feed.json")
            assert answer.headers["content-type"].startswith("application/feed+json")
            found[f"{one.base_url}/feed.json"] = json_feed_faults(
                answer.content, one.base_url + "/feed.json"
            )
        sounds = ElementTree.fromstring(  # noqa: S314 (our own)
            (await shop.client.get("/podcast.rss")).content
        ).findall("channel/item/enclosure")
        assert len(sounds) == 1
        for enclosure in sounds:
            sound = await shop.client.get(enclosure.get("url"))
            assert sound.headers["content-type"] == enclosure.get("type")
            assert len(sound.content) == int(enclosure.get("length"))
        titles = [item["title"] for item in (await shop.client.get("/feed.json")).json()["items"]]
    assert {name: faults for name, faults in found.items() if faults} == {}
    assert LONG_TITLE in titles


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<id>http", b"<id>/relative"),
        (b"+00:00</updated>", b"</updated>"),
        (b"<updated>", b"<modified>1</modified><updated>"),
        (b'rel="self"', b'rel="me"'),
        (b"<author>", b"<rights></rights><author>"),
    ],
)
async def test_the_judge_of_feeds_finds_what_is_wrong(tmp_path, old, new):
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        await shop.publish("Du lin")
        body = (await shop.client.get("/feed.atom")).content
        assert old in body
        (tmp_path / "feed.xml").write_bytes(body.replace(old, new, 1))

        assert feed_faults(tmp_path / "feed.xml", shop.base_url + "/feed.atom")
