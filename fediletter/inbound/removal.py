"""Undo and Delete: what was said is taken back, by the one who said it.

Sources: federation.md 9.2, 9.4; security.md IN-21 to IN-24, IN-27.
"""

from federation.fetch import Fetcher
from federation.inbox import VerifiedActivity
from federation.origins import same_origin
from federation.reading import id_of, only, types_of
from fediletter.inbound.facts import Apply, ignore, our_post
from fediletter.inbound.keys import where_is
from fediletter.services import Services
from storage.conversations import delete_all_of, delete_reply, reply_by_uri, unreact
from storage.followers import follow_of, remove_follower
from storage.lanes import open_inbox
from storage.peers import find_actor, mark_deleted
from storage.polls import forget_votes
from storage.quotes import forget_quote
from storage.received import bury
from storage.store import Tx

_KINDS = {"Like": "like", "EmojiReact": "like", "Announce": "announce"}


async def undo(services: Services, activity: VerifiedActivity, _: Fetcher) -> Apply:
    """Take back a Follow, a like, a boost or a Block of the same actor."""
    inner = only(activity.document.get("object"))
    inner_id = id_of(inner)
    inner_types = types_of(inner)
    if isinstance(inner, dict) and id_of(inner.get("actor")) not in (None, activity.actor):
        return ignore("undoes what somebody else did")
    followed = id_of(inner.get("object")) if isinstance(inner, dict) else None
    own = await services.keyring.by_uri(followed)
    now = services.clock.now()

    def apply(tx: Tx) -> str | None:
        done = False
        if "Follow" in inner_types or (not inner_types and inner_id):
            target = None if own is None else own.id
            if target is None and inner_id is not None:
                target = follow_of(tx, activity.actor, inner_id)
            done = target is not None and bool(remove_follower(tx, activity.actor, actor_id=target))
        if "Block" in inner_types:
            row = find_actor(tx, activity.actor)
            done = row is not None and open_inbox(tx, row.inbox_url)
        kind = next((_KINDS[name] for name in inner_types if name in _KINDS), None)
        if kind is not None or not inner_types:
            post = our_post(tx, services.links, followed)
            done |= unreact(
                tx,
                activity.actor,
                kind=kind,
                post_id=None if post is None else post.id,
                uri=inner_id,
            )
        if not done and inner_id is not None:
            # It may come before what it undoes (RE-8).
            bury(tx, inner_id, activity.actor, now=now)
            return "nothing of this is here yet"
        return None

    return apply


async def look_again(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """A day ago an actor's own id was not found: only what it says now is proof (IN-24)."""
    found = await where_is(fetcher, activity.actor, now=services.clock.now())
    if found != "gone":
        return ignore("its server does not say that this account is gone for good")
    return await delete(services, activity, fetcher)


async def delete(services: Services, activity: VerifiedActivity, _: Fetcher) -> Apply:
    """An author deletes a reply, or an actor itself with all it said."""
    target = activity.object_id
    now = services.clock.now()
    if target is None or not same_origin(target, activity.actor):
        return ignore("deletes what is not at the actor's own host")

    def apply(tx: Tx) -> str | None:
        if target == activity.actor:
            remove_follower(tx, activity.actor)
            delete_all_of(tx, activity.actor)
            forget_votes(tx, activity.actor)
            mark_deleted(tx, activity.actor, now=now)
            return None
        bury(tx, target, activity.actor, now=now)
        found = reply_by_uri(tx, target)
        if found is None:
            gone = forget_quote(tx, target, activity.actor)
            return None if gone else "nothing of this is here yet"
        if found.actor_uri != activity.actor:
            return "is of another author"
        delete_reply(tx, found.id)
        return None

    return apply
