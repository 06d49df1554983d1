"""Update, Move and Flag: what changes at the other side, and what is reported to us.

Sources: federation.md 9.2, 9.8; security.md IN-21, IN-31, L-32.
"""

from datetime import datetime

from federation.actors import ACTOR_TYPES
from federation.errors import DocumentGone
from federation.fetch import Fetcher
from federation.inbox import VerifiedActivity
from federation.origins import same_origin
from federation.reading import id_of, ids_of, only, text_of, types_of
from fediletter.inbound.facts import Apply, ignore
from fediletter.inbound.keys import snapshot_of
from fediletter.inbound.reply import edit
from fediletter.limits import MOVE_REST
from fediletter.newsletter.html import plain_text
from fediletter.services import Services
from storage.conversations import keep_report
from storage.followers import follows_any
from storage.peers import find_actor, keep_actor, mark_moved, moved_at
from storage.store import Tx

_LONGEST_COMMENT = 5000


async def update(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """An actor's new profile, or an author's edited answer."""
    document = only(activity.document.get("object"))
    target = id_of(document)
    if target is None or not same_origin(target, activity.actor):
        return ignore("updates what is not at the actor's own host")
    if isinstance(document, dict) and not ACTOR_TYPES & set(types_of(document)):
        return await edit(services, activity, fetcher, document)
    if target != activity.actor:
        return ignore("updates another actor")
    now = services.clock.now()
    known = await services.store.read(find_actor, activity.actor)
    if known is None:
        return ignore("an actor that we never met")
    if known.deleted_at is not None:
        return ignore("the actor is gone")
    try:
        # Asked for at its own id, so that an old Update cannot bring back an old key.
        actor = await fetcher.actor(activity.actor, now=now)
    except DocumentGone:
        return ignore("the actor is gone")

    def apply(tx: Tx) -> str | None:
        keep_actor(tx, snapshot_of(actor), now=now)
        return None

    return apply


async def move(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """A follower moves: noted, nothing else; the new account follows by itself (IN-31).

    Who follows nothing of ours makes us ask nobody; the target must name the origin itself, now.
    """
    origin, target = activity.actor, id_of(activity.document.get("target"))
    if activity.object_id != origin or target in (None, origin):
        return ignore("moves somebody else, or nowhere")
    assert target is not None  # noqa: S101 (just looked at)
    now = services.clock.now()
    wrong = await services.store.read(_why_no_move, origin, now=now)
    if wrong is not None:
        return ignore(wrong)
    try:
        found = await fetcher.actor(target, now=now)
    except DocumentGone:
        return ignore("moves to an account that is gone")
    if found.id != target or found.moved_to is not None or origin not in found.also_known_as:
        return ignore("moves to an account that does not name this one")

    def apply(tx: Tx) -> str | None:
        # Looked at again: another Move may have been applied while the target was asked.
        wrong = _why_no_move(tx, origin, now=now)
        if wrong is None:
            mark_moved(tx, origin, target, now=now)
        return wrong

    return apply


def _why_no_move(tx: Tx, origin: str, *, now: datetime) -> str | None:
    row = find_actor(tx, origin)
    if row is None or not follows_any(tx, row.id):
        return "moves, and follows nothing of ours"
    moved = moved_at(tx, row.id)
    if moved is not None and now - moved < MOVE_REST:
        return "moved already in the last seven days"
    return None


async def flag(services: Services, activity: VerifiedActivity, _: Fetcher) -> Apply:
    """A report about us: kept for the founders."""
    now = services.clock.now()
    objects = ids_of(activity.document.get("object"))[:50]
    comment = plain_text(text_of(activity.document, "content", longest=_LONGEST_COMMENT))
    base = f"{services.links.base}/"
    if not any(uri.startswith(base) for uri in objects):
        return ignore("reports nothing of ours")

    def apply(tx: Tx) -> str | None:
        keep_report(tx, reporter=activity.actor, objects=objects, comment=comment, now=now)
        return None

    return apply
