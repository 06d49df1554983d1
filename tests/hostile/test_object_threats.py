"""What activities may do to what is here: owners, strangers, floods, markup, lanes of peers."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from federation.keys import RsaPrivateKey
from fediletter.outbound.polls import publish_poll
from storage import conversations
from storage.posts import get_post
from storage.schema import lane, peer, remote_actor, remote_key, reply
from tests.federation.peer import OTHER_RSA, TYPE, Peer
from tests.shop import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def replies(siege) -> list[dict]:
    await siege.settled()
    query = sa.select(reply).where(reply.c.state != "deleted")
    names = [column.name for column in reply.c]
    return await siege.shop.services.store.read(
        lambda tx: [dict(zip(names, row, strict=True)) for row in tx.rows(query)]
    )


async def answered(siege, ana: Peer, letter: str, **more) -> dict:
    """An answer by somebody, kept."""
    note = siege.note(ana, letter, **more)
    create = siege.activity(ana, "Create", note)
    assert (await siege.send(ana, create)).status_code == 202
    assert await siege.outcome(create) == ("done", None)
    return note


@pytest.mark.rule("IN-18")
@pytest.mark.rule("L-21")
@pytest.mark.rule("L-22")
@pytest.mark.rule("HT-7")
async def test_what_an_actor_says_of_itself_is_kept_within_caps_without_hidden_marks(siege):
    ana = siege.somebody()
    siege.show(
        ana.id,
        siege.document(ana)
        | {
            "name": "A\u202ena" + "x" * 5000,
            "preferredUsername": "u\u200bna" + "y" * 500,
            "alsoKnownAs": [f"https://a.example/{number}" for number in range(400)],
            "url": "https://good.example\\@evil.example/",
            "icon": {"url": "javascript:alert(1)"},
        },
    )
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    await siege.settled()
    query = sa.select(remote_actor).where(remote_actor.c.uri == ana.id)
    names = [column.name for column in remote_actor.c]
    found = await siege.shop.services.store.read(lambda tx: tx.row(query))
    row = dict(zip(names, found, strict=True))

    assert row["name"].startswith("Anax")
    assert len(row["name"]) <= 2048
    assert row["username"].startswith("unay")
    assert len(row["username"]) <= 256
    assert len(json.loads(row["also_known_as_json"])) == 256
    assert (row["url"], row["icon_url"]) == (None, None)


@pytest.mark.rule("IN-19")
async def test_an_object_with_an_id_of_ours_or_of_another_author_changes_nothing(siege):
    letter = await siege.letter()
    ana, bo = siege.somebody(), siege.somebody()
    kept = await answered(siege, ana, letter)

    for stolen in (letter, f"{siege.shop.base_url}/ap/shop/notes/1", kept["id"]):
        note = siege.note(bo, letter, id=stolen, content="forged")
        await siege.ignored(siege.send(bo, siege.activity(bo, "Create", note)))
        await siege.ignored(siege.send(bo, siege.activity(bo, "Update", note)))


@pytest.mark.rule("IN-20")
@pytest.mark.rule("I08")
async def test_an_object_of_another_host_or_author_is_not_kept(siege):
    letter = await siege.letter()
    ana, bo = siege.somebody(), siege.somebody()
    elsewhere = siege.somebody("b.peer.example")

    for changes in (
        {"id": f"{elsewhere.id}/notes/1"},
        {"id": f"{elsewhere.id}/notes/2", "attributedTo": elsewhere.id},
        {"attributedTo": bo.id},
        {"attributedTo": None},
        {"attributedTo": {"type": "Person"}},
        {"id": None},
    ):
        create = siege.activity(ana, "Create", siege.note(ana, letter, **changes))
        await siege.ignored(siege.send(ana, create))


@pytest.mark.rule("IN-20")
@pytest.mark.parametrize("changes", [{"attributedTo": None}, {"type": "Event"}])
async def test_an_edit_counts_no_more_than_a_new_answer_of_the_same_kind(siege, changes):
    letter, ana = await siege.letter(), siege.somebody()
    kept = await answered(siege, ana, letter)
    newer = kept | {"content": "<p>autre</p>", "updated": "2026-12-01T00:00:00Z"}

    await siege.ignored(siege.send(ana, siege.activity(ana, "Update", newer | changes)))

    await siege.send(ana, siege.activity(ana, "Update", newer))
    assert "<p>autre</p>" in [row["content_html"] for row in await replies(siege)]


@pytest.mark.rule("IN-20")
async def test_a_vote_with_an_id_of_another_host_is_not_counted(siege):
    ana = siege.somebody()
    post_id = await publish_poll(
        siege.shop.services,
        "Quelle lettre ?",
        ["Lin", "Cuir"],
        multiple=False,
        ends_at=datetime.now(UTC) + timedelta(days=1),
    )
    post = await siege.shop.services.store.read(get_post, post_id)
    poll = f"{siege.shop.base_url}/ap/shop/notes/{post.public_id}"
    vote = {"type": "Note", "name": "Lin", "attributedTo": ana.id, "inReplyTo": poll}

    for id in ("https://elsewhere.example/1", f"{siege.shop.base_url}/ap/shop/notes/1"):
        await siege.ignored(siege.send(ana, siege.activity(ana, "Create", vote | {"id": id})))

    before = await siege.effects()
    await siege.send(ana, siege.activity(ana, "Create", vote | {"id": f"{ana.id}#votes/1"}))
    changed = {line.partition(":")[0] for line in set(await siege.effects()) ^ set(before)}
    assert {"poll", "poll_vote"} & changed


@pytest.mark.rule("IN-21")
@pytest.mark.rule("IN-23")
@pytest.mark.rule("IN-27")
async def test_nobody_updates_deletes_or_undoes_what_is_anothers(siege):
    letter = await siege.letter()
    ana, bo = siege.somebody(), siege.somebody()
    kept = await answered(siege, ana, letter)
    follow, like = siege.follow(ana), siege.activity(ana, "Like", letter)
    await siege.send(ana, follow)
    await siege.send(ana, like)
    newer = kept | {"content": "forged", "updated": "2030-01-01T00:00:00Z"}

    for type, target in (
        ("Update", newer),
        ("Update", newer | {"attributedTo": bo.id}),
        ("Update", siege.document(ana)),
        ("Delete", kept["id"]),
        ("Delete", {"id": kept["id"], "type": "Tombstone"}),
        ("Delete", ana.id),
        ("Delete", letter),
        ("Undo", follow),
        ("Undo", follow["id"]),
        ("Undo", like),
        ("Undo", like["id"]),
        ("Undo", like | {"actor": bo.id}),
    ):
        await siege.ignored(siege.send(bo, siege.activity(bo, type, target)))
    assert await siege.follows(ana)

    await siege.send(ana, siege.activity(ana, "Undo", follow))
    assert not await siege.follows(ana)


@pytest.mark.rule("IN-23")
@pytest.mark.rule("I18")
async def test_a_delete_without_an_id_is_applied_once_and_a_late_create_stays_dead(siege):
    letter = await siege.letter()
    ana = siege.somebody()
    kept = await answered(siege, ana, letter)
    delete = siege.activity(ana, "Delete", kept["id"])
    del delete["id"]

    for _ in range(2):
        assert (await siege.send(ana, delete)).status_code == 202
    assert kept["id"] not in [row["uri"] for row in await replies(siege)]

    await siege.ignored(siege.send(ana, siege.activity(ana, "Create", kept)))
    early = siege.note(ana, letter)
    await siege.send(ana, siege.activity(ana, "Delete", early["id"]))
    await siege.ignored(siege.send(ana, siege.activity(ana, "Create", early)))


@pytest.mark.rule("I19")
async def test_one_create_at_the_personal_and_the_shared_inbox_is_kept_once(siege):
    letter = await siege.letter()
    ana = siege.somebody()
    create = siege.activity(ana, "Create", siege.note(ana, letter))

    for inbox in ("/ap/inbox", "/ap/shop/inbox"):
        assert (await siege.send(ana, create, inbox=inbox)).status_code == 202

    uris = [row["uri"] for row in await replies(siege)]
    assert uris.count(create["object"]["id"]) == 1


@pytest.mark.rule("I17")
@pytest.mark.parametrize(
    "type", ["View", "Question", "Add", "Dislike", "Delete, unproven", "x" * 999]
)
async def test_a_type_that_we_do_not_handle_leaves_no_row(siege, type):
    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))

    await siege.refused(siege.send(ana, siege.activity(ana, type, ana.id)), 202)


@pytest.mark.rule("IN-26")
async def test_only_a_boost_of_a_public_letter_of_ours_counts_and_nothing_is_fetched(siege):
    letter = await siege.letter()
    ana = siege.somebody()
    draft = await siege.shop.draft("Brouillon", "Rien")
    fetched = len(siege.fetched)
    for target in (
        "https://elsewhere.example/1",
        f"{siege.base}/private/1",
        letter.replace("/issues/", "/issues/x"),
        f"{siege.shop.base_url}/ap/shop/issues/{draft.public_id}",
        {"id": f"{siege.base}/private/2", "type": "Note", "content": "secret"},
        {"type": "Create", "object": letter},
    ):
        await siege.ignored(siege.send(ana, siege.activity(ana, "Announce", target)))
    assert set(siege.fetched[fetched:]) <= {ana.id}

    before = await siege.effects()
    await siege.send(ana, siege.activity(ana, "Announce", letter))
    more = set(await siege.effects()) - set(before)
    assert [line for line in more if line.startswith("reaction: ")]


@pytest.mark.rule("IN-31")
async def test_a_move_makes_no_follower_of_the_new_account(siege):
    ana, new = siege.somebody(), siege.somebody()
    await siege.send(ana, siege.follow(ana))
    siege.show(new.id, siege.document(new) | {"alsoKnownAs": [ana.id]})

    move = siege.activity(ana, "Move", ana.id, target=new.id)
    assert (await siege.send(ana, move)).status_code == 202

    assert not await siege.follows(new)


@pytest.mark.rule("IN-32")
async def test_hidden_recipients_and_what_is_not_public_are_nowhere(siege):
    letter = await siege.letter()
    ana = siege.somebody()
    hidden = {"bto": ["https://secret.example/bto"], "bcc": "https://secret.example/bcc"}
    kept = await answered(siege, ana, letter, **hidden, content="<p>à tous</p>")
    private = await answered(siege, ana, letter, to=[f"{ana.id}/followers"], content="<p>privé</p>")
    for row in await replies(siege):
        await siege.shop.services.store.write(conversations.decide, row["id"], state="approved")
        assert "secret.example" not in str(row)
    slug = (await siege.shop.client.get(letter, follow_redirects=True)).text
    assert "à tous" in slug
    assert "privé" not in slug
    found = (await siege.shop.client.get(f"{letter}/replies", headers={"Accept": TYPE})).json()
    assert kept["id"] in found["items"]
    assert private["id"] not in found["items"]


@pytest.mark.rule("IN-33")
@pytest.mark.rule("L-25")
async def test_a_flood_of_answers_is_cut_for_each_actor_and_letter(siege, monkeypatch):
    from fediletter.limits import REPLIES_PER_ACTOR_HOUR, REPLIES_PER_ISSUE

    assert (REPLIES_PER_ACTOR_HOUR, REPLIES_PER_ISSUE) == (30, 5000)
    monkeypatch.setattr("fediletter.inbound.reply.REPLIES_PER_ACTOR_HOUR", 2)
    letter = await siege.letter()
    ana = siege.somebody()
    for _ in range(2):
        await answered(siege, ana, letter)
    await siege.ignored(siege.send(ana, siege.activity(ana, "Create", siege.note(ana, letter))))

    monkeypatch.setattr("fediletter.inbound.reply.REPLIES_PER_ISSUE", 2)
    bo = siege.somebody()
    await siege.ignored(siege.send(bo, siege.activity(bo, "Create", siege.note(bo, letter))))


@pytest.mark.rule("IN-33")
@pytest.mark.rule("L-26")
async def test_answers_nest_ten_deep_and_no_tree_is_crawled(siege):
    place = await siege.letter()
    fetched = len(siege.fetched)
    people = [siege.somebody() for _ in range(11)]
    for one in people[:10]:
        tree = {"replies": {"type": "Collection", "first": f"{siege.base}/tree"}}
        place = (await answered(siege, one, place, **tree))["id"]
    eleventh = siege.activity(people[10], "Create", siege.note(people[10], place))
    await siege.ignored(siege.send(people[10], eleventh))

    assert set(siege.fetched[fetched:]) <= {one.id for one in people}


HOSTILE = (
    '<script>alert("marker")</script><style>p{}</style><svg><script>alert(1)</script></svg>'
    "<math><mi//xlink:href='javascript:alert(1)'></math><title>t</title><textarea>x</textarea>"
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>"
    "<template><img src=x onerror=alert(1)></template><iframe src=//e.example></iframe>"
    "<form action=//e.example><input name=a></form><object data=x></object><embed src=x>"
    "<!-- <img src=x onerror=alert(1)> --><img src=https://track.example/p.gif>"
    '<a href="java\tscript:alert(1)">a</a><a href="//e.example">b</a><a href="https:\\\\e.ex">c</a>'
    "<p style='position:fixed' onclick=alert(1) class='admin'>text</p>"
)


@pytest.mark.rule("HT-3")
@pytest.mark.rule("HT-4")
@pytest.mark.rule("HT-6")
async def test_markup_of_strangers_comes_out_harmless_in_every_field(siege):
    letter = await siege.letter()
    ana = siege.somebody()
    marker = '"><img src=x onerror=alert(7)>'
    siege.show(
        ana.id,
        siege.document(ana)
        | {"name": f"Ana {marker}", "preferredUsername": f"ana{marker}", "summary": HOSTILE},
    )
    kept = await answered(siege, ana, letter, content=HOSTILE, name=marker, summary=marker)
    row = next(row for row in await replies(siege) if row["uri"] == kept["id"])
    for (
        tag
    ) in "script style svg math title textarea noscript template iframe form input img".split():
        assert f"<{tag}" not in row["content_html"]
    for text in (
        "onerror",
        "onclick",
        "javascript:",
        "<!--",
        "style=",
        "marker",
        'href="//',
        "admin",
    ):
        assert text not in row["content_html"], text
    await siege.shop.services.store.write(conversations.decide, row["id"], state="approved")

    page = (await siege.shop.client.get(letter, follow_redirects=True)).text
    token = await siege.shop.log_in()
    desk = [
        (await siege.shop.client.get(path)).text
        for path in ("/desk/answers", "/desk/readers", "/desk")
    ]

    assert token
    assert "Ana" in page
    for text in (page, *desk):
        assert "<img src=x" not in text
        assert "onerror=alert(7)>" not in text.replace("&gt;", ">").split("<body", 1)[0]


@pytest.mark.rule("L-20")
@pytest.mark.parametrize("excess", [0, 1])
async def test_html_beyond_32_kib_is_plain_text(siege, excess):
    letter = await siege.letter()
    ana = siege.somebody()
    start = "<p><strong>fort</strong>"
    markup = start + "x" * ((32 << 10) - len(start) + excess)

    kept = await answered(siege, ana, letter, content=markup)

    row = next(row for row in await replies(siege) if row["uri"] == kept["id"])
    assert ("<strong>" in row["content_html"]) is (excess == 0)


@pytest.mark.rule("L-27")
@pytest.mark.parametrize("count", [20, 21])
async def test_of_links_and_of_mentions_twenty_each_are_links(siege, count):
    letter = await siege.letter()
    ana = siege.somebody()
    link = '<a href="https://l.example/">l.example</a> '
    mention = '<a class="u-url mention" href="https://m.example/@bo">@bo</a> '

    kept = await answered(siege, ana, letter, content=f"<p>{(mention + link) * count}</p>")

    row = next(row for row in await replies(siege) if row["uri"] == kept["id"])
    said = row["content_html"]
    assert (said.count("https://l.example/"), said.count("https://m.example/@bo")) == (20, 20)
    assert (said.count("l.example</a>"), said.count("@bo")) == (20, 20 + count), "words stay"


@pytest.mark.rule("V13")
@pytest.mark.rule("L-11")
async def test_a_new_key_under_the_old_id_is_asked_for_once_in_five_minutes(siege):
    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    new = Peer(ana.id, OTHER_RSA)
    siege.show(ana.id, siege.document(new))
    siege.fetched.clear()
    await siege.refused(siege.send(new, siege.follow(new)), 401)
    assert siege.fetched == [], "fetched just now"

    old = int((datetime.now(UTC) - timedelta(minutes=6)).timestamp() * 1000)
    key = sa.update(remote_key).where(remote_key.c.uri == f"{ana.id}#main-key")
    siege_keys = siege.receiver._keys
    siege_keys._refreshed.clear()
    await siege.shop.services.store.write(lambda tx: tx.execute(key.values(fetched_at=old)))
    answers = await asyncio.gather(*(siege.send(new, siege.follow(new)) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert siege.fetched == [ana.id]
    third = Peer(ana.id, RsaPrivateKey.generate())
    await siege.refused(siege.send(third, siege.follow(third)), 401)
    assert siege.fetched == [ana.id]


@pytest.mark.rule("IN-10")
async def test_an_actor_that_lists_anothers_key_as_its_own_takes_nothing_over(siege):
    bo, ana = siege.somebody(), siege.somebody()
    document = siege.document(bo)
    stolen = document["publicKey"] | {"id": f"{ana.id}#main-key"}
    siege.show(bo.id, document | {"publicKey": [document["publicKey"], stolen]})
    await siege.send(bo, siege.follow(bo))
    await siege.settled()
    old = sa.update(remote_key).where(remote_key.c.uri == f"{ana.id}#main-key")
    await siege.shop.services.store.write(lambda tx: tx.execute(old.values(fetched_at=0)))

    assert (await siege.send(ana, siege.follow(ana))).status_code == 202

    assert await siege.follows(ana)


@pytest.mark.rule("D06")
async def test_a_host_that_speaks_again_is_sent_to_at_once(siege):
    ana = siege.somebody("quiet.peer.example")
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    key = f"ap:quiet.peer.example:{siege.base.rpartition(':')[2]}"
    week = {"failures": 9, "failing_days": 7, "dormant_at": 1, "ready_at": 9_999_999_999_999}
    asleep = sa.update(lane).where(lane.c.key == key).values(**week)
    await siege.shop.services.store.write(lambda tx: tx.execute(asleep))
    letter = await siege.shop.publish("Du lin", "Bonjour", to_email=False)
    await asyncio.sleep(0.3)

    def has_it() -> bool:
        return letter.object_id in str([one for one in siege.got if one["type"] == "Create"])

    count = str(siege.got).count(letter.object_id)
    await siege.send(ana, siege.activity(ana, "Like", letter.object_id))

    await until(lambda: str(siege.got).count(letter.object_id) > count and has_it())
    awake = sa.select(lane.c.dormant_at, lane.c.failing_days).where(lane.c.key == key)
    await siege.settled()
    assert tuple(await siege.shop.services.store.read(lambda tx: tx.row(awake))) == (None, 0)


@pytest.mark.rule("RE-8")
async def test_what_was_accepted_waits_for_a_peer_that_is_away(siege):
    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    letter = await siege.letter()
    stale = sa.update(remote_actor).where(remote_actor.c.uri == ana.id).values(fetched_at=0)
    await siege.shop.services.store.write(lambda tx: tx.execute(stale))
    siege.show(ana.id, {}, status=503)

    like = siege.activity(ana, "Like", letter)
    assert (await siege.send(ana, like)).status_code == 202
    await asyncio.sleep(0.3)

    state, reason = await siege.outcome(like)
    assert state == "waiting"
    assert reason.startswith("no answer at present")


@pytest.mark.rule("FE-15")
@pytest.mark.rule("L-43")
async def test_one_activity_makes_us_ask_ten_times_at_most(siege):
    ana = siege.somebody()
    place = ana.id
    from starlette.responses import Response

    for number in range(4):
        following = f"{siege.base}/hops/{ana.id[-3:]}/{number}"
        siege.documents[place] = Response(status_code=302, headers={"Location": following})
        place = following
    siege.fetched.clear()
    await siege.refused(siege.send(ana, siege.follow(ana)), 401)
    assert len(siege.fetched) == 4

    bo = siege.somebody()
    siege.documents[bo.id] = Response(status_code=401)
    siege.fetched.clear()
    await siege.refused(siege.send(bo, siege.follow(bo)), 401)
    assert len(siege.fetched) <= 10


@pytest.mark.rule("FE-16")
@pytest.mark.rule("L-10")
async def test_what_strangers_leave_behind_is_bounded(siege, monkeypatch):
    from storage.peers import ActorSnapshot, Swept, forget_strangers, hear_from, keep_actor

    friend = siege.somebody()
    await siege.send(friend, siege.follow(friend))
    await siege.settled()
    now = datetime.now(UTC)

    def invented(tx):
        for number in range(60):
            host = f"h{number}.flood.example"
            id = f"https://{host}/u"
            snapshot = ActorSnapshot(
                *(id, host, "Person", f"{id}/inbox", None, "u", "", None, None, None),
                keys=((f"{id}#k", "x"),),
            )
            keep_actor(tx, snapshot, now=now)
            hear_from(tx, [host], now=now)
        forget_strangers(tx, Swept(), most=5)
        counts = []
        for table, column in ((remote_actor, "host"), (peer, "host")):
            flood = table.c[column].like("%.flood.example")
            counts.append(tx.scalar(sa.select(sa.func.count()).where(flood)))
        counts.append(tx.scalar(sa.select(sa.func.count()).where(remote_key.c.uri.like("%flood%"))))
        return counts

    assert max(await siege.shop.services.store.write(invented)) <= 5
    assert await siege.follows(friend), "whoever follows stays"
    monkeypatch.setattr("fediletter.inbound.keys.NEGATIVE_KEYS", 3)
    keys = siege.receiver._keys
    for _ in range(6):
        one = siege.somebody()
        siege.show(one.id, {}, status=404)
        await siege.refused(siege.send(one, siege.follow(one)), 401)
    assert len(keys._failures) <= 10_000
    keys._failures.clear()
    for number in range(9):
        keys._fail(str(number), RuntimeError, "", now)
    assert len(keys._failures) == 3


@pytest.mark.rule("IN-36")
async def test_what_waits_of_somebody_blocked_meanwhile_is_dropped(siege):
    from storage.blocks import add_block

    ana = siege.somebody()
    await siege.send(ana, siege.follow(ana))
    await siege.settled()
    letter = await siege.letter()
    stale = sa.update(remote_actor).where(remote_actor.c.uri == ana.id).values(fetched_at=0)
    await siege.shop.services.store.write(lambda tx: tx.execute(stale))
    siege.show(ana.id, {}, status=503)
    like = siege.activity(ana, "Like", letter)
    await siege.send(ana, like)
    await asyncio.sleep(0.2)
    write = siege.shop.services.store.write
    await write(add_block, "actor", ana.id, note="", now=datetime.now(UTC))
    siege.show(ana.id, siege.document(ana))
    before = await siege.effects()

    def now(tx):
        from storage.schema import received
        from storage.wakeup import RECEIVED

        theirs = sa.and_(received.c.signer == ana.id, received.c.state == "waiting")
        tx.execute(sa.update(received).where(theirs).values(not_before=0))
        tx.wake(RECEIVED)

    await write(now)

    assert (await siege.outcome(like))[0] == "ignored"
    assert not [x for x in set(await siege.effects()) ^ set(before) if x.startswith("reaction")]


@pytest.mark.rule("P05")
async def test_a_get_of_an_actor_makes_us_ask_nobody(siege):
    ana = siege.somebody()
    signed = dict(ana.request(f"{siege.shop.base_url}/ap/shop", b"", now=datetime.now(UTC)).headers)
    connected = len(siege.connected)
    for path in ("/ap/shop", "/ap/instance"):
        for headers in ({}, {"Signature": "garbage"}, {"Signature": signed["signature"]}):
            answer = await siege.shop.client.get(path, headers={"Accept": TYPE, **headers})
            assert answer.status_code == 200
    assert len(siege.connected) == connected
