"""Writing at the desk: nothing typed is lost, images and sounds go where they belong."""

import re

import feedparser
import pytest

from storage import posts
from storage.media import list_media
from tests.fediletter.test_desk import form, picture
from tests.web.desk_shop import sound, wav


async def autosave(shop, csrf, path="/desk/letters/autosave", **fields):
    return await shop.post(path, csrf=csrf, language="fr", **fields)


async def test_what_is_typed_is_saved_without_a_button_and_goes_on_from_there(shop):
    csrf = await shop.log_in()

    first = await autosave(shop, csrf, version="0", title="Lin", body="Un")
    path = first.json()["path"]
    second = await autosave(
        shop,
        csrf,
        f"{path}/autosave",
        version=str(first.json()["version"]),
        title="Lin",
        body="Un deux",
    )

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json()["version"] == 2
    assert "Un deux" in (await shop.client.get(path)).text
    frame = (await shop.client.get(path.replace("letters", "frames") + "/web")).text
    assert "Un deux" in frame, "the live preview shows what was saved"


async def test_an_autosave_on_an_older_text_is_a_conflict_and_changes_nothing(shop):
    csrf = await shop.log_in()
    post = await shop.draft("Un", "Premier")
    path = f"/desk/letters/{post.id}/autosave"
    fields = {"version": str(post.version), "title": "Un", "body": "Mien"}
    assert (await autosave(shop, csrf, path, **fields)).status_code == 200

    late = await autosave(shop, csrf, path, **(fields | {"body": "Sien"}))

    assert late.status_code == 409
    assert (await shop.services.store.read(posts.get_post, post.id)).body_markdown == "Mien"


async def test_an_autosave_never_changes_a_published_letter(shop):
    csrf = await shop.log_in()
    post = await shop.draft("Un", "Publié")
    from fediletter.outbound import publish as publishing

    await publishing.publish(shop.services, post.id, version=post.version)

    late = await autosave(
        shop, csrf, f"/desk/letters/{post.id}/autosave", version="1", title="Un", body="Changé"
    )

    assert late.status_code == 409
    assert (await shop.services.store.read(posts.get_post, post.id)).body_markdown == "Publié"


async def test_a_text_that_was_typed_over_stands_among_the_former_versions(shop):
    csrf = await shop.log_in()
    words = "Un long texte qui ne doit pas se perdre, jamais, même effacé d’un geste."
    post = await shop.draft("Un", words)
    first = f"/desk/letters/{post.id}/autosave"
    one = await autosave(shop, csrf, first, version="1", title="Un", body=words + " Fin.")
    await autosave(shop, csrf, first, version=str(one.json()["version"]), title="Un", body="")

    page = (await shop.client.get(f"/desk/letters/{post.id}/versions")).text

    assert words + " Fin." in page


async def test_autosaving_keystrokes_keeps_no_version_for_each(shop):
    csrf = await shop.log_in()
    post = await shop.draft("Un", "a")
    for number in range(1, 9):
        await autosave(
            shop,
            csrf,
            f"/desk/letters/{post.id}/autosave",
            version=str(number),
            title="Un",
            body="a" * (number + 1),
        )

    kept = await shop.services.store.read(posts.versions, post.id, limit=20)

    assert len(kept) == 1


async def test_the_token_of_a_new_session_serves_a_form_of_the_old_one(shop):
    await shop.log_in()
    old = (await shop.client.get("/desk/token")).json()["csrf"]
    shop.client.cookies.clear()
    assert (await shop.client.get("/desk/token")).status_code == 303

    new = await shop.log_in()

    assert (await shop.client.get("/desk/token")).json()["csrf"] == new != old


async def test_an_image_dropped_needs_its_description_and_comes_back_as_markdown(shop):
    csrf = await shop.log_in()
    headers = {"Origin": shop.base_url, "Accept": "application/json"}
    files = {"image": ("sac.jpg", picture(size=(1400, 700)), "image/jpeg")}

    bare = await shop.client.post("/desk/media", data={"csrf": csrf}, files=files, headers=headers)
    said = {"csrf": csrf, "alt": "Un sac [écru]", "caption": "Le premier", "credit": "Ana"}
    good = await shop.client.post("/desk/media", data=said, files=files, headers=headers)

    assert bare.status_code == 422
    assert "alt" in bare.json()["problems"]
    found = re.fullmatch(
        r'!\[Un sac \(écru\)\]\((\S+)-960\.jpg "Le premier © Ana"\)', good.json()["markdown"]
    )
    assert found, good.text
    post = await shop.draft("Figures", good.json()["markdown"])
    frame = (await shop.client.get(f"/desk/frames/{post.id}/web")).text
    assert "<figcaption>Le premier<br>© Ana</figcaption>" in frame


async def test_a_letters_page_offers_each_size_of_an_image_and_keeps_its_room(shop):
    csrf = await shop.log_in()
    kept = await shop.client.post(
        "/desk/media",
        data={"csrf": csrf, "alt": "Un sac", "caption": "Le premier", "credit": "Ana"},
        files={"image": ("sac.jpg", picture(size=(1400, 700)), "image/jpeg")},
        headers={"Origin": shop.base_url, "Accept": "application/json"},
    )
    stranger = "![Un autre](/media/00000000000000000000-960.jpg)"

    letter = await shop.publish("Figures", f"{kept.json()['markdown']}\n\n{stranger}")

    page = (await shop.client.get(letter.url)).text
    image = re.search(r'<img [^>]*alt="Un sac"[^>]*>', page)[0]
    assert 'width="1400" height="700"' in image
    assert 'loading="lazy"' in image
    sources = re.search(r'srcset="([^"]+)"', image)[1].split(", ")
    assert [one.rpartition(" ")[2] for one in sources] == ["1400w", "960w", "480w"]
    for one in sources:
        assert (await shop.client.get(one.partition(" ")[0])).status_code == 200
    assert "<figcaption>Le premier<br>© Ana</figcaption>" in page
    assert "srcset" not in re.search(r'<img [^>]*alt="Un autre"[^>]*>', page)[0]


async def test_without_a_script_an_image_goes_to_the_end_of_the_text(shop):
    csrf = await shop.log_in()
    data = await form(
        shop, csrf, title="Lin", body="Bonjour.", action="insert", figure_alt="Un sac"
    )

    saved = await shop.client.post(
        "/desk/letters",
        data=data,
        files={"figure": ("sac.png", picture("PNG"), "image/png")},
        headers={"Origin": shop.base_url},
    )

    assert saved.status_code == 303
    page = (await shop.client.get(saved.headers["location"])).text
    assert re.search(r"Bonjour\.\s+!\[Un sac\]\(http\S+/media/\S+\.jpg\)", page)


async def test_an_image_without_words_keeps_a_letter_from_leaving(shop):
    csrf = await shop.log_in()
    data = await form(shop, csrf, title="Lin", body="![](/media/x.jpg)", action="publish")

    answer = await shop.post("/desk/letters", **data)

    assert answer.status_code == 422
    assert 'id="p-body"' in answer.text


async def test_a_sound_becomes_an_episode_without_its_tags(shop):
    csrf = await shop.log_in()
    tag = b"ID3\x03\x00\x00\x00\x00\x00\x23TIT2\x00\x00\x00\x19\x00\x00\x00SECRET TITLE OF SOMEBODY"
    data = await form(shop, csrf, title="Épisode", summary="À écouter", body="Bonjour.")
    saved = await shop.client.post(
        "/desk/letters",
        data=data,
        files={"audio": ("episode.mp3", tag + sound(4), "audio/mpeg")},
        headers={"Origin": shop.base_url},
    )
    assert saved.status_code == 303, saved.text
    sheet = saved.headers["location"].partition("?")[0] + "/publish"
    version = re.search(r'name="version" value="(\d+)"', (await shop.client.get(sheet)).text)[1]
    await shop.post(sheet, csrf=csrf, version=version, when="now")

    feed = feedparser.parse((await shop.client.get("/podcast.rss")).content)
    enclosure = feed.entries[0].enclosures[0]
    file = await shop.client.get(enclosure.href)

    assert feed.bozo == 0
    assert enclosure.type == file.headers["content-type"] == "audio/mpeg"
    assert int(enclosure.length) == len(file.content)
    assert b"SECRET" not in file.content
    assert feed.entries[0].itunes_duration in ("4", "00:00:04", "00:04")
    part = await shop.client.get(enclosure.href, headers={"Range": "bytes=0-9"})
    many = await shop.client.get(enclosure.href, headers={"Range": "bytes=0-1,4-5"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert (many.status_code, len(many.content)) == (200, len(file.content))


@pytest.mark.parametrize(
    ("octets", "name"), [(b"<html>", "a.mp3"), (wav(), "a.wav"), (b"ID3" + b"\0" * 900, "b.mp3")]
)
async def test_a_file_that_is_no_sound_is_refused_beside_its_field(shop, octets, name):
    csrf = await shop.log_in()
    data = await form(shop, csrf, title="Titre gardé", body="Texte gardé")

    answer = await shop.client.post(
        "/desk/letters",
        data=data,
        files={"audio": (name, octets, "audio/mpeg")},
        headers={"Origin": shop.base_url},
    )

    assert answer.status_code == 422
    assert 'id="p-audio"' in answer.text
    assert "Texte gardé" in answer.text
    assert await shop.services.store.read(list_media, limit=5) == []


async def test_a_file_that_a_letter_shows_is_not_deleted_another_is(shop):
    csrf = await shop.log_in()
    headers = {"Origin": shop.base_url, "Accept": "application/json"}
    texts = []
    for _ in range(2):
        files = {"image": ("sac.jpg", picture(), "image/jpeg")}
        answer = await shop.client.post(
            "/desk/media", data={"csrf": csrf, "alt": "Un sac"}, files=files, headers=headers
        )
        texts.append(answer.json()["markdown"])
    await shop.draft("Lin", texts[0])

    used = await shop.post("/desk/media/1", csrf=csrf, action="delete")
    free = await shop.post("/desk/media/2", csrf=csrf, action="delete")

    assert (used.status_code, free.status_code) == (409, 303)
    left = await shop.services.store.read(list_media, limit=5)
    assert [one.id for one in left] == [1]
    assert len(list(shop.settings.media.iterdir())) == len(left[0].renditions)


async def test_the_card_has_words_of_its_own_before_and_after_publishing(shop):
    draft = await shop.draft("Du lin", summary="Douze rouleaux.")
    csrf = await shop.log_in()
    sheet = f"/desk/letters/{draft.id}/publish"
    fields = {
        "csrf": csrf,
        "version": draft.version,
        "channels": "chosen",
        "to_web": "yes",
        "to_fediverse": "yes",
        "when": "now",
        "fediverse_teaser": "Pour vous.",
        "card_title": "Lin de Normandie",
        "card_description": "À voir à l’atelier.",
    }
    long = await shop.post(sheet, **fields | {"action": "look", "card_title": "x" * 151})
    assert long.status_code == 422
    assert "150 caractères au plus" in long.text
    assert "x" * 151 in long.text
    await shop.post(sheet, **fields | {"action": "look"})
    preview = (await shop.client.get(sheet)).text.partition('<div class="mastodon"')[2]
    for words in ("Pour vous.", "<strong>Lin de Normandie</strong>", "À voir à l’atelier."):
        assert words in preview

    await shop.post(sheet, **fields | {"version": draft.version + 1, "action": "publish"})

    async def head():
        return (await shop.client.get("/letters/du-lin")).text.partition("</head>")[0]

    found = await head()
    assert '<meta property="og:title" content="Lin de Normandie">' in found
    assert '<meta property="og:description" content="À voir à l’atelier.">' in found
    assert '"headline": "Lin de Normandie"' in found
    assert "<title>Du lin" in found
    form = (await shop.client.get(f"/desk/letters/{draft.id}")).text
    assert "Lin de Normandie</textarea>" in form
    version = re.search(r'name="version" value="(\d+)"', form)[1]
    again = {"csrf": csrf, "version": version, "title": "Du lin", "summary": "Douze rouleaux."}
    again |= {"body": "Bonjour.", "language": "fr", "action": "save"}
    changed = {"fediverse_teaser": "", "card_title": "", "card_description": "Encore."}
    assert (await shop.post(f"/desk/letters/{draft.id}", **again, **changed)).status_code == 303
    found = await head()
    assert '<meta property="og:title" content="Du lin">' in found
    assert '<meta property="og:description" content="Encore.">' in found
    assert "Lin de Normandie" in (await shop.client.get(f"/desk/letters/{draft.id}/versions")).text
