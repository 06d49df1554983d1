"""Who may enter: the first founder by a one-time link, everybody by one door.

One function issues sessions and demands all that a person has enrolled (WE-4).

Sources: security.md WE-1 to WE-4, WE-22, L-60 to L-62.
"""

import secrets
from datetime import datetime
from hashlib import sha256

from fediletter.errors import AppError
from fediletter.limits import SESSION_ABSOLUTE, SESSION_IDLE, SETUP_LINK
from storage import audit, founders
from storage.founders import Founder, Session
from storage.ids import FounderId
from storage.store import Tx

SETUP = "setup"


def create_setup_link(tx: Tx, *, now: datetime) -> str:
    """A token with which the first founder sets a password; valid 30 minutes (WE-22).

    Raises:
        AppError: Somebody may enter already.
    """
    if founders.count_founders(tx):
        raise AppError(
            409,
            "There is a founder already.",
            "Add people with `fediletter founder add`.",
        )
    token = secrets.token_urlsafe(24)
    founders.add_link(tx, hashed(token), SETUP, expires_at=now + SETUP_LINK, now=now)
    return token


def may_set_up(tx: Tx, token: str, *, now: datetime) -> bool:
    """Whether a set-up link works: once, in time, and only while nobody may enter."""
    return founders.count_founders(tx) == 0 and founders.link_is_good(
        tx, hashed(token), SETUP, now=now
    )


def set_up(tx: Tx, token: str, *, email: str, password_hash: str, now: datetime) -> FounderId:
    """The first founder. Raises AppError (404) if the link does not work."""
    if not may_set_up(tx, token, now=now):
        raise AppError(404, "There is nothing at this address.")
    founders.use_link(tx, hashed(token), now=now)
    founder_id = founders.add_founder(
        tx, email=email, role="founder", password_hash=password_hash, now=now
    )
    audit.write(tx, "set up", founder_id=founder_id, now=now)
    return founder_id


def begin_session(tx: Tx, person: Founder, *, now: datetime) -> str:
    """The secret of a new session, for the cookie; a new one at each login (WE-1)."""
    secret = secrets.token_urlsafe(32)
    founders.add_session(tx, hashed(secret), person.id, csrf=secrets.token_urlsafe(24), now=now)
    audit.write(tx, "login", founder_id=person.id, now=now)
    return secret


def session_of(tx: Tx, secret: str, *, now: datetime) -> Session | None:
    """The session of a cookie, if it lives (L-60)."""
    found = founders.find_session(tx, hashed(secret))
    if found is None or now - found.seen_at > SESSION_IDLE:
        return None
    return None if now - found.created_at > SESSION_ABSOLUTE else found


def hashed(secret: str) -> bytes:
    """How secrets of sessions and links are stored."""
    return sha256(secret.encode()).digest()
