"""HTTP signatures: the contract's vectors, and each boundary of what an inbox accepts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.digests import content_digest_header, digest_header, sha256_base64
from federation.errors import BadRequest, FederationError, NotProven, NotTheActor
from federation.inbox import InboxRequest, VerifiedActivity, examine, verify
from federation.keys import KnownKey, Signer
from federation.origins import parse_url
from federation.signatures import cavage, rfc9421
from tests.federation.peer import NOW, OTHER_RSA, TYPE, Peer, follow

INBOX = "https://shop.example/ap/shop/inbox"
HOSTS = frozenset({"shop.example"})
BODY = (
    b'{"@context":"https://www.w3.org/ns/activitystreams","id":"https://news.shop.example/ap/act/1",'
    b'"type":"Accept","actor":"https://news.shop.example/ap/shop","object":"https://m.example/f/9"}'
)


class Recorder:
    """A key that keeps what it was asked to sign."""

    def __init__(self) -> None:
        self.signed: list[bytes] = []

    def sign(self, data: bytes) -> bytes:
        self.signed.append(data)
        return b"signature"


def check(request: InboxRequest, *, now=NOW):
    return examine(request, hosts=HOSTS, schemes=("https",), now=now)


def known(peer: Peer) -> KnownKey:
    return KnownKey(f"{peer.id}#main-key", peer.id, peer.key.public)


@pytest.mark.rule("V01")
def test_the_signing_strings_are_the_contracts_to_the_octet():
    key = Recorder()
    signer = Signer("https://news.shop.example/ap/shop#main-key", key)
    now = datetime(2026, 11, 22, 15, 4, 5, tzinfo=UTC)

    cavage.sign_post(
        parse_url("https://m.example/users/ana/inbox?x=1"),
        digest=digest_header(sha256_base64(BODY)),
        content_type=TYPE,
        signer=signer,
        now=now,
    )
    cavage.sign_get(parse_url("https://m.example/users/ana"), signer=signer, now=now)

    assert [(len(text), sha256(text).hexdigest()) for text in key.signed] == [
        (196, "767c7f3b3aa74db2d3f621158018b64fb3959c0d85a6b9c748be9fc94e39b5ff"),
        (84, "d6e66cf69514820babb2d0a79e186dee1f5909467b5b2c64cd8f0525b3bbb524"),
    ]


@pytest.mark.rule("V02")
def test_the_signature_base_of_rfc_9421_is_the_contracts_to_the_octet():
    key = Recorder()
    rfc9421.sign_post(
        parse_url("https://m.example/users/ana/inbox?x=1"),
        content_digest=content_digest_header(sha256_base64(BODY)),
        content_type=TYPE,
        signer=Signer("https://news.shop.example/ap/shop#main-key", key),
        now=datetime.fromtimestamp(1795359845, UTC),
    )

    assert len(key.signed[0]) == 297
    assert (
        sha256(key.signed[0]).hexdigest()
        == "2144af67cfebca14cd0707a913a035bbaeff8cff198c04ce28c690b3c6091892"
    )


@pytest.mark.rule("V03")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
def test_what_is_signed_here_verifies_here(scheme):
    peer = Peer()

    claim = check(peer.request(INBOX, follow(), scheme=scheme))
    activity = verify(claim, known(peer))

    assert (activity.type, activity.actor) == ("Follow", peer.id)
    assert activity.object_id == "https://shop.example/ap/shop"


@pytest.mark.rule("V04")
def test_hs2019_and_a_missing_algorithm_mean_the_keys_own():
    peer = Peer()
    request = peer.request(INBOX, follow())
    signature = dict(request.headers)["signature"]
    for algorithm in ('algorithm="hs2019",', ""):
        changed = signature.replace('algorithm="rsa-sha256",', algorithm)
        headers = tuple(
            (name, changed if name == "signature" else value) for name, value in request.headers
        )
        verify(check(replace(request, headers=headers)), known(peer))


@pytest.mark.rule("V07")
@pytest.mark.rule("IN-2")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
def test_a_body_changed_after_signing_is_refused(scheme):
    request = Peer().request(INBOX, follow(), scheme=scheme)

    with pytest.raises(NotProven):
        check(replace(request, body=request.body + b" "))


@pytest.mark.rule("V08")
@pytest.mark.rule("IN-6")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
@pytest.mark.parametrize(("minutes", "fresh"), [(-66, False), (-64, True), (64, True), (66, False)])
def test_the_time_window_is_65_minutes_either_way(scheme, minutes, fresh):
    request = Peer().request(INBOX, follow(), scheme=scheme, now=NOW + timedelta(minutes=minutes))

    if fresh:
        check(request)
    else:
        with pytest.raises(NotProven):
            check(request)


@pytest.mark.rule("V09")
def test_a_signature_over_the_path_alone_is_good_for_an_inbox_with_a_query():
    peer = Peer()
    request = peer.request(INBOX, follow())

    verify(check(replace(request, target=request.target + "?x=1")), known(peer))


@pytest.mark.rule("IN-1")
def test_an_unsigned_request_is_refused():
    with pytest.raises(NotProven):
        check(Peer().request(INBOX, follow(), signature=None))


@pytest.mark.rule("V06")
@pytest.mark.rule("IN-3")
@pytest.mark.parametrize("dropped", ["(request-target) ", "host ", "date ", " digest"])
def test_a_signature_that_covers_less_is_refused(dropped):
    request = Peer().request(INBOX, follow())
    covered = "(request-target) host date digest content-type"
    signature = dict(request.headers)["signature"].replace(covered, covered.replace(dropped, ""))
    headers = tuple(
        (name, signature if name == "signature" else value) for name, value in request.headers
    )

    with pytest.raises(NotProven):
        check(replace(request, headers=headers))


@pytest.mark.rule("V10")
@pytest.mark.parametrize("dropped", ['"@method" ', '"@target-uri" ', ' "content-digest"'])
def test_a_message_signature_that_covers_less_is_refused(dropped):
    request = Peer().request(INBOX, follow(), scheme="rfc9421")
    headers = tuple((name, value.replace(dropped, "")) for name, value in request.headers)

    with pytest.raises(NotProven):
        check(replace(request, headers=headers))


@pytest.mark.rule("IN-4")
@pytest.mark.parametrize("scheme", ["cavage", "rfc9421"])
def test_a_signature_for_another_host_or_path_is_refused(scheme):
    peer = Peer()
    elsewhere = peer.request("https://other.example/ap/shop/inbox", follow(), scheme=scheme)
    with pytest.raises(NotProven):
        check(elsewhere)

    moved = replace(peer.request(INBOX, follow(), scheme=scheme), target="/ap/inbox")
    with pytest.raises(NotProven):
        verify(check(moved), known(peer))


@pytest.mark.rule("IN-5")
@pytest.mark.parametrize("name", ["date", "digest", "host", "signature"])
def test_a_repeated_field_of_trust_is_refused(name):
    request = Peer().request(INBOX, follow())
    value = dict(request.headers)[name]

    with pytest.raises(BadRequest):
        check(replace(request, headers=(*request.headers, (name, value))))


@pytest.mark.rule("IN-12")
@pytest.mark.parametrize("key_id", ["acct:ana@m.example", "http://m.example/users/ana#main-key"])
def test_a_key_id_that_is_no_https_address_is_refused(key_id):
    request = Peer().request(INBOX, follow())
    headers = tuple(
        (name, value.replace("https://m.example/users/ana#main-key", key_id))
        for name, value in request.headers
    )

    with pytest.raises(NotProven):
        check(replace(request, headers=headers))


@pytest.mark.rule("IN-13")
def test_a_signature_of_another_actor_has_no_effect_of_its_own_kind():
    ana, bo = Peer(), Peer("https://m.example/users/bo", OTHER_RSA)
    claim = check(bo.request(INBOX, follow(actor=ana.id)))

    with pytest.raises(NotTheActor):
        verify(claim, known(bo))


@pytest.mark.rule("IN-13")
def test_an_id_of_another_host_is_refused():
    with pytest.raises(BadRequest):
        check(Peer().request(INBOX, follow(id="https://victim.example/1")))


def test_a_wrong_key_does_not_verify():
    peer = Peer()
    wrong = KnownKey(f"{peer.id}#main-key", peer.id, OTHER_RSA.public)

    with pytest.raises(NotProven):
        verify(check(peer.request(INBOX, follow())), wrong)


def test_only_verify_makes_a_verified_activity():
    with pytest.raises(TypeError):
        VerifiedActivity("a", "Follow", None, "i", {}, b"", object())


@pytest.mark.rule("SU-7")
@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_no_signature_header_raises_anything_but_a_refusal(signature, signature_input):
    fields = (("host", "shop.example"), ("signature", signature))
    for headers in (fields, (*fields, ("signature-input", signature_input))):
        with pytest.raises(FederationError):
            check(
                InboxRequest(
                    "POST", "/ap/inbox", headers, b'{"type":"Like","actor":"https://a.b/c"}'
                )
            )
