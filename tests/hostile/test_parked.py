"""Followers who came too many at once wait on the desk, where a founder accepts or refuses them."""

import re

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "/desk/readers?channel=fediverse"


@pytest.mark.rule("IN-29")
@pytest.mark.rule("L-30")
async def test_a_founder_accepts_or_refuses_those_who_wait(siege, monkeypatch):
    monkeypatch.setattr("fediletter.inbound.follow.FOLLOWS_PER_HOST_HOUR", 1)
    shop, people = siege.shop, [siege.somebody("many.peer.example") for _ in range(5)]
    follows = [siege.follow(one) for one in people]
    for one, follow in zip(people, follows, strict=True):
        await siege.send(one, follow)
    assert [await siege.follows(one) for one in people] == [True, False, False, False, False]
    csrf = await shop.log_in()
    page = (await shop.client.get(PAGE)).text
    assert "4 abonnements attendent votre décision" in page
    assert "(4 en attente)" in (await shop.client.get("/desk/readers")).text
    rows = re.findall(r'<li><a href="([^"]+)" .+?name="follower" value="(\d+)"', page, re.DOTALL)
    assert [uri for uri, _ in rows] == [one.id for one in reversed(people[1:])]
    ana, bo, cy, di = (dict(rows)[one.id] for one in people[1:])
    siege.posted.clear()
    path = "/desk/readers/waiting"

    # Without the form's token, with another word, with nobody: nothing.
    before = await siege.state()
    assert (await shop.post(path, action="accept", follower=ana)).status_code == 403
    assert (await shop.post(path, csrf=csrf, action="x", follower=ana)).status_code == 422
    assert (await shop.post(path, csrf=csrf, action="accept", follower="x")).status_code == 422
    assert await siege.state() == before

    assert (await shop.post(path, csrf=csrf, action="accept", follower=ana)).status_code == 303
    assert (await shop.post(path, csrf=csrf, action="refuse", follower=bo)).status_code == 303
    both = await shop.post(path, csrf=csrf, action="accept", follower=[cy, di])
    assert both.headers["location"] == PAGE
    again = await shop.post(path, csrf=csrf, action="refuse", follower=[ana, bo])
    assert again.status_code == 303, "who waits no more is passed over"

    assert [await siege.follows(one) for one in people] == [True, True, False, True, True]
    await siege.settled()
    said = sorted((url, one["type"], one["object"]["id"]) for url, one in siege.posted)
    types = ["Accept", "Reject", "Accept", "Accept"]
    assert said == sorted(
        (f"{one.id}/inbox", type, follow["id"])
        for one, type, follow in zip(people[1:], types, follows[1:], strict=True)
    )
    page = (await shop.client.get(PAGE)).text
    assert "votre décision" not in page
    siege.posted.clear()
    await siege.letter()
    await siege.settled()
    assert [one["type"] for url, one in siege.posted if "many." in url]
