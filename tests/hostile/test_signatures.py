"""What a signature must cover, and when: IN-1 to IN-6 at the door of a running shop."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.federation.peer import RSA, TYPE

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


@pytest.mark.rule("IN-4")
@pytest.mark.rule("V09")
@pytest.mark.parametrize(
    ("scheme", "signed", "asked", "good"),
    [
        ("cavage", "/ap/inbox?x=1", "/ap/inbox?x=1", True),
        ("cavage", "/ap/inbox", "/ap/inbox?x=1", True),
        ("cavage", "/ap/inbox?x=1", "/ap/inbox?x=2", False),
        ("cavage", "/ap/inbox?x=1", "/ap/inbox", False),
        ("cavage", "/ap/%69nbox", "/ap/inbox", False),
        ("rfc9421", "/ap/inbox?x=1", "/ap/inbox?x=1", True),
        ("rfc9421", "/ap/inbox", "/ap/inbox?x=1", False),
        ("rfc9421", "/ap/inbox?x=1", "/ap/inbox?x=2", False),
        ("rfc9421", "/ap/inbox?x=1", "/ap/inbox", False),
    ],
)
async def test_a_query_is_as_signed_or_not_signed_at_all_by_the_draft(
    siege, scheme, signed, asked, good
):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body, inbox=signed, scheme=scheme)

    if good:
        assert (await siege.post(headers, body, inbox=asked)).status_code == 202
        assert await siege.follows(ana)
    else:
        # The genuine one first: of the other the key is known and nothing else is new.
        assert (await siege.send(ana, siege.activity(ana, "View", ana.id))).status_code == 202
        await siege.refused(siege.post(headers, body, inbox=asked), 401)


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
