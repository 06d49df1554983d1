"""The forms of an Article side by side: where six kinds of servers show its title and teaser.

The golden files under `conversions/` hold what each shows of one letter; FEDERATION.md shows the
table that follows from them.
"""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fediletter.rendering.objects import article_of
from storage import posts
from tests.peers.conversions.readers import READERS, place_of

HERE = Path(__file__).parent / "conversions"
ROOT = Path(__file__).parents[2]
TITLE, TEASER = "Du lin pour l’été", "Trois toiles et une teinture."
FORMS = ("summary alone", "default", "title")


@pytest.fixture
async def articles(shop):
    """One letter in each form: the plain one that others send, our default, and our other one."""
    found = {}
    for form in FORMS:
        post = await shop.draft(
            TITLE,
            "Le lin **pousse** ici.\n\n## Trois toiles",
            summary=TEASER,
            article_form="title" if form == "title" else "",
        )
        moment = datetime(2026, 11, 22, 9, tzinfo=UTC)

        def look(tx, post_id=post.id, moment=moment):

            one = replace(
                posts.get_post(tx, post_id), slug="du-lin", public_id="p1", published_at=moment
            )
            return article_of(one, shop.services.links)

        article = await shop.services.store.read(look)
        article["url"] = "https://shop.example/letters/du-lin"
        if form == "summary alone":
            article["content"] = article["content"].removeprefix(f"<h2>{TITLE}</h2>")
        found[form] = article
    return found


def _table(articles) -> str:
    lines = [
        "| reader | `name`, `summary`, content | the same, title as first heading (default) "
        "| title and teaser in the content, no `summary` |",
        "| --- | --- | --- | --- |",
    ]
    for name, reader in READERS.items():
        cells = []
        for form in FORMS:
            seen = reader(articles[form])
            cells.append(f"title {place_of(TITLE, seen)}, teaser {place_of(TEASER, seen)}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


async def test_each_reader_shows_what_the_golden_files_say(articles):
    for form, article in articles.items():
        said = "\n".join(
            f"== {name}\n"
            + "\n".join(f"-- {part}\n{text}" for part, text in asdict(reader(article)).items())
            for name, reader in READERS.items()
        )

        golden = (HERE / f"{form.replace(' ', '-')}.txt").read_text("utf-8")
        assert said + "\n" == golden, form


async def test_by_default_title_and_teaser_are_lost_nowhere_but_at_snac2(articles):
    def places(form, words):
        return {name: place_of(words, reader(articles[form])) for name, reader in READERS.items()}

    assert "lost" not in places("default", TITLE).values()
    lost = {name for name, place in places("default", TEASER).items() if place == "lost"}
    assert lost == {"snac2"}, "it shows no summary; the whole letter stands there"
    assert {name for name, place in places("summary alone", TITLE).items() if place == "lost"} == {
        "GoToSocial",
        "Hollo",
        "Pleroma",
    }
    assert (
        places("default", TITLE)["Mastodon"] == places("default", TEASER)["Mastodon"] == "at once"
    )
    assert places("title", TEASER)["Mastodon"] == "lost", "why it is not the default"


async def test_federation_md_shows_this_table(articles):
    assert _table(articles) in (ROOT / "FEDERATION.md").read_text("utf-8")
