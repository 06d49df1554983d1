"""Follows that are too many, go astray or aim at somebody else (IN-28 to IN-30)."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
