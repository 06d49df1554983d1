"""Subjects to come: proposed, read, voted on by mail and on the fediverse, and written."""

import re

import pytest

from fediletter.newsletter import agenda as rules
from fediletter.newsletter.polls import vote
from fediletter.outbound import handles
from fediletter.outbound.polls import tell_tallies
from storage import agenda, personal, polls, posts, subscribers
from tests.fediletter.readers import person
from tests.postgres import new_database
from tests.shop import running_shop

ENGLISH = {"Accept-Language": "en"}
ANA = "ana@example.org"
ACTOR = "https://social.example/users/ana"


async def read(shop):
    return await shop.services.store.read(rules.agenda_of)


async def page(shop, path="/agenda"):
    return (await shop.client.get(path, headers=ENGLISH)).text


async def voting(shop, *titles):
    """Subjects put to the vote by a founder; the token of the desk's forms."""
    csrf = await shop.log_in()
    for title in titles or ("Le lin", "Le cuir"):
        await shop.post("/desk/agenda", csrf=csrf, action="add", title=title, description="")
    ids = [one.public_id for one in (await read(shop)).subjects]
    done = await shop.post(
        "/desk/agenda", csrf=csrf, action="ask", question="Et ensuite ?", days="14", subjects=ids
    )
    assert done.status_code == 303, done.text
    return csrf


async def ballot_of(shop, address=ANA, **form):
    """Ask for the link, and find it in the mail."""
    before = len([mail for mail in shop.mailbox() if mail.to == address])
    answer = await shop.post("/agenda/vote", email=address, **form)
    assert answer.status_code == 200
    mails = await shop.mail_to(address, count=before + 1)
    return next(
        found[0]
        for mail in mails
        if (found := re.search(r"/preferences/[\w-]+/agenda\S*", mail.text))
        and "lettre" not in mail.subject
    )


async def test_a_proposal_is_shown_when_a_founder_has_read_it_and_bears_no_name(shop):
    thanks = await shop.post("/agenda", title="Teindre à la <garance>", description="Comment ?")
    assert thanks.status_code == 200
    assert "garance" not in await page(shop)
    csrf = await shop.log_in()
    assert "Teindre à la &lt;garance&gt;" in await page(shop, "/desk/agenda")
    (proposed,) = await shop.services.store.read(agenda.subjects, "proposed", limit=9)

    await shop.post("/desk/agenda", csrf=csrf, action="accept", subject=proposed.public_id)

    assert "Teindre à la &lt;garance&gt;" in await page(shop)
    assert set(proposed.__dataclass_fields__) == {
        *("public_id", "title", "description", "state", "post_id", "poll_id", "at")
    }


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 101}, "title"),
        ({"title": "x", "description": "y" * 501}, "description"),
    ],
)
async def test_what_cannot_be_proposed_is_said_beside_the_field(shop, form, name):
    answer = await shop.post("/agenda", **form)

    assert answer.status_code == 422
    assert f'id="{name}-problem"' in answer.text
    assert all(value.strip() in answer.text for value in form.values()), "what was typed is kept"
    assert await shop.services.store.read(agenda.count_proposed) == 0


async def test_one_network_proposes_three_times_a_day_and_robots_never(shop):
    await shop.post("/agenda", title="Robot", website="https://spam.example")
    answers = [await shop.post("/agenda", title=f"Sujet {at}") for at in range(4)]

    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert 'value="Sujet 3"' in answers[3].text
    assert await shop.services.store.read(agenda.count_proposed) == 3


@pytest.mark.rule("EM-8")
async def test_a_reader_by_mail_votes_once_and_looking_counts_nothing(shop):
    await shop.subscribe(ANA)
    await voting(shop)
    options = (await read(shop)).options
    link = await ballot_of(shop, choice=str(options["Le lin"]))
    for _ in range(3):
        shown = await shop.client.get(link)
        await shop.client.head(link)
    assert f'value="{options["Le lin"]}" required checked' in shown.text
    assert (await read(shop)).poll.voters == 0

    first = await shop.post(link, choice=str(options["Le cuir"]))
    second = await shop.post(link, choice=str(options["Le lin"]))

    assert "Votre voix est comptée" in first.text
    assert "Vous avez voté pour «\u00a0Le cuir\u00a0»" in second.text
    assert (await read(shop)).votes == {"Le lin": 0, "Le cuir": 1}
    assert "1 vote" in await page(shop)


async def test_each_letter_ends_with_a_link_to_vote(shop):
    await shop.subscribe(ANA)
    await voting(shop)
    await shop.publish("La lettre")
    mail = next(one for one in await shop.mail_to(ANA, count=2) if one.subject == "La lettre")
    link = re.search(r"/preferences/[\w-]+/agenda", mail.text)[0]
    assert link in mail.html

    key = str((await read(shop)).options["Le lin"])
    await shop.post(link, choice=key)

    assert (await read(shop)).votes["Le lin"] == 1


@pytest.mark.rule("EM-10")
@pytest.mark.rule("EM-11")
async def test_the_web_counts_no_vote_and_tells_nobody_who_subscribes(tmp_path):
    async with running_shop(tmp_path / "shop") as shop:
        await shop.subscribe(ANA)
        await voting(shop)
        key = str((await read(shop)).options["Le lin"])
        pages = set()
        for address in (ANA, "nobody@example.org"):
            answer = await shop.post("/agenda/vote", email=address, choice=key)
            assert "set-cookie" not in answer.headers
            pages.add(answer.text.replace(address, "X"))
        await shop.mail_to(ANA, count=2)
        assert len(pages) == 1
        assert (await read(shop)).poll.voters == 0
        assert [mail for mail in shop.mailbox() if mail.to.startswith("nobody")] == []
        for path in ("/preferences/" + "A" * 52 + "/agenda", "/preferences/x/agenda"):
            assert (await shop.post(path, choice=key)).status_code == 404


@pytest.mark.slow
async def test_who_reads_by_mail_and_follows_is_one_reader_in_either_order(shop):
    for address in (ANA, "bo@example.org"):
        await shop.subscribe(address)
    await voting(shop)
    found = await read(shop)
    lin, now = str(found.options["Le lin"]), shop.services.clock.now()
    ana, bo = await person(shop, ANA), await person(shop, "bo@example.org")
    actors = {ana.id: ACTOR, bo.id: ACTOR.replace("ana", "bo")}

    def prove(tx, one):
        hashed = shop.services.tokens.hash_secret(one.email)
        personal.add_link(
            tx, hashed, handles.PURPOSE, one.id, detail=actors[one.id],
            expires_at=now.replace(year=now.year + 1), now=now,
        )  # fmt: skip
        handles.join(tx, one.email, shop.services.tokens, now=now)

    def on_the_fediverse(tx, one):
        return vote(tx, found.poll.post_id, ["Le cuir"], actors[one.id], now=now)

    # Ana proves it first, votes there, and tries again by mail.
    await shop.services.store.write(prove, ana)
    assert await shop.services.store.write(on_the_fediverse, ana) is None
    refused = await shop.post(await ballot_of(shop), choice=lin)
    assert "Vous avez voté pour «\u00a0Le cuir\u00a0»" in refused.text
    # Bo votes at both places, and then proves that both are his.
    await shop.post(await ballot_of(shop, "bo@example.org"), choice=lin)
    await shop.services.store.write(on_the_fediverse, bo)
    assert (await read(shop)).poll.voters == 3
    await shop.services.store.write(prove, bo)

    found = await read(shop)
    assert found.poll.voters == 2
    assert found.votes == {"Le lin": 0, "Le cuir": 2}


async def test_the_winner_becomes_a_draft_in_one_click(shop):
    await shop.subscribe(ANA)
    csrf = await voting(shop)
    key = str((await read(shop)).options["Le cuir"])
    await shop.post(await ballot_of(shop), choice=key)
    await shop.post("/desk/agenda", csrf=csrf, action="close")
    late = shop.services.store
    poll_id = (await read(shop)).poll.post_id
    await late.write(polls.mark_closed, poll_id)
    assert "The poll has ended." in await page(shop)
    winner = (await read(shop)).subjects[0]
    assert winner.title == "Le cuir"

    form = {"csrf": csrf, "action": "draft", "subject": winner.public_id}
    first, second = [await shop.post("/desk/agenda", **form) for _ in range(2)]

    assert first.headers["location"] == second.headers["location"], "a second press finds it"
    draft = await late.read(posts.get_post, int(first.headers["location"].rpartition("/")[2]))
    assert (draft.title, draft.state) == ("Le cuir", "draft")
    assert "is being written" in await page(shop)
    assert [one.title for one in (await read(shop)).subjects] == ["Le lin"]


async def test_a_closed_vote_counts_nothing_more(shop, monkeypatch):
    await shop.subscribe(ANA)
    csrf = await voting(shop)
    await shop.post("/desk/agenda", csrf=csrf, action="close")
    poll_id = (await read(shop)).poll.post_id
    await shop.services.store.write(polls.mark_closed, poll_id)
    await tell_tallies(shop.services)
    one = await person(shop, ANA)
    token = shop.services.tokens.preferences(one.key, one.epoch)

    shown = await shop.client.get(f"/preferences/{token}/agenda")
    refused = await shop.post(f"/preferences/{token}/agenda", choice="1")

    assert "Il n’y a pas de vote" in shown.text
    assert refused.status_code == 422
    assert (await read(shop)).poll.voters == 0


async def test_who_left_does_not_vote(shop):
    await shop.subscribe(ANA)
    await voting(shop)
    one = await person(shop, ANA)
    await shop.services.store.write(subscribers.change_subscriber, one.id, state="left")
    token = shop.services.tokens.preferences(one.key, one.epoch)

    refused = await shop.post(f"/preferences/{token}/agenda", choice="1")

    assert refused.status_code == 410


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ({"action": "add", "title": ""}, "title"),
        ({"action": "ask", "question": "?", "days": "14"}, "options"),
        ({"action": "ask", "question": "?", "days": "0"}, "days"),
    ],
)
async def test_the_desk_says_what_is_wrong_beside_the_field(shop, form, name):
    csrf = await shop.log_in()
    for title in ("Le lin", "Le cuir"):
        await shop.post("/desk/agenda", csrf=csrf, action="add", title=title)

    answer = await shop.post("/desk/agenda", csrf=csrf, **form)

    assert answer.status_code == 422
    assert f'id="p-{name}"' in answer.text


@pytest.mark.slow
async def test_votes_count_on_postgresql_too(tmp_path, postgres_url):
    url = new_database(postgres_url)
    async with running_shop(tmp_path / "shop", database_url=url) as shop:
        await shop.subscribe(ANA)
        await voting(shop)
        key = str((await read(shop)).options["Le lin"])
        link = await ballot_of(shop, choice=key)

        for _ in range(2):
            await shop.post(link, choice=key)

        assert (await read(shop)).votes == {"Le lin": 1, "Le cuir": 0}
        assert "1 vote" in await page(shop)
