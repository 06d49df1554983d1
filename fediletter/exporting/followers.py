"""Followers, in the form in which Mastodon imports whom one follows."""

from collections.abc import Iterable

from storage import followers
from storage.newsletters import local_actors
from storage.store import Tx

_MOST = 1_000_000


def followers_by_actor(tx: Tx) -> dict[str, list[str]]:
    """`name@host` of each follower, the newest first, by the name of our actor that they follow.

    The newsletter itself comes first; topics have followers of their own.
    """
    followed = [one for one in local_actors(tx) if one.kind != "instance"]
    followed.sort(key=lambda one: one.kind != "newsletter")
    return {
        own.username: [
            f"{one.username}@{one.host}"
            for one in followers.list_followers(tx, own.id, limit=_MOST)
        ]
        for own in followed
    }


def follower_rows(handles: Iterable[str]) -> list[list[str]]:
    """The table that Mastodon's import of "following" reads, with its head."""
    return [["Account address"], *([one] for one in handles)]
