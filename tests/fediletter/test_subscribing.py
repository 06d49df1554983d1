"""Joining, choosing and leaving by ordinary forms, as people, robots and providers do."""

import re

import pytest

from storage import posts, progress, subscribers
from tests.fediletter.dump import dump, settled
from tests.shop import until


async def person(shop, address):
    return await shop.services.store.read(subscribers.find_subscriber, address)


def link_in(text: str, name: str) -> str:
    found = re.search(rf"/{name}/[\w-]+", text)
    assert found is not None
    return found[0]


async def test_who_subscribes_and_confirms_gets_the_letter_in_both_forms(shop):
    await shop.subscribe("ana@example.org")
    letter = await shop.publish("Du lin", "Bonjour **lin**.", summary="Une accroche")

    mail = (await shop.mail_to("ana@example.org", count=2))[0]

    assert mail.subject == "Du lin"
    assert "Bonjour *lin*." in mail.text
    assert "<strong>lin</strong>" in mail.html
    assert letter.url in mail.text
    names = [name.lower() for name, _ in mail.headers]
    for name in ("list-unsubscribe", "list-unsubscribe-post", "list-id", "archived-at"):
        assert names.count(name) == 1


@pytest.mark.rule("EM-7")
async def test_opening_the_confirmation_link_changes_nothing_pressing_the_button_does(shop):
    await shop.client.post("/subscribe", data={"email": "ana@example.org"})
    link = link_in((await shop.mail_to("ana@example.org"))[0].text, "confirm")
    await settled(shop)
    before = await shop.services.store.read(dump)
    for method in ("GET", "HEAD", "GET"):
        assert (await shop.client.request(method, link)).status_code == 200
    assert await shop.services.store.read(dump) == before
    assert (await person(shop, "ana@example.org")).state == "pending"

    for _ in range(2):
        answer = await shop.client.post(link, headers={"Origin": shop.base_url})
        assert answer.status_code == 200
    assert (await person(shop, "ana@example.org")).state == "active"


@pytest.mark.rule("EM-10")
async def test_the_answer_is_the_same_for_strangers_members_and_those_who_left(shop):
    await shop.subscribe("ana@example.org")
    answers = []
    for address in ("ana@example.org", "new@example.org"):
        answer = await shop.client.post("/subscribe", data={"email": address})
        answers.append((answer.status_code, answer.text.replace(address, "X")))

    assert answers[0] == answers[1]


@pytest.mark.rule("L-71")
async def test_an_address_gets_one_confirmation_a_day_however_often_it_is_asked_for(shop):
    for address in ("ana@example.org", "Ana+x@example.org", "ana@example.org"):
        await shop.client.post("/subscribe", data={"email": address})
    await shop.client.post("/subscribe", data={"email": "bo@example.org"})
    await shop.mail_to("bo@example.org")

    assert [mail.to for mail in shop.mailbox()].count("ana@example.org") == 1
    assert len(shop.mailbox()) == 2


@pytest.mark.rule("EM-6")
async def test_a_robot_that_fills_the_hidden_field_gets_the_same_answer_and_no_mail(shop):
    form = {"email": "ana@example.org", "website": "http://spam.example"}

    answer = await shop.client.post("/subscribe", data=form)

    assert answer.status_code == 200
    assert await person(shop, "ana@example.org") is None


@pytest.mark.rule("EM-3")
@pytest.mark.parametrize(
    "address",
    ["", "ana", "ana@", "@example.org", "a b@example.org", '"a"@example.org', "a@[127.0.0.1]",
     "a@example", "a,b@example.org", "a@example.org\r\nBcc: x@y.z", "é@example.org",
     "a" * 65 + "@example.org", "a@" + "b" * 250 + ".org", "a(x)@example.org"],
)  # fmt: skip
async def test_a_wrong_address_is_refused_beside_its_field_and_kept(shop, address):
    answer = await shop.client.post("/subscribe", data={"email": address})

    assert answer.status_code == 422
    assert 'id="email-problem"' in answer.text
    assert shop.mailbox() == []


async def test_words_are_in_the_readers_language(shop):
    french = await shop.client.post(
        "/subscribe", data={"email": "x"}, headers={"Accept-Language": "fr-CH, en;q=0.5"}
    )
    english = await shop.client.post(
        "/subscribe", data={"email": "x"}, headers={"Accept-Language": "en-GB"}
    )

    assert "Une adresse a un nom, un @ et un domaine" in french.text
    assert '<html lang="fr">' in french.text
    assert "An email address has a name, an @ and a domain" in english.text


async def test_a_letter_goes_to_those_who_chose_its_topic_and_to_those_who_chose_none(shop):
    await shop.publish("Pour les sujets", "x", topics=["Lin", "Cuir"], to_email=False)
    await shop.subscribe("lin@example.org", topics=["lin"])
    await shop.subscribe("cuir@example.org", topics=["cuir"])
    await shop.subscribe("tout@example.org")

    await shop.publish("Encore du lin", "Bonjour", topics=["Lin"])
    await shop.mail_to("lin@example.org", count=2)
    await shop.mail_to("tout@example.org", count=2)
    await shop.publish("Sans sujet", "Bonjour")
    await shop.mail_to("cuir@example.org", count=2)

    subjects = [mail.subject for mail in await shop.mail_to("cuir@example.org")]
    assert "Encore du lin" not in subjects
    assert "Sans sujet" in subjects


@pytest.mark.rule("EM-8")
@pytest.mark.rule("UN-1")
async def test_one_click_leaves_without_cookie_redirect_or_page_and_a_get_never_does(shop):
    await shop.subscribe("ana@example.org")
    await shop.publish()
    mail = (await shop.mail_to("ana@example.org", count=2))[0]
    link = link_in(dict(mail.headers)["List-Unsubscribe"], "unsubscribe")
    await settled(shop)
    before = await shop.services.store.read(dump)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert (await shop.client.request(method, link)).status_code == 200
    assert await shop.services.store.read(dump) == before
    for method in ("PUT", "DELETE", "PATCH"):
        answer = await shop.client.request(method, link, headers={"Origin": shop.base_url})
        assert answer.status_code == 405

    for _ in range(2):
        answer = await shop.client.post(link, data={"List-Unsubscribe": "One-Click"})
        assert (answer.status_code, answer.cookies) == (200, {})
        assert answer.headers["content-type"].startswith("text/plain")

    assert (await person(shop, "ana@example.org")).state == "left"
    forged = link[:-1] + ("A" if link[-1] != "A" else "B")
    assert (await shop.client.get(forged)).status_code == 404
    await shop.publish("Une autre", "Bonjour")
    await shop.subscribe("bo@example.org")
    assert len(await shop.mail_to("ana@example.org")) == 2


@pytest.mark.rule("UN-7")
async def test_leaving_by_the_page_can_be_undone(shop):
    await shop.subscribe("ana@example.org", topics=[])
    await shop.publish()
    mail = (await shop.mail_to("ana@example.org", count=2))[0]
    link = link_in(mail.text, "unsubscribe")
    await shop.post(link, leave="yes")
    assert (await person(shop, "ana@example.org")).state == "left"

    await shop.post(link, undo="yes")
    one = await person(shop, "ana@example.org")
    assert one.state == "active"


async def test_preferences_add_and_remove_topics_and_set_language_and_pause(shop):
    await shop.publish("Sujets", "x", topics=["Lin", "Cuir"], to_email=False)
    await shop.subscribe("ana@example.org", topics=["lin"])
    await shop.publish("Lin", "x", topics=["Lin"])
    mail = (await shop.mail_to("ana@example.org", count=2))[0]
    link = link_in(mail.text, "preferences")
    page = await shop.client.get(link)
    assert "a…@example.org" in page.text
    assert "ana@example.org" not in page.text

    await shop.post(link, topics=["cuir"], language="en", rhythm="monthly", pause="30")

    one = await person(shop, "ana@example.org")
    assert (one.language, one.rhythm) == ("en", "monthly")
    assert one.paused_until is not None
    assert await shop.services.store.read(subscribers.topics_of, one.id) == ("cuir",)
    kinds = [event.kind for event in await shop.services.store.read(subscribers.consent_of, one.id)]
    assert kinds == ["requested", "confirmed", "topics changed"]


@pytest.mark.rule("EM-16")
@pytest.mark.rule("HD-22")
async def test_two_readers_letters_differ_only_in_their_own_links_and_fields(shop):
    for address in ("ana@example.org", "bo@example.org"):
        await shop.subscribe(address)
    await shop.publish("Du lin", "Bonjour [site](https://shop.test/a)")
    both = [(await shop.mail_to(a, count=2))[0] for a in ("ana@example.org", "bo@example.org")]

    def neutral(text):
        return re.sub(r"/(unsubscribe|preferences)/[\w-]+", r"/\1/X", text)

    assert neutral(both[0].html) == neutral(both[1].html)
    assert neutral(both[0].text) == neutral(both[1].text)
    assert "<img" not in both[0].html
    different = {
        name
        for (name, one), (_, other) in zip(both[0].headers, both[1].headers, strict=True)
        if one != other
    }
    assert different <= {"To", "Message-ID", "Date", "List-Unsubscribe"}


async def state_of(shop, post_id):
    return (await shop.services.store.read(posts.get_post, post_id)).state


@pytest.mark.rule("EM-15")
async def test_who_leaves_while_a_letter_waits_does_not_get_it(shop):
    await shop.subscribe("ana@example.org")
    post = await shop.draft("Plus tard", "Bonjour", second_thoughts_ms=1_500)
    from fediletter.outbound import publish as publishing

    await publishing.publish(shop.services, post.id, version=post.version)
    key = (await person(shop, "ana@example.org")).key
    link = f"/unsubscribe/{shop.services.tokens.unsubscribe(key)}"
    await shop.client.post(link, data={"List-Unsubscribe": "One-Click"})

    async def out():
        found = await shop.services.store.read(progress.progress_of, post.id)
        return found.finished and await state_of(shop, post.id) == "published"

    await until(out)

    assert len(await shop.mail_to("ana@example.org")) == 1
