"""A shop with many readers, straight into the store."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fediletter.installation import install, open_store
from fediletter.settings import Settings, load
from storage.followers import add_follower
from storage.lanes import inbox_for
from storage.newsletters import local_actors
from storage.peers import ActorSnapshot, keep_actor
from storage.subscribers import add_subscriber

_CHUNK = 5_000


def settings_for(data: Path, **more: str) -> Settings:
    """A shop on this machine that may reach loopback."""
    environ = {
        "FEDILETTER_BASE_URL": "http://127.0.0.1:8000",
        "FEDILETTER_MAIL_FROM": "news@shop.test",
        "FEDILETTER_SECOND_THOUGHTS": "0",
        "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
        "FEDILETTER_LOG": "error",
    }
    named: Mapping[str, str] = {f"FEDILETTER_{name.upper()}": one for name, one in more.items()}
    return load({**environ, **named}, data=data)


def seed(settings: Settings, *, inboxes: list[str] = [], subscribers: int = 0) -> None:  # noqa: B006
    """Install, and add followers (one an inbox) and subscribers."""
    install(settings, now=datetime.now(UTC), title="Benchmark")
    store = open_store(settings)
    now = datetime.now(UTC)

    def followers(tx, urls):
        own = next(one for one in local_actors(tx) if one.kind == "newsletter")
        for url in urls:
            host = url.split("/")[2]
            uri = url.replace("/inbox", "/users")
            row = keep_actor(
                tx,
                ActorSnapshot(uri, host, "Person", url, None, "u", "U", None, None, None),
                now=now,
            )
            inbox = inbox_for(tx, url, host=host, shared=False)
            add_follower(tx, own.id, row, inbox, follow_uri=f"{uri}/f", state="accepted", now=now)

    def readers(tx, numbers):
        for number in numbers:
            address = f"reader{number}@mail{number % 400}.test"
            add_subscriber(
                tx,
                key=secrets.token_bytes(10),
                email=address,
                identity=address,
                state="active",
                language="fr",
                source="import",
                now=now,
            )

    try:
        for start in range(0, len(inboxes), _CHUNK):
            store.submit(followers, inboxes[start : start + _CHUNK]).result()
        for start in range(0, subscribers, _CHUNK):
            store.submit(readers, range(start, min(start + _CHUNK, subscribers))).result()
    finally:
        store.close()
