"""Secrets at rest: sealed under a key that is never in the database.

AES-256-GCM with a random nonce; what a secret is for is bound to it as associated data, so that one
cannot be put in another's place. Keys for signed links are derived from the same file, one for
each purpose.

Source: security.md WE-19, EM-9; NIST SP 800-38D; RFC 5869.
"""

import contextlib
import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fediletter.errors import AppError

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Vault:
    """Seals and opens; derives keys.

    Args:
        key: 32 random octets.
        older: Keys before it: what they sealed and signed is still read, for ever.
    """

    def __init__(self, key: bytes, *older: bytes) -> None:
        for one in (key, *older):
            if len(one) != _KEY_BYTES or len(set(one)) < 8:  # Short, or a sample.
                raise AppError(500, "The secret file must hold 32 random bytes in hexadecimal.")
        self._keys = (key, *older)
        self._aead = AESGCM(self.derive("seal"))

    def seal(self, secret: bytes, purpose: str) -> bytes:
        """Ciphertext that only `open` with the same purpose reads."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """The secret again.

        Raises:
            AppError: It was sealed under another key, or for another purpose.
        """
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for key in self.derive_all("seal"):
            with contextlib.suppress(InvalidTag):
                return AESGCM(key).decrypt(nonce, ciphertext, purpose.encode())
        raise AppError(
            500,
            "The secret file does not fit this database.",
            "Put back the secret file that belongs to it, for example from a backup.",
        )

    def derive(self, purpose: str) -> bytes:
        """A 32-octet key for one purpose (HKDF-Expand of RFC 5869, one block)."""
        return self.derive_all(purpose)[0]

    def derive_all(self, purpose: str) -> tuple[bytes, ...]:
        """The same of every key, the one in use first: what older ones signed is still read."""
        return tuple(hmac.digest(key, purpose.encode() + b"\x01", sha256) for key in self._keys)


def create_secret(path: Path) -> None:
    """Write a new secret file, mode 0600; an existing one is kept as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())


def load_vault(path: Path) -> Vault:
    """The vault of a secret file: a key a line, the one in use first.

    Raises:
        AppError: It is missing, unreadable, or not a key.
    """
    try:
        keys = [bytes.fromhex(line) for line in path.read_text(encoding="ascii").split()]
        return Vault(*keys or [b""])
    except (OSError, ValueError) as wrong:
        raise AppError(
            500,
            "The secret file {path} cannot be used.",
            "Run `fediletter init`, or put back the file from a backup.",
            {"path": path},
        ) from wrong
