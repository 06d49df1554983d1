"""Integrity proofs: the contract's vector, every change that must break one, another library."""

import copy
import json
import struct
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from apsig import ProofSigner, ProofVerifier
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import BadDocument, FederationError, NotProven
from federation.jcs import canonical, number
from federation.keys import Ed25519PrivateKey, Signer
from federation.proofs import CONTEXT, examine, with_proof
from tests.federation.peer import ED25519, RSA

AS = "https://www.w3.org/ns/activitystreams"
NOW = datetime(2026, 11, 22, 15, 4, 5, tzinfo=UTC)
SEED = Ed25519PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
SIGNER = Signer("https://news.shop.example/ap/shop#ed25519-key", SEED)
LIKE = {
    "@context": [AS, CONTEXT],
    "id": "https://news.shop.example/ap/act/7",
    "type": "Like",
    "actor": "https://news.shop.example/ap/shop",
    "object": "https://m.example/notes/5",
}
VALUE = "z3pq7hUGg8m9o75EBadweqa8zDEnZR5JoHoNppEruRofshXAhhHGz7TtTjsKJCaugnHsjxtBbyGhLbtghxTBitZpS"


@pytest.mark.rule("V16")
def test_the_contracts_proof_is_made_to_the_letter():
    proven = with_proof(LIKE, SIGNER, now=NOW)
    options = {name: value for name, value in proven["proof"].items() if name != "proofValue"}

    assert SEED.public.text == "z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"
    assert [sha256(canonical(one)).hexdigest() for one in (options, LIKE)] == [
        "8313642bc44ff012679fe1fe7649758ef8ed789351b13a8d56952ba435533139",
        "3431cd904914e4bb91c627a400437fa38fba12cb20017554526c1f78cfe6294c",
    ]
    assert proven["proof"]["proofValue"] == VALUE


@pytest.mark.rule("V16")
def test_the_contracts_proof_verifies_and_any_changed_character_breaks_it():
    proven = with_proof(LIKE, SIGNER, now=NOW)
    claim = examine(proven, now=NOW)
    assert claim is not None
    assert claim.key_id == SIGNER.key_id
    assert claim.is_by(SEED.public)
    assert not claim.is_by(ED25519.public)
    assert not claim.is_by(RSA.public)

    for path in (("id",), ("type",), ("actor",), ("object",), ("proof", "created")):
        changed = copy.deepcopy(proven)
        holder = changed[path[0]] if len(path) > 1 else changed
        holder[path[-1]] = holder[path[-1]].replace("5", "6").replace("k", "c").replace("shop", "x")
        assert not examine(changed, now=NOW).is_by(SEED.public), path
    more = examine(proven | {"summary": "added"}, now=NOW)
    assert not more.is_by(SEED.public)


@pytest.mark.rule("V16")
@pytest.mark.parametrize(
    "change",
    [
        {"type": "RsaSignature2017"},
        {"cryptosuite": "eddsa-rdfc-2022"},
        {"proofPurpose": "authentication"},
        {"proofValue": None},
        {"proofValue": 7},
        {"proofValue": "zz0"},
        {"proofValue": "z" + "1" * 300},
        {"proofValue": "u" + VALUE},
        {"verificationMethod": None},
        {"created": "yesterday"},
        {"created": (NOW - timedelta(days=31)).isoformat()},
        {"created": (NOW + timedelta(minutes=66)).isoformat()},
        {"expires": (NOW - timedelta(seconds=1)).isoformat()},
        {"expires": "never"},
        {"@context": AS},
        {"@context": ["https://evil.example/context"]},
    ],
)
def test_a_proof_of_another_shape_is_refused(change):
    proven = with_proof(LIKE, SIGNER, now=NOW)
    proven["proof"] |= change

    with pytest.raises(NotProven):
        examine(proven, now=NOW)


def test_several_proofs_are_refused_and_none_is_none():
    proven = with_proof(LIKE, SIGNER, now=NOW)
    with pytest.raises(NotProven):
        examine(proven | {"proof": [proven["proof"]] * 2}, now=NOW)

    assert examine(LIKE, now=NOW) is None


@pytest.mark.rule("IN-14")
def test_a_linked_data_signature_beside_a_proof_counts_for_nothing():
    proven = with_proof(LIKE, SIGNER, now=NOW)

    claim = examine(proven | {"signature": {"type": "RsaSignature2017"}}, now=NOW)

    assert claim.is_by(SEED.public)


def test_a_document_of_other_contexts_gets_that_of_proofs_beside_the_first():
    proven = with_proof(LIKE | {"@context": [AS, {"a": "b:c"}]}, SIGNER, now=NOW)

    assert proven["@context"] == proven["proof"]["@context"] == [AS, CONTEXT, {"a": "b:c"}]
    assert examine(proven, now=NOW).is_by(SEED.public)


@pytest.mark.rule("V16")
def test_another_library_takes_our_proofs_and_we_take_theirs():
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    document = LIKE | {"content": "Été 🌾 \u2028 \u000f", "n": [1, 0.5, 1e21, -0.0, None, True]}

    ours = with_proof(document, SIGNER, now=NOW)
    assert ProofVerifier(private.public_key()).verify_proof(copy.deepcopy(ours))

    options = {
        "type": "DataIntegrityProof",
        "cryptosuite": "eddsa-jcs-2022",
        "proofPurpose": "assertionMethod",
        "verificationMethod": SIGNER.key_id,
        "created": "2026-11-22T15:04:05Z",
    }
    theirs = ProofSigner(private).sign(copy.deepcopy(document), options)
    assert examine(theirs, now=NOW).is_by(SEED.public)


# RFC 8785, appendix B.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xC340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44B52D02C7E14AF5, "9.999999999999997e+22"),
        (0x44B52D02C7E14AF6, "1e+23"),
        (0x44B52D02C7E14AF7, "1.0000000000000001e+23"),
        (0x444B1AE4D6E2EF4E, "999999999999999700000"),
        (0x444B1AE4D6E2EF50, "1e+21"),
        (0x3EB0C6F7A0B5ED8C, "9.999999999999997e-7"),
        (0x3EB0C6F7A0B5ED8D, "0.000001"),
        (0x41B3DE4355555553, "333333333.3333332"),
        (0xBECBF647612F3696, "-0.0000033333333333333333"),
        (0x43143FF3C1CB0959, "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_rfc_8785_shows(bits, text):
    assert number(struct.unpack(">d", struct.pack(">Q", bits))[0]) == text


def test_names_are_sorted_by_utf_16_and_strings_escaped_least():
    document = json.loads(
        '{"\\u20ac":"Euro Sign","\\r":"Carriage Return",'
        '"\\ufb33":"Hebrew Letter Dalet With Dagesh",'
        '"1":"One","\\ud83d\\ude00":"Emoji","\\u0080":"Control","\\u00f6":"Latin"}'
    )

    found = list(json.loads(canonical(document)).values())

    assert found == [
        "Carriage Return",
        "One",
        "Control",
        "Latin",
        "Euro Sign",
        "Emoji",
        "Hebrew Letter Dalet With Dagesh",
    ]
    assert canonical('\u20ac$\u000f\nA\'B"\\\\"/') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()
    with pytest.raises(BadDocument):
        canonical(float("nan"))
    with pytest.raises(BadDocument):
        canonical("\ud800")


_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=150, derandomize=True, deadline=None)
@given(_JSON)
def test_the_canonical_form_is_stable_and_reads_as_the_same(value):
    octets = canonical(value)
    again = json.loads(octets)

    assert canonical(again) == octets


@pytest.mark.rule("SU-7")
@settings(max_examples=150, derandomize=True, deadline=None)
@given(_JSON)
def test_no_proof_raises_anything_but_a_refusal(value):
    proven = with_proof(LIKE, SIGNER, now=NOW)
    for name in proven["proof"]:
        try:
            examine(proven | {"proof": proven["proof"] | {name: value}}, now=NOW)
        except FederationError:
            pass
