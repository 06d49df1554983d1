"""The one door to signed links: leaving, preferences, bounces, form stamps.

A token is made of a random key that stands for the subscriber and a MAC over purpose and key; no
address, no sequence, no time in clear. Purposes are inside the MAC, so that no token serves for
another. Whoever holds a letter holds its links: none of them shows or changes an address.

Sources: email.md section 7 (UN-6 to UN-10), EM-9, EM-13, WE-20.
"""

import base64
import binascii
import hmac
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from fediletter.sealing import Vault

TEST_KEY = bytes(10)  # Of nobody: the links of a letter that a founder sends to themselves (HD-23).
_FORM = b"\x01"  # Of the token: what follows, and how it is signed.
_KEY_BYTES = 10
_MAC_BYTES = 16
_TAG_MAC_BYTES = 10
# UN-10: copied along from a sentence, or from the source of a mail, where a line ends with `=`.
_TRAILING = re.compile(r"[.,;:!?)>\]}'\"/=]+$")


class Tokens:
    """Mints and reads tokens.

    Args:
        vault: Whose derived keys sign them.
    """

    def __init__(self, vault: Vault) -> None:
        self._keys = vault.derive_all("tokens")

    # Links of a subscriber: the MAC is the authority, nothing is looked up to check it --------
    def unsubscribe(self, key: bytes) -> str:
        """Leaves everything; never expires, never burnt (36 characters)."""
        return self._link(b"unsubscribe", key, b"")

    def read_unsubscribe(self, token: str) -> bytes | None:
        """The subscriber's key; None if the token is not authentic."""
        return self._read_link(b"unsubscribe", token, b"")

    def preferences(self, key: bytes, epoch: int) -> str:
        """Sees and sets topics, rhythm and language; dies with the epoch."""
        return self._link(b"preferences", key, epoch.to_bytes(2, "big"))

    def read_preferences(self, token: str) -> tuple[bytes, int] | None:
        """Key and epoch; None if the token is not authentic."""
        raw = _decoded(token)
        if raw is None or len(raw) < 1 + _KEY_BYTES + 2:
            return None
        extra = raw[1 + _KEY_BYTES : 1 + _KEY_BYTES + 2]
        key = self._read_link(b"preferences", token, extra)
        return None if key is None else (key, int.from_bytes(extra, "big"))

    def showing(self, key: bytes) -> str:
        """Lets the writer of a mail say whether it may be shown (36 characters)."""
        return self._link(b"showing", key, b"")

    def read_showing(self, token: str) -> bytes | None:
        """The question's key; None if the token is not authentic."""
        return self._read_link(b"showing", token, b"")

    # Tags in the local part of an address: lower-case base32, local parts lose their case -----
    def bounce(self, delivery_id: int) -> str:
        """Marks the envelope sender of one delivery (29 characters, EM-13)."""
        return self._tag(b"bounce", delivery_id.to_bytes(8, "big"))

    def read_bounce(self, tag: str) -> int | None:
        """The delivery's id; None if the tag is not authentic."""
        found = self._read_tag(b"bounce", tag)
        return None if found is None else int.from_bytes(found, "big")

    def probe(self, number: int) -> str:
        """Marks the way of one probe of the doctor's; stands where a bounce's tag does (DO-10)."""
        return self._tag(b"probe", number.to_bytes(8, "big"))

    def read_probe(self, tag: str) -> int | None:
        """The probe's number; None if the tag is not authentic."""
        found = self._read_tag(b"probe", tag)
        return None if found is None else int.from_bytes(found, "big")

    def leave(self, subscriber_id: int) -> str:
        """Marks the address to which one reader writes to leave (UN-6); never expires."""
        return self._tag(b"leave", subscriber_id.to_bytes(8, "big"))

    def read_leave(self, tag: str) -> int | None:
        """The subscriber's id; None if the tag is not authentic."""
        found = self._read_tag(b"leave", tag)
        return None if found is None else int.from_bytes(found, "big")

    # Places in collections: opaque, so that nobody counts or walks our rows by their ids ---------
    def cursor(self, collection: str, position: int) -> str:
        """Where the next page of a collection begins (22 characters)."""
        place = position.to_bytes(6, "big")
        return _encoded(place + self._mac(b"cursor:" + collection.encode(), place)[:10])

    def read_cursor(self, collection: str, token: str) -> int | None:
        """The position; None if the token is not authentic."""
        raw = _decoded(token)
        if raw is None or len(raw) != 16:
            return None
        good = self._is_mac(raw[6:], b"cursor:" + collection.encode(), raw[:6])
        return int.from_bytes(raw[:6], "big") if good else None

    # Forms -------------------------------------------------------------------------------------
    def stamp(self, purpose: str, now: datetime) -> str:
        """Says when a form was shown."""
        moment = int(now.timestamp()).to_bytes(5, "big")
        return _encoded(moment + self._mac(b"stamp:" + purpose.encode(), moment)[:_TAG_MAC_BYTES])

    def age_of_stamp(self, purpose: str, token: str, now: datetime) -> timedelta | None:
        """How long ago the form was shown; None if the stamp is not authentic."""
        raw = _decoded(token)
        if raw is None or len(raw) != 5 + _TAG_MAC_BYTES:
            return None
        if not self._is_mac(raw[5:], b"stamp:" + purpose.encode(), raw[:5]):
            return None
        return now - datetime.fromtimestamp(int.from_bytes(raw[:5], "big"), UTC)

    def hash_address(self, identity: str) -> bytes:
        """A keyed hash of an address, for suppression after erasure (PR-5).

        Of the oldest key: what is kept by it must be found when there is a newer one.
        """
        return self._mac(b"address", identity.encode(), self._keys[-1])

    @staticmethod
    def trimmed(token: str) -> str:
        """Without what was copied along from a sentence (UN-10); nothing else is repaired."""
        return _TRAILING.sub("", token)

    def hash_secret(self, secret: str) -> bytes:
        """How one-time secrets are stored; of the oldest key, as addresses are."""
        return self._mac(b"secret", secret.encode(), self._keys[-1])

    def _link(self, purpose: bytes, key: bytes, extra: bytes) -> str:
        mac = self._mac(purpose, key + extra)[:_MAC_BYTES]
        return _encoded(_FORM + key + extra + mac)

    def _read_link(self, purpose: bytes, token: str, extra: bytes) -> bytes | None:
        raw = _decoded(token)
        if raw is None or len(raw) != 1 + _KEY_BYTES + len(extra) + _MAC_BYTES:
            return None
        key, mac = raw[1 : 1 + _KEY_BYTES], raw[-_MAC_BYTES:]
        return key if raw[:1] == _FORM and self._is_mac(mac, purpose, key + extra) else None

    def _tag(self, purpose: bytes, subject: bytes) -> str:
        raw = subject + self._mac(purpose, subject)[:_TAG_MAC_BYTES]
        return base64.b32encode(raw).decode("ascii").rstrip("=").lower()

    def _read_tag(self, purpose: bytes, tag: str) -> bytes | None:
        text = tag.upper()
        if len(text) > 40 or not text.isascii():
            return None
        try:
            raw = base64.b32decode(text + "=" * (-len(text) % 8))
        except (binascii.Error, ValueError):
            return None
        subject, mac = raw[:8], raw[8:]
        good = len(mac) == _TAG_MAC_BYTES and self._is_mac(mac, purpose, subject)
        return subject if good else None

    def _mac(self, purpose: bytes, subject: bytes, key: bytes | None = None) -> bytes:
        return hmac.digest(key or self._keys[0], purpose + b"\0" + subject, sha256)

    def _is_mac(self, mac: bytes, purpose: bytes, subject: bytes) -> bool:
        """Whether one of our keys made it; the caller has looked at its length."""
        return any(
            hmac.compare_digest(mac, self._mac(purpose, subject, key)[: len(mac)])
            for key in self._keys
        )


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _decoded(token: str) -> bytes | None:
    text = _TRAILING.sub("", token)
    if len(text) > 80 or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
