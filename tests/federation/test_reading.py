"""Octets of strangers: bounded, unambiguous, read in all their shapes."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.actors import actor_from
from federation.errors import BadDocument, BadUrl, FederationError
from federation.origins import parse_url, same_origin
from federation.reading import (
    date_of,
    id_of,
    parse_json,
    types_of,
    url_of,
    visibility_of,
)
from tests.federation.peer import Peer


@pytest.mark.rule("IN-15")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":184467440737095516160}',
        b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"a":[' + b"1," * 10_001 + b"1]}",
        b'{"a":"' + b"x" * (513 << 10) + b'"}',
    ],
)
def test_pathological_json_is_refused(body):
    with pytest.raises(BadDocument):
        parse_json(body)


@pytest.mark.rule("IN-14")
@pytest.mark.parametrize("name", ["@graph", "@included", "@reverse"])
def test_a_graph_is_refused(name):
    with pytest.raises(BadDocument):
        parse_json(json.dumps({"type": "Like", "object": {name: []}}).encode())


@pytest.mark.rule("L-8")
def test_documents_at_the_limits_are_read():
    assert parse_json(b'{"a":' + b"[" * 31 + b"]" * 31 + b"}")
    assert parse_json('{"a":"é\\u0000b"}'.encode())["a"] == "éb"


@pytest.mark.rule("IN-15")
@pytest.mark.parametrize("body", [b'{"a":"' + b'\\"' * 500_000, b"[" * (1 << 20), b'"' * (1 << 20)])
def test_a_megabyte_of_nonsense_is_refused_quickly(body):
    start = time.process_time()
    with pytest.raises(BadDocument):
        parse_json(body)

    assert time.process_time() - start < 1.0


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.binary(max_size=300))
def test_no_octets_raise_anything_but_a_refusal(body):
    try:
        parse_json(body)
    except FederationError:
        pass


@pytest.mark.rule("IN-34")
@pytest.mark.parametrize(
    "text",
    [
        "https://a.example\\@b.example/",
        "https://user:pass@a.example/",
        "https://a.example./x",
        "https://a.example/ x",
        "https://a.example/\n",
        "ftp://a.example/",
        "//a.example/",
        "https:///x",
        "https://a..example/",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://" + "a" * 2050,
        "https://exa\u3002mple/\u0000",
    ],
)
def test_an_ambiguous_address_is_refused(text):
    with pytest.raises(BadUrl):
        parse_url(text)


def test_origins_are_compared_parsed():
    assert same_origin("https://A.example/x", "https://a.example:443/y")
    assert not same_origin("https://a.example/", "http://a.example/")
    assert not same_origin("https://a.example.evil/", "https://a.example/")
    assert parse_url("https://bücher.example/x").host == "xn--bcher-kva.example"


def test_the_shapes_of_section_12_are_read():
    assert types_of({"type": ["as:Note", 3]}) == ("Note",)
    assert id_of([{"id": "https://a.example/1"}]) == "https://a.example/1"
    assert id_of(["https://a.example/1", "https://a.example/2"]) is None
    links = [
        {"type": "Link", "mediaType": "text/plain", "href": "https://a.example/t"},
        {"type": "Link", "mediaType": "text/html", "href": "https://a.example/h"},
    ]
    assert url_of(links) == "https://a.example/h"
    assert url_of("javascript:alert(1)") is None
    assert date_of("2026-11-24T09:00:00").isoformat() == "2026-11-24T09:00:00+00:00"
    assert date_of("yesterday") is None
    assert visibility_of({"to": "as:Public"}, None) == "public"
    assert visibility_of({"to": [], "cc": ["Public"]}, None) == "unlisted"
    assert visibility_of({"to": "https://a.example/f"}, "https://a.example/f") == "followers"
    assert visibility_of({"to": "https://shop.example/ap/shop"}, None) == "direct"


@pytest.mark.rule("IN-30")
def test_an_inbox_at_a_foreign_host_makes_no_actor_and_a_foreign_shared_inbox_is_dropped():
    document = Peer().document()
    with pytest.raises(BadDocument):
        actor_from(document | {"inbox": "https://victim.example/inbox"})

    actor = actor_from(document | {"endpoints": {"sharedInbox": "https://victim.example/inbox"}})

    assert actor.shared_inbox is None


@pytest.mark.rule("IN-10")
def test_a_key_of_another_owner_or_host_is_not_the_actors():
    peer = Peer()
    foreign = peer.document()
    foreign["publicKey"] |= {"owner": "https://m.example/users/bo"}
    elsewhere = peer.document()
    elsewhere["publicKey"] |= {"id": "https://evil.example/key"}

    assert actor_from(foreign).keys == ()
    assert actor_from(elsewhere).keys == ()
    assert len(actor_from(peer.document()).keys) == 1
