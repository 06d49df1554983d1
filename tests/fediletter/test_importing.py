"""Lists that come in: nobody is lost, nobody is written to who left elsewhere, all is said."""

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from fediletter import importing
from fediletter.exporting.record import Kept, as_cell, from_cell
from fediletter.exporting.subscribers import COLUMNS
from fediletter.newsletter.joining import wording_version
from fediletter.newsletter.posts import topic_named
from fediletter.services import desk_of
from storage import crowds, intakes, subscribers, topics
from storage.bounces import past_of
from storage.schema import bounce, founder, subscriber, subscription
from storage.subscribers import Event
from storage.times import to_ms
from tests.fediletter.exports import LISTS
from tests.fediletter.lists import AGREED, KEILA, ListDesk, known, suppression
from tests.fediletter.readers import person
from tests.shop import running_shop


@pytest.fixture
async def desk(shop) -> ListDesk:
    return ListDesk(shop, await shop.log_in())


async def test_a_list_is_looked_at_first_and_taken_in_with_its_proof(desk, shop):
    path, page = await desk.look("email\nana@example.org\nnot an address\nben@example.org\n")
    assert "Personne n’a été ajouté" in page
    assert "2 à ajouter" in page
    assert await desk.states() == {}

    bare = await shop.post(path, csrf=desk.csrf, action="take", confirmed="yes")
    assert bare.status_code == 422
    assert 'id="p-proof"' in bare.text
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    page = await desk.finished(path)

    assert "2 reprises, 0 déjà connue, 1 refusée" in page
    assert await desk.states() == {"ana@example.org": "active", "ben@example.org": "active"}
    ana = await person(shop, "ana@example.org")
    record = await shop.services.store.read(subscribers.consent_of, ana.id)
    assert [(event.kind, event.proof) for event in record] == [("imported", AGREED["proof"])]
    assert sorted(one.name for one in (desk_of(shop.services).folder / path[-16:]).iterdir()) == [
        "lock",
        "refused.jsonl",
    ]


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize(
    ("status", "state"),
    [("active", "active"), ("unsubscribed", "left"), ("unreachable", "suppressed")],
)
async def test_who_left_or_cannot_be_reached_at_keila_gets_no_letter(desk, shop, status, state):
    await desk.take(f"{KEILA}ana@example.org,A,B,{{}},{status},1\n", **AGREED)

    assert await desk.states() == {"ana@example.org": state}
    reason = {"active": None, "unsubscribed": "left", "unreachable": "gone"}[status]
    assert await suppression(shop, "ana@example.org") == reason


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize("order", [("active", "unsubscribed"), ("unsubscribed", "active")])
async def test_who_left_on_one_line_of_a_file_is_not_active_by_another(desk, order):
    rows = "".join(f"ana@example.org,A,B,{{}},{status},1\n" for status in order)

    path, _ = await desk.look(KEILA + rows)

    line = order.index("active") + 2
    assert (await desk.refused(path))[0][:3] == ["", str(line), "a…@example.org"]
    await desk.shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)
    assert await desk.states() == {"ana@example.org": "left"}


# --- topics ----------------------------------------------------------------------------------


async def test_labels_become_topics_only_if_a_founder_says_so(desk, shop):
    await shop.services.store.write(topic_named, "Lin", now=datetime.now(UTC))
    path, page = await desk.look(
        'email,tags\nana@example.org,"lin, VIP, Cuir"\nben@example.org,VIP\n'
    )

    assert 'value="VIP"' in page
    assert 'value="lin"' not in page
    await shop.post(path, csrf=desk.csrf, action="take", topic="Cuir", **AGREED)
    await desk.finished(path)

    async def chosen(address):
        one = await person(shop, address)
        return await shop.services.store.read(subscribers.topics_of, one.id), one.all_topics

    assert await chosen("ana@example.org") == (("cuir", "lin"), False)
    assert await chosen("ben@example.org") == ((), True)
    assert [one.slug for one in await shop.services.store.read(topics.all_topics)] == [
        "cuir",
        "lin",
    ]


# --- who is known already --------------------------------------------------------------------


@pytest.mark.rule("IM-4")
async def test_an_import_brings_nobody_back_and_overwrites_no_newer_choice(desk, shop):
    await shop.subscribe("left@example.org")
    await shop.subscribe("stays@example.org")
    one = await person(shop, "left@example.org")
    await shop.client.post(f"/unsubscribe/{shop.services.tokens.unsubscribe(one.key)}")

    def forgotten(tx):
        hashed = shop.services.tokens.hash_address("erased@example.org")
        subscribers.suppress(tx, hashed, "erased", now=datetime.now(UTC))

    await shop.services.store.write(forgotten)
    path, page = await desk.look(
        "email,state,unsubscribed_at\nleft@example.org,active,\nerased@example.org,active,\n"
        "stays@example.org,unsubscribed,2020-01-02\n"
    )
    assert "Restent à l’écart" in page
    await shop.post(path, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(path)

    report = await desk.report(path)
    assert (report.added, report.kept_out, report.known, report.ended) == (0, 2, 1, 0)
    assert await desk.states() == {"left@example.org": "left", "stays@example.org": "active"}
    assert await suppression(shop, "stays@example.org") is None


@pytest.mark.rule("IM-4")
async def test_who_waits_is_subscribed_by_a_list_with_proof_and_who_complained_is_let_go(desk):
    await desk.take("email\nwaits@example.org\nangry@example.org\n")
    assert set((await desk.states()).values()) == {"pending"}

    page = await desk.take("email\nwaits@example.org\nangry@example.org\n", **AGREED)
    assert "2 déjà" not in page
    assert set((await desk.states()).values()) == {"active"}

    await desk.take("email_address,type\nangry@example.org,complained\n", **AGREED)
    assert (await desk.states())["angry@example.org"] == "left"
    assert await suppression(desk.shop, "angry@example.org") == "complaint"
    await desk.take("email_address,type\nangry@example.org,unsubscribed\n", **AGREED)
    assert await suppression(desk.shop, "angry@example.org") == "complaint"


@pytest.mark.rule("IM-4")
@pytest.mark.parametrize(
    ("row", "state"),
    [
        ("complained,", "left"),
        ("complained,2020-01-02", "active"),  # They chose letters here since.
        ("unsubscribed,", "active"),
    ],
)
async def test_a_complaint_without_a_date_weighs_more_than_a_choice_here(desk, shop, row, state):
    await shop.subscribe("ana@example.org")

    await desk.take(f"email_address,type,unsubscription_date\nana@example.org,{row}\n", **AGREED)

    assert (await desk.states())["ana@example.org"] == state
    expected = "complaint" if state == "left" else None
    assert await suppression(shop, "ana@example.org") == expected


# --- out and in again ------------------------------------------------------------------------


@pytest.mark.rule("IM-7")
async def test_our_own_list_goes_out_and_comes_in_without_loss(desk, shop, tmp_path):
    await shop.services.store.write(topic_named, "Lin écru", now=datetime.now(UTC))
    await shop.subscribe("ana@example.org", topics=["lin-ecru"])
    await shop.subscribe("gone@example.org")
    await desk.take(LISTS["Buttondown"][1], **AGREED)
    await desk.take("email\n'+plus@example.org\n", **AGREED)

    def prepare(tx):
        now = datetime.now(UTC).replace(microsecond=0)
        ana = subscribers.find_subscriber(tx, "ana@example.org")
        vip = topic_named(tx, "VIP", now=now)
        topics.update_topic(tx, vip.id, name="VIP", hashtag="vip", description="", public=False)
        subscribers.change_subscriber(
            tx, ana.id, rhythm="monthly", language="en", paused_until=now + timedelta(days=30)
        )
        tx.execute(
            sa.update(subscriber)
            .where(subscriber.c.id == ana.id)
            .values(held_until=to_ms(now + timedelta(days=5)), follows_as="https://x.example/u/ana")
        )
        reported = {"subscriber_id": ana.id, "class_": "full", "status": "5.2.2", "counted": True}
        for days in (3, 61):  # What is older than a report may be counts for nothing.
            tx.execute(bounce.insert().values(**reported, at=to_ms(now - timedelta(days=days))))
        tx.execute(subscription.insert().values(subscriber_id=ana.id, topic_id=vip.id, since=0))
        # The one gets every letter, the other not: their only topic was hidden since.
        plus = subscribers.find_subscriber(tx, "+plus@example.org")
        paid = subscribers.find_subscriber(tx, "bd-paid@example.org")
        subscribers.change_subscriber(tx, paid.id, all_topics=False)
        for one in (plus, paid):
            tx.execute(subscription.insert().values(subscriber_id=one.id, topic_id=vip.id, since=0))
        gone = subscribers.find_subscriber(tx, "gone@example.org")
        subscribers.change_subscriber(tx, gone.id, state="suppressed")
        hashed = shop.services.tokens.hash_address("gone@example.org")
        subscribers.suppress(tx, hashed, "full", now=now)

    await shop.services.store.write(prepare)

    async def out(of):
        answer = await of.shop.post("/desk/readers/export", csrf=of.csrf)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        return answer.content

    first = await out(desk)
    rows = {row["email"]: row for row in csv.DictReader(io.StringIO(first.decode("utf-8-sig")))}
    assert tuple(next(iter(rows.values()))) == COLUMNS
    assert first.startswith(b"\xef\xbb\xbfemail,language,rhythm,topics,state,requested_at")
    assert first.count(b"\r\n") == len(rows) + 1
    ana = rows["ana@example.org"]
    assert (ana["hidden_topics"], ana["rhythm"], ana["source"]) == ("vip", "monthly", "form")
    assert len(ana["consent_version"]) == 16
    record = json.loads(ana["record"])
    assert [one["kind"] for one in record["consent"]] == ["requested", "confirmed"]
    assert len(record["wordings"]) == 2  # Of the form, and of the mail that asked.
    for text in record["wordings"].values():  # Not with each who agreed to it.
        assert first.decode().count(json.dumps(text, ensure_ascii=False)[1:30]) == 1
    assert rows["gone@example.org"]["reason"] == "full"
    assert rows["bd-angry@example.org"]["reason"] == "complaint"
    assert rows["bd-in@example.org"]["proof"] == AGREED["proof"]
    assert "'+plus@example.org" in rows

    async with running_shop(tmp_path / "other") as other:
        there = ListDesk(other, await other.log_in())
        path, page = await there.look(first)
        assert "trace des accords" in page
        await other.post(path, csrf=there.csrf, action="take")
        await there.finished(path)

        assert known(await out(there)) == known(first)
        assert {one.name for one in await other.services.store.read(topics.all_topics)} == {
            "Lin écru",
            "VIP",
        }
        again = await person(other, "ana@example.org")
        assert again.held_until > datetime.now(UTC) + timedelta(days=4)
        assert again.follows_as == "https://x.example/u/ana"
        assert await suppression(other, "gone@example.org") == "full"
        assert (await person(other, "+plus@example.org")).all_topics
        assert not (await person(other, "bd-paid@example.org")).all_topics
        hidden = {
            one.slug: one.public for one in await other.services.store.read(topics.all_topics)
        }
        assert hidden["vip"] is False

        versions = [one["version"] for one in record["consent"]]
        assert await other.services.store.read(crowds.wordings, versions) == record["wordings"]
        since = datetime.now(UTC) - timedelta(days=90)
        (full,) = await other.services.store.read(past_of, again.id, since=since)
        assert (full.class_, full.counted) == ("full", True)


async def test_a_list_of_before_there_was_a_record_brings_its_wording(desk, shop):
    text = "Je veux recevoir ces lettres."
    version = wording_version("fr", text)
    header = "email,rhythm,state,confirmed_at,consent_version,consent_text"
    await desk.take(f"{header}\nana@example.org,every,active,2025-01-02,{version},{text}\n")

    assert await desk.states() == {"ana@example.org": "active"}
    assert await shop.services.store.read(crowds.wordings, [version]) == {version: text}


def test_of_very_many_events_a_row_keeps_the_newest_so_that_it_can_come_in():
    begun = datetime(2020, 1, 1, tzinfo=UTC)
    events = tuple(
        Event("imported", begun + timedelta(days=day), "import", "fr", proof="x" * 499)
        for day in range(400)
    )

    cell = as_cell(Kept(events=events))

    assert len(cell) < 64_000
    kept = from_cell(cell).events
    assert len(kept) > 50
    assert kept == events[-len(kept) :]


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "{",
        '{"consent":[{"kind":"left"}]}',
        '{"consent":[{"kind":"left","at":"2025-01-02"}]}',
        '{"consent":[{"kind":"left","at":"0001-01-01T00:00:00+00:00"}]}',
        '{"consent":[{"kind":"left","at":"2093-01-01T00:00:00+00:00"}]}',
        '{"returned":[["full"]]}',
        '{"held_until":5}',
        '{"follows_as":"' + "x" * 501 + '"}',
        '{"wordings":{"v":"\\ud800"}}',
        "[" * 5000,
    ],
)
async def test_a_row_whose_record_is_not_ours_is_refused_alone(desk, record):
    out = io.StringIO()
    csv.writer(out).writerows(
        [
            ["email", "rhythm", "state", "consent_version", "record"],
            ["ana@example.org", "every", "active", "", record],
            ["ben@example.org", "every", "active", "", ""],
        ]
    )

    path, _ = await desk.look(out.getvalue())

    assert [row[1] for row in await desk.refused(path)] == ["2"]
    assert (await desk.report(path)).added == 1


def _make_an_editor(tx) -> None:
    tx.execute(sa.update(founder).values(role="editor"))


@pytest.mark.rule("WE-7")
async def test_a_list_needs_a_founder_and_the_forms_own_token(desk, shop):
    path, _ = await desk.look("email\nana@example.org\n")

    for form in ({"action": "take"}, {"action": "take", "csrf": "x"}):
        assert (await shop.post(path, **form)).status_code == 403
    assert (await shop.post("/desk/readers/export")).status_code == 403
    pages = (path, f"{path}/state", f"{path}/refused.csv", "/desk/readers/import")
    await shop.services.store.write(_make_an_editor)
    for page in pages:
        assert (await shop.client.get(page)).status_code == 403
    assert (await shop.post(path, action="take", csrf=desk.csrf)).status_code == 403
    shop.client.cookies.clear()
    for page in pages:
        assert (await shop.client.get(page)).status_code == 303
    assert await desk.states() == {}


async def test_a_list_may_be_dropped_and_then_nothing_of_it_is_left(desk, shop):
    path, _ = await desk.look("email\nana@example.org\n")

    await shop.post(path, csrf=desk.csrf, action="drop")

    assert (await shop.client.get(path)).status_code == 404
    assert not (desk_of(shop.services).folder / path[-16:]).exists()
    assert (await shop.client.get("/desk/readers/import/nothing")).status_code == 404


async def test_a_list_whose_file_is_nowhere_fails_after_a_day_and_says_what_to_do(desk, shop):
    begun = datetime.now(UTC)

    def restored(tx):
        wish = importing.Wish(take=True).as_json()
        intakes.add_intake(
            tx, "0123456789abcdef", name="l.csv", wish=wish, total=9, founder_id=None, now=begun
        )

    await shop.services.store.write(restored)
    path = "/desk/readers/import/0123456789abcdef"
    for after, finished in ((timedelta(hours=23), False), (timedelta(hours=25), True)):
        await asyncio.to_thread(importing.tidy, desk_of(shop.services), now=begun + after)
        assert (await shop.client.get(f"{path}/state")).json()["finished"] is finished
    assert "Donnez le fichier encore une fois." in (await shop.client.get(path)).text


async def test_files_that_nobody_decided_about_and_old_reports_go(desk, shop):
    undecided, _ = await desk.look("email\nana@example.org\n")
    done, _ = await desk.look("email\nben@example.org\n")
    await shop.post(done, csrf=desk.csrf, action="take", **AGREED)
    await desk.finished(done)
    now = datetime.now(UTC)

    async def tidied(after):
        await asyncio.to_thread(importing.tidy, desk_of(shop.services), now=now + after)
        return [(await shop.client.get(path)).status_code for path in (undecided, done)]

    assert await tidied(timedelta(hours=23)) == [200, 200]
    assert await tidied(timedelta(hours=25)) == [404, 200]
    assert await tidied(timedelta(days=8)) == [404, 404]
    assert list(desk_of(shop.services).folder.iterdir()) == []
