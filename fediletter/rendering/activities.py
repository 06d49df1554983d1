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
from federation.reading import PUBLIC, id_of
from fediletter.links import Links
from fediletter.rendering.objects import AS, OBJECT_CONTEXT, tombstone_of, when
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


def create(object: Document) -> Outgoing:
    """The Create of an object of ours; its id follows from the object's."""
    return _about("Create", object, f"{object['id']}/activity", OBJECT_CONTEXT)


def update(object: Document, links: Links, *, token: str) -> Outgoing:
    """The Update of an object, whole: peers replace what they have (ActivityPub §7.3)."""
    return _about("Update", object, links.activity(token), OBJECT_CONTEXT)


def delete(post: Post, object: Document, links: Links, *, token: str, now: datetime) -> Outgoing:
    """The Delete of a post that was `object` until now."""
    tombstone = tombstone_of(post, links) | {"deleted": when(now)}
    uri = links.activity(token)
    return _about("Delete", tombstone, uri, [AS], addressed=object)


def announce(
    actor: str, object_uri: str, links: Links, *, author: str, token: str, now: datetime
) -> Outgoing:
    """An actor of ours passes on what another of ours said: a topic its letters."""
    uri = links.activity(token)
    document = {
        "@context": AS,
        "id": uri,
        "type": "Announce",
        "actor": actor,
        "published": when(now),
        "to": [PUBLIC],
        "cc": [f"{actor}/followers", author],
        "object": object_uri,
    }
    return outgoing_of(uri, "Announce", object_uri, document, listed=True)


def undo(done: Document, object_uri: str, links: Links, *, token: str) -> Outgoing:
    """Take back an activity of ours. `object_uri` names what it was about."""
    uri = links.activity(token)
    inner = {name: value for name, value in done.items() if name not in ("@context", "proof")}
    document = {
        "@context": AS,
        "id": uri,
        "type": "Undo",
        "actor": done["actor"],
        "to": done["to"],
        "cc": done["cc"],
        "object": inner,
    }
    return outgoing_of(uri, "Undo", object_uri, document)


def update_actor(document: Document, links: Links, *, token: str) -> Outgoing:
    """The Update of an actor of ours: its whole document."""
    uri, actor = links.activity(token), document["id"]
    said = {
        "@context": document["@context"],
        "id": uri,
        "type": "Update",
        "actor": actor,
        "to": [PUBLIC],
        "cc": [f"{actor}/followers"],
        "object": {name: value for name, value in document.items() if name != "@context"},
    }
    return outgoing_of(uri, "Update", actor, said)


def move(actor: str, target: str, links: Links, *, token: str) -> Outgoing:
    """The Move of an actor of ours to another account (FEP-7628)."""
    uri = links.activity(token)
    document = {
        "@context": AS,
        "id": uri,
        "type": "Move",
        "actor": actor,
        "to": [f"{actor}/followers"],
        "cc": [],
        "object": actor,
        "target": target,
    }
    return outgoing_of(uri, "Move", actor, document)


def accept(
    request: Document,
    actor: str,
    links: Links,
    *,
    token: str,
    context: str | list[Any] = AS,
    result: str | None = None,
) -> Outgoing:
    """The Accept of a Follow or of another request, embedding it with its id (R11).

    `result` is what comes of it: the stamp of a quote.
    """
    return _answer("Accept", request, actor, links, token, context, result)


def reject(
    request: Document, actor: str, links: Links, *, token: str, context: str | list[Any] = AS
) -> Outgoing:
    """The Reject of a Follow or of another request."""
    return _answer("Reject", request, actor, links, token, context, None)


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
    type: str,
    object: Document,
    uri: str,
    context: list[Any],
    *,
    addressed: Document | None = None,
) -> Outgoing:
    named = addressed or object
    document: Document = {
        "@context": context,
        "id": uri,
        "type": type,
        "actor": named["attributedTo"],
        "to": named["to"],
        "cc": named["cc"],
        "object": object,
    }
    if type == "Create":
        document["published"] = object["published"]
    return outgoing_of(uri, type, object["id"], document, listed=type == "Create")


def _answer(
    type: str,
    request: Document,
    actor: str,
    links: Links,
    token: str,
    context: str | list[Any],
    result: str | None,
) -> Outgoing:
    uri = links.activity(token)
    kept = {
        name: value
        for name in ("id", "type", "actor", "object", "instrument")
        if (value := id_of(request.get(name)) if name != "type" else request.get(name))
    }
    document: Document = {
        "@context": context,
        "id": uri,
        "type": type,
        "actor": actor,
        "to": [id_of(request.get("actor"))],
        "cc": [],
        "object": kept,
    }
    if result is not None:
        document["result"] = result
    return outgoing_of(uri, type, str(kept.get("id", uri)), document)


def outgoing_of(
    uri: str, type: str, object_uri: str, document: Document, *, listed: bool = False
) -> Outgoing:
    """A document as the octets that are signed, sent and kept."""
    body = encode(document)
    return Outgoing(uri, type, object_uri, body, sha256_base64(body), listed)
