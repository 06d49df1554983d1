"""Joining: what follows for each state of an address, and what robots run into."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fediletter.errors import AppError
from fediletter.mail.addresses import parse_address
from fediletter.newsletter import joining, retention
from fediletter.outbound.asks import answer_ask, mailroom_of
from storage import subscribers, throttles
from storage.asks import due_asks
from tests.fediletter.dump import dump, settled
from tests.fediletter.readers import consents, link_in, person, unsubscribe_link
from tests.shop import running_shop

STATES = ("unknown", "pending", "active", "left", "suppressed", "complained")


async def in_state(shop, state):
    """An address of that state; its limits are free again."""
    address = f"{state}@example.org"
    if state in ("active", "left", "suppressed", "complained"):
        await shop.subscribe(address)
    if state == "pending":
        await shop.client.post("/subscribe", data={"email": address})
    await settled(shop)
    one = await person(shop, address)
    if state == "left":
        await shop.client.post(await unsubscribe_link(shop, address))
    if state in ("suppressed", "complained"):
        reason = "gone" if state == "suppressed" else "complaint"
        hashed = shop.services.tokens.hash_address(one.identity)
        now = datetime.now(UTC)

        def work(tx):
            subscribers.change_subscriber(tx, one.id, state="suppressed")
            subscribers.suppress(tx, hashed, reason, now=now)

        await shop.services.store.write(work)
    late = datetime.now(UTC) + timedelta(days=40)
    await shop.services.store.write(throttles.forget, now=late)
    return address


@pytest.mark.rule("EM-10")
async def test_every_state_gets_the_same_octets_and_the_work_is_done_after_the_reply(tmp_path):
    async with running_shop(tmp_path / "shop") as shop:
        addresses = [await in_state(shop, state) for state in STATES]
    # The same data, and nobody who works: the reply alone.
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        for path in ("/subscribe", "/preferences"):
            before = await shop.services.store.read(dump)
            answers = set()
            for address in addresses:
                answer = await shop.post(path, email=address)
                headers = {
                    name: value
                    for name, value in answer.headers.items()
                    if name not in ("date", "content-length")
                }
                answers.add((answer.status_code, answer.text.replace(address, "X"), str(headers)))
            assert len(answers) == 1
            after = await shop.services.store.read(dump)
            new = [line for line in after if line not in before]
            assert len(new) == len(addresses)
            assert all(line.startswith("ask: ") for line in new)


@pytest.mark.rule("EM-6")
@pytest.mark.rule("OP-1")
@pytest.mark.parametrize(
    ("state", "subject"),
    [
        ("unknown", "Confirmez"),
        ("pending", "Confirmez"),
        ("left", "Confirmez"),
        ("suppressed", "Confirmez"),
        ("active", "Votre abonnement"),
        ("complained", None),
    ],
)
async def test_what_is_mailed_depends_on_the_state_and_happens_once(shop, state, subject):
    address = await in_state(shop, state)
    before = len(shop.mailbox())

    for _ in range(3):
        await shop.client.post("/subscribe", data={"email": address})
    await settled(shop)

    new = [mail for mail in shop.mailbox() if mail.to == address]
    expected = 0 if subject is None else 1
    assert len(shop.mailbox()) - before == expected
    if subject:
        assert any(mail.subject.startswith(subject) for mail in new)


@pytest.mark.rule("OP-5")
async def test_the_record_shows_form_and_mail_as_they_were(shop):
    await shop.publish("Sujets", "x", topics=["Lin"], to_email=False)
    await shop.subscribe("ana@example.org", topics=["lin"])
    record = dict(await consents(shop, "ana@example.org"))

    await shop.publish("Encore", "x", topics=["Cuir"], to_email=False)
    await shop.subscribe("bo@example.org")
    later = dict(await consents(shop, "bo@example.org"))

    from storage.personal import everything_on

    one = await person(shop, "ana@example.org")
    found = (await shop.services.store.read(everything_on, one.id))["consent"]
    wordings = {event["kind"]: event["wording"] for event in found}
    assert "[ ] Lin" in wordings["requested"]
    assert "Cuir" not in wordings["requested"]
    assert "rien n’est" in wordings["requested"]
    assert "{topics}" in wordings["confirmed"]
    assert record["requested"] != later["requested"]
    assert record["confirmed"] == later["confirmed"]


async def test_the_mail_that_asks_says_how_often_letters_would_come(shop):
    for rhythm, often in (("every", "Chaque lettre quand"), ("monthly", "Un courriel par mois")):
        form = {"email": f"{rhythm}@example.org", "rhythm": rhythm, "language": "fr"}
        await shop.client.post("/subscribe", data=form)
        (mail,) = await shop.mail_to(f"{rhythm}@example.org")
        assert often in mail.text


async def test_the_owner_chooses_on_the_page_of_the_link(shop):
    await shop.publish("Sujets", "x", topics=["Lin", "Cuir"], to_email=False)
    form = {"email": "ana@example.org", "topics": ["lin"], "language": "fr"}
    await shop.client.post("/subscribe", data=form)
    link = link_in((await shop.mail_to("ana@example.org"))[0].text, "confirm")
    assert re.search(r'value="lin" checked', (await shop.client.get(link)).text)

    await shop.post(link, choices="shown", topics=["cuir"], language="en", rhythm="every")

    one = await person(shop, "ana@example.org")
    assert (one.state, one.language) == ("active", "en")
    assert await shop.services.store.read(subscribers.topics_of, one.id) == ("cuir",)


@pytest.mark.rule("EM-12")
async def test_a_hidden_topic_cannot_be_joined_by_its_name(shop):
    from storage.schema import topic

    await shop.publish("Sujets", "x", topics=["Secret"], to_email=False)
    await shop.services.store.write(lambda tx: tx.execute(topic.update().values(public=False)))

    await shop.subscribe("ana@example.org", topics=["secret", "unknown"])

    one = await person(shop, "ana@example.org")
    assert await shop.services.store.read(subscribers.topics_of, one.id) == ()
    assert "Secret" not in (await shop.client.get("/subscribe")).text


@pytest.mark.rule("EM-6")
async def test_a_false_or_too_fresh_stamp_is_answered_alike_and_an_old_page_asks_again(shop):
    tokens, now = shop.services.tokens, datetime.now(UTC)
    fresh = tokens.stamp("subscribe", now)
    good = tokens.stamp("subscribe", now - timedelta(minutes=1))
    old = tokens.stamp("subscribe", now - timedelta(hours=25))

    for address, stamp in (("fresh", fresh), ("false", "AAAA" + good[4:]), ("good", good)):
        answer = await shop.client.post(
            "/subscribe", data={"email": f"{address}@example.org", "stamp": stamp}
        )
        assert answer.status_code == 200
    late = await shop.client.post("/subscribe", data={"email": "old@example.org", "stamp": old})

    await shop.mail_to("good@example.org")
    await settled(shop)
    assert late.status_code == 422
    assert "old@example.org" in late.text
    assert {mail.to for mail in shop.mailbox()} == {"good@example.org"}


async def test_a_slip_in_a_domain_is_a_question_and_never_repaired(shop):
    form = {"email": "ana@gmial.com", "language": "en"}

    asked = await shop.client.post("/subscribe", data=form, headers={"Accept-Language": "en"})
    assert "Did you mean ana@gmail.com?" in asked.text
    await shop.client.post("/subscribe", data=form | {"use": "typed"})
    await shop.mail_to("ana@gmial.com")
    await shop.client.post("/subscribe", data={"email": "bo@gmial.com", "use": "meant"})
    await shop.mail_to("bo@gmail.com")

    assert {mail.to for mail in shop.mailbox()} == {"ana@gmial.com", "bo@gmail.com"}


@pytest.mark.rule("L-70")
@pytest.mark.rule("PR-2")
async def test_a_network_that_asks_too_often_gets_the_same_answer_and_nothing_follows(tmp_path):
    async with running_shop(tmp_path / "shop", allow_addresses="") as shop:
        answers = set()
        for number in range(8):
            address = f"p{number}@example.org"
            answer = await shop.client.post("/subscribe", data={"email": address})
            answers.add((answer.status_code, answer.text.replace(address, "X")))
        await settled(shop)

        assert len(answers) == 1
        assert len(shop.mailbox()) == 5


@pytest.mark.rule("L-73")
async def test_over_the_limit_of_the_site_a_person_answers_a_question(shop):
    now = datetime.now(UTC)

    def full(tx):
        for _ in range(500):
            throttles.hit(tx, "mail:site", most=500, span=timedelta(hours=1), now=now)

    await shop.services.store.write(full)
    form = {"email": "ana@example.org", "language": "en"}
    english = {"Accept-Language": "en"}
    page = (await shop.client.post("/subscribe", data=form, headers=english)).text
    assert shop.mailbox() == []
    from fediletter.words import words

    spelled = {words("en").spelled(value): value for value in range(1, 21)}
    first, second = re.search(r"How much is ([\w-]+) plus ([\w-]+)\?", page).groups()
    seal = re.search(r'name="seal" value="([^"]+)"', page)[1]

    wrong = form | {"seal": seal, "sum": "1"}
    assert 'name="seal"' in (await shop.client.post("/subscribe", data=wrong)).text
    figures = str(spelled[first] + spelled[second])
    arabic = " " + figures.translate({ord("0") + at: 0x0660 + at for at in range(10)})
    right = form | {"seal": seal, "sum": arabic}
    await shop.client.post("/subscribe", data=right)
    await shop.mail_to("ana@example.org")
    again = await shop.client.post("/subscribe", data=right | {"email": "bo@example.org"})

    assert 'name="seal"' in again.text
    await settled(shop)
    assert [mail.to for mail in shop.mailbox()] == ["ana@example.org"]


@pytest.mark.rule("L-72")
@pytest.mark.rule("L-71")
async def test_a_domain_gets_fifty_confirmations_an_hour(shop):
    now = datetime.now(UTC)

    def work(tx):
        mailroom = mailroom_of(tx, shop.services)
        for number in range(60):
            address = parse_address(f"p{number}@one.example.org")
            wish = joining.Wish(address, (), "every", "fr", "x")
            joining.request(tx, wish, mailroom, shop.services.tokens, now=now)
        return subscribers.count_by_state(tx)

    assert await shop.services.store.write(work) == {"pending": 50}


class _Names:
    def __init__(self, answer):
        self.answer = answer

    async def takes_mail(self, domain):
        return self.answer


@pytest.mark.rule("OP-1")
async def test_a_domain_without_mail_gets_none_and_a_silent_dns_is_asked_again(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        now = datetime.now(UTC)
        for answer, left, known in ((None, 1, False), (False, 0, False), (True, 0, True)):
            await shop.client.post("/subscribe", data={"email": f"{answer}@example.org"})
            asks = await shop.services.store.read(
                due_asks, now=now + timedelta(seconds=30), limit=9
            )
            services = replace(shop.services, domains=_Names(answer))
            await answer_ask(services, asks[-1])
            later = now + timedelta(days=1)
            waiting = await shop.services.store.read(due_asks, now=later, limit=9)
            mine = [ask for ask in waiting if ask.email.startswith(f"{answer}@")]
            assert len(mine) == left
            assert (await person(shop, f"{str(answer).lower()}@example.org") is not None) is known


@pytest.mark.rule("L-74")
@pytest.mark.rule("L-76")
@pytest.mark.rule("PR-6")
async def test_who_never_confirms_is_forgotten_and_the_link_ends_before(shop):
    await shop.client.post("/subscribe", data={"email": "ana@example.org"})
    link = link_in((await shop.mail_to("ana@example.org"))[0].text, "confirm")
    await settled(shop)
    token, now = link.rpartition("/")[2], datetime.now(UTC)

    look = (joining.look_up_confirmation, token, shop.services.tokens)
    await shop.services.store.read(*look, now=now + timedelta(hours=71))
    with pytest.raises(AppError, match="expired"):
        await shop.services.store.read(*look, now=now + timedelta(hours=73))
    one = await person(shop, "ana@example.org")
    ended = now - timedelta(minutes=1)
    await shop.services.store.write(subscribers.renew_confirmation, one.id, expires_at=ended)
    page = await shop.client.get(link)
    assert page.status_code == 410
    assert 'href="/subscribe"' in page.text  # A new request is offered.
    assert (await shop.post(link)).status_code == 410
    for days, there in ((6.9, True), (7.1, False)):
        moment = now + timedelta(days=days)
        await shop.services.store.write(retention.purge, shop.services.tokens, now=moment)
        assert (await person(shop, "ana@example.org") is not None) is there


@pytest.mark.rule("OP-6")
async def test_the_silent_are_asked_once_and_let_go_and_who_says_yes_stays(shop):
    for address in ("ana@example.org", "bo@example.org"):
        await shop.subscribe(address)
    await settled(shop)
    now, tokens = datetime.now(UTC) + timedelta(days=1004), shop.services.tokens

    def ask(tx):
        return retention.ask_the_silent(tx, mailroom_of(tx, shop.services), tokens, now=now)

    assert await shop.services.store.write(ask) == 2
    assert await shop.services.store.write(ask) == 0
    one = await person(shop, "bo@example.org")
    link = f"/stay/{tokens.preferences(one.key, one.epoch)}"
    assert (await shop.client.get(link)).status_code == 200
    assert (await shop.post(link)).status_code == 200
    await shop.services.store.write(retention.stay, one.id, now=now + timedelta(days=1))

    late = now + timedelta(days=61)
    gone = await shop.services.store.write(retention.part_with_the_silent, tokens, now=late)

    assert gone == 1
    assert (await person(shop, "ana@example.org")).state == "left"
    assert (await person(shop, "bo@example.org")).state == "active"


async def test_a_used_link_of_somebody_who_has_left_promises_no_letter(shop):
    await shop.client.post("/subscribe", data={"email": "ana@example.org"})
    link = link_in((await shop.mail_to("ana@example.org"))[0].text, "confirm")
    await shop.post(link)
    assert (await shop.client.get(link)).status_code == 200
    await settled(shop)
    await shop.client.post(await unsubscribe_link(shop, "ana@example.org"))

    for answer in (await shop.client.get(link), await shop.post(link)):
        assert answer.status_code == 410
        assert "Vous avez quitté ces lettres" in answer.text
        assert 'href="/subscribe"' in answer.text
    assert (await person(shop, "ana@example.org")).state == "left"


@pytest.mark.rule("BO-9")
async def test_a_complaint_ends_what_was_asked_for_before_it(shop):
    await shop.client.post("/subscribe", data={"email": "ana@example.org"})
    link = link_in((await shop.mail_to("ana@example.org"))[0].text, "confirm")
    hashed = shop.services.tokens.hash_address("ana@example.org")
    now = datetime.now(UTC)
    await shop.services.store.write(subscribers.suppress, hashed, "complaint", now=now)

    for answer in (await shop.client.get(link), await shop.post(link)):
        assert answer.status_code == 410
    assert (await person(shop, "ana@example.org")).state == "pending"
    assert await shop.services.store.read(subscribers.suppression_of, hashed) == "complaint"
