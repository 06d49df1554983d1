"""How much a form may hold, whether it says so beforehand or comes in chunks."""

import pytest

from fediletter.limits import DESK_FORM_BYTES, FORM_FIELDS, PUBLIC_FORM_BYTES, UPLOAD_BYTES
from tests.fediletter.dump import dump

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
