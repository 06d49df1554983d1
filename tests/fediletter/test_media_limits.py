"""How large, how many, how hostile: files at each limit and one beyond (L-50 to L-56)."""

import asyncio
import io
import os
import re
import resource
import shutil
import struct
import time
import zlib
from collections import namedtuple
from datetime import timedelta

import pytest
from PIL import Image

from fediletter import limits
from fediletter.founders.passwords import problem_with
from fediletter.media import images, uploads
from fediletter.media.uploads import Upload, store_image
from fediletter.outbound import publish as publishing
from fediletter.workers.timetable import Timetable
from storage.media import get_media
from storage.posts import get_post
from storage.throttles import hit
from tests.accounts import Turned
from tests.fediletter.test_desk import picture
from tests.fediletter.test_desk_media import nothing_is_kept, send
from tests.shop import running_shop


def work_seconds() -> float:
    """What this process and its ended children have computed: a busy machine makes it no longer."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def animation(kind: str, frames: int, size=(40, 30)) -> bytes:
    out = io.BytesIO()
    pictures = [
        Image.new("RGB", size, (n * 53 % 256, n * 91 % 256, n % 256)) for n in range(frames)
    ]
    pictures[0].save(out, kind, save_all=True, append_images=pictures[1:], lossless=True)
    return out.getvalue()


def endless_gif(octets: int) -> bytes:
    """A GIF of as many one-pixel frames as fit."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + b"\x00"
    return head + frame * ((octets - len(head)) // len(frame)) + b"\x3b"


def flat_png(width: int, height: int) -> bytes:
    """A PNG that says this size and holds as much as it takes, in few octets."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes((width // 8 + 2) * height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.rule("L-50")
async def test_ten_mebibytes_are_taken_and_no_octet_more(shop):
    octets = picture()
    fits = octets + bytes(limits.UPLOAD_BYTES - len(octets))

    assert (await send(shop, fits))[0].status_code == 303
    began = work_seconds()
    answer, _ = await send(shop, fits + b"\0")

    assert work_seconds() - began < 1
    assert answer.status_code == 422
    assert "10" in re.search(r'id="p-image">([^<]+)', answer.text)[1]


@pytest.mark.rule("L-51")
@pytest.mark.rule("L-52")
@pytest.mark.parametrize(
    ("width", "height", "taken"),
    [
        (8000, 5000, True),
        (8000, 5001, False),
        (12_000, 10, True),
        (12_001, 10, False),
        (10, 12_001, False),
    ],
)
def test_pixels_and_sides_are_counted_before_anything_is_decoded(
    tmp_path, monkeypatch, width, height, taken
):
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    octets = flat_png(width, height)

    began = time.monotonic()
    with pytest.raises(pytest.fail.Exception if taken else images.Unusable):
        images.convert(octets, tmp_path)

    assert time.monotonic() - began < 1


@pytest.mark.rule("L-52")
@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_two_hundred_frames_are_taken_and_no_more(tmp_path, kind):
    assert images.convert(animation(kind, limits.IMAGE_FRAMES), tmp_path)
    with pytest.raises(images.Unusable):
        images.convert(animation(kind, limits.IMAGE_FRAMES + 1), tmp_path)


@pytest.mark.slow
@pytest.mark.rule("L-52")
def test_the_pixels_of_all_frames_count_together(tmp_path):
    side = 4000  # 16 million pixels: twelve fit, thirteen do not.
    few = animation("GIF", 12, (side, side))
    image = Image.open(io.BytesIO(few))
    assert images._frames(image, few) * side * side <= limits.IMAGE_FRAMES_PIXELS
    with pytest.raises(images.Unusable):
        images.convert(animation("GIF", 13, (side, side)), tmp_path)


@pytest.mark.rule("L-53")
@pytest.mark.parametrize(
    ("size", "turned", "stored"),
    [
        ((4000, 3000), False, (2560, 1920)),
        ((4000, 3000), True, (1920, 2560)),
        ((300, 6000), False, (128, 2560)),
        ((700, 400), False, (700, 400)),
    ],
)
def test_neither_stored_side_is_longer_than_a_page_needs(tmp_path, size, turned, stored):
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    out = io.BytesIO()
    Image.new("RGB", size, "#efe6d8").save(out, "JPEG", exif=exif)

    files = images.convert(out.getvalue(), tmp_path)

    assert limits.IMAGE_STORED_SIDE == 2560
    assert (files[0]["width"], files[0]["height"]) == stored
    widths = [int(str(one["width"])) for one in files]
    assert widths == sorted(set(widths), reverse=True)


@pytest.mark.slow
@pytest.mark.rule("L-51")
@pytest.mark.rule("L-54")
@pytest.mark.parametrize(
    ("kind", "mode", "size", "taken"),
    [
        ("PNG", "RGBA", (8000, 5000), True),
        ("PNG", "P", (8000, 5000), True),
        ("JPEG", "CMYK", (8000, 5000), True),
        ("WEBP", "RGB", (6000, 4000), True),
        ("WEBP", "RGB", (8000, 5000), False),
    ],
)
async def test_as_many_pixels_as_are_taken_fit_into_half_a_gibibyte(shop, kind, mode, size, taken):
    assert limits.IMAGE_MEMORY_BYTES == 512 << 20
    out = io.BytesIO()
    color = {"RGBA": (9, 8, 7, 90), "P": 3, "CMYK": (9, 8, 7, 6), "RGB": (9, 8, 7)}[mode]
    options = {"lossless": True, "method": 0} if kind == "WEBP" else {}
    Image.new(mode, size, color).save(out, kind, **options)
    name = f"a.{kind.lower()}"

    answer, _ = await send(shop, out.getvalue(), name=name, declared=f"image/{kind.lower()}")

    assert answer.status_code == (303 if taken else 422)
    if not taken:
        assert "trop de pixels" in re.search(r'id="p-image">([^<]+)', answer.text)[1]


def test_grey_of_sixteen_bits_keeps_its_shade(tmp_path):
    out = io.BytesIO()
    Image.new("I;16", (300, 200), 40_000).save(out, "PNG")

    images.convert(out.getvalue(), tmp_path)

    with Image.open(tmp_path / "300.jpg") as image:
        assert image.convert("L").getpixel((100, 100)) == pytest.approx(156, abs=2)


HOSTILE = {
    "html in front": (b"<!DOCTYPE html><script>" + picture(), "a.jpg"),
    "svg": (b'<?xml version="1.0"?><svg onload="x"/>', "a.jpg"),
    "gif that is a script": (b"GIF89a=1;alert(1);//", "a.gif"),
    "zip as png": (b"\x89PNG\r\n\x1a\nPK\x03\x04", "a.png"),
    "truncated jpeg": (picture()[:400], "a.jpg"),
    "truncated png": (picture("PNG")[:100], "a.png"),
    "truncated webp": (picture("WEBP")[:60], "a.webp"),
    "bomb of pixels": (flat_png(12_000, 12_000), "a.png"),
    "bomb of frames": (endless_gif(limits.UPLOAD_BYTES - 100), "a.gif"),
    "bomb of text": (
        b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x0dIHDR" + bytes(17) + b"\xff\xff\xff\xffzTXt",
        "a.png",
    ),
    "tiff inside jpeg": (b"\xff\xd8\xff\xe1\xff\xffExif\0\0II*\0" + b"\xff" * 200, "a.jpg"),
    "empty": (b"", "a.jpg"),
}


@pytest.mark.rule("ME-1")
@pytest.mark.rule("ME-5")
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_refused_in_a_second_with_a_reason(shop, name):
    octets, file = HOSTILE[name]
    kind = file.rpartition(".")[2].replace("jpg", "jpeg")
    shop.csrf = await shop.log_in()
    began = work_seconds()

    answer, _ = await send(shop, octets, name=file, declared=f"image/{kind}")

    seconds = work_seconds() - began
    assert answer.status_code == 422
    assert re.search(r'id="p-image">[^<]{10,}', answer.text), "a reason beside the field"
    assert 'value="Un sac"' in answer.text, "what was typed is kept"
    assert seconds < 1, seconds
    assert await nothing_is_kept(shop)


@pytest.mark.rule("ME-6")
@pytest.mark.rule("L-54")
async def test_a_child_that_takes_too_long_is_ended(shop, monkeypatch, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    monkeypatch.setattr(uploads.sys, "executable", str(slow))
    monkeypatch.setattr(uploads, "IMAGE_CPU_SECONDS", -4.5)

    answer, seconds = await send(shop, picture())

    assert answer.status_code == 422
    assert seconds < 5
    assert await nothing_is_kept(shop)
    assert limits.IMAGE_CPU_SECONDS == 15


@pytest.mark.rule("ME-6")
async def test_ten_pictures_at_once_are_decoded_two_by_two(shop, monkeypatch, tmp_path):
    count = tmp_path / "count"
    count.mkdir()
    counted = tmp_path / "counted"
    counted.write_text(
        f"#!/bin/sh\ntouch {count}/$$; ls {count} | wc -l >> {tmp_path}/seen; sleep 0.05\n"
        f'{uploads.sys.executable} "$@"; rm {count}/$$\n'
    )
    counted.chmod(0o700)
    monkeypatch.setattr(uploads.sys, "executable", str(counted))
    shop.csrf = await shop.log_in()

    answers = await asyncio.gather(*(send(shop, picture()) for _ in range(10)))

    assert [answer.status_code for answer, _ in answers] == [303] * 10
    assert max(int(line) for line in (tmp_path / "seen").read_text().split()) == 2


@pytest.mark.rule("L-55")
async def test_two_hundred_files_an_hour_and_so_much_in_all(shop, monkeypatch):
    assert (200, timedelta(hours=1)) == limits.UPLOADS_PER_PERSON
    assert limits.MEDIA_QUOTA_BYTES == 5 << 30
    now = shop.services.clock.now()
    for _ in range(199):
        await shop.services.store.write(
            hit, "uploads:1", most=200, span=limits.UPLOADS_PER_PERSON[1], now=now
        )

    assert (await send(shop, picture()))[0].status_code == 303
    answer, _ = await send(shop, picture())

    assert answer.status_code == 422
    assert "beaucoup de fichiers" in answer.text


async def states_of(shop, *drafts):
    return [(await shop.services.store.read(get_post, one.id)).state for one in drafts]


@pytest.mark.rule("L-56")
@pytest.mark.parametrize(
    ("total", "floor"), [(1 << 40, 500 << 20), (10_000 << 20, 500 << 20), (4000 << 20, 200 << 20)]
)
async def test_below_the_floor_of_free_space_nothing_new_comes_in(
    tmp_path, monkeypatch, total, floor
):
    usage = namedtuple("usage", "total used free")
    clock = Turned()
    upload = Upload(picture(), "a.jpg", "image/jpeg")
    async with running_shop(tmp_path / "shop", workers=False, clock=clock) as shop:

        async def store():
            return await store_image(
                shop.services.store, shop.settings.media, upload, now=clock.now()
            )

        post, planned = await shop.draft("Une"), await shop.draft("Deux")
        await publishing.schedule(
            shop.services,
            planned.id,
            at=clock.now() + timedelta(hours=1),
            version=planned.version,
        )
        clock.forward += timedelta(hours=2)
        csrf = await shop.log_in()
        form = {"csrf": csrf, "version": str(post.version), "when": "now"}
        path = f"/desk/letters/{post.id}/publish"

        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(total, 0, floor - 1))
        with pytest.raises(uploads.AppError) as full:
            await store()
        refused = await shop.post(path, **form)
        await publishing.publish_due(shop.services)
        states = await states_of(shop, post, planned)
        assert (full.value.status, refused.status_code) == (507, 507)
        assert "Il n’y a plus de place sur le serveur." in refused.text
        assert states == ["draft", "scheduled"], "the planned one waits"
        assert await nothing_is_kept(shop)

        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(total, 0, floor))
        assert await store()
        assert (await shop.post(path, **form)).status_code == 303
        await publishing.publish_due(shop.services)
        states = await states_of(shop, post, planned)
        assert states == ["published", "published"]


@pytest.mark.rule("ME-8")
async def test_what_a_killed_upload_left_is_gone_within_hours(shop):
    media = shop.settings.media
    kept = await store_image(
        shop.services.store, media, Upload(picture(), "a.jpg"), now=shop.services.clock.now()
    )
    for name, hours in ((".upload-old", 2), (".upload-new", 0)):
        (media / name).mkdir()
        (media / name / "source").write_bytes(b"x")
        then = time.time() - hours * 3600
        os.utime(media / name, (then, then))

    await Timetable(shop.services, lambda: True)._tidy()

    assert [one.name for one in media.glob(".upload-*")] == [".upload-new"]
    shown = await shop.services.store.read(get_media, kept)
    assert all((media / one.name).exists() for one in shown.renditions)


@pytest.mark.rule("L-64")
@pytest.mark.parametrize(
    ("password", "fits"),
    [
        ("abcdefghijk", False),
        ("abcdefghijkl", True),
        ("abcd" * 256, True),
        ("abcd" * 256 + "e", False),
        ("motdepasse123", False),
        ("aaaaaaaaaaaaaaaa", False),
        ("une phrase entière, avec des espaces", True),
    ],
)
def test_a_password_has_twelve_to_1024_characters_and_is_not_a_common_one(password, fits):
    assert (problem_with(password) is None) is fits
