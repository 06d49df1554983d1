"""Logging in at a relay: SCRAM, PLAIN, LOGIN, in this order by what is offered (TR-2).

SCRAM proves the password without saying it, and has the relay prove that it knows it too.

Sources: RFC 4954, 4616, 5802, 7677; email.md TR-2.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Generator
from typing import TypeAlias

_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
_ITERATIONS = (4096, 1_000_000)  # Fewer are no protection, more are an attack.
REFUSED = (534, 535, 538)  # The password or the mechanism is wrong: trying again locks accounts.

# Yields lines to write, is sent the relay's answers; ends when it has said all.
Exchange: TypeAlias = Generator[str, tuple[int, str], None]


class NoLogin(Exception):
    """The relay offers no way that we know, or does not prove who it is."""


def login(offered: list[str], user: str, password: str, nonce: str) -> Exchange:
    """The lines of a login by the best mechanism offered.

    Args:
        offered: Mechanisms of the AUTH keyword, in capitals.
        user: As in the setting.
        password: As in the setting.
        nonce: Random, printable, without a comma.

    Raises:
        NoLogin: Nothing that is known is offered, or the relay's proof is wrong.
    """
    for name in _HASHES:
        if name in offered:
            return _scram(name, user, password, nonce)
    if "PLAIN" in offered:
        return _plain(user, password)
    if "LOGIN" in offered:
        return _login(user, password)
    raise NoLogin("the relay offers no login that is known")


def _plain(user: str, password: str) -> Exchange:
    yield f"AUTH PLAIN {_encoded(f'{chr(0)}{user}{chr(0)}{password}'.encode())}"


def _login(user: str, password: str) -> Exchange:
    code, _ = yield "AUTH LOGIN"
    for word in (user, password):
        if code != 334:  # It asks no further: nothing secret is said unasked.
            return
        code, _ = yield _encoded(word.encode())


def _scram(mechanism: str, user: str, password: str, nonce: str) -> Exchange:
    digest = _HASHES[mechanism]
    name = user.replace("=", "=3D").replace(",", "=2C")
    bare = f"n={name},r={nonce}"
    code, text = yield f"AUTH {mechanism} {_encoded(f'n,,{bare}'.encode())}"
    if code != 334:
        return
    first = _decoded(text)
    found = re.fullmatch(r"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=(\d{1,9})(,.*)?", first)
    if not found or not found[1].startswith(nonce):
        raise NoLogin("the relay answers the login in no form that is known")
    rounds = int(found[3])
    if not _ITERATIONS[0] <= rounds <= _ITERATIONS[1]:
        raise NoLogin("the relay asks for too weak or too costly a proof")
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(found[2]), rounds)
    unproven = f"c=biws,r={found[1]}"
    said = f"{bare},{first},{unproven}".encode()
    client = hmac.digest(salted, b"Client Key", digest)
    stored = hashlib.new(digest, client).digest()
    proof = bytes(a ^ b for a, b in zip(client, hmac.digest(stored, said, digest), strict=True))
    code, text = yield _encoded(f"{unproven},p={_encoded(proof)}".encode())
    server = hmac.digest(hmac.digest(salted, b"Server Key", digest), said, digest)
    # In SMTP the proof comes as one more question, answered by nothing (RFC 4954 §4).
    if code == 334:
        if _decoded(text) != f"v={_encoded(server)}":
            raise NoLogin("the relay could not prove that it knows the password")
        yield ""


def _encoded(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as wrong:
        raise NoLogin("the relay answers the login in no form that is known") from wrong
