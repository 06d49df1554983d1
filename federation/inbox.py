"""Who says what: a request to an inbox becomes a claim, and a claim that is proven an activity.

Two steps without I/O, with the look-up of the key between them left to the caller: `examine` checks
all that needs no key, cheap before costly; `verify` checks the signature and that the signer is the
activity's own actor. Where another brings it, `verify_proof` checks the proof that its actor put
into it. Only these two make a `VerifiedActivity`: whoever holds one may trust who said it, and
nothing else of it.

The octets whose digest was checked are the octets that are processed.

Sources: security.md 1, 2.1, 2.2 (IN-1 to IN-17); federation.md 7.4, 9.1.
"""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeAlias

from federation.errors import BadDocument, BadRequest, BadUrl, NotProven, NotTheActor
from federation.keys import KnownKey
from federation.origins import parse_url, same_origin
from federation.proofs import ProofClaim
from federation.reading import id_of, parse_json, types_of
from federation.signatures import cavage, rfc9421
from federation.signatures.request import InboxRequest

__all__ = ["Claim", "InboxRequest", "VerifiedActivity", "examine", "verify", "verify_proof"]

Document: TypeAlias = dict[str, Any]

_WITHOUT_ID = frozenset({"Follow", "Like", "Announce", "Undo", "Delete", "EmojiReact"})  # IN-13
# Of several types the first of these is the activity's own (federation.md 12).
_KNOWN = frozenset(
    "Accept Add Announce Block Create Delete EmojiReact Flag Follow Like Move QuoteRequest Reject "
    "Remove Undo Update".split()
)
_MADE_HERE = object()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says, complete and fresh, not yet proven."""

    key_id: str
    actor: str
    type: str
    object_id: str | None
    activity_id: str  # Its own, or a synthetic one that is the same for the same octets.
    document: Document
    body: bytes
    signature: cavage.CavageClaim | rfc9421.MessageClaim

    @property
    def is_self_delete(self) -> bool:
        """An actor says that it is gone itself: thousands of servers send such (IN-22)."""
        return self.type == "Delete" and self.object_id == self.actor

    @property
    def is_about_itself(self) -> bool:
        """An actor says what becomes of itself: nothing to us if we never met."""
        return self.type in ("Delete", "Update") and self.object_id == self.actor


@dataclass(frozen=True, slots=True)
class VerifiedActivity:
    """An activity that its actor has signed. Made by `verify` and `verify_proof` alone."""

    actor: str
    type: str
    object_id: str | None
    activity_id: str
    document: Document
    body: bytes
    _proof: object = field(repr=False)

    def __post_init__(self) -> None:
        if self._proof is not _MADE_HERE:
            raise TypeError("only verify and verify_proof make a VerifiedActivity")


def examine(
    request: InboxRequest, *, hosts: frozenset[str], schemes: tuple[str, ...], now: datetime
) -> Claim:
    """Check all that needs no key.

    Args:
        request: As it stood on the wire.
        hosts: Hosts under which we are reached, as in the Host header.
        schemes: `("https",)`; in laboratories also `http`.
        now: The time.

    Raises:
        BadRequest: Not parsable, ambiguous, or of the wrong shape (400).
        NotProven: No signature, or not one for this request now (401).
    """
    request.check_single()
    document = parse_json(request.body)
    signature: cavage.CavageClaim | rfc9421.MessageClaim
    if request.header("signature-input") is not None:
        signature = rfc9421.examine(request, hosts=hosts, schemes=schemes, now=now)
    else:
        signature = cavage.examine(request, hosts=hosts, now=now)
    _check_key_id(signature.key_id, schemes)
    actor = id_of(document.get("actor"))
    type = _type_of(document)
    if actor is None or type is None:
        raise BadDocument("an activity has an actor and a type")
    parse_url(actor)
    return Claim(
        signature.key_id,
        actor,
        type,
        id_of(document.get("object")),
        _activity_id(document, type, actor, request.body),
        document,
        request.body,
        signature,
    )


def _type_of(document: Document) -> str | None:
    types = types_of(document)
    return next((one for one in types if one in _KNOWN), types[0] if types else None)


def _check_key_id(key_id: str, schemes: tuple[str, ...]) -> None:
    try:
        url = parse_url(key_id)
    except BadUrl as wrong:
        raise NotProven("the key id is not a URL") from wrong  # IN-12
    if url.scheme not in schemes:
        raise NotProven("the key id is not an https URL")


def _activity_id(document: Document, type: str, actor: str, body: bytes) -> str:
    given = document.get("id")
    if given is None:
        if type not in _WITHOUT_ID:
            raise BadDocument("an activity of this type has an id")
        # The same octets are the same activity (federation.md 9.1.7).
        return f"urn:sha256:{sha256(actor.encode() + b'|' + body).hexdigest()}"
    if not isinstance(given, str):
        raise BadDocument("an id is a string")
    if not same_origin(given, actor):
        raise BadRequest("the id is of another host than the actor")
    return given


def verify(claim: Claim, key: KnownKey) -> VerifiedActivity:
    """Check the signature with a key that is proven to be its owner's.

    Raises:
        NotProven: The signature is not this key's.
        NotTheActor: It is, but the activity claims another actor (IN-13).
    """
    if key.key_id != claim.key_id or not claim.signature.is_by(key.key):
        raise NotProven("the signature is not of this key")
    if key.owner != claim.actor:
        raise NotTheActor(f"signed by {key.owner}")
    return _proven(claim)


def verify_proof(claim: Claim, proof: ProofClaim, key: KnownKey) -> VerifiedActivity:
    """Check an activity that another brings by the proof of its actor (federation.md 8.2).

    Args:
        claim: Whose bringer has signed the request, as `verify` found.
        proof: Of the claim's document.
        key: Proven to be its owner's.

    Raises:
        NotProven: The proof is not this key's, or the key not the actor's.
    """
    if key.key_id != proof.key_id or key.owner != claim.actor or not proof.is_by(key.key):
        raise NotProven("the proof is not of the actor's key")
    return _proven(claim)


def _proven(claim: Claim) -> VerifiedActivity:
    return VerifiedActivity(
        claim.actor,
        claim.type,
        claim.object_id,
        claim.activity_id,
        claim.document,
        claim.body,
        _MADE_HERE,
    )


def reopen(actor: str, body: bytes) -> VerifiedActivity:
    """An activity again that was verified before its octets were stored.

    Args:
        actor: Who signed it, as stored beside the octets.
        body: The octets as stored.
    """
    document = parse_json(body)
    type = _type_of(document) or ""
    return VerifiedActivity(
        actor,
        type,
        id_of(document.get("object")),
        _activity_id(document, type, actor, body),
        document,
        body,
        _MADE_HERE,
    )
