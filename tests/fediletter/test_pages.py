"""What readers see: light, whole, in their language, with nothing from elsewhere."""

import re

import feedparser
import html5lib
import pytest

from fediletter.settings import LANGUAGES
from storage.topics import all_topics
from tests.messages import ROOT, messages


async def pages(shop):
    letter = await shop.publish("Du lin", "Bonjour[^1]\n\n[^1]: Note.", topics=["Lin"])
    return ["/", "/subscribe", "/privacy", "/agenda", "/topics/lin", "/nothing", letter.url]


async def test_pages_are_valid_light_and_ask_for_nothing_else(shop):
    for path in await pages(shop):
        answer = await shop.client.get(path)
        html5lib.HTMLParser(strict=True).parse(answer.text)
        assert len(answer.content) < 30_000, path
        for address in re.findall(r'(?:src|srcset)="([^"]+)"', answer.text):
            assert address.startswith(("/", shop.base_url)), path
        assert "set-cookie" not in answer.headers
        assert "<script src" not in answer.text
        assert answer.text.count("<h1>") == 1


async def test_a_page_is_answered_with_304_until_something_changes(shop):
    first = await shop.client.get("/")
    same = await shop.client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert same.status_code == 304

    await shop.publish("Neuf", "x")
    changed = await shop.client.get("/", headers={"If-None-Match": first.headers["etag"]})

    assert changed.status_code == 200
    assert "Neuf" in changed.text


async def test_the_archive_goes_on_over_pages(shop):
    for number in range(23):
        await shop.publish(f"Lettre {number}", "x", to_email=False, to_fediverse=False)
    first = (await shop.client.get("/")).text
    older = re.search(r'href="(\?before=[^"]+)" rel="next"', first)

    second = (await shop.client.get("/" + older[1].replace("&amp;", "&"))).text

    assert first.count("<article") == 20
    assert second.count("<article") == 3


async def test_feeds_are_read_by_a_feed_reader(shop):
    letter = await shop.publish("Du « lin » & cuir", "Bonjour **lin**", topics=["Lin"])
    for path in ("/feed.atom", "/topics/lin/feed.atom"):
        feed = feedparser.parse((await shop.client.get(path)).content)
        assert not feed.bozo, path
        assert feed.entries[0].title == "Du « lin » & cuir"
        assert feed.entries[0].link == letter.url
        assert "<strong>lin</strong>" in feed.entries[0].content[0].value
    answer = await shop.client.get("/feed.json")
    assert answer.headers["content-type"].startswith("application/feed+json")
    assert answer.json()["items"][0]["id"] == letter.object_id
    assert feedparser.parse((await shop.client.get("/podcast.rss")).content).version == "rss20"


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_every_message_has_words_in_every_language(language):
    from babel.messages.pofile import read_po

    from fediletter.words import words

    catalogues = []
    for path in sorted((ROOT / "locale" / language / "LC_MESSAGES").glob("*.po")):
        with path.open("rb") as file:
            catalogues.append(read_po(file))
    known = set()
    for message in (one for catalogue in catalogues for one in catalogue):
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id and all(strings) and not message.fuzzy:
            known |= set(message.id if isinstance(message.id, tuple) else (message.id,))
            slots = set(re.findall(r"\{\w+\}", str(message.id)))
            for string in strings:
                assert set(re.findall(r"\{\w+\}", string)) <= slots, message.id

    missing = {text: place for text, place in messages().items() if text not in known}

    assert missing == {}
    assert words(language).gettext("Save") != "Save"


async def test_a_hidden_topic_is_named_nowhere_where_readers_read(shop):
    csrf = await shop.log_in()
    letter = await shop.publish("Du lin", "x", topics=["Lin", "Clients"], to_email=False)
    topics = await shop.services.store.read(all_topics)
    (hidden,) = [one for one in topics if one.name == "Clients"]

    answer = await shop.post(
        "/desk/topics", csrf=csrf, topic_id=str(hidden.id), name="Clients", hidden="yes"
    )

    assert answer.status_code == 303
    for path in ("/", letter.url, "/feed.atom", "/feed.json", letter.object_id):
        headers = {"Accept": "application/activity+json"} if path == letter.object_id else {}
        seen = await shop.client.get(path, headers=headers)
        assert seen.status_code == 200
        assert re.search('Lin<|"Lin"|#lin', seen.text), path
        assert "clients" not in seen.text.casefold(), path
