"""The threat table of security.md 2.2, scenario by scenario, against a whole running shop."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from federation.keys import Ed25519PrivateKey
from storage.blocks import add_block, remove_block
from tests.federation.peer import OTHER_RSA, RSA, TYPE, Peer

pytestmark = pytest.mark.asyncio(loop_scope="module")


def changed(headers: dict[str, str], name: str, value: str | None) -> dict[str, str]:
    found = dict(headers) | ({} if value is None else {name: value})
    if value is None:
        del found[name]
    return found


@pytest.mark.rule("IN-1")
async def test_an_unsigned_post_is_401_without_a_fetch(siege):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()

    await siege.refused(siege.post({"Content-Type": TYPE}, body), 401)
    for half in ('keyId="x"', "Signature"):
        await siege.refused(siege.post({"Content-Type": TYPE, "Signature": half}, body), 400)

    assert not [url for url in siege.fetched if url == ana.id]


_OTHER = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # Of no octets at all.
_MD5 = "MD5=1B2M2Y8AsgTpgAmY7PhCfg=="
_DIGESTS = {
    "cavage": (
        "digest",
        (None, "SHA-256=", "SHA-256=AAAA", f"SHA-256={_OTHER}", "SHA-256=!!!!", "nonsense", _MD5),
    ),
    "rfc9421": (
        "content-digest",
        (
            None,
            "sha-256=::",
            "sha-256=:AAAA:",
            f"sha-256=:{_OTHER}:",
            "sha-256=:!:",
            "x",
            "md5=:A:",
        ),
    ),
}


@pytest.mark.rule("IN-2")
@pytest.mark.rule("V07")
@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("scheme", _DIGESTS)
async def test_a_body_that_was_not_signed_is_401(siege, scheme, number):
    ana = siege.somebody()
    # Known, so that only the digest stands between the body and its effect.
    assert (await siege.send(ana, siege.activity(ana, "Like", "x"))).status_code == 202
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body, scheme=scheme)
    name, digests = _DIGESTS[scheme]

    await siege.refused(siege.post(headers, body + b" "), 401)
    await siege.refused(siege.post(changed(headers, name, digests[number]), body), 401)
    assert not await siege.follows(ana)


_FULL = "(request-target) host date digest content-type"


@pytest.mark.rule("IN-3")
@pytest.mark.rule("V06")
@pytest.mark.parametrize(
    "covered",
    [
        "date",
        "(request-target) host date",
        "(request-target) host digest",
        "(request-target) date digest",
        "host date digest",
        "(request-target) digest",
    ],
)
async def test_a_signature_that_covers_too_little_is_401(siege, covered):
    """Truly made over what it says that it covers: the refusal is for what is missing."""
    ana = siege.somebody()
    await siege.send(ana, siege.activity(ana, "Like", "x"))
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)
    made = made_over(headers, covered)
    headers["signature"] = (
        f'keyId="{ana.id}#main-key",algorithm="rsa-sha256",headers="{covered}",signature="{made}"'
    )
    await siege.refused(siege.post(headers, body), 401)
    # The same by hand over all that is asked for is taken.
    headers["signature"] = (
        f'keyId="{ana.id}#main-key",algorithm="rsa-sha256",headers="{_FULL}",'
        f'signature="{made_over(headers, _FULL)}"'
    )
    assert (await siege.post(headers, body)).status_code == 202


@pytest.mark.rule("IN-3")
@pytest.mark.rule("V10")
@pytest.mark.parametrize(
    "covered",
    [
        '"content-digest"',
        '"@method" "content-digest"',
        '"@target-uri" "content-digest"',
        '"@method" "@path" "content-digest"',
        '"@method" "@authority" "content-digest"',
        '"@method" "@target-uri"',
        None,
    ],
)
async def test_a_signature_by_rfc_9421_that_covers_too_little_is_401(siege, covered):
    ana = siege.somebody()
    await siege.send(ana, siege.activity(ana, "Like", "x"))
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body, scheme="rfc9421")
    whole = '"@method" "@target-uri" "content-digest"'
    created = "" if covered is None else f";created={int(datetime.now(UTC).timestamp())}"
    member = f'({covered or whole}){created};keyid="{ana.id}#main-key"'
    values = {
        "@method": "POST",
        "@target-uri": f"{siege.shop.base_url}/ap/inbox",
        "@path": "/ap/inbox",
        "@authority": siege.shop.base_url.partition("//")[2],
        "content-digest": headers["content-digest"],
    }
    names = [one.strip('"') for one in (covered or whole).split()]
    lines = [*(f'"{name}": {values[name]}' for name in names), f'"@signature-params": {member}']
    made = base64.b64encode(RSA.sign("\n".join(lines).encode())).decode()
    headers |= {"signature-input": f"sig1={member}", "signature": f"sig1=:{made}:"}

    await siege.refused(siege.post(headers, body), 401)


def made_over(headers: dict[str, str], covered: str) -> str:
    """A draft-cavage signature by RSA over these fields, in base64."""
    lines = [
        f"{name}: " + ("post /ap/inbox" if name == "(request-target)" else headers[name])
        for name in covered.split()
    ]
    return base64.b64encode(RSA.sign("\n".join(lines).encode())).decode()


@pytest.mark.rule("IN-4")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
async def test_a_signature_for_another_host_or_inbox_is_401(siege, scheme):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    elsewhere = dict(
        ana.request(
            "https://other.example/ap/inbox", body, now=datetime.now(UTC), scheme=scheme
        ).headers
    )
    await siege.refused(siege.post(elsewhere, body), 401)

    headers = siege.headers(ana, body, inbox="/ap/inbox", scheme=scheme)
    assert (await siege.post(headers, body)).status_code == 202
    await siege.settled()
    await siege.refused(siege.post(headers, body, inbox="/ap/shop/inbox"), 401)


@pytest.mark.rule("IN-5")
@pytest.mark.parametrize("name", ["date", "digest", "signature", "content-type"])
async def test_a_field_of_trust_that_stands_twice_is_400(siege, name):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)

    await siege.refused(siege.post([*headers.items(), (name, headers[name])], body), 400)


@pytest.mark.rule("IN-5")
async def test_two_hosts_are_refused(siege):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)
    lines = ["POST /ap/inbox HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    before = await siege.state()
    for host in (headers["host"], "other.example"):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(siege.shop.base_url.rpartition(":")[2])
        )
        head = "\r\n".join([*lines, f"Host: {host}", f"Content-Length: {len(body)}", "", ""])
        writer.write(head.encode() + body)
        assert (await reader.readline()).split()[1] in (b"400", b"401")
        writer.close()
    assert await siege.state() == before


@pytest.mark.rule("IN-6")
@pytest.mark.rule("L-6")
@pytest.mark.rule("V08")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
@pytest.mark.parametrize(("minutes", "status"), [(-66, 401), (-64, 202), (64, 202), (66, 401)])
async def test_a_capture_is_good_for_65_minutes_either_way(siege, scheme, minutes, status):
    ana = siege.somebody()
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    sending = siege.send(ana, siege.follow(ana), scheme=scheme, now=moment)

    if status == 401:
        await siege.refused(sending, 401)
        assert ana.id not in siege.fetched
    else:
        assert (await sending).status_code == 202


@pytest.mark.rule("IN-6")
@pytest.mark.rule("V05")
@pytest.mark.parametrize(
    ("created", "expires", "status"),
    [
        (0, 60, 202),
        (0, None, 202),
        (-3600, -1, 401),
        (0, 12 * 3600, 202),
        (0, 12 * 3600 + 60, 401),
        (-4000, 60, 401),
        ("99999999999", None, 401),
        ("999999999999", None, 401),
        ("-1", None, 401),
        ("١٢٣", None, 401),
    ],
)
async def test_created_and_expires_are_honoured_and_capped(siege, created, expires, status):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)
    now = int(datetime.now(UTC).timestamp())
    born = created if isinstance(created, str) else str(now + created)
    end = "" if expires is None else f",expires={now + expires}"
    covered = "(request-target) (created) host digest" + (" (expires)" if end else "")
    lines = [
        "(request-target): post /ap/inbox",
        f"(created): {born}",
        f"host: {headers['host']}",
        f"digest: {headers['digest']}",
    ] + ([f"(expires): {now + expires}"] if expires is not None else [])
    made = base64.b64encode(RSA.sign("\n".join(lines).encode("utf-8"))).decode()
    headers["signature"] = (
        f'keyId="{ana.id}#main-key",algorithm="hs2019",created={born}{end},'
        f'headers="{covered}",signature="{made}"'
    )
    del headers["date"]
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]

    sending = siege.post(pairs, body)
    if status == 202:
        assert (await sending).status_code == 202
    else:
        await siege.refused(sending, 401)


@pytest.mark.rule("IN-7")
@pytest.mark.rule("L-7")
async def test_a_replay_inside_the_window_changes_nothing_even_fifty_at_once(siege):
    ana = siege.somebody()
    follow = siege.follow(ana)
    assert (await siege.send(ana, follow)).status_code == 202
    await siege.settled()
    before = await siege.state()

    answers = await asyncio.gather(*(siege.send(ana, follow) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert await siege.state() == before


@pytest.mark.rule("IN-8")
async def test_somebody_elses_use_of_an_id_does_not_drop_the_true_activity(siege):
    ana, bo = siege.somebody(), siege.somebody()
    follow = siege.follow(ana)
    await siege.ignored(siege.send(bo, follow))
    await siege.ignored(siege.send(bo, siege.activity(bo, "Like", "x", id=follow["id"])))

    assert (await siege.send(ana, follow)).status_code == 202

    assert await siege.outcome(follow) == ("done", None)
    assert any(ana.id in line for line in await siege.effects() if line.startswith("activity: "))


@pytest.mark.rule("IN-9")
@pytest.mark.rule("L-10")
async def test_an_unknown_key_costs_two_fetches_and_then_none(siege):
    ana = siege.somebody()
    forged = Peer(ana.id, OTHER_RSA)
    siege.show(f"{ana.id}/key", {"id": f"{ana.id}/key", "owner": ana.id, "publicKeyPem": "x"})
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(forged, body)
    headers["signature"] = headers["signature"].replace("#main-key", "/key")
    siege.fetched.clear()

    answers = await asyncio.gather(*(siege.post(headers, body) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {401}
    assert siege.fetched == [f"{ana.id}/key", ana.id]

    await siege.refused(siege.post(headers, body), 401)
    assert len(siege.fetched) == 2, "the failure is remembered"


@pytest.mark.rule("IN-9")
@pytest.mark.rule("FE-1")
@pytest.mark.rule("FE-5")
@pytest.mark.parametrize(
    "place",
    [
        "http://inside.example/users/x",
        "http://metadata.example/latest/meta-data",
        "http://mixed.example/users/x",
        "http://hidden.example/users/x",
        "http://127.0.0.2:8000/x",
        "http://10.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://0x7f.0.0.2/x",
        "http://2130706434/x",
        "http://localhost/x",
    ],
)
async def test_a_key_at_a_forbidden_address_is_401_and_never_connected_to(siege, place):
    victim = Peer(place)
    connected = len(siege.connected)

    await siege.refused(siege.send(victim, siege.follow(victim)), 401)

    assert len(siege.connected) == connected


@pytest.mark.rule("FE-17")
async def test_a_key_at_our_own_host_is_never_asked_for(siege):
    ours = Peer(f"{siege.shop.base_url}/ap/shop")
    connected = len(siege.connected)

    await siege.refused(siege.send(ours, siege.follow(ours)), 401)

    assert len(siege.connected) == connected


@pytest.mark.rule("IN-10")
@pytest.mark.rule("V11")
async def test_a_key_document_that_names_another_owner_proves_nothing(siege):
    ana, victim = siege.somebody(), siege.somebody()
    siege.show(
        f"{ana.id}/key",
        {"id": f"{ana.id}/key", "owner": victim.id, "publicKeyPem": OTHER_RSA.public.text},
    )
    body = json.dumps(siege.follow(victim)).encode()
    headers = siege.headers(Peer(victim.id, OTHER_RSA), body)
    headers["signature"] = headers["signature"].replace(f"{victim.id}#main-key", f"{ana.id}/key")
    await siege.refused(siege.post(headers, body), 401)

    elsewhere = siege.somebody("b.peer.example")
    siege.show(
        f"{elsewhere.id}/key",
        {"id": f"{elsewhere.id}/key", "owner": ana.id, "publicKeyPem": OTHER_RSA.public.text},
    )
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(Peer(ana.id, OTHER_RSA), body)
    headers["signature"] = headers["signature"].replace(f"{ana.id}#main-key", f"{elsewhere.id}/key")
    await siege.refused(siege.post(headers, body), 401)


@pytest.mark.rule("IN-11")
async def test_an_actor_id_that_shows_another_actor_is_401(siege):
    ana, victim = siege.somebody(), siege.somebody("b.peer.example")
    siege.show(ana.id, siege.document(victim))

    await siege.refused(siege.send(ana, siege.follow(ana)), 401)

    uploaded = f"{siege.base}/media/{ana.id[-3:]}.json"
    forged = siege.document(Peer(victim.id.replace("b.peer", "a.peer"), OTHER_RSA))
    forged["publicKey"]["id"] = f"{uploaded}#k"
    siege.show(uploaded, forged)
    body = json.dumps(siege.follow(Peer(forged["id"]))).encode()
    headers = siege.headers(Peer(forged["id"], OTHER_RSA), body)
    headers["signature"] = headers["signature"].replace(f"{forged['id']}#main-key", f"{uploaded}#k")
    await siege.refused(siege.post(headers, body), 401)


@pytest.mark.rule("IN-12")
@pytest.mark.parametrize("key_id", ["acct:ana@a.peer.example", "ana", "ftp://a.peer.example/k", ""])
async def test_a_key_id_that_is_no_address_is_refused_without_a_fetch(siege, key_id):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body)
    headers["signature"] = headers["signature"].replace(f"{ana.id}#main-key", key_id)

    await siege.refused(siege.post(headers, body), 401)
    assert ana.id not in siege.fetched


@pytest.mark.rule("IN-13")
async def test_another_actors_activity_is_202_and_a_foreign_id_400(siege):
    ana, bo = siege.somebody(), siege.somebody()
    await siege.send(bo, siege.follow(bo))

    await siege.refused(siege.send(bo, siege.follow(ana)), 202)
    await siege.refused(siege.send(bo, siege.follow(bo, id="https://victim.example/acts/1")), 400)
    missing = siege.activity(bo, "Create", {})
    del missing["id"]
    await siege.refused(siege.send(bo, missing), 400)


@pytest.mark.rule("IN-14")
@pytest.mark.parametrize("name", ["@graph", "@included", "@reverse"])
async def test_graph_keywords_are_400_and_linked_data_signatures_count_for_nothing(siege, name):
    ana, bo = siege.somebody(), siege.somebody()
    await siege.send(bo, siege.follow(bo))
    signed = {"signature": {"type": "RsaSignature2017", "creator": f"{ana.id}#main-key"}}

    await siege.refused(siege.send(ana, siege.follow(ana) | {name: []}), 400)
    await siege.refused(siege.send(bo, siege.follow(ana) | signed), 202)
    context = {"@context": [f"{siege.base}/contexts/evil", {"actor": "object"}]}
    assert (await siege.send(bo, siege.follow(bo) | context)).status_code == 202
    assert not [url for url in siege.fetched if "/contexts/" in url]


@pytest.mark.rule("IN-14")
@pytest.mark.rule("V16")
async def test_a_forwarded_activity_counts_by_its_actors_own_proof_alone(siege):
    ana, bo = siege.somebody(), siege.somebody()
    letter = await siege.letter()
    await siege.send(bo, siege.follow(bo))
    create = siege.activity(ana, "Create", siege.note(ana, letter))

    await siege.refused(siege.send(bo, create), 202)
    wrong = siege.proven(ana, create, Ed25519PrivateKey.generate())
    await siege.ignored(siege.send(bo, wrong))
    await siege.ignored(siege.send(bo, siege.proven(bo, create)))
    proven = siege.proven(ana, create)
    await siege.ignored(siege.send(bo, proven | {"summary": "added on the way"}))

    assert (await siege.send(bo, proven)).status_code == 202

    assert await siege.outcome(create) == ("done", None)
    replies = [line for line in await siege.effects() if line.startswith("reply: ")]
    assert any(create["object"]["id"] in line for line in replies)


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


@pytest.mark.rule("IN-22")
@pytest.mark.rule("I09")
async def test_deletes_of_strangers_are_202_without_a_fetch_or_a_write(siege):
    times = []
    for _ in range(20):
        ana = siege.somebody()
        start = time.monotonic()
        await siege.refused(siege.send(ana, siege.activity(ana, "Delete", ana.id)), 202)
        times.append(time.monotonic() - start)
        assert ana.id not in siege.fetched


@pytest.mark.rule("IN-24")
@pytest.mark.parametrize(
    ("status", "answer", "removed"), [(410, 202, True), (404, 202, False), (200, 401, False)]
)
async def test_a_delete_that_nobody_can_prove_counts_only_with_a_410(
    siege, status, answer, removed
):
    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    forged = Peer(ana.id, OTHER_RSA)
    if status == 200:
        await siege.refused(siege.send(forged, siege.activity(ana, "Delete", ana.id)), 401)
    else:
        siege.show(ana.id, {}, status=status)
        body = json.dumps(siege.activity(ana, "Delete", ana.id)).encode()
        headers = siege.headers(forged, body)
        headers["signature"] = headers["signature"].replace("#main-key", "#other-key")
        assert (await siege.post(headers, body)).status_code == answer

    assert await siege.follows(ana) is not removed
    kept = [line for line in await siege.state() if line.startswith("received: ")]
    later = [line for line in kept if ana.id in line and "'Delete, unproven'" in line]
    assert len(later) == (status == 404), "looked at again a day later"


@pytest.mark.rule("IN-24")
@pytest.mark.parametrize("status", [410, 404])
async def test_the_look_a_day_later_removes_only_on_proof(siege, status):
    import sqlalchemy as sa

    from storage.schema import received
    from storage.wakeup import RECEIVED

    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    siege.show(ana.id, {}, status=404)
    delete = json.dumps(siege.activity(ana, "Delete", ana.id)).encode()
    headers = siege.headers(ana, delete)
    headers["signature"] = headers["signature"].replace("#main-key", "#other-key")
    assert (await siege.post(headers, delete)).status_code == 202
    assert await siege.follows(ana)
    siege.show(ana.id, {}, status=status)

    def a_day_passes(tx):
        theirs = sa.and_(received.c.signer == ana.id, received.c.state == "waiting")
        tx.execute(sa.update(received).where(theirs).values(not_before=0))
        tx.wake(RECEIVED)

    await siege.shop.services.store.write(a_day_passes)

    assert await siege.follows(ana) is (status == 404)


@pytest.mark.rule("IN-25")
@pytest.mark.parametrize("type", ["Accept", "Reject"])
async def test_an_accept_of_what_we_never_asked_is_ignored(siege, type):
    ana = siege.somebody()
    follow = {"type": "Follow", "actor": f"{siege.shop.base_url}/ap/shop", "object": ana.id}

    await siege.ignored(siege.send(ana, siege.activity(ana, type, follow)))


@pytest.mark.rule("IN-28")
async def test_a_follow_in_anothers_inbox_is_202_and_ignored(siege):
    ana = siege.somebody()

    await siege.ignored(siege.send(ana, siege.follow(ana), inbox="/ap/instance/inbox"))
    stranger = siege.activity(ana, "Follow", f"{siege.shop.base_url}/ap/nobody")
    await siege.ignored(siege.send(ana, stranger))

    follow = siege.follow(ana)
    assert (await siege.send(ana, follow, inbox="/ap/shop/inbox")).status_code == 202
    assert await siege.outcome(follow) == ("done", None)


@pytest.mark.rule("IN-29")
@pytest.mark.rule("L-30")
async def test_more_followers_of_a_host_than_people_are_parked_without_an_accept(
    siege, monkeypatch
):
    from fediletter.limits import FOLLOWS_PER_HOST_HOUR

    assert FOLLOWS_PER_HOST_HOUR == 100
    monkeypatch.setattr("fediletter.inbound.follow.FOLLOWS_PER_HOST_HOUR", 3)
    host = "crowd.peer.example"
    people = [siege.somebody(host) for _ in range(4)]
    outcomes = []
    for one in people:
        follow = siege.follow(one)
        await siege.send(one, follow)
        outcomes.append(await siege.outcome(follow))
    again = siege.follow(people[-1])
    await siege.send(people[-1], again)
    outcomes.append(await siege.outcome(again))

    parked = ("held", "too many new followers of one host")
    assert outcomes == [("done", None)] * 3 + [parked, parked]
    accepted = [line for line in await siege.state() if line.startswith("activity: ")]
    assert not any(people[-1].id in line for line in accepted), "not even when it asks twice"
    states = [line for line in await siege.state() if line.startswith("follower: ")]
    assert sum("'parked'" in line for line in states) == 1


@pytest.mark.rule("IN-29")
@pytest.mark.rule("L-31")
async def test_followers_of_the_eleventh_new_host_of_a_domain_in_a_day_are_parked(
    siege, monkeypatch
):
    from fediletter.limits import NEW_HOSTS_PER_PARENT_DAY

    assert NEW_HOSTS_PER_PARENT_DAY == 10
    monkeypatch.setattr("fediletter.inbound.follow.NEW_HOSTS_PER_PARENT_DAY", 2)
    resolve = siege.shop.services.network._resolve

    async def wildcard(host, port):
        return ["127.0.0.1"] if host.endswith("wild.example") else await resolve(host, port)

    monkeypatch.setattr(siege.shop.services.network, "_resolve", wildcard)
    outcomes = []
    for number in range(4):
        one = siege.somebody(f"h{number}.wild.example")
        follow = siege.follow(one)
        assert (await siege.send(one, follow)).status_code == 202
        outcomes.append((await siege.outcome(follow))[0])

    assert outcomes == ["done", "done", "held", "held"]


@pytest.mark.rule("IN-30")
@pytest.mark.parametrize("inbox", ["http://inside.example/inbox", "https://victim.example/inbox"])
async def test_a_foreign_inbox_makes_no_follower(siege, inbox):
    ana = siege.somebody()
    siege.show(ana.id, siege.document(ana) | {"inbox": inbox})
    await siege.refused(siege.send(ana, siege.follow(ana)), 401)

    bo = siege.somebody()
    siege.show(bo.id, siege.document(bo) | {"endpoints": {"sharedInbox": inbox}})
    assert (await siege.send(bo, siege.follow(bo))).status_code == 202
    assert not any(inbox in line for line in await siege.state())


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


@pytest.mark.rule("IN-35")
@pytest.mark.rule("L-12")
@pytest.mark.rule("L-13")
async def test_a_weak_or_huge_key_is_401_and_not_kept(siege):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    pem = weak.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in (pem, "x" * 9000, "-----BEGIN PUBLIC KEY-----\n", "z6Mk", ""):
        ana = siege.somebody()
        document = siege.document(ana)
        document["publicKey"]["publicKeyPem"] = text
        siege.show(ana.id, document)
        await siege.refused(siege.send(ana, siege.follow(ana)), 401)

    ana = siege.somebody()
    document = siege.document(ana)
    many = [document["publicKey"] | {"id": f"{ana.id}#k{number}"} for number in range(10)]
    siege.show(ana.id, document | {"publicKey": [*many, document["publicKey"]]})
    await siege.refused(siege.send(ana, siege.follow(ana)), 401)


@pytest.mark.rule("IN-36")
async def test_a_blocked_host_or_actor_is_403_and_what_waits_of_it_is_dropped(siege):
    write = siege.shop.services.store.write
    ana, bo = siege.somebody("bad.peer.example"), siege.somebody()
    await write(add_block, "domain", "bad.peer.example", note="", now=datetime.now(UTC))
    await write(add_block, "actor", bo.id, note="", now=datetime.now(UTC))
    await siege.refused(siege.send(ana, siege.follow(ana)), 403)
    await siege.refused(siege.send(bo, siege.follow(bo)), 403)
    cy = siege.somebody()
    body = json.dumps(siege.follow(cy)).encode()
    headers = siege.headers(ana, body)
    await siege.refused(siege.post(headers, body), 403)
    assert not {ana.id, bo.id} & set(siege.fetched)

    await write(remove_block, "bad.peer.example")
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202


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
