"""Passwords: argon2id, a bounded number at a time, the same work for unknown accounts.

Sources: security.md WE-6, L-61, L-64; RFC 9106.
"""

import asyncio
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fediletter.limits import ARGON2_KIB, ARGON2_LANES, ARGON2_PASSES, PASSWORD_LENGTH

_hasher = PasswordHasher(time_cost=ARGON2_PASSES, memory_cost=ARGON2_KIB, parallelism=ARGON2_LANES)
_two_at_once = threading.Semaphore(2)
_COMMON = frozenset(
    "password1234 123456789012 motdepasse123 qwertyuiop12 azertyuiop12 motdepasse12 "
    "administrator adminadminadmin passwordpassword 111111111111 000000000000 "
    "letmeinletmein iloveyouiloveyou".split()
)
# An unknown account costs the same time as a known one. Written down: to make it costs memory.
NOBODYS = (
    "$argon2id$v=19$m=65536,t=3,p=1"
    "$7+JAmnq3kEo2QtJ82DOSpg$cR1Y2XbS3pRG4VfSzffghHn68iu9FnbrzmSVA3P6/wM"
)


def problem_with(password: str) -> str | None:
    """Why a password cannot be taken, as a message id."""
    shortest, longest = PASSWORD_LENGTH
    if len(password) < shortest:
        return "A password needs at least 12 characters."
    if len(password) > longest:
        return "This password is too long."
    if password.lower() in _COMMON or len(set(password)) < 4:
        return "This password is too easy to guess."
    return None


def hash_password(password: str) -> str:
    """The argon2id hash, with its parameters."""
    with _two_at_once:
        return _hasher.hash(password)


def is_old(hashed: str) -> bool:
    """Whether the hash was made with other parameters than today's (L-61)."""
    return _hasher.check_needs_rehash(hashed)


async def is_password(password: str, hashed: str | None) -> bool:
    """Whether the password fits; takes the same time when there is none to fit."""
    return await asyncio.to_thread(_verify, password[: PASSWORD_LENGTH[1]], hashed)


def _verify(password: str, hashed: str | None) -> bool:
    with _two_at_once:
        try:
            return _hasher.verify(hashed or NOBODYS, password) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False
