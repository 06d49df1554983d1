"""Like, EmojiReact and Announce: counted once for each actor.

Sources: federation.md 9.2, 9.7; security.md IN-26; FEP-c0e0.
"""

from federation.fetch import Fetcher
from federation.inbox import VerifiedActivity
from federation.reading import id_of, text_of
from fediletter.inbound.facts import Apply, actor_now, ignore, our_post, require_row
from fediletter.services import Services
from storage.conversations import SHOWN, react
from storage.received import is_buried
from storage.store import Tx


async def like(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """A like of a post of ours, perhaps with an emoji."""
    emoji = text_of(activity.document, "content", longest=32) or None
    return await _react(services, activity, fetcher, "like", emoji)


async def announce(services: Services, activity: VerifiedActivity, fetcher: Fetcher) -> Apply:
    """A boost of a public post of ours; anything else is never fetched or shown (IN-26)."""
    return await _react(services, activity, fetcher, "announce", None)


async def _react(
    services: Services,
    activity: VerifiedActivity,
    fetcher: Fetcher,
    kind: str,
    emoji: str | None,
) -> Apply:
    links = services.links
    target = id_of(activity.document.get("object"))
    if target is None or not target.startswith(links.base + "/"):
        return ignore("is about nothing of ours")
    fetched = await actor_now(services, activity.actor, fetcher)
    now = services.clock.now()

    def apply(tx: Tx) -> str | None:
        post = our_post(tx, links, target)
        if post is None or (kind == "announce" and post.audience not in SHOWN):
            return "is about nothing of ours"
        if is_buried(tx, activity.activity_id, activity.actor):
            return "was undone before it came"
        actor_id = require_row(tx, activity.actor, fetched, now=now)
        if actor_id is None:
            return "the actor is gone"
        react(tx, post.id, actor_id, kind, uri=activity.activity_id, now=now, emoji=emoji)
        return None

    return apply
