"""The desk and what guards it."""

import re
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from PIL import Image

from fediletter.founders import people
from fediletter.outbound import publish as publishing
from fediletter.web.routes import ROUTES
from storage import posts
from tests.fediletter.dump import dump
from tests.shop import EMAIL, PASSWORD, running_shop, until


def picture(kind="JPEG", size=(800, 420), **options) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, "#efe6d8").save(out, kind, **options)
    return out.getvalue()


async def form(shop, csrf, **fields):
    return {"csrf": csrf, "version": "0", "language": "fr", "action": "save"} | fields


@pytest.mark.rule("WE-22")
async def test_the_first_founder_comes_in_by_a_link_that_works_once(tmp_path):
    async with running_shop(tmp_path / "shop", founder=False) as shop:
        now = datetime.now(UTC)
        token = await shop.services.store.write(people.create_setup_link, now=now)
        link = f"/desk/setup/{token}"
        assert (await shop.client.get(link)).status_code == 200
        assert (await shop.client.get("/desk/setup/wrong")).status_code == 404
        weak = await shop.post(link, email=EMAIL, password="short", again="short")
        assert weak.status_code == 422
        assert 'id="e2"' in weak.text
        assert EMAIL in weak.text, "what was typed is kept"

        answer = await shop.post(link, email=EMAIL, password=PASSWORD, again=PASSWORD)

        assert (answer.status_code, answer.headers["location"]) == (303, "/desk")
        assert (await shop.client.get("/desk")).status_code == 200
        assert (await shop.client.get(link)).status_code == 404


@pytest.mark.rule("WE-22")
async def test_a_set_up_link_dies_after_half_an_hour(tmp_path):
    async with running_shop(tmp_path / "shop", founder=False) as shop:
        early = datetime.now(UTC) - timedelta(minutes=31)
        token = await shop.services.store.write(people.create_setup_link, now=early)
        assert (await shop.client.get(f"/desk/setup/{token}")).status_code == 404


@pytest.mark.rule("WE-10")
async def test_without_a_session_the_desk_shows_nothing(shop):
    post = await shop.draft("Secret")
    for route in ROUTES:
        if not route.path.startswith("/desk") or "login" in route.path or "setup" in route.path:
            continue
        path = route.path.replace("{post_id:int}", str(post.id)).replace("{kind}", "web")
        path = path.replace("{reply_id:int}", "1")
        for method in route.methods:
            for variant in (path, path + "/", path.upper()):
                answer = await shop.client.request(
                    method, variant, headers={"Origin": shop.base_url}
                )
                assert answer.status_code in (303, 307, 401, 403, 404, 405), (method, variant)
                assert "Secret" not in answer.text


@pytest.mark.rule("WE-7")
async def test_a_form_from_another_site_or_without_its_token_changes_nothing(shop):
    csrf = await shop.log_in()
    before = await shop.services.store.read(dump)
    data = await form(shop, csrf, title="Un", body="x")

    foreign = await shop.client.post(
        "/desk/letters", data=data, headers={"Origin": "https://evil.example"}
    )
    bare = await shop.client.post("/desk/letters", data=data)
    stale = await shop.post("/desk/letters", **(data | {"csrf": "wrong"}))

    assert [foreign.status_code, bare.status_code, stale.status_code] == [403, 403, 403]
    assert await shop.services.store.read(dump) == before


@pytest.mark.rule("WE-9")
async def test_another_host_is_misdirected(shop):
    answer = await shop.client.get("/", headers={"Host": "evil.example"})

    assert answer.status_code == 421


@pytest.mark.rule("WE-12")
@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil", "/desk//x"]
)
async def test_logging_in_never_leads_to_another_site(shop, target):
    answer = await shop.post("/desk/login", email=EMAIL, password=PASSWORD, next=target)

    assert answer.headers["location"] == "/desk"


@pytest.mark.rule("WE-1")
async def test_the_cookie_is_for_http_alone_and_dies_at_logout(shop):
    csrf = await shop.log_in()
    cookie = shop.client.cookies["fl"]
    answer = await shop.post("/desk/logout", csrf=csrf)
    assert answer.status_code == 303

    shop.client.cookies.set("fl", cookie)

    assert (await shop.client.get("/desk")).status_code == 303
    login = await shop.post("/desk/login", email=EMAIL, password=PASSWORD)
    assert "httponly" in login.headers["set-cookie"].lower()
    assert "samesite=lax" in login.headers["set-cookie"].lower()


@pytest.mark.slow
@pytest.mark.rule("WE-6")
async def test_guessing_is_slowed_and_says_the_same_for_strangers(shop):
    texts = set()
    for number in range(11):
        email = EMAIL if number % 2 else f"x{number}@shop.test"
        answer = await shop.post("/desk/login", email=email, password="wrong wrong wrong")
        texts.add((answer.status_code, answer.text.replace(email, "X")))

    assert {status for status, _ in texts} == {401, 429}
    assert len(texts) == 2
    assert answer.headers["retry-after"] == "300"


@pytest.mark.rule("WE-8")
async def test_the_headers_are_the_contracts(shop):
    front = (await shop.client.get("/")).headers
    assert "script-src 'none'" in front["content-security-policy"]
    assert "frame-ancestors 'none'" in front["content-security-policy"]
    await shop.log_in()
    post = await shop.draft()
    desk = (await shop.client.get("/desk")).headers
    frame = (await shop.client.get(f"/desk/frames/{post.id}/mail")).headers
    assert desk["cache-control"] == "no-store"
    assert "sandbox" in frame["content-security-policy"]
    assert "x-frame-options" not in frame
    for headers in (front, desk, frame):
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers


async def test_a_letter_is_written_with_a_cover_looked_at_published_and_watched(shop):
    csrf = await shop.log_in()
    await shop.subscribe("ana@example.org")
    data = await form(
        shop,
        csrf,
        title="Du lin « normand »",
        summary="Une accroche",
        body="## Bonjour\n\nDu *lin*.",
        cover_alt="Un sac",
        action="publish",
    )
    saved = await shop.client.post(
        "/desk/letters",
        data=data,
        files={"cover": ("sac.jpg", picture(), "image/jpeg")},
        headers={"Origin": shop.base_url},
    )
    assert saved.status_code == 303
    sheet = await shop.client.get(saved.headers["location"])
    assert "1 abonnement par courriel" in sheet.text
    for frame in re.findall(r'src="(/desk/frames/[^"]+)"', sheet.text):
        assert "Bonjour" in (await shop.client.get(frame)).text
    version = re.search(r'name="version" value="(\d+)"', sheet.text)[1]

    published = await shop.post(saved.headers["location"], csrf=csrf, version=version, when="now")
    assert published.status_code == 303
    await shop.mail_to("ana@example.org", count=2)
    view = published.headers["location"]

    async def done():
        return (await shop.client.get(f"{view}.json")).json()["mail"]["delivered"] == 1

    await until(done)
    assert "Tout est parti." in (await shop.client.get(view)).text
    page = (await shop.client.get("/letters/du-lin-normand")).text
    image = re.search(r'<img src="([^"]+)"[^>]*alt="Un sac"', page)
    answer = await shop.client.get(image[1])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


async def test_a_cover_needs_a_description_and_nothing_typed_is_lost(shop):
    csrf = await shop.log_in()
    data = await form(shop, csrf, title="Titre gardé", body="Texte gardé")

    answer = await shop.client.post(
        "/desk/letters",
        data=data,
        files={"cover": ("sac.png", picture("PNG"), "image/png")},
        headers={"Origin": shop.base_url},
    )

    assert answer.status_code == 422
    assert 'id="p-cover_alt"' in answer.text
    assert "Titre gardé" in answer.text
    assert "Texte gardé" in answer.text
    assert 'name="cover_id"' in answer.text, "the uploaded image is kept"


@pytest.mark.rule("ME-1")
@pytest.mark.rule("ME-2")
@pytest.mark.parametrize(
    "octets",
    [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a" + b"\0" * 20, b"%PDF-1.7", b"\xff\xd8",
     picture("BMP"), picture("TIFF"), b'{"@context": "https://www.w3.org/ns/activitystreams"}'],
)  # fmt: skip
async def test_a_file_that_is_no_image_is_refused_with_a_reason(shop, octets):
    csrf = await shop.log_in()
    data = await form(shop, csrf, title="Titre gardé", body="x", cover_alt="Un sac")

    answer = await shop.client.post(
        "/desk/letters",
        data=data,
        files={"cover": ("sac.jpg", octets, "image/jpeg")},
        headers={"Origin": shop.base_url},
    )

    assert answer.status_code == 422
    assert 'id="p-cover"' in answer.text
    assert list(shop.settings.media.iterdir()) == []


@pytest.mark.rule("ME-3")
@pytest.mark.rule("ME-4")
async def test_an_image_is_encoded_anew_without_its_metadata(shop):
    exif = Image.Exif()
    exif[0x010E] = "GPS SECRET"
    octets = picture(exif=exif) + b"PAYLOAD"
    csrf = await shop.log_in()
    data = await form(shop, csrf, title="x", body="x", cover_alt="Un sac")
    await shop.client.post(
        "/desk/letters",
        data=data,
        files={"cover": ("sac.jpg", octets, "image/jpeg")},
        headers={"Origin": shop.base_url},
    )

    files = list(shop.settings.media.iterdir())

    assert files
    for file in files:
        stored = file.read_bytes()
        assert b"SECRET" not in stored
        assert b"PAYLOAD" not in stored
        with Image.open(file) as image:
            assert not image.getexif()


@pytest.mark.rule("ME-5")
async def test_a_pixel_bomb_is_refused(shop):
    csrf = await shop.log_in()
    data = await form(shop, csrf, title="x", body="x", cover_alt="x")
    bomb = BytesIO()
    Image.new("1", (13_000, 13_000)).save(bomb, "PNG")

    answer = await shop.client.post(
        "/desk/letters",
        data=data,
        files={"cover": ("x.png", bomb.getvalue(), "image/png")},
        headers={"Origin": shop.base_url},
    )

    assert answer.status_code == 422


async def test_two_who_write_at_once_both_keep_their_text(shop):
    csrf = await shop.log_in()
    post = await shop.draft("Un", "Premier texte")
    mine = await form(shop, csrf, title="Deux", body="Deuxième texte", version=str(post.version))
    theirs = mine | {"title": "Trois", "body": "Troisième texte"}
    assert (await shop.post(f"/desk/letters/{post.id}", **mine)).status_code == 303

    answer = await shop.post(f"/desk/letters/{post.id}", **theirs)

    assert answer.status_code == 409
    assert "Troisième texte" in answer.text
    assert "Deuxième texte" in answer.text
    assert (await shop.services.store.read(posts.get_post, post.id)).title == "Deux"


async def test_a_session_that_ends_while_writing_loses_nothing(shop):
    csrf = await shop.log_in()
    shop.client.cookies.clear()
    data = await form(shop, csrf, title="Gardé", body="Ligne 1\nLigne 2")

    asked = await shop.post("/desk/letters", **data)
    assert asked.status_code == 401
    kept = dict(re.findall(r'name="(kept:[a-z_]+)">\n([^<]*)</textarea>', asked.text))
    assert kept["kept:body"] == "Ligne 1\nLigne 2"
    going = await shop.post(
        "/desk/login", email=EMAIL, password=PASSWORD, next="/desk/letters", **kept
    )

    fields = dict(re.findall(r'name="([a-z_]+)">\n([^<]*)</textarea>', going.text))
    fresh = re.search(r'name="csrf" value="([^"]+)"', going.text)[1]
    saved = await shop.post("/desk/letters", csrf=fresh, **fields)
    assert saved.status_code == 303
    assert "Ligne 2" in (await shop.client.get(saved.headers["location"])).text


async def test_a_planned_letter_goes_out_by_itself_once(shop):
    post = await shop.draft("Planifiée", "Bonjour")
    await publishing.schedule(
        shop.services,
        post.id,
        at=shop.services.clock.now() + timedelta(seconds=1),
        version=post.version,
    )

    async def out():
        return (await shop.services.store.read(posts.get_post, post.id)).state == "published"

    await until(out)
    assert (await shop.client.get("/letters/planifiee")).status_code == 200


async def test_second_thoughts_stop_every_channel_and_bring_the_draft_back(shop):
    await shop.subscribe("ana@example.org")
    post = await shop.draft("Trop vite", "Bonjour", second_thoughts_ms=3_600_000)
    letter = await publishing.publish(shop.services, post.id, version=post.version)
    csrf = await shop.log_in()
    view = await shop.client.get(f"/desk/letters/{post.id}/delivery")
    assert "Tout arrêter" in view.text

    await shop.post(f"/desk/letters/{post.id}/stop", csrf=csrf)

    assert (await shop.client.get(letter.url)).status_code == 404
    answer = await shop.client.get(
        letter.object_id, headers={"Accept": "application/activity+json"}
    )
    assert answer.status_code == 404
    again = await shop.services.store.read(posts.get_post, post.id)
    assert again.state == "draft"
    assert len(await shop.mail_to("ana@example.org")) == 1


async def test_settings_topics_and_readers_are_pages_that_work(shop):
    csrf = await shop.log_in()
    await shop.subscribe("ana@example.org")
    saved = await shop.post(
        "/desk/settings", csrf=csrf, title="Atelier", description="Des sacs", language="fr"
    )
    assert saved.status_code == 303
    assert "Des sacs" in (await shop.client.get("/")).text
    wrong = await shop.post("/desk/settings", csrf=csrf, title="", reply_to="x", language="fr")
    assert wrong.status_code == 422
    assert (await shop.post("/desk/topics", csrf=csrf, name="Lin")).status_code == 303
    assert (await shop.post("/desk/topics", csrf=csrf, name="Lin")).status_code == 422
    assert (await shop.client.get("/topics/lin")).status_code == 200
    assert "ana@example.org" in (await shop.client.get("/desk/readers?q=ana")).text
    assert "ana@example.org" not in (await shop.client.get("/desk/readers?q=nobody")).text
