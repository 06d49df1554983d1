"""What we say to peers, as the octets that are signed, sent and kept.

Sources: ActivityPub §6, §7; federation.md R5, R11, 5.7, 5.8, 8.1, 13.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from federation.digests import sha256_base64
from federation.keys import Signer
from federation.proofs import with_proof
from federation.reading import id_of
from fediletter.links import Links
from fediletter.rendering.objects import (
    ARTICLE_CONTEXT,
    AS,
    addressing,
    article_of,
    tombstone_of,
    when,
)
from storage.newsletters import Newsletter
from storage.posts import Post

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An activity, ready to be kept and sent."""

    uri: str
    type: str
    object_uri: str
    body: bytes
    digest: str  # base64 of the SHA-256 of the body
    listed: bool  # Whether the outbox shows it.


def encode(document: Document) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def create(post: Post, links: Links, newsletter: Newsletter) -> Outgoing:
    """The Create of a post that has `published_at`."""
    return _about(post, links, "Create", article_of(post, links, newsletter), None, ARTICLE_CONTEXT)


def update(post: Post, links: Links, newsletter: Newsletter, *, token: str) -> Outgoing:
    """The Update of an edited post, with its whole object and a newer `updated`."""
    document = article_of(post, links, newsletter)
    return _about(post, links, "Update", document, token, ARTICLE_CONTEXT)


def delete(post: Post, links: Links, *, token: str, now: datetime) -> Outgoing:
    """The Delete of a withdrawn post."""
    tombstone = tombstone_of(post, links) | {"deleted": when(now)}
    return _about(post, links, "Delete", tombstone, token, [AS])


def accept(follow: Document, actor: str, links: Links, *, token: str) -> Outgoing:
    """The Accept of a Follow, embedding it with its id (R11)."""
    return _answer("Accept", follow, actor, links, token)


def reject(follow: Document, actor: str, links: Links, *, token: str) -> Outgoing:
    """The Reject of a Follow or of another request."""
    return _answer("Reject", follow, actor, links, token)


def proven(outgoing: Outgoing, signer: Signer, *, now: datetime) -> Outgoing:
    """The same activity with its actor's proof in its octets: made once, kept and sent so.

    Args:
        outgoing: As it was rendered.
        signer: Ed25519 key of its actor (FEP-8b32).
        now: The time.
    """
    body = encode(with_proof(json.loads(outgoing.body), signer, now=now))
    return replace(outgoing, body=body, digest=sha256_base64(body))


def _about(
    post: Post, links: Links, type: str, object: Document, token: str | None, context: list[Any]
) -> Outgoing:
    to, cc = addressing(post, links)
    uri = f"{object['id']}/activity" if token is None else links.activity(token)
    document: Document = {
        "@context": context,
        "id": uri,
        "type": type,
        "actor": links.actor(),
        "to": to,
        "cc": cc,
        "object": object,
    }
    if type == "Create":
        document["published"] = object["published"]
    return _outgoing(uri, type, object["id"], document, listed=type == "Create")


def _answer(type: str, request: Document, actor: str, links: Links, token: str) -> Outgoing:
    uri = links.activity(token)
    kept = {
        name: value
        for name in ("id", "type", "actor", "object", "instrument")
        if (value := id_of(request.get(name)) if name != "type" else request.get(name))
    }
    document = {
        "@context": AS,
        "id": uri,
        "type": type,
        "actor": actor,
        "to": [id_of(request.get("actor"))],
        "cc": [],
        "object": kept,
    }
    return _outgoing(uri, type, str(kept.get("id", uri)), document, listed=False)


def _outgoing(
    uri: str, type: str, object_uri: str, document: Document, *, listed: bool
) -> Outgoing:
    body = encode(document)
    return Outgoing(uri, type, object_uri, body, sha256_base64(body), listed)
