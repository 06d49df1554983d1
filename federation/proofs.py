"""Integrity proofs: an activity that says by itself who made it, whoever hands it on.

One cryptosuite, `eddsa-jcs-2022`: Ed25519 over the hashes of two canonical JSON texts, the proof's
own options and the document without it. No JSON-LD processing: what is hashed is what was read.

A proof is made once, when an activity is made, and travels in its octets. It is never asked for;
it counts only where an activity comes by another hand than its actor's (federation.md 8.2).

Sources: FEP-8b32; W3C Data Integrity EdDSA Cryptosuites §3.3; RFC 8785; federation.md 8.1; IN-14.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeAlias

from federation.errors import BadDocument, BadKey, NotProven
from federation.jcs import canonical
from federation.keys import PublicKey, Signer, base58, from_base58
from federation.limits import PROOF_LIFE, SIGNATURE_WINDOW
from federation.reading import date_of, id_of, many, types_of

Document: TypeAlias = dict[str, Any]

CONTEXT = "https://w3id.org/security/data-integrity/v1"
_SUITE = "eddsa-jcs-2022"


@dataclass(frozen=True, slots=True)
class ProofClaim:
    """A proof that is complete and fresh, not yet checked against a key."""

    key_id: str
    signature: bytes
    data: bytes

    def is_by(self, key: PublicKey) -> bool:
        """Whether this key made the proof. Only Ed25519 keys make them."""
        return key.kind == "ed25519" and key.verify(self.signature, self.data)


def with_proof(document: Document, signer: Signer, *, now: datetime) -> Document:
    """The document with a proof by its actor.

    Args:
        document: With its `@context`, and no proof yet.
        signer: Ed25519 key and its id, as the actor's `assertionMethod` lists it.
        now: The time; whole seconds are kept.
    """
    context = many(document["@context"])
    if CONTEXT not in context:
        context = [*context[:1], CONTEXT, *context[1:]]
    document = document | {"@context": context}
    proof: Document = {
        "@context": document["@context"],
        "type": "DataIntegrityProof",
        "cryptosuite": _SUITE,
        "verificationMethod": signer.key_id,
        "proofPurpose": "assertionMethod",
        "created": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    signature = signer.key.sign(_data(proof, document))
    return document | {"proof": proof | {"proofValue": "z" + base58(signature)}}


def examine(document: Document, *, now: datetime) -> ProofClaim | None:
    """The proof that a document carries; None if it carries none.

    Args:
        document: As read from the octets that came.
        now: The time.

    Raises:
        NotProven: It carries several, or one that is malformed, of another kind, or stale.
    """
    proof = document.get("proof")
    if proof is None:
        return None
    if not isinstance(proof, dict) or "DataIntegrityProof" not in types_of(proof):
        raise NotProven("not one integrity proof")
    if proof.get("cryptosuite") != _SUITE or proof.get("proofPurpose") != "assertionMethod":
        raise NotProven("a proof of another kind")
    _check_context(proof, document)
    _check_life(proof, now)
    key_id = id_of(proof.get("verificationMethod"))
    value = proof.get("proofValue")
    if key_id is None or not isinstance(value, str) or not value.startswith("z"):
        raise NotProven("a proof without key or value")
    try:
        signature = from_base58(value[1:])
    except BadKey as wrong:
        raise NotProven("a proof that is not base58") from wrong
    if len(signature) != 64:
        raise NotProven("a proof of another length")
    # FEP-8b32: a signature of the older kind was not there when the proof was made.
    bare = {name: held for name, held in document.items() if name not in ("proof", "signature")}
    options = {name: held for name, held in proof.items() if name != "proofValue"}
    try:
        return ProofClaim(key_id, signature, _data(options, bare))
    except BadDocument as wrong:
        raise NotProven("a document without canonical form") from wrong


def _data(options: Document, document: Document) -> bytes:
    return sha256(canonical(options)).digest() + sha256(canonical(document)).digest()


def _check_context(proof: Document, document: Document) -> None:
    if "@context" not in proof:
        return
    inner, outer = proof["@context"], document.get("@context")
    if not isinstance(inner, list) or not isinstance(outer, list) or outer[: len(inner)] != inner:
        raise NotProven("the proof's context is not the document's")


def _check_life(proof: Document, now: datetime) -> None:
    created, expires = date_of(proof.get("created")), date_of(proof.get("expires"))
    if created is None or not now - PROOF_LIFE <= created <= now + SIGNATURE_WINDOW:
        raise NotProven("a proof that is too old, or undated")
    if "expires" in proof and (expires is None or expires < now):
        raise NotProven("an expired proof")
