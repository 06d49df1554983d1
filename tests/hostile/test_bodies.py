"""Bodies that are none: pathological JSON, juggled types, sizes (IN-15 to IN-17, IN-34)."""

import json
import time

import pytest

from tests.federation.peer import TYPE

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.rule("IN-15")
@pytest.mark.rule("I20")
@pytest.mark.rule("L-8")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":99999999999999999999}',
        b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b"[" * (1 << 19),
        b'{"a":' * 200_000,
        b'{"a":[' + b"0," * 10_001 + b"0]}",
        b'{"a":"' + b"\\u0041" * 170_000 + b'"}',
    ],
    ids=range(14),
)
async def test_pathological_json_is_400_quickly(siege, body):
    ana = siege.somebody()
    headers = siege.headers(ana, body)
    before = await siege.state()
    start = time.monotonic()

    answer = await siege.post(headers, body)

    assert answer.status_code == 400
    assert time.monotonic() - start < 1.0
    assert await siege.state() == before


@pytest.mark.rule("IN-16")
@pytest.mark.parametrize(
    "change",
    [
        {"actor": None},
        {"actor": []},
        {"actor": ["a", "b"]},
        {"actor": {"id": 7}},
        {"actor": 7},
        {"type": None},
        {"type": 7},
        {"type": [7, None]},
        {"id": 7},
        {"id": {}},
        {"id": ["x"]},
        {"id": "x" * 3000},
    ],
)
async def test_types_that_are_juggled_are_400(siege, change):
    ana = siege.somebody()

    await siege.refused(siege.send(ana, siege.follow(ana) | change), 400)


@pytest.mark.rule("IN-16")
@pytest.mark.parametrize("type", ["Follow", "Undo", "Create", "Update", "Delete", "Like", "Block"])
async def test_strange_objects_are_202_without_an_effect(siege, type):
    ana = siege.somebody()
    for strange in (None, 7, True, [], {}, [[]], {"id": {}}, ["a", "b"], {"type": "Note"}, "\0"):
        await siege.ignored(siege.send(ana, siege.activity(ana, type, strange)))


@pytest.mark.rule("IN-17")
@pytest.mark.rule("L-1")
@pytest.mark.rule("I20")
async def test_a_body_may_have_a_mebibyte_and_not_an_octet_more(siege):
    ana = siege.somebody()
    bare = json.dumps(siege.follow(ana) | {"pad": ["", "", ""]})
    room = (1 << 20) - len(bare)
    third = room // 3
    pad = ["x" * third, "x" * third, "x" * (room - 2 * third)]
    whole = bare.replace('["", "", ""]', json.dumps(pad)).encode()[: 1 << 20]
    assert len(whole) == 1 << 20

    assert (await siege.send(ana, whole)).status_code == 202
    await siege.refused(siege.send(ana, whole + b" "), 413)

    async def chunks():
        for _ in range(40):
            yield b" " * (32 << 10)

    await siege.refused(siege.post({"Content-Type": TYPE}, chunks()), 413)


@pytest.mark.rule("IN-17")
@pytest.mark.parametrize("encoding", ["gzip", "br", "identity", "x"])
async def test_an_encoded_body_and_another_media_type_are_415(siege, encoding):
    packed = {"Content-Type": TYPE, "Content-Encoding": encoding}
    await siege.refused(siege.post(packed, b"{}"), 415)
    for type in ("text/plain", "text/html; application/activity+json", "multipart/form-data"):
        await siege.refused(siege.post({"Content-Type": type}, b"{}"), 415)


@pytest.mark.rule("IN-34")
@pytest.mark.rule("L-9")
@pytest.mark.parametrize(
    "actor",
    [
        "http://a.peer.example\\@b.peer.example/users/x",
        "http://u:p@a.peer.example/users/x",
        "http://a.peer.example./users/x",
        "http://a.peer.example/ x",
        "//a.peer.example/users/x",
        "javascript:alert(1)",
        "http://a.peer.example/" + "x" * 2030,
    ],
)
async def test_an_ambiguous_actor_is_400(siege, actor):
    ana = siege.somebody()

    await siege.refused(siege.send(ana, siege.follow(ana, actor=actor)), 400)


@pytest.mark.rule("IN-37")
async def test_error_texts_are_fixed_and_never_repeat_what_came(siege):
    ana = siege.somebody()
    marker = "evil\r\nmarker"
    for document in (
        siege.follow(ana, id=f"https://victim.example/{marker}"),
        siege.follow(ana, actor=marker),
        siege.follow(ana, type={"a": marker}),
    ):
        answer = await siege.send(ana, document)
        assert answer.status_code == 400
        assert "marker" not in answer.text
        assert len(answer.content) <= 200
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.rule("IN-15")
@pytest.mark.rule("L-8")
@pytest.mark.parametrize(
    ("more", "good"),
    [
        ('"x":' + "[" * 31 + "]" * 31, True),
        ('"x":' + "[" * 32 + "]" * 32, False),
        ('"name":"View"', True),
        ('"type":"View"', False),
    ],
    ids=["depth 32", "depth 33", "a name", "a name twice"],
)
async def test_signed_json_at_its_limits(siege, more, good):
    ana = siege.somebody()
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    body = json.dumps(siege.activity(ana, "View", ana.id))[:-1] + f",{more}}}"

    await siege.refused(siege.send(ana, body.encode()), 202 if good else 400)
