"""What real servers sent, read and applied again: signatures at their date, documents, effects.

The laboratory's shop was `https://news.shop.test` with the handle `@shop@shop.test`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from federation.errors import FederationError, NotProven
from federation.inbox import examine, verify
from fediletter.app import build_services
from fediletter.clock import SystemClock
from fediletter.inbound.dispatch import process
from fediletter.inbound.keys import snapshot_of
from fediletter.inbound.receive import Receiver
from fediletter.installation import install
from fediletter.settings import load
from storage import conversations, followers, peers, polls, posts
from storage.posts import Draft
from storage.schema import received
from tests.peers.recorded import FOLDERS, Recorded, actors_of, keys_of, requests_of

HOSTS, SCHEMES = frozenset({"news.shop.test"}), ("https",)
REQUESTS = [
    pytest.param(folder, recorded, id=f"{folder.name}-{recorded.name}")
    for folder in FOLDERS
    for recorded in requests_of(folder)
]


def _examine(request, now):
    return examine(request, hosts=HOSTS, schemes=SCHEMES, now=now)


@pytest.mark.parametrize(("folder", "recorded"), REQUESTS)
def test_a_recorded_signature_is_its_actors_at_its_time_only(folder, recorded):
    claim = _examine(recorded.request, recorded.at)
    key = keys_of(folder)[claim.key_id]

    assert verify(claim, key).actor == recorded.document["actor"]

    changed = replace(recorded.request, body=recorded.request.body.replace(b'"', b' "', 1))
    with pytest.raises(FederationError):
        verify(_examine(changed, recorded.at), key)
    elsewhere = replace(recorded.request, target="/ap/other/inbox")
    with pytest.raises(NotProven):
        verify(_examine(elsewhere, recorded.at), key)
    with pytest.raises(NotProven):
        _examine(recorded.request, recorded.at + timedelta(minutes=66))


def test_recorded_actors_are_read():
    found = {actor.id: actor for folder in FOLDERS for actor in actors_of(folder)}

    bea, lea = found["https://gts.test/users/bea"], found["https://snac.test/lea"]
    assert (bea.inbox, bea.shared_inbox) == ("https://gts.test/users/bea/inbox", None)
    assert bea.keys[0].key_id == "https://gts.test/users/bea/main-key"
    assert bea.url == "https://gts.test/@bea"
    assert (lea.inbox, lea.shared_inbox) == ("https://snac.test/lea/inbox", None)
    assert lea.icon == "https://snac.test/susie.png"
    assert lea.handle == "lea@snac.test"
    assert found["https://gts.test/users/gts.test"].type in ("Application", "Service")


class _At(SystemClock):
    """A clock that stands where a recording was made."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Replay:
    """A shop without network, at the address of the laboratory, in the time of a recording."""

    services: object
    clock: _At

    async def take(self, recorded: Recorded) -> tuple[str, str | None]:
        """Receive and apply a request; what became of it."""
        self.clock.at = recorded.at
        await Receiver(self.services).receive(recorded.request, caller="", owner=None)
        newest = sa.select(sa.func.max(received.c.id))
        row_id = await self.read(lambda tx: tx.scalar(newest))
        await process(self.services, row_id)
        state = sa.select(received.c.state, received.c.reason).where(received.c.id == row_id)
        return tuple(await self.read(lambda tx: tx.row(state)))

    async def read(self, work, *arguments, **options):
        return await self.services.store.read(work, *arguments, **options)


def _post(tx, kind, public_id, at, options=()):
    slug = f"{kind}-{public_id}"
    draft = Draft("Du lin", "", "Bonjour.", "fr")
    made = posts.create_draft(tx, draft, public_id=public_id, slug=slug, kind=kind, now=at)
    if options:
        names, multiple = options
        polls.create_poll(tx, made, names, multiple=multiple, ends_at=at + timedelta(hours=1))
    posts.mark_published(tx, made, version=1, slug=slug, published_at=at)
    return made


@pytest.fixture
async def replay(tmp_path: Path):
    settings = load(
        {
            "FEDILETTER_BASE_URL": "https://news.shop.test",
            "FEDILETTER_ACCOUNT": "shop@shop.test",
        },
        data=tmp_path,
    )
    start = datetime.fromisoformat("2026-11-24T21:30:00Z")
    install(settings, now=start, title="Atelier Rivière")
    clock = _At()
    clock.at = start
    services = replace(build_services(settings), clock=clock)

    def prepare(tx):
        for folder in FOLDERS:
            for actor in actors_of(folder):
                peers.keep_actor(tx, snapshot_of(actor), now=start)

    await services.store.write(prepare)
    try:
        yield Replay(services, clock)
    finally:
        services.store.close()


def _folder(name):
    return {one.name: one for one in requests_of(next(x for x in FOLDERS if x.name == name))}


async def test_what_snac_sent_is_applied(replay):
    sent = _folder("snac2-2.94")
    at = replay.clock.at
    issue = await replay.services.store.write(_post, "issue", "332e967ea299af066bc1", at)
    poll = await replay.services.store.write(
        _post, "poll", "efca14f275e297e7131b", at, (["Écru", "Bleu", "Noir"], False)
    )
    own = await replay.services.keyring.newsletter()

    assert await replay.take(sent["01-follow"]) == ("done", None)
    assert await replay.read(followers.count_followers, own.id) == 1
    assert await replay.take(sent["02-create"]) == ("done", None)
    (reply,) = await replay.read(conversations.conversation, limit=9)
    assert "Bravo depuis snac" in reply.content_html
    assert reply.visibility == "public"
    for name in ("03-announce", "04-like", "05-emojireact"):
        assert await replay.take(sent[name]) == ("done", None)
    found = await replay.read(conversations.reactions_of, issue)
    assert found == {"announce": 1, "like": 1}, "one like for each actor, whatever its form"
    assert await replay.take(sent["06-update"]) == ("done", None)
    (reply,) = await replay.read(conversations.conversation, limit=9)
    assert "mieux dit" in reply.content_html
    assert await replay.take(sent["07-undo-like"]) == ("done", None)
    assert await replay.take(sent["08-undo-announce"]) == ("done", None)
    await replay.take(sent["09-undo-emojireact"])
    assert await replay.read(conversations.reactions_of, issue) == {}
    assert await replay.take(sent["10-undo-follow"]) == ("done", None)
    assert await replay.read(followers.count_followers, own.id) == 0
    assert await replay.take(sent["11-vote"]) == ("done", None)
    counted = await replay.read(polls.get_poll, poll)
    assert [option.votes for option in counted.options] == [0, 1, 0]
    assert len(await replay.read(conversations.conversation, limit=9)) == 1, "a vote is no answer"


async def test_what_gotosocial_sent_is_applied(replay):
    sent = _folder("gotosocial-0.20.0")
    at = replay.clock.at
    issue = await replay.services.store.write(_post, "issue", "9ca20042a1d622fae125", at)
    single = await replay.services.store.write(
        _post, "poll", "efca14f275e297e7131b", at, (["Écru", "Bleu", "Noir"], False)
    )
    several = await replay.services.store.write(
        _post, "poll", "edf3833fc81339cc4ee5", at, (["Lundi", "Mardi", "Jeudi"], True)
    )
    own = await replay.services.keyring.newsletter()

    assert await replay.take(sent["01-follow"]) == ("done", None)
    assert await replay.read(followers.count_followers, own.id) == 1
    for name in ("02-like", "03-announce", "04-create", "05-update"):
        assert await replay.take(sent[name]) == ("done", None)
    (reply,) = await replay.read(conversations.conversation, limit=9)
    assert "mieux dit depuis GoToSocial" in reply.content_html
    assert await replay.read(conversations.reactions_of, issue) == {"announce": 1, "like": 1}
    for name in ("06-delete", "07-undo-like", "08-undo-announce"):
        assert await replay.take(sent[name]) == ("done", None)
    assert not await replay.read(conversations.conversation, limit=9)
    assert await replay.read(conversations.reactions_of, issue) == {}
    assert await replay.take(sent["09-flag"]) == ("done", None)
    (report,) = await replay.read(conversations.reports, limit=9, settled=False)
    assert report.comment == "Essai de signalement"
    assert await replay.take(sent["10-undo-follow"]) == ("done", None)
    assert await replay.read(followers.count_followers, own.id) == 0
    assert await replay.take(sent["11-block"]) == ("done", None)
    await replay.take(sent["12-undo-block"])
    for name in ("13-vote", "14-vote"):
        assert await replay.take(sent[name]) == ("done", None)
    one = await replay.read(polls.get_poll, single)
    assert [option.votes for option in one.options] == [0, 1, 0]
    more = await replay.read(polls.get_poll, several)
    assert [option.votes for option in more.options] == [1, 0, 0]


async def test_a_recorded_request_that_comes_twice_counts_once(replay):
    sent = _folder("gotosocial-0.20.0")
    issue = await replay.services.store.write(
        _post, "issue", "9ca20042a1d622fae125", replay.clock.at
    )

    await replay.take(sent["02-like"])
    await replay.take(sent["02-like"])

    assert await replay.read(conversations.reactions_of, issue) == {"like": 1}
    count = sa.select(sa.func.count()).select_from(received)
    assert await replay.read(lambda tx: tx.scalar(count)) == 1
