"""Nonsense of every shape through the real inbox: a status of the table, no trace in the log or the
database, no connection to where none may go, no growth.

The examples are the same on each run.
"""

import asyncio
import base64
import json
import tracemalloc
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.digests import digest_header, sha256_base64
from tests.federation.peer import RSA, TYPE, Peer
from tests.hostile.siege import PUBLIC

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE = {202, 400, 401, 403, 404, 405, 413, 415}
FUZZ = {
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}

_hosts = st.sampled_from(
    [
        "a.peer.example",
        "inside.example",
        "metadata.example",
        "mixed.example",
        "127.0.0.2",
        "[::1]",
        "localhost",
        "10.0.0.5",
        "xn--a",
        "ａ.peer.example",
        "0x7f.1",
        "",
    ]
)
_urls = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "//", "ftp://", "acct:", "http:\\\\", "HTTP://"]),
    _hosts,
    st.sampled_from(["", ":1", ":99999", ":0", ":", "@b.example", "\\@b.example"]),
    st.text(max_size=12).map(lambda text: f"/{text}"),
)
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    _urls,
    st.sampled_from([PUBLIC, "Note", "Person", "Tombstone", "2026-11-24T08:00:00Z", "<script>"]),
)
_names = st.sampled_from(
    "@context id type actor object to cc bto attributedTo inReplyTo content contentMap name url "
    "tag icon updated published target instrument oneOf endTime proof signature href "
    "mediaType".split()
)
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_names | st.text(max_size=5), inner, max_size=5),
    ),
    max_leaves=12,
)
_types = st.sampled_from(
    "Follow Undo Create Update Delete Like Announce Block Move Flag Accept Reject QuoteRequest "
    "EmojiReact Add View".split()
)


async def judged(siege, sending, allowed=TABLE) -> None:
    answer = await sending
    assert answer.status_code in allowed, answer.text
    assert len(answer.content) <= 200


@settings(max_examples=120, **FUZZ)
@given(st.text(max_size=150), st.text(max_size=150), st.binary(max_size=60), st.booleans())
async def _headers(siege, signature, other, body, both):
    ana = Peer(f"{siege.base}/users/fuzz", RSA)
    headers = siege.headers(ana, body)
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    clean = "".join(c for c in signature if c not in "\r\n\0").encode("utf-8", "ignore").strip()
    extra = "".join(c for c in other if c not in "\r\n\0").encode("utf-8", "ignore").strip()
    pairs = [pair for pair in pairs if pair[0] != b"signature"] + [(b"signature", clean)]
    if both:
        pairs.append((b"signature-input", extra))
    await judged(siege, siege.post(pairs, body))


@settings(max_examples=120, **FUZZ)
@given(
    st.sampled_from(
        "keyId algorithm headers signature created expires digest date host content-digest".split()
    ),
    st.text(max_size=40) | _urls | st.sampled_from(["", "9" * 11, "9" * 15, "-1", "1e9", "(a)"]),
)
async def _parameters(siege, name, value):
    body = b'{"type":"Like","actor":"http://a.peer.example/x","object":"y"}'
    ana = Peer(f"{siege.base}/users/fuzz", RSA)
    headers = siege.headers(ana, body)
    value = "".join(c for c in value if c not in '\r\n\0"').strip()
    if name in headers:
        headers[name] = value
    else:
        fields = headers["signature"]
        start = fields.find(f'{name}="')
        end = fields.find('"', start + len(name) + 2) + 1
        mine = f'{name}="{value}"'
        headers["signature"] = (
            f"{fields},{mine}" if start < 0 else fields[:start] + mine + fields[end:]
        )
    pairs = [(k.encode(), v.encode("utf-8", "ignore")) for k, v in headers.items()]
    await judged(siege, siege.post(pairs, body))


@settings(max_examples=120, **FUZZ)
@given(st.binary(max_size=200) | _values.map(lambda value: json.dumps(value).encode()))
async def _bodies(siege, body):
    ana = Peer(f"{siege.base}/users/fuzz", RSA)
    await judged(siege, siege.send(ana, body))


@settings(max_examples=150, **FUZZ)
@given(_types, _values, st.dictionaries(_names, _values, max_size=4))
async def _activities(siege, type, object, more):
    ana = Peer(f"{siege.base}/users/fuzz", RSA)
    number = sha256(json.dumps([type, object, more]).encode()).hexdigest()[:12]
    document = {
        "id": f"{ana.id}/acts/{number}",
        "type": type,
        "actor": ana.id,
        "object": object,
    }
    more = {name: value for name, value in more.items() if name not in document}
    await judged(siege, siege.send(ana, document | more), {202, 400})


@settings(max_examples=60, **FUZZ)
@given(st.dictionaries(_names | st.just("publicKey") | st.just("inbox"), _values, max_size=5))
async def _actors(siege, document):
    ana = siege.somebody()
    siege.show(ana.id, siege.document(ana) | document)
    await judged(siege, siege.send(ana, siege.activity(ana, "View", "x")), {202, 401})


@settings(max_examples=60, **FUZZ)
@given(_urls)
async def _keys(siege, url):
    body = b'{"id":"x","type":"Like","actor":"http://a.peer.example/x","object":"y"}'
    ana = Peer(f"{siege.base}/users/fuzz", RSA)
    headers = siege.headers(ana, body)
    clean = "".join(c for c in url if c not in '\r\n\0"')
    headers["signature"] = headers["signature"].replace(f"{ana.id}#main-key", clean)
    pairs = [(k.encode(), v.encode("utf-8", "ignore")) for k, v in headers.items()]
    await judged(siege, siege.post(pairs, body))


@pytest.mark.slow
@pytest.mark.rule("SU-7")
@pytest.mark.rule("IN-15")
@pytest.mark.rule("IN-16")
@pytest.mark.rule("IN-37")
@pytest.mark.parametrize("kind", [_headers, _parameters, _bodies, _activities, _actors, _keys])
async def test_nonsense_gets_a_status_of_the_table_and_leaves_no_trace(siege, kind):
    loop = asyncio.get_running_loop()
    before = await siege.effects()
    inner = kind.hypothesis.inner_test
    waiting: list = []

    def run(*args, **values):
        waiting.append(inner(*args, **values))

    kind.hypothesis.inner_test = run
    try:
        await loop.run_in_executor(None, lambda: kind(siege))
    finally:
        kind.hypothesis.inner_test = inner
    for one in waiting:
        await one

    assert len(waiting) >= 40
    assert set(await siege.effects()) ^ set(before) == set()
    assert siege.errors.found == []


@pytest.mark.rule("IN-17")
async def test_a_hundred_bodies_of_a_mebibyte_take_no_memory_that_stays(siege):
    body = b'{"a":"' + b"x" * ((1 << 20) - 8) + b'"}'
    headers = {"Content-Type": TYPE, "Digest": digest_header(sha256_base64(body))}
    headers |= {"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")}
    signature = base64.b64encode(bytes(256)).decode()
    headers["Signature"] = (
        f'keyId="{siege.base}/users/large",headers="(request-target) host date digest",'
        f'signature="{signature}"'
    )
    for _ in range(3):
        await siege.refused(siege.post(headers, body), 400)
    tracemalloc.start()
    try:
        for _ in range(40):
            assert (await siege.post(headers, body)).status_code == 400
        stays = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert stays < 5 << 20
