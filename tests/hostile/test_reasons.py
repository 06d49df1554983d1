"""What came to nothing is told to the founders, in their language; nothing malformed raises."""

import ast
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from fediletter import inbound
from fediletter.inbound import dispatch, reasons
from fediletter.newsletter import polls
from fediletter.words import words
from storage import received as store
from storage.lanes import BLOCKS_US
from storage.schema import founder, reply
from storage.schema import received as table
from tests.hostile.siege import PUBLIC
from tests.hostile.test_object_threats import answered
from tests.shop import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HANDLERS = ("follow", "removal", "reply", "profile", "reaction", "quote", "vote")


def _codes(path: Path) -> set[str]:
    """What the functions of a module return, or hand to `ignore`, as a text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Return):
            given = [node.value]
            if isinstance(node.value, ast.IfExp):
                given = [node.value.body, node.value.orelse]
            if isinstance(node.value, ast.Call) and "ignore" in ast.unparse(node.value.func):
                given = node.value.args
            found |= {
                one.value
                for one in given
                if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
    return found


async def test_every_reason_has_a_sentence_and_every_sentence_is_said_in_french():
    folder = Path(inbound.__file__).parent
    used = set().union(*(_codes(folder / f"{name}.py") for name in _HANDLERS))
    used |= _codes(Path(polls.__file__))
    assert len(used) > 30
    assert used <= set(reasons.SENTENCES)

    french = words("fr").gettext
    for sentence in [*reasons.SENTENCES.values(), BLOCKS_US]:
        assert french(sentence) != sentence


async def _page(siege, language, query="") -> str:
    await siege.shop.services.store.write(
        lambda tx: tx.execute(sa.update(founder).values(language=language))
    )
    answer = await siege.shop.client.get(f"/desk/received{query}")
    assert answer.status_code == 200
    return answer.text


async def test_a_founder_reads_what_was_ignored_and_why_in_both_languages(siege):
    ana = siege.somebody()
    like = siege.activity(ana, "Like", f"{siege.shop.base_url}/ap/shop/issues/none")
    assert (await siege.send(ana, like)).status_code == 202
    assert (await siege.outcome(like))[0] == "ignored"
    await siege.shop.log_in()
    query = sa.select(table.c.id).where(table.c.activity_uri == like["id"])
    received_id = await siege.shop.services.store.read(lambda tx: tx.scalar(query))

    for language, sentence in (
        ("fr", "Il ne s’agit de rien de public chez vous."),
        ("en", "It is about nothing of yours that is public."),
    ):
        page = await _page(siege, language)
        assert sentence in page.partition(f' id="x-{received_id}"')[2].partition("</article>")[0]
    assert "/desk/received" in (await siege.shop.client.get("/desk/blocks")).text, "it is linked"
    assert (await siege.shop.client.get("/desk/received?state=odd")).status_code == 422


@pytest.mark.rule("IN-33")
@pytest.mark.rule("L-25")
async def test_a_surplus_is_held_for_the_founder_who_takes_it_in_later(siege, monkeypatch):
    monkeypatch.setattr("fediletter.inbound.reply.REPLIES_PER_ACTOR_HOUR", 2)
    letter, ana = await siege.letter(), siege.somebody()
    for _ in range(2):
        await answered(siege, ana, letter)
    third = siege.activity(ana, "Create", siege.note(ana, letter))
    await siege.ignored(siege.send(ana, third))
    assert await siege.outcome(third) == ("held", "too many answers")
    csrf = await siege.shop.log_in()
    page = await _page(siege, "fr", "?state=held")
    assert "vous pourrez l’accepter plus tard" in page
    query = sa.select(table.c.id).where(table.c.activity_uri == third["id"])
    received_id = await siege.shop.services.store.read(lambda tx: tx.scalar(query))
    assert f'action="/desk/received/{received_id}/again"' in page

    # At once it is held again; when the hour is over it is an answer like others.
    await siege.shop.post(f"/desk/received/{received_id}/again", csrf=csrf)
    assert (await siege.outcome(third))[0] == "held"
    monkeypatch.setattr("fediletter.inbound.reply.REPLIES_PER_ACTOR_HOUR", 3)
    await siege.shop.post(f"/desk/received/{received_id}/again", csrf=csrf)
    assert await siege.outcome(third) == ("done", None)
    kept = sa.select(reply.c.state).where(reply.c.uri == third["object"]["id"])
    assert await siege.shop.services.store.read(lambda tx: tx.scalar(kept)) == "pending"
    before = await siege.state()
    await siege.shop.post(f"/desk/received/{received_id}/again", csrf=csrf)
    assert await siege.state() == before, "what is done is not done again"


async def test_the_list_has_pages(siege, monkeypatch):
    monkeypatch.setattr("fediletter.web.desk.received._PAGE", 2)
    ana = siege.somebody()
    for _ in range(3):
        await siege.send(ana, siege.activity(ana, "Like", f"{siege.shop.base_url}/none"))
    await siege.settled()
    await siege.shop.log_in()

    first = await _page(siege, "en", "?state=ignored")
    assert first.count("<article") == 2
    older = first.partition('href="?before=')[2].partition('"')[0].replace("&amp;", "&")
    second = await _page(siege, "en", f"?before={older}")
    assert second.count("<article") >= 1
    assert not set(_ids(first)) & set(_ids(second))


def _ids(page: str) -> list[str]:
    return [one.partition('"')[0] for one in page.split(' id="x-')[1:]]


_STRANGE = (None, 7, True, "", "x", [], {}, [[]], {"id": {}}, {"type": 7}, ["a", {"id": 1}], "\0")
_PLACES = ("object", "target", "to", "cc", "content", "instrument", "published", "updated")
_INSIDE = (
    "id type attributedTo inReplyTo content name to cc tag url context conversation published "
    "updated summary replies attachment contentMap"
).split()


@pytest.mark.slow
@pytest.mark.rule("IN-16")
@pytest.mark.rule("IN-37")
@pytest.mark.parametrize("kind", sorted(dispatch.HANDLED))
async def test_nothing_malformed_raises_out_of_a_worker(siege, kind, monkeypatch):
    """Every handler, every place, every strange value: an end with a reason, or applied."""
    monkeypatch.setattr("fediletter.inbound.reply.REPLIES_PER_ACTOR_HOUR", 10_000)
    letter, ana = await siege.letter(), siege.somebody(f"{kind.lower()}.peer.example")
    assert (await siege.send(ana, siege.follow(ana))).status_code == 202
    inner = siege.note(ana, letter, tag=[], cc=[f"{siege.shop.base_url}/ap/shop"], to=[PUBLIC])
    whole = siege.activity(ana, kind, inner, target=ana.id, instrument=f"{ana.id}/q/1")
    sent = [whole | {place: odd} for place in _PLACES for odd in _STRANGE]
    sent += [
        whole | {"object": inner | {place: odd}, "id": f"{whole['id']}/{place}/{number}"}
        for place in (_INSIDE if kind in ("Create", "Update") else ())
        for number, odd in enumerate(_STRANGE)
    ]
    for number, document in enumerate(sent):
        document = document | {"id": f"{ana.id}/odd/{kind}/{number}"}
        assert (await siege.send(ana, document)).status_code in (202, 400), document
    await siege.settled()

    rows = await siege.shop.services.store.read(
        lambda tx: tx.rows(
            sa.select(table.c.state, table.c.reason).where(
                table.c.activity_uri.startswith(f"{ana.id}/odd/{kind}/")
            )
        )
    )
    assert len(rows) > len(sent) / 2
    for state, reason in rows:
        assert state in ("done", "ignored", "held", "failed"), reason
        assert state == "done" or reasons.told(reason)[0], reason
        assert "mistake" not in (reason or ""), reason


async def _put(siege, body: bytes, *, type="Create") -> int:
    def work(tx):
        uri = f"urn:put:{tx.scalar(sa.select(sa.func.count()).select_from(table))}"
        signer = f"{siege.base}/users/put"
        now = siege.shop.services.clock.now()
        store.keep(tx, [store.Arrival(signer, uri, type, body)], now=now)
        return tx.scalar(sa.select(table.c.id).where(table.c.activity_uri == uri))

    return await siege.shop.services.store.write(work)


async def _told(siege, received_id: int) -> tuple[str, str]:
    query = sa.select(table.c.state, table.c.reason).where(table.c.id == received_id)

    async def over():
        row = await siege.shop.services.store.read(lambda tx: tx.row(query))
        return row if row[0] != "waiting" else None

    found = []

    async def look():
        row = await over()
        found.append(row)
        return row

    await until(look)
    return found[-1]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{", b'{"type": "Create"}', b'{"a": NaN}'])
async def test_even_octets_that_no_door_would_let_in_end_with_a_reason(siege, body):
    """A damaged row, or one of an older version: the worker goes on."""
    state, reason = await _told(siege, await _put(siege, body))

    assert state == "failed"
    assert reasons.told(reason)[0] == "What the other server sent cannot be used."
    await siege.shop.log_in()
    assert "Ce que l’autre serveur a envoyé est inutilisable." in await _page(siege, "fr")


async def test_a_mistake_of_ours_is_tried_again_then_told_and_can_be_repaired(siege, monkeypatch):
    letter, ana = await siege.letter(), siege.somebody()
    create = siege.activity(ana, "Create", siege.note(ana, letter))

    async def broken(_services, _activity, _fetcher):
        raise ZeroDivisionError

    whole = dispatch._HANDLERS["Create"]
    monkeypatch.setitem(dispatch._HANDLERS, "Create", broken)
    monkeypatch.setattr(dispatch, "FETCHES", 1)
    assert (await siege.send(ana, create)).status_code == 202
    assert await siege.outcome(create) == ("failed", "a mistake of ours: ZeroDivisionError")
    siege.errors.found.clear()  # It is logged: once, and wanted here.
    csrf = await siege.shop.log_in()
    page = await _page(siege, "en", "?state=failed")
    assert "We could not take it in: a mistake of ours." in page
    number = page.partition("/desk/received/")[2].partition("/")[0]

    monkeypatch.setitem(dispatch._HANDLERS, "Create", whole)
    await siege.shop.post(f"/desk/received/{number}/again", csrf=csrf)
    assert await siege.outcome(create) == ("done", None)


async def test_what_waits_for_another_server_is_listed_with_its_next_try(siege):
    ana = siege.somebody()
    letter = await siege.letter()
    create = siege.activity(ana, "Create", siege.note(ana, letter))
    assert (await siege.send(ana, create)).status_code == 202
    await siege.settled()

    def wait(tx):
        mine = table.c.activity_uri == create["id"]
        values = {
            "state": "waiting",
            "attempts": 2,
            "reason": "no answer at present: answered 502",
            "not_before": 4_000_000_000_000,
        }
        tx.execute(sa.update(table).where(mine).values(**values))

    await siege.shop.services.store.write(wait)
    await siege.shop.log_in()
    page = await _page(siege, "en", "?state=waiting")
    assert "The other server does not answer at present. The next try is on" in page
    assert '<p class="soft" lang="en">answered 502</p>' in page
    assert json.dumps(create["object"]["content"])[1:-1] not in page
