"""How much a form may hold, whether it says so beforehand or comes in chunks."""

import asyncio
import tempfile

import pytest

from fediletter.limits import DESK_FORM_BYTES, FORM_FIELDS, PUBLIC_FORM_BYTES, UPLOAD_BYTES
from tests.fediletter.dump import dump
from tests.shop import until

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _padded(size: int) -> bytes:
    start = b"email=a%40example.org&other="
    return start + b"x" * (size - len(start))


async def _in_chunks(body: bytes):
    for start in range(0, len(body), 8192):
        yield body[start : start + 8192]


@pytest.mark.rule("L-2")
@pytest.mark.rule("WE-17")
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_public_form_holds_so_much_and_no_octet_more(shop, chunked):
    async def send(size: int) -> int:
        body = _padded(size)
        content = _in_chunks(body) if chunked else body
        return (await shop.client.post("/subscribe", content=content, headers=FORM)).status_code

    before = await shop.services.store.read(dump)
    assert await send(PUBLIC_FORM_BYTES + 1) == 413
    assert await shop.services.store.read(dump) == before

    assert await send(PUBLIC_FORM_BYTES) < 400


@pytest.mark.rule("L-5")
async def test_a_form_has_so_many_fields_and_not_one_more(shop):
    async def send(fields: int) -> int:
        body = "&".join(f"f{number}=x" for number in range(fields))
        return (await shop.client.post("/subscribe", content=body, headers=FORM)).status_code

    assert await send(FORM_FIELDS + 1) == 400
    assert await send(FORM_FIELDS) != 400


@pytest.mark.rule("WE-17")
async def test_files_of_somebody_unknown_are_not_read(shop):
    answer = await shop.client.post(
        "/desk/media",
        files={"image": ("a.jpg", b"x" * (DESK_FORM_BYTES + UPLOAD_BYTES), "image/jpeg")},
        headers={"Origin": shop.base_url},
    )

    assert answer.status_code == 413
    assert "déconnecté" in answer.text


def _spooling_is_seen(monkeypatch) -> list[object]:
    """Temporary files that grew beyond memory, whoever made them."""
    rolled: list[object] = []
    roll = tempfile.SpooledTemporaryFile.rollover
    monkeypatch.setattr(
        tempfile.SpooledTemporaryFile, "rollover", lambda file: (rolled.append(file), roll(file))
    )
    return rolled


@pytest.mark.rule("ME-8")
@pytest.mark.rule("L-2")
@pytest.mark.parametrize("path", ["/desk/letters", "/desk/media", "/desk/readers/import"])
async def test_a_strangers_files_are_never_written_down_and_the_text_is_kept(
    shop, monkeypatch, path
):
    rolled = _spooling_is_seen(monkeypatch)

    answer = await shop.client.post(
        path,
        data={"title": "Gardé", "csrf": "x"},
        files={"cover": ("a.jpg", b"x" * UPLOAD_BYTES, "image/jpeg")},
        headers={"Origin": shop.base_url},
    )

    assert answer.status_code == 401
    assert "Gardé</textarea>" in answer.text
    assert "fichiers sont à choisir" in answer.text
    assert rolled == []


@pytest.mark.rule("L-2")
@pytest.mark.rule("WE-17")
@pytest.mark.parametrize("path", ["/desk/login", "/desk/login/code"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_door_takes_what_was_typed_and_no_octet_more(shop, path, chunked):
    most = DESK_FORM_BYTES + PUBLIC_FORM_BYTES
    headers = FORM | {"Origin": shop.base_url, "Accept-Language": "fr"}
    body = b"kept%3Abody=" + b"x" * (DESK_FORM_BYTES - 100) + b"&"
    body += _padded(most + 1 - len(body))

    content = _in_chunks(body) if chunked else body
    answer = await shop.client.post(path, content=content, headers=headers)

    assert (answer.status_code, "C’est trop gros." in answer.text) == (413, True)


@pytest.mark.rule("WE-17")
@pytest.mark.parametrize("path", ["/desk/letters", "/desk/media", "/desk/readers/import"])
async def test_what_is_announced_as_too_much_is_refused_before_it_comes_in_words(shop, path):
    await shop.log_in()
    cookie = "; ".join(f"{name}={value}" for name, value in shop.client.cookies.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {shop.base_url[7:]}\r\nOrigin: {shop.base_url}\r\n"
        f"Cookie: {cookie}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Connection: close\r\nContent-Length: {1 << 40}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.client.base_url.port)
    writer.write(head.encode())
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()

    assert answer.startswith("HTTP/1.1 413 ")
    assert "C’est trop gros." in answer


@pytest.mark.rule("L-3")
@pytest.mark.rule("WE-14")
@pytest.mark.parametrize("path", ["/subscribe", "/desk/login", "/desk/media"])
async def test_a_strangers_form_that_never_ends_is_given_up(shop, monkeypatch, path):
    monkeypatch.setattr("fediletter.web.forms.BODY_SECONDS", 0.05)
    start = b'--x\r\nContent-Disposition: form-data; name="email"\r\n\r\na'

    head = (
        f"POST {path} HTTP/1.1\r\nHost: {shop.base_url[7:]}\r\nOrigin: {shop.base_url}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.client.base_url.port)
    writer.write(head.encode() + start)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()

    assert b" 408 " in line


@pytest.mark.rule("WE-21")
@pytest.mark.parametrize("path", ["/subscribe", "/desk/media"])
async def test_somebody_who_hangs_up_in_the_middle_is_no_bug_of_ours(shop, caplog, path):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {shop.base_url[7:]}\r\nOrigin: {shop.base_url}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n"
    )
    server = asyncio.all_tasks()
    _, writer = await asyncio.open_connection("127.0.0.1", shop.client.base_url.port)
    writer.write(head.encode())
    await until(lambda: any("run_asgi" in repr(one) for one in asyncio.all_tasks() - server))
    writer.close()
    await until(lambda: not any("run_asgi" in repr(one) for one in asyncio.all_tasks() - server))

    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == []
