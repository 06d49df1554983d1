"""The records of the keys by which our mail is signed: ours, or the relay's as a mail shows it.

Sources: email.md DO-2, DK-2; RFC 6376 §3.6.1, 8301 §3.2.
"""

import base64
import binascii
import re
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from fediletter.checks.findings import Finding
from fediletter.mail.dns import Dns, dkim_record
from storage.dkim import StoredKey

_LEAST_BITS, _GOOD_BITS = 1024, 2048


async def own_key_findings(names: Dns, domain: str, keys: Sequence[StoredKey]) -> list[Finding]:
    """DO-2: the records of our own keys; without any, the relay has to sign."""
    if not keys:
        return [
            Finding(
                "dkim",
                True,
                "fediletter does not sign mail itself: the relay must. A letter that you received "
                "tells: `fediletter dkim look FILE`.",
                "If it does not sign, run `fediletter dkim new`.",
                is_amber=True,
            )
        ]
    return [await _own_key(names, domain, key) for key in keys]


async def _own_key(names: Dns, domain: str, key: StoredKey) -> Finding:
    fields: dict[str, object] = {"selector": key.selector, "domain": domain}
    record = await dkim_record(names, key.selector, domain)
    wanted = re.sub(r"\s", "", key.record.partition("p=")[2])
    if record is None:
        fact = "The DKIM record of {selector} is missing: {selector}._domainkey.{domain}"
        remedy = "Publish what `fediletter dkim list` shows, or run `fediletter dkim retire`."
        return Finding("dkim", False, fact, remedy, fields)
    if re.sub(r"\s", "", record.get("p", "")) != wanted:
        fact = "The DKIM record of {selector} holds another key than ours, or none."
        remedy = "Publish what `fediletter dkim list` shows; copy it as a whole."
        return Finding("dkim", False, fact, remedy, fields)
    if record.get("k", "rsa") != key.kind:
        fact = "The DKIM record of {selector} names another kind of key than ours."
        return Finding("dkim", False, fact, "Publish what `fediletter dkim list` shows.", fields)
    if "y" in record.get("t", ""):
        fact = "The DKIM record of {selector} says that it is a test: receivers may ignore it."
        return Finding("dkim", True, fact, "Take out t=y.", fields, is_amber=True)
    return Finding("dkim", True, "Mail is signed with {selector}; its record is right.", "", fields)


async def seen_key_finding(names: Dns, selector: str, domain: str) -> Finding:
    """The record of a key that is not ours, by the selector of its signature."""
    at = f"{selector}._domainkey.{domain}"
    record = await dkim_record(names, selector, domain)

    def found(fact: str, remedy: str = "", *, colour: str, **fields: object) -> Finding:
        return Finding(
            "dkim", colour != "red", fact, remedy, {"at": at} | fields, is_amber=colour == "amber"
        )

    if record is None:
        fact = "Mail is signed by a key whose record is missing: {at}"
        return found(fact, "Publish it as your relay's operator tells you.", colour="red")
    text = re.sub(r"\s", "", record.get("p", ""))
    if not text:
        fact = "The DKIM record {at} is revoked: its key is empty."
        return found(fact, "Let the relay sign with another selector.", colour="red")
    kind = record.get("k", "rsa")
    bits = _bits(text) if kind == "rsa" else _GOOD_BITS
    if bits is None:
        fact = "The DKIM record {at} holds no key that can be read."
        return found(fact, "Publish its parts as one text, without signs between.", colour="red")
    if bits < _LEAST_BITS:
        fact = "The DKIM key at {at} has {bits} bits: receivers ignore it."
        return found(fact, "Let the relay sign with 2048 bits.", colour="red", bits=bits)
    if bits < _GOOD_BITS:
        fact = "The DKIM key at {at} has {bits} bits only."
        return found(fact, "Let the relay sign with 2048 bits.", colour="amber", bits=bits)
    if "y" in record.get("t", "").split(":"):
        fact = "The DKIM record {at} says that it is a test: receivers may ignore it."
        return found(fact, "Take out t=y.", colour="amber")
    return found("Mail is signed, and the record of its key is right: {at}", colour="green")


def _bits(text: str) -> int | None:
    """Of an RSA key in base64; None if it is none."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return None
    return key.key_size if isinstance(key, rsa.RSAPublicKey) else None
