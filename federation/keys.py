"""Keys: RSA for HTTP signatures, Ed25519 for proofs; made, read, checked, used.

Loading a private key costs as much as 145 signatures, so a loaded key is an object that lives as
long as the process.

Sources: security.md IN-35, L-12, L-13; FEP-521a (Multikey); RFC 8017, RFC 8032; federation.md 4.
"""

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from federation.errors import BadKey
from federation.limits import PEM_LENGTH, RSA_BITS_ACCEPTED

RSA_BITS = 2048
_ED25519_CODE = b"\xed\x01"  # multicodec
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


class PublicKey(Protocol):
    """A key that checks signatures."""

    @property
    def kind(self) -> str:
        """`rsa` or `ed25519`."""

    @property
    def text(self) -> str:
        """As documents carry it: SPKI PEM, or Multikey."""

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature over `data` is this key's."""


class PrivateKey(Protocol):
    """A key that signs."""

    @property
    def public(self) -> PublicKey:
        """Its other half."""

    def sign(self, data: bytes) -> bytes:
        """A signature over `data`: PKCS #1 v1.5 with SHA-256, or Ed25519."""

    def to_bytes(self) -> bytes:
        """The private key, unencrypted, for sealing."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key together with the id under which its actor publishes it."""

    key_id: str
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A public key of a remote actor, proven by that actor's own document."""

    key_id: str
    owner: str
    key: PublicKey


class RsaPublicKey:
    """An RSA key within the limits of L-12."""

    kind = "rsa"

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        low, high = RSA_BITS_ACCEPTED
        numbers = key.public_numbers()
        if not low <= key.key_size <= high or numbers.e.bit_length() > 32:
            raise BadKey("RSA key of a size that is not accepted")
        self._key = key

    @property
    def text(self) -> str:
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode("ascii")

    def verify(self, signature: bytes, data: bytes) -> bool:
        try:
            self._key.verify(signature, data, _PADDING, _SHA256)
        except InvalidSignature:
            return False
        return True


class Ed25519PublicKey:
    """An Ed25519 key."""

    kind = "ed25519"

    def __init__(self, key: ed25519.Ed25519PublicKey) -> None:
        self._key = key

    @property
    def text(self) -> str:
        return "z" + base58(_ED25519_CODE + self._key.public_bytes_raw())

    def verify(self, signature: bytes, data: bytes) -> bool:
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class RsaPrivateKey:
    """An RSA key of ours."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self.public = RsaPublicKey(key.public_key())

    @classmethod
    def generate(cls) -> "RsaPrivateKey":
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS))

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, _PADDING, _SHA256)

    def to_bytes(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


class Ed25519PrivateKey:
    """An Ed25519 key of ours."""

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self.public = Ed25519PublicKey(key.public_key())

    @classmethod
    def generate(cls) -> "Ed25519PrivateKey":
        return cls(ed25519.Ed25519PrivateKey.generate())

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def to_bytes(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def private_key(data: bytes) -> PrivateKey:
    """A key of ours from what `to_bytes` gave, kept where nobody else can write.

    That the primes are prime was true when it was made; to prove it again costs 20 ms a key.

    Raises:
        BadKey: It is none that we make.
    """
    try:
        key = serialization.load_der_private_key(
            data, password=None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise BadKey("not a private key") from wrong
    if isinstance(key, rsa.RSAPrivateKey):
        return RsaPrivateKey(key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Ed25519PrivateKey(key)
    raise BadKey("not a private key of a kind in use")


def public_key(text: str) -> PublicKey:
    """A key from a document: PEM (`publicKeyPem`) or Multikey (`publicKeyMultibase`).

    Raises:
        BadKey: Too long, malformed, of another kind, too small or too large.
    """
    if len(text) > PEM_LENGTH:
        raise BadKey("key too long")
    if text.startswith("z"):
        return _from_multikey(text)
    try:
        key = serialization.load_pem_public_key(text.encode("ascii"))
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise BadKey("not a PEM key") from wrong
    if isinstance(key, rsa.RSAPublicKey):
        return RsaPublicKey(key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Ed25519PublicKey(key)
    raise BadKey("not a key of a kind in use")


def _from_multikey(text: str) -> PublicKey:
    data = from_base58(text[1:])
    if len(data) != 34 or not data.startswith(_ED25519_CODE):
        raise BadKey("not an Ed25519 Multikey")
    return Ed25519PublicKey(ed25519.Ed25519PublicKey.from_public_bytes(data[2:]))


def base58(data: bytes) -> str:
    """Multibase digits of `data`, without the leading "z"."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return _BASE58[0] * (len(data) - len(data.lstrip(b"\0"))) + text


def from_base58(text: str) -> bytes:
    """Octets of base58 digits, at most 128. Raises BadKey."""
    if len(text) > 128:
        raise BadKey("key too long")
    number = 0
    for letter in text:
        digit = _BASE58.find(letter)
        if digit < 0:
            raise BadKey("not base58")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(_BASE58[0]))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
