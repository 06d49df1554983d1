"""Signed GETs with real sockets: what counts as an answer, and how often we ask."""

import json

import httpx
import pytest

from federation.errors import (
    DocumentGone,
    FetchFailed,
    ForbiddenAddress,
    NotProven,
    TryFetchLater,
)
from federation.fetch import Fetcher, is_activity_type
from federation.network import Network, NetworkPolicy
from federation.webfinger import look_up
from tests.federation.peer import NOW, OTHER_RSA, TYPE, Peer
from tests.federation.test_network import LABORATORY, SIGNER, Scripted, answer


def fetcher() -> Fetcher:
    return Fetcher(Network(LABORATORY), SIGNER)


def told(document: dict | bytes, *, type: str = TYPE, status: int = 200) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return answer(status, f"Content-Type: {type}", "Connection: close", body=body)


def moved(location: str) -> bytes:
    return answer(302, f"Location: {location}", "Connection: close")


def ana_at(server: Scripted, name="ana", key=None) -> Peer:
    base = server.url.removesuffix("/inbox")
    return Peer(f"{base}/users/{name}") if key is None else Peer(f"{base}/users/{name}", key)


@pytest.mark.rule("FE-10")
@pytest.mark.parametrize(
    ("type", "good"),
    [
        ("application/activity+json", True),
        ("application/activity+json; charset=utf-8", True),
        ('application/ld+json; profile="https://www.w3.org/ns/activitystreams"', True),
        ('application/ld+json; profile="https://a.b/ https://www.w3.org/ns/activitystreams"', True),
        ("application/ld+json", False),
        ('application/ld+json; profile="https://www.w3.org/ns/activitystreams/x"', False),
        ("application/json", False),
        ("text/html", False),
        ("image/png; application/activity+json", False),
        ("", False),
    ],
)
async def test_only_an_activitystreams_type_makes_a_document(type, good):
    assert is_activity_type(type) is good
    async with Scripted() as server:
        ana = ana_at(server)
        server.answers.append(told(ana.document(), type=type))
        if good:
            assert (await fetcher().actor(ana.id, now=NOW)).id == ana.id
        else:
            with pytest.raises(FetchFailed):
                await fetcher().actor(ana.id, now=NOW)


@pytest.mark.rule("FE-10")
async def test_webfinger_is_read_from_its_own_types_alone():
    for type in ("text/html", TYPE):
        async with Scripted(told({"links": []}, type=type)) as server:
            with pytest.raises(FetchFailed):
                await look_up(Network(LABORATORY), "ana@" + server.url.split("/")[2], scheme="http")


@pytest.mark.rule("FE-6")
@pytest.mark.rule("L-40")
async def test_three_redirects_are_followed_and_not_a_fourth():
    for hops in (3, 4):
        async with Scripted() as server:
            ana = ana_at(server)
            server.answers += [moved(f"/hop/{number}") for number in range(hops)]
            server.answers.append(told(ana.document()))
            fetches = fetcher()
            if hops == 3:
                assert (await fetches.actor(ana.id, now=NOW)).id == ana.id
                assert fetches.network.redirects_followed == 3, "as its metric says"
            else:
                with pytest.raises(FetchFailed, match="too many"):
                    await fetcher().actor(ana.id, now=NOW)
            assert len(server.requests) == 4
            signatures = [one.split(b"Signature: ")[1] for one in server.requests]
            assert len(set(signatures)) == 4, "each hop is signed anew (FE-7)"


@pytest.mark.rule("FE-6")
@pytest.mark.rule("FE-7")
@pytest.mark.parametrize("location", ["http://127.0.0.2:{port}/x", "http://169.254.169.254/", ""])
async def test_a_redirect_elsewhere_or_nowhere_is_not_followed(location):
    async with Scripted(answer(200)) as elsewhere:
        port = elsewhere.url.split(":")[2].split("/")[0]
        async with Scripted(moved(location.format(port=port))) as server:
            with pytest.raises(FetchFailed):
                await fetcher().actor(ana_at(server).id, now=NOW)

    assert elsewhere.connections == 0


@pytest.mark.rule("FE-6")
@pytest.mark.parametrize("ring", [1, 2])
async def test_webfinger_asks_no_address_twice(ring):
    async with Scripted() as server:
        place = server.url.split("/")[2]
        resource = f"/.well-known/webfinger?resource=acct%3Aana%40{place.replace(':', '%3A')}"
        server.answers += [moved("/elsewhere"), moved(resource)] if ring == 2 else [moved(resource)]
        with pytest.raises(FetchFailed, match="circle"):
            await look_up(Network(LABORATORY), f"ana@{place}", scheme="http")

        assert len(server.requests) == ring


@pytest.mark.rule("FE-8")
@pytest.mark.parametrize(
    ("inbox", "shared", "kept"),
    [
        ("https://m.example.org/i", "https://m.example.org/s", "https://m.example.org/s"),
        ("https://m.example.org:8443/i", None, "refused"),
        ("https://org/i", None, "refused"),
        ("https://m.example.org/i", "https://m.example.org:8443/s", None),
        ("https://m.example.org/i", "https://org/s", None),
        ("https://m.example.org/i", "https://news.m.example.org/s", None),
    ],
)
async def test_an_inbox_that_could_not_be_reached_is_not_kept(inbox, shared, kept):
    ana = Peer("https://m.example.org/users/ana")
    document = ana.document() | {"inbox": inbox, "endpoints": {"sharedInbox": shared}}

    def serve(request):
        return httpx.Response(200, headers={"Content-Type": TYPE}, json=document)

    policy = NetworkPolicy("test", own_hosts=frozenset({"news.m.example.org"}))
    network = Network(policy, transport=httpx.MockTransport(serve))
    if kept == "refused":
        with pytest.raises(ForbiddenAddress):
            await Fetcher(network, SIGNER).actor(ana.id, now=NOW)
    else:
        assert (await Fetcher(network, SIGNER).actor(ana.id, now=NOW)).shared_inbox == kept


@pytest.mark.rule("IN-11")
async def test_a_document_counts_only_at_its_own_id():
    async with Scripted() as server:
        ana, bo = ana_at(server), ana_at(server, "bo")
        server.answers += [told(ana.document()), told(ana.document())]
        found = await fetcher().document(bo.id, now=NOW)
        assert found["id"] == ana.id, "asked for once more, at the id it gives itself"

        server.answers += [told(ana.document()), told(bo.document())]
        with pytest.raises(FetchFailed):
            await fetcher().document(bo.id, now=NOW)

        server.answers.append(told(ana.document() | {"id": "https://victim.example/users/ana"}))
        with pytest.raises(FetchFailed):
            await fetcher().document(bo.id, now=NOW)


@pytest.mark.rule("IN-10")
@pytest.mark.rule("IN-11")
async def test_an_upload_that_claims_to_be_an_actor_proves_no_key():
    async with Scripted() as server:
        ana = ana_at(server)
        place = ana.id.replace("/users/ana", "/media/upload.json")
        forged = Peer(ana.id, OTHER_RSA).document()
        forged["publicKey"]["id"] = f"{place}#key"
        server.answers += [told(forged), told(ana.document())]

        with pytest.raises(NotProven):
            await fetcher().key(f"{place}#key", now=NOW)

    assert len(server.requests) == 2, "the claimed owner was asked at its own id"


@pytest.mark.rule("IN-10")
@pytest.mark.rule("V11")
async def test_a_key_that_its_owner_does_not_list_is_not_proven():
    async with Scripted() as server:
        ana = ana_at(server)
        bare = {"id": f"{ana.id}/key", "owner": ana.id, "publicKeyPem": OTHER_RSA.public.text}
        server.answers += [told(bare), told(ana.document())]
        with pytest.raises(NotProven, match="does not list"):
            await fetcher().key(f"{ana.id}/key", now=NOW)

        server.answers.append(told(bare | {"owner": "https://victim.example/users/ana"}))
        with pytest.raises(NotProven, match="another host"):
            await fetcher().key(f"{ana.id}/key", now=NOW)


@pytest.mark.rule("V12")
async def test_a_key_at_a_url_of_its_own_with_a_partial_actor_is_found_by_its_owner():
    async with Scripted() as server:
        ana = ana_at(server)
        whole = ana.document()
        whole["publicKey"]["id"] = f"{ana.id}/main-key"
        partial = {"id": ana.id, "type": "Person", "publicKey": whole["publicKey"]}
        server.answers += [told(partial), told(whole)]

        key, actor = await fetcher().key(f"{ana.id}/main-key", now=NOW)

    assert (key.owner, actor.id, key.key.text) == (ana.id, ana.id, ana.key.public.text)


@pytest.mark.rule("V15")
@pytest.mark.parametrize("good_at", [1, 2, 3, None])
async def test_a_refused_get_is_knocked_without_the_query_then_by_rfc_9421_then_given_up(good_at):
    async with Scripted() as server:
        ana = ana_at(server)
        place = f"{ana.id}?v=1"
        document = ana.document() | {"id": place, "inbox": f"{ana.id}/inbox"}
        good = told(document)
        server.answers += [
            good if number == good_at else answer(401, "Connection: close") for number in (1, 2, 3)
        ]
        if good_at:
            assert (await fetcher().document(place, now=NOW))["id"] == place
        else:
            with pytest.raises(FetchFailed):
                await fetcher().document(place, now=NOW)

    heads = [one.decode().lower() for one in server.requests]
    assert len(heads) == (good_at or 3)
    assert all(head.startswith("get /users/ana?v=1 http/1.1") for head in heads)
    assert ["signature-input" in head for head in heads] == [False, False, True][: len(heads)]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, DocumentGone),
        (410, DocumentGone),
        (429, TryFetchLater),
        (500, TryFetchLater),
        (403, FetchFailed),
        (204, FetchFailed),
    ],
)
@pytest.mark.rule("IN-24")
async def test_each_status_of_a_document_has_its_meaning(status, kind):
    async with Scripted(answer(status, "Connection: close")) as server:
        with pytest.raises(kind) as found:
            await fetcher().actor(ana_at(server).id, now=NOW)

    if status in (404, 410):
        assert found.value.proven is (status == 410), "404 alone proves nothing"


@pytest.mark.rule("FE-14")
async def test_a_page_is_not_searched_for_an_actor():
    page = b'<link rel="alternate" type="application/activity+json" href="/users/ana">'
    async with Scripted(told(page, type="text/html"), answer(200)) as server:
        with pytest.raises(FetchFailed):
            await fetcher().actor(ana_at(server).id, now=NOW)

    assert len(server.requests) == 1
