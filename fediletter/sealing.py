"""Secrets at rest: sealed under a key that is never in the database.

AES-256-GCM with a random nonce; what a secret is for is bound to it as associated data, so that one
cannot be put in another's place. Keys for signed links are derived from the same file, one for
each purpose.

Source: security.md WE-19, EM-9; NIST SP 800-38D; RFC 5869.
"""

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
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES or len(set(key)) < 8:  # Short, or a sample.
            raise AppError(500, "The secret file must hold 32 random bytes in hexadecimal.")
        self._key = key
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
        try:
            return self._aead.decrypt(nonce, ciphertext, purpose.encode())
        except InvalidTag as wrong:
            raise AppError(
                500,
                "The secret file does not fit this database.",
                "Put back the secret file that belongs to it, for example from a backup.",
            ) from wrong

    def derive(self, purpose: str) -> bytes:
        """A 32-octet key for one purpose (HKDF-Expand of RFC 5869, one block)."""
        return hmac.digest(self._key, purpose.encode() + b"\x01", sha256)


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
    """The vault of a secret file.

    Raises:
        AppError: It is missing, unreadable, or not a key.
    """
    try:
        return Vault(bytes.fromhex(path.read_text(encoding="ascii")))
    except (OSError, ValueError) as wrong:
        raise AppError(
            500,
            "The secret file {path} cannot be used.",
            "Run `fediletter init`, or put back the file from a backup.",
            {"path": path},
        ) from wrong
