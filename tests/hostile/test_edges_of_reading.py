"""Values that trip a reader: dates at the edge of time, half a pair of surrogates, fields twice."""

import json
from datetime import UTC, datetime

import pytest

from federation.keys import Signer
from federation.proofs import with_proof
from tests.federation.peer import ED25519

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAR = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")


@pytest.mark.parametrize("date", FAR)
async def test_a_date_at_the_edge_of_time_is_no_date_and_loses_no_answer(siege, date):
    ana, letter = siege.somebody(), await siege.letter()

    note = siege.note(ana, letter, published=date, updated=date)
    create = siege.activity(ana, "Create", note)
    assert (await siege.send(ana, create)).status_code == 202

    assert await siege.outcome(create) == ("done", None)


@pytest.mark.parametrize("date", FAR)
async def test_a_proof_dated_at_the_edge_of_time_is_no_error_of_ours(siege, date):
    ana, bringer, letter = siege.somebody(), siege.somebody(), await siege.letter()
    signer = Signer(f"{ana.id}#ed25519-key", ED25519)
    like = with_proof(siege.activity(ana, "Like", letter), signer, now=datetime.now(UTC))
    like["proof"]["created"] = date

    await siege.ignored(siege.send(bringer, like))


@pytest.mark.rule("IN-15")
@pytest.mark.parametrize("more", ['"x":[["\\ud800"]]', '"\\ud800":1', '"x":[[[{"\\udfff":1}]]]'])
async def test_half_a_pair_is_found_in_names_and_in_lists_of_lists(siege, more):
    ana, letter = siege.somebody(), await siege.letter()
    like = json.dumps(siege.activity(ana, "Like", letter))
    body = f"{like[:-1]},{more}}}".encode()

    await siege.refused(siege.send(ana, body), 400)


def _deep(more: int, like: str) -> str:
    return "[" * (31 + more) + "]" * (31 + more)


def _wide(more: int, like: str) -> str:
    """Parts are counted by what opens or divides them."""
    used = sum(like.count(mark) for mark in "[{,") + 2
    return "[" + "0," * (10_000 - used + more) + "0]"


def _long(more: int, like: str) -> str:
    return '"' + "x" * ((512 << 10) + more) + '"'


@pytest.mark.rule("L-8")
@pytest.mark.parametrize("value", [_deep, _wide, _long])
@pytest.mark.parametrize("more", [0, 1])
async def test_a_document_at_a_limit_is_read_and_beyond_it_refused(siege, value, more):
    ana = siege.somebody()
    like = json.dumps(siege.activity(ana, "Like", "https://elsewhere.example/1"))
    body = f'{like[:-1]},"x":{value(more, like)}}}'.encode()

    if more:
        await siege.refused(siege.send(ana, body), 400)
    else:
        assert (await siege.send(ana, body)).status_code == 202


@pytest.mark.rule("IN-5")
@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("rfc9421", "date"),
        ("rfc9421", "digest"),
        ("cavage", "content-digest"),
    ],
)
async def test_a_field_of_trust_that_nobody_reads_may_not_stand_twice_either(siege, scheme, name):
    ana = siege.somebody()
    body = json.dumps(siege.follow(ana)).encode()
    headers = siege.headers(ana, body, scheme=scheme)
    headers = {key: value for key, value in headers.items() if key.lower() != name}
    pairs = [*headers.items(), (name, "one"), (name, "two")]

    await siege.refused(siege.post(pairs, body), 400)
