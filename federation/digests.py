"""Body digests: proof that the octets we judge are the octets that were sent.

Two headers say the same thing. A peer that signs by draft-cavage sends `Digest`; a peer that signs
by RFC 9421 sends `Content-Digest`. We send the one that belongs to the scheme in use and accept
either.

Sources: RFC 9530 §2 (Content-Digest); RFC 3230 §4.3.2 (Digest, obsolete, still sent); IN-2.
"""

import base64
import binascii
import re
from hashlib import sha256, sha512

from federation.errors import BadDigest

_HASHES = {"sha-256": sha256, "sha-512": sha512}
_DICTIONARY_MEMBER = re.compile(r"\s*([a-z0-9*_.-]+)=:([A-Za-z0-9+/=]*):\s*")


def sha256_base64(body: bytes) -> str:
    """base64 of the SHA-256 of a body: made once per activity, used in either header."""
    return base64.b64encode(sha256(body).digest()).decode("ascii")


def digest_header(encoded: str) -> str:
    """The `Digest` field for a base64 SHA-256."""
    return f"SHA-256={encoded}"


def content_digest_header(encoded: str) -> str:
    """The `Content-Digest` field for a base64 SHA-256."""
    return f"sha-256=:{encoded}:"


def check_digest(header: str, body: bytes) -> None:
    """Refuse a body that is not the one of a `Digest` field.

    Every algorithm that we know must match, and SHA-256 must be there (IN-2).

    Raises:
        BadDigest: Otherwise, or the field is malformed.
    """
    proven = False
    for member in header.split(","):
        name, equals, value = member.strip().partition("=")
        if not equals:
            raise BadDigest("malformed Digest")
        proven |= _check(name.lower(), value, body)
    if not proven:
        raise BadDigest("no SHA-256")


def check_content_digest(header: str, body: bytes) -> None:
    """Refuse a body that is not the one of a `Content-Digest` field.

    Raises:
        BadDigest: It differs, or the field has no sha-256 member.
    """
    proven = False
    for member in header.split(","):
        found = _DICTIONARY_MEMBER.fullmatch(member)
        if not found:
            raise BadDigest("malformed Content-Digest")
        proven |= _check(found[1], found[2], body)
    if not proven:
        raise BadDigest("no SHA-256")


def _check(name: str, value: str, body: bytes) -> bool:
    """Whether this member proves the body by SHA-256. Raises BadDigest if it disproves it."""
    make = _HASHES.get(name)
    if make is None:
        return False
    try:
        claimed = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise BadDigest("not base64") from wrong
    if claimed != make(body).digest():
        raise BadDigest("the body differs")
    return make is sha256
