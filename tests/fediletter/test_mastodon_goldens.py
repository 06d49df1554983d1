"""Whole letters as Mastodon shows them: what we foretell, and what the served page gives away.

`goldens/mastodon/*.json` hold both. `REGENERATE=1` writes them anew; read the difference.
"""

import html
import json
import os
import re
from dataclasses import asdict
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fediletter.media.uploads import Upload, store_image
from fediletter.rendering.mastodon import mastodon_view
from fediletter.rendering.objects import article_of
from fediletter.rendering.structured import structured_of
from storage import posts
from storage.newsletters import get_newsletter
from tests.federation.peer import TYPE
from tests.web.desk_shop import picture

GOLDENS = Path(__file__).parent / "goldens" / "mastodon"
LETTERS = {
    "plain": {"title": "Du lin", "summary": "Douze rouleaux sont arrivés."},
    "long-title": {"title": "Le lin de Normandie, du champ au sac, " * 3 + "et retour"},
    "markup-in-title": {"title": 'Tom & <b>Lin</b> "à 20 €" &amp; </script><!-- 3 < 4'},
    "no-summary": {"title": "Sans accroche", "summary": ""},
    "cover": {"title": "Avec image", "cover_alt": "Un sac « en lin » & cuir"},
    "hashtags": {"title": "Deux sujets", "summary": "Du #lin.", "topics": ["Lin", "Cuir végétal"]},
    "typography": {"title": "L'été : « déjà » ?", "summary": "Prix : 20 € ; c'est tout !"},
    "emoji": {"title": "Cousu 🧵 main 👩🏽‍🎨", "summary": "🇫🇷 et :blobcat:"},
    "card": {
        "title": "Du lin",
        "summary": "Douze rouleaux.",
        "fediverse_teaser": "Pour vous : douze rouleaux.",
        "card_title": "Lin de Normandie",
        "card_description": "À voir à l’atelier.",
    },
    "followers-only": {"title": "Entre nous", "audience": "followers"},
}


class _Head(HTMLParser):
    """The meta elements and the JSON-LD of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.meta: dict[str, str] = {}
        self.structured: list[str] = []
        self._inside = False

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "meta":
            self.meta[found.get("property") or found.get("name") or ""] = found.get("content", "")
        self._inside = tag == "script" and found.get("type") == "application/ld+json"

    def handle_data(self, data):
        if self._inside:
            self.structured.append(data)

    def handle_endtag(self, tag):
        self._inside = False


def card_of(page: str) -> dict:
    """The card: JSON-LD first, Open Graph after it, the picture from Open Graph alone.

    The order is federation.md 5.4. That entities are decoded twice, in the JSON before it is read
    and in its texts, is what we hold of Mastodon's extractor; that section does not say it.
    """
    head = _Head()
    head.feed(page)
    news = [json.loads(html.unescape(text)) for text in head.structured]
    said = next((one for one in news if one["@type"] == "NewsArticle"), {})
    meta = head.meta
    return {
        "title": html.unescape(said.get("headline") or meta.get("og:title", "")).strip(),
        "description": html.unescape(said.get("description") or meta.get("og:description", "")),
        "provider": html.unescape(
            said.get("publisher", {}).get("name") or meta.get("og:site_name", "")
        ),
        "image": meta.get("og:image"),
        "image_alt": meta.get("og:image:alt", ""),
        "credit": meta.get("fediverse:creator"),
    }


def _settled(shop, found: dict) -> dict:
    """Without port and random names."""
    host = shop.base_url.partition("//")[2]
    text = json.dumps(found, ensure_ascii=False).replace(host, "HOST")
    return json.loads(re.sub(r"/media/[\w-]+", "/media/NAME", text))


@pytest.mark.parametrize("name", LETTERS)
async def test_the_preview_is_what_mastodon_makes_of_the_served_letter(shop, name):
    fields = dict(LETTERS[name])
    now = datetime.now(UTC)
    if "cover_alt" in fields:
        upload = Upload(picture(), "sac.jpg")
        fields["cover_media_id"] = await store_image(
            shop.services.store, shop.settings.media, upload, now=now, alt=fields["cover_alt"]
        )
    letter = await shop.publish(**fields)

    def look(tx):
        post = posts.post_by_public_id(tx, letter.object_id.rpartition("/")[2])
        return post, get_newsletter(tx)

    post, newsletter = await shop.services.store.read(look)
    links = shop.services.links
    article = article_of(post, links)
    is_open = post.audience != "followers"
    structured = structured_of(post, newsletter, links) if is_open else None
    view = mastodon_view(article, structured, credit=f"@{shop.handle}")
    served = await shop.client.get(letter.object_id, headers={"Accept": TYPE})
    page = await shop.client.get(article["url"], headers={"Accept": "text/html"})

    if name == "followers-only":
        assert (served.status_code, page.status_code) == (404, 404), "nothing to make a card of"
        card = None
        assert view.card is None
    else:
        for key in ("name", "summary", "url", "tag", "image"):
            assert served.json().get(key) == article.get(key)
        card = card_of(page.text)
        assert card == asdict(view.card)

    found = _settled(shop, asdict(view) | {"card": card})
    path = GOLDENS / f"{name}.json"
    if os.environ.get("REGENERATE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    assert found == json.loads(path.read_text())


async def test_the_sheet_promises_a_card_only_where_a_page_is_open(shop):
    await shop.log_in()
    for audience, cards in (("public", 1), ("followers", 0)):
        draft = await shop.draft("Entre nous", audience=audience)
        sheet = (await shop.client.get(f"/desk/letters/{draft.id}/publish")).text
        assert '<div class="mastodon"' in sheet
        assert sheet.count('<div class="card">') == cards
