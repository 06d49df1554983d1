"""One's own data and the two channels: by fresh links only, and never at another's cost."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from fediletter import forgotten
from fediletter.newsletter import own_data
from fediletter.workers.timetable import Timetable
from storage import subscribers
from storage.followers import add_follower
from storage.lanes import inbox_for
from storage.newsletters import local_actors
from storage.schema import metadata, remote_actor
from tests.fediletter.dump import dump, settled
from tests.fediletter.readers import consents, link_in, person, preference_link
from tests.shop import running_shop

ANA = "ana.marker@example.org"


async def fresh(shop, what, address=ANA):
    """The link that a button of the page of choices mails."""
    before = len([mail for mail in shop.mailbox() if mail.to == address])
    await shop.post(await preference_link(shop, address), data=what)
    await shop.mail_to(address, count=before + 1)
    for mail in shop.mailbox():
        if mail.to == address and "/data/" in mail.text:
            link = link_in(mail.text, "data")
            if (await shop.client.get(link)).status_code == 200:
                return link
    raise AssertionError("no fresh link")


@pytest.mark.rule("PR-4")
async def test_a_copy_of_ones_data_is_whole_readable_by_machines_and_given_once(shop):
    await shop.publish("Sujets", "x", topics=["Lin"], to_email=False)
    await shop.subscribe(ANA, topics=["lin"])
    await shop.publish("Du lin", "x", topics=["Lin"])
    await shop.mail_to(ANA, count=2)
    link = await fresh(shop, "export")
    await settled(shop)
    before = await shop.services.store.read(dump)
    assert (await shop.client.get(link)).status_code == 200
    assert await shop.services.store.read(dump) == before

    answer = await shop.post(link)

    found = json.loads(answer.content)
    assert "attachment" in answer.headers["content-disposition"]
    assert found["subscriber"]["email"] == ANA
    assert found["letters"][0]["title"] == "Du lin"
    assert found["subscriptions"][0]["slug"] == "lin"
    assert found["consent"][0]["wording"]
    # Complete against the schema: every table that names a subscriber is in it.
    naming = {t.name for t in metadata.sorted_tables if "subscriber_id" in t.c}
    names = {"subscription": "subscriptions", "confirmation": "confirmations", "bounce": "bounces",
             "one_time_link": "links", "delivery": "letters", "notice": "notices",
             "reply": "answers"}  # fmt: skip
    missing = {t for t in naming if names.get(t, t) not in found}
    assert missing == set()
    assert (await shop.post(link)).status_code == 404


@pytest.mark.rule("PR-5")
@pytest.mark.rule("PR-8")
async def test_erasure_leaves_the_address_nowhere_and_a_keyed_hash_if_one_likes(shop):
    for everything, address in (("", ANA), ("yes", "bo.marker@example.org")):
        await shop.subscribe(address)
        one = await person(shop, address)
        await shop.publish(f"Pour {everything or 'une'}", "x")
        await shop.mail_to(address, count=2)
        link = await fresh(shop, "erase", address)
        await settled(shop)
        assert (await shop.client.get(link)).status_code == 200
        assert await person(shop, address) is not None

        await shop.post(link, everything=everything)

        hashed = shop.services.tokens.hash_address(address)
        reason = await shop.services.store.read(subscribers.suppression_of, hashed)
        assert reason == (None if everything else "erased")
        assert not [line for line in await shop.services.store.read(dump) if address in line]
        assert hashed.hex() in forgotten.erased(shop.settings.data)
        key = shop.services.tokens.unsubscribe(one.key)
        assert (await shop.client.post(f"/unsubscribe/{key}")).status_code == 200
        await settled(shop)
        await Timetable(shop.services, lambda: True)._tidy()
        for path in shop.settings.data.rglob("*"):
            if path.is_file() and path.parent.parent.name != "mail":
                assert address.encode() not in path.read_bytes(), path


@pytest.mark.rule("EM-9")
@pytest.mark.rule("UN-9")
async def test_a_new_address_is_asked_for_at_the_old_one_and_confirmed_at_the_new_one(shop):
    await shop.subscribe(ANA)
    confirmed = link_in((await shop.mail_to(ANA))[0].text, "confirm")
    old = await preference_link(shop, ANA)
    page = (await shop.client.get(old)).text
    assert ANA not in page
    assert "a…@example.org" in page

    await shop.post("/preferences", email=ANA)  # A newer link, not used.
    await shop.mail_to(ANA, count=2)
    newer = await preference_link(shop, ANA, epochs=1)
    assert (await shop.client.get(newer)).status_code == 200
    copy = await fresh(shop, "export")
    link = await fresh(shop, "change-address")
    wrong = await shop.post(link, email="no address")
    assert (wrong.status_code, "no address" in wrong.text) == (422, True)
    await shop.post(link, email="New@example.net")
    assert (await person(shop, ANA)).state == "active"
    mail = (await shop.mail_to("New@example.net"))[0]
    await shop.post(link_in(mail.text, "data"))

    assert await person(shop, ANA) is None
    moved = await person(shop, "new@example.net")
    assert (moved.email, moved.state) == ("New@example.net", "active")
    for gone in (old, newer, confirmed, copy):  # What the old mailbox holds serves no other (EM-7).
        assert (await shop.client.get(gone)).status_code == 404, gone
    assert (await shop.client.get(await preference_link(shop, moved.email.lower()))).is_success
    assert "address changed" in dict(await consents(shop, "new@example.net"))
    await settled(shop)
    assert any("adresse a changé" in mail.subject for mail in shop.mailbox() if mail.to == ANA)


@pytest.mark.rule("EM-10")
async def test_moving_to_an_address_that_is_here_looks_the_same_and_moves_nothing(shop):
    await shop.subscribe(ANA)
    await shop.subscribe("bo@example.org")
    answers = []
    for address in ("bo@example.org", "new@example.net"):
        link = await fresh(shop, "change-address")
        answers.append((await shop.post(link, email=address)).text.replace(address, "X"))

    assert answers[0] == answers[1]
    assert (await person(shop, "bo@example.org")).state == "active"
    assert (await person(shop, ANA)).state == "active"


@pytest.mark.rule("EM-9")
@pytest.mark.rule("EM-11")
async def test_links_work_once_for_a_day_and_for_one_purpose(shop):
    await shop.subscribe(ANA)
    link = await fresh(shop, "erase")
    token, tokens = link.rpartition("/")[2], shop.services.tokens
    from fediletter.errors import AppError

    late = datetime.now(UTC) + timedelta(hours=25)
    with pytest.raises(AppError):
        await shop.services.store.read(own_data.look_up, token, tokens, now=late)
    for wrong in (f"/account/{token}", f"/preferences/{token}", f"/data/{token[:-1]}", "/data/1"):
        assert (await shop.post(wrong)).status_code == 404, wrong
    # A name or number of a person moves nothing.
    before = await shop.services.store.read(dump)
    for path in (f"/preferences/{ANA}", "/preferences/1", f"/unsubscribe/{ANA}", "/stay/1"):
        assert (await shop.post(path, data="erase")).status_code == 404, path
    assert await shop.services.store.read(dump) == before


@pytest.mark.rule("EM-11")
async def test_a_new_link_ends_the_older_ones_only_when_it_is_used(shop):
    await shop.subscribe(ANA)
    old = await preference_link(shop, ANA)
    await shop.post("/preferences", email=ANA)
    mail = (await shop.mail_to(ANA, count=2))[0]
    new = next(
        link_in(mail.text, "preferences")
        for mail in shop.mailbox()
        if mail.to == ANA and "/preferences/" in mail.text
    )
    assert new != old
    for link in (old, new):
        assert (await shop.client.get(link)).status_code == 200

    await shop.post(new, language="fr", rhythm="every")

    assert (await shop.client.get(old)).status_code == 404
    assert (await shop.client.get(new)).status_code == 200
    del mail


async def test_a_follower_proves_their_account_and_only_their_own_mail_rests(shop):
    uri = "https://social.example/users/eva"
    now = datetime.now(UTC)

    def follow(tx):
        own = next(one for one in local_actors(tx) if one.kind == "newsletter")
        values = {"uri": uri, "host": "social.example", "type": "Person", "username": "Eva",
                  "inbox_url": f"{uri}/inbox", "fetched_at": 0}  # fmt: skip
        row = tx.execute(remote_actor.insert().values(**values).returning(remote_actor.c.id))
        inbox = inbox_for(tx, values["inbox_url"], host="social.example", shared=False)
        add_follower(tx, own.id, row.scalar_one(), inbox, follow_uri=f"{uri}#1", state="accepted",
                     now=now)  # fmt: skip

    await shop.services.store.write(follow)
    for address in (ANA, "stranger@example.org"):
        await shop.subscribe(address)
    stranger = await preference_link(shop, "stranger@example.org")
    pages = {
        (await shop.post(stranger, channel="claim", handle=handle)).text
        for handle in ("@eva@social.example", "@nobody@social.example")
    }
    assert len(pages) == 1
    # The message waits for the account's server: without its link nothing has changed.
    assert (await person(shop, "stranger@example.org")).follows_as is None
    await shop.publish("Une lettre", "x")
    await shop.mail_to("stranger@example.org", count=2)
    await shop.mail_to(ANA, count=2)

    # The owner of the account presses the button for their own address.
    from fediletter.newsletter.own_data import _mint
    from fediletter.outbound import handles

    ana = await person(shop, ANA)
    token = await shop.services.store.write(
        _mint, ana, handles.PURPOSE, uri, shop.services.tokens, now
    )
    assert "@Eva@social.example" in (await shop.client.get(f"/account/{token}")).text
    assert (await person(shop, ANA)).follows_as is None
    await shop.post(f"/account/{token}")
    await shop.publish("Deux", "x")
    await shop.mail_to("stranger@example.org", count=3)
    assert len(await shop.mail_to(ANA)) == 2
    await shop.publish("Par courriel seulement", "x", to_fediverse=False)
    await shop.mail_to(ANA, count=3)
    await shop.post(await preference_link(shop, ANA), channel="part")
    await shop.publish("Les deux", "x")
    await shop.mail_to(ANA, count=4)


async def test_what_comes_out_in_a_pause_is_not_sent_later(shop):
    await shop.subscribe(ANA)
    link = await preference_link(shop, ANA)
    await shop.post(link, pause="30", language="fr")
    await shop.post(link, pause="keep", language="fr")
    await shop.publish("Pendant", "x")
    await shop.subscribe("bo@example.org")
    await settled(shop)
    await shop.post(link, pause="0", language="fr")
    await shop.publish("Après", "x")

    subjects = [mail.subject for mail in await shop.mail_to(ANA, count=2)]
    assert "Après" in subjects
    assert "Pendant" not in subjects


@pytest.mark.rule("PR-3")
async def test_no_log_holds_an_address_or_a_token(tmp_path, caplog):
    caplog.set_level("DEBUG")
    async with running_shop(tmp_path / "shop") as shop:
        await shop.subscribe(ANA)
        link = await fresh(shop, "export")
        await shop.post(link)
        await shop.client.post("/subscribe", data={"email": ANA})
        await shop.client.get("/preferences/wrong")
        await settled(shop)
    ours = [r for r in caplog.records if r.name.startswith(("fediletter", "storage", "federation"))]
    text = "\n".join(f"{r.getMessage()} {r.__dict__}" for r in ours)
    assert ANA not in text
    assert link.rpartition("/")[2] not in text


@pytest.mark.rule("PR-1")
def test_a_subscriber_is_these_columns_and_nothing_else():
    kept = set(metadata.tables["subscriber"].c.keys())
    assert kept == {
        "id", "key", "email", "identity", "state", "language", "rhythm", "all_topics", "mail_lane",
        "paused_until", "epoch", "source", "follows_as", "requested_at", "confirmed_at", "left_at",
        "held_until", "left_topics_json",
    }  # fmt: skip
