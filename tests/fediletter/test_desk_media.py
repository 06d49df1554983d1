"""Files that come to the desk, by rule (security.md section 5)."""

import asyncio
import json
import subprocess
import time
import zlib
from io import BytesIO

import pytest
from PIL import Image, PngImagePlugin

from fediletter import limits
from fediletter.media import uploads
from fediletter.media.uploads import Upload, store_image
from fediletter.room import Room
from fediletter.web.forms import FORM_FIELDS
from storage.media import get_media, list_media
from tests.fediletter.test_desk import picture
from tests.needs import need


async def send(shop, octets, *, name="sac.jpg", declared="image/jpeg"):
    """Upload at the media page; the answer and how many seconds it took."""
    csrf = getattr(shop, "csrf", None) or await shop.log_in()
    shop.csrf = csrf
    began = time.monotonic()
    answer = await shop.client.post(
        "/desk/media",
        data={"csrf": csrf, "alt": "Un sac"},
        files={"image": (name, octets, declared)},
        headers={"Origin": shop.base_url},
    )
    return answer, time.monotonic() - began


async def nothing_is_kept(shop) -> bool:
    rows = await shop.services.store.read(list_media, limit=5)
    return rows == [] and list(shop.settings.media.iterdir()) == []


@pytest.mark.rule("ME-1")
@pytest.mark.parametrize(
    ("octets", "name", "declared"),
    [
        (picture("PNG"), "sac.jpg", "image/jpeg"),
        (picture(), "sac.html", "image/jpeg"),
        (picture(), "sac.jpg", "text/html"),
        (b"<script>" + picture(), "sac.jpg", "image/jpeg"),
        (picture("TIFF"), "sac.jpg", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "sac.webp", "image/webp"),
    ],
)
async def test_content_name_and_type_must_say_the_same(shop, octets, name, declared):
    answer, _ = await send(shop, octets, name=name, declared=declared)

    assert answer.status_code == 422
    assert 'id="p-image"' in answer.text
    assert 'value="Un sac"' in answer.text, "what was typed is kept"
    assert await nothing_is_kept(shop)


@pytest.mark.rule("ME-2")
@pytest.mark.parametrize(
    ("octets", "name", "declared"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "image/svg+xml"),
        (b"<!DOCTYPE html><script>", "a.html", "text/html"),
        (b"%PDF-1.7", "a.pdf", "application/pdf"),
        (b"%!PS-Adobe-3.0 EPSF", "a.eps", "image/jpeg"),
        (b'{"@context":"https://www.w3.org/ns/activitystreams"}', "a.json", "application/json"),
    ],
)
async def test_documents_are_never_files(shop, octets, name, declared):
    answer, seconds = await send(shop, octets, name=name, declared=declared)

    assert (answer.status_code, seconds < 1) == (422, True)
    assert await nothing_is_kept(shop)


@pytest.mark.rule("ME-3")
@pytest.mark.rule("ME-4")
async def test_two_readers_of_metadata_find_none_and_no_payload_is_left(shop):
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "SECRET-PNG")
    exif = Image.Exif()
    exif[0x010E] = "SECRET-EXIF"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 30.0)  # GPS latitude.
    out = BytesIO()
    Image.new("RGB", (700, 400), "#efe6d8").save(out, "PNG", pnginfo=note, exif=exif)

    answer, _ = await send(
        shop, out.getvalue() + b"PK\x03\x04SECRET-ZIP", name="a.png", declared="image/png"
    )

    assert answer.status_code == 303
    exiftool = need("exiftool")
    for file in shop.settings.media.iterdir():
        assert b"SECRET" not in file.read_bytes()
        with Image.open(file) as image:
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density",
                                       "progressive", "progression"}  # fmt: skip
        read = subprocess.run([exiftool, "-j", "-G", str(file)], capture_output=True, text=True)
        groups = {key.partition(":")[0] for key in json.loads(read.stdout)[0]}
        assert groups <= {"SourceFile", "ExifTool", "File", "JFIF", "Composite"}


@pytest.mark.rule("ME-5")
async def test_a_bomb_of_pixels_is_refused_within_a_second(shop):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    head = (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    bomb += chunk(b"IDAT", zlib.compress(bytes(10_000_000))) + chunk(b"IEND", b"")

    answer, seconds = await send(shop, bomb, name="a.png", declared="image/png")

    assert answer.status_code == 422
    assert seconds < 1
    assert await nothing_is_kept(shop)


@pytest.mark.rule("ME-6")
async def test_a_child_that_dies_leaves_the_server_as_it_was(shop, monkeypatch):
    monkeypatch.setattr(uploads.sys, "executable", "/bin/false")
    answer, _ = await send(shop, picture())
    assert answer.status_code == 422
    assert await nothing_is_kept(shop)

    monkeypatch.undo()

    assert (await send(shop, picture()))[0].status_code == 303


@pytest.mark.rule("ME-7")
@pytest.mark.parametrize("name", ["../../../etc/passwd.jpg", "a\x00b.jpg", "con.jpg", "é" * 400])
async def test_the_name_of_a_file_is_words_and_nothing_else(shop, name):
    upload = Upload(picture(), name if name.endswith(".jpg") else name + ".jpg", "image/jpeg")

    media_id = await store_image(
        shop.services.store, shop.settings.media, upload, now=shop.services.clock.now()
    )

    kept = await shop.services.store.read(get_media, media_id)
    assert len(kept.name) <= 255
    assert "\x00" not in kept.name
    for one in kept.renditions:
        assert (shop.settings.media / one.name).parent == shop.settings.media
        assert one.name.startswith(kept.public_id)
    assert {file.name for file in shop.settings.media.iterdir()} == {
        one.name for one in kept.renditions
    }


@pytest.mark.rule("ME-8")
async def test_a_huge_file_a_full_disk_and_a_full_quota_are_refused_with_a_reason(
    shop, monkeypatch
):
    huge, seconds = await send(shop, picture() + bytes(limits.UPLOAD_BYTES))
    assert (huge.status_code, seconds < 1) == (422, True)
    assert 'id="p-image"' in huge.text

    monkeypatch.setattr(uploads, "room_in", lambda _: Room(499, 500))
    assert (await send(shop, picture()))[0].status_code == 422
    monkeypatch.undo()
    monkeypatch.setattr(uploads, "MEDIA_QUOTA_BYTES", -1)
    full, _ = await send(shop, picture())

    assert "Tous les fichiers réunis" in full.text
    assert await nothing_is_kept(shop)


@pytest.mark.rule("ME-8")
async def test_too_many_parts_and_a_body_beyond_every_limit_are_refused_unread(shop):
    csrf = await shop.log_in()
    many = {f"x{number}": "y" for number in range(FORM_FIELDS + 5)}
    parts = await shop.client.post(
        "/desk/media",
        data={"csrf": csrf} | many,
        files={"image": ("a.jpg", picture(), "image/jpeg")},
        headers={"Origin": shop.base_url},
    )
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(shop.base_url.rpartition(":")[2])
    )
    head = f"POST /desk/media HTTP/1.1\r\nHost: {shop.base_url[7:]}\r\nOrigin: {shop.base_url}\r\n"
    writer.write(f"{head}Content-Length: {1 << 30}\r\n\r\n".encode())
    beyond = await reader.readline()
    writer.close()

    assert parts.status_code in (400, 413)
    assert b" 413 " in beyond
    assert await nothing_is_kept(shop)
