"""Who may enter: the first founder and the invited by one-time links; roles; who leaves.

A founder does everything. An editor writes drafts and answers readers; publishing, addresses of
readers, settings and people are the founders'. There is always a founder.

Sources: security.md WE-2, WE-22, L-65, CL-1.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from fediletter.errors import AppError
from fediletter.limits import INVITATION, RESET_LINK, SETUP_LINK
from storage import audit, factors, founders
from storage.errors import NotThere
from storage.founders import Founder
from storage.ids import FounderId
from storage.store import Tx

SETUP, INVITE, RESET = "setup", "invite", "reset"
ROLES = ("founder", "editor")


@dataclass(frozen=True, slots=True)
class Opening:
    """A one-time link that works: for whom and why; `person` None: the first founder."""

    purpose: Literal["setup", "invite", "reset"]
    person: Founder | None


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


def open_link(tx: Tx, token: str, *, now: datetime) -> Opening:
    """What a one-time link is for.

    Raises:
        AppError: 404; it was used, is over, or never was. Says which of the first two.
    """
    link = founders.find_link(tx, hashed(token))
    if link is None or link.purpose not in (SETUP, INVITE, RESET):
        raise AppError(
            404, "This link does not work.", "Check that it was copied whole, or ask for a new one."
        )
    if link.is_used:
        raise AppError(
            404,
            "This link has done its work already.",
            "It works once. Log in with the password that was chosen with it.",
        )
    if link.expires_at <= now or (link.purpose == SETUP and founders.count_founders(tx)):
        raise AppError(
            404,
            "This link does not work any more.",
            "Ask whoever gave it to you for a new one. The first comes from `fediletter init`.",
        )
    person = None if link.founder_id is None else founders.founder_by_id(tx, link.founder_id)
    return Opening(link.purpose, person)  # type: ignore[arg-type]  # One of the three, see above.


def set_up(
    tx: Tx, token: str, *, email: str, password_hash: str, now: datetime
) -> tuple[Opening, FounderId]:
    """Set a password by a one-time link. Raises AppError (404) if the link does not work.

    A reset takes all that was enrolled beside the password: whoever asks for one has lost it.
    """
    opening = open_link(tx, token, now=now)
    if not founders.use_link(tx, hashed(token), now=now):
        open_link(tx, token, now=now)  # Somebody was quicker: says that it is used.
    if opening.person is None:
        founder_id = founders.add_founder(
            tx, email=email, role="founder", password_hash=password_hash, now=now
        )
    else:
        founder_id = opening.person.id
        founders.set_password(tx, founder_id, password_hash)
        factors.end_attempts(tx, founder_id)
    if opening.purpose == RESET:
        factors.drop_factors(tx, founder_id)
    words = {SETUP: "set up", INVITE: "invitation taken", RESET: "account reset"}
    audit.write(tx, words[opening.purpose], founder_id=founder_id, now=now)
    return opening, founder_id


def invite(tx: Tx, *, email: str, name: str, role: str, now: datetime) -> tuple[FounderId, str]:
    """A person who may enter once a password is set, and the token for that.

    Raises:
        Conflict: The address is taken.
    """
    founder_id = founders.add_founder(
        tx, email=email, role=role, password_hash=None, name=name, now=now
    )
    return founder_id, invitation(tx, founder_id, now=now)


def invitation(tx: Tx, founder_id: FounderId, *, now: datetime) -> str:
    """A token for somebody who never came in; earlier ones die.

    Raises:
        AppError: 409; the person came in.
    """
    if founders.founder_by_id(tx, founder_id).password_hash is not None:
        raise AppError(409, "This person has a password already.")
    token = secrets.token_urlsafe(24)
    founders.add_link(
        tx, hashed(token), INVITE, expires_at=now + INVITATION, now=now, founder_id=founder_id
    )
    return token


def reset(tx: Tx, email: str, *, now: datetime) -> str:
    """A token for somebody who lost password, telephone and recovery codes.

    Raises:
        NotThere: Nobody has this address.
    """
    person = founders.founder_by_email(tx, email)
    if person is None:
        raise NotThere(email)
    token = secrets.token_urlsafe(24)
    founders.add_link(
        tx, hashed(token), RESET, expires_at=now + RESET_LINK, now=now, founder_id=person.id
    )
    return token


def change_role(tx: Tx, founder_id: FounderId, role: str) -> None:
    """Another role; all sessions of that person end (WE-2).

    Raises:
        AppError: 409; nobody would be left who may do everything.
    """
    if role != "founder":
        _require_another(tx, founder_id)
    founders.set_role(tx, founder_id, role)
    factors.end_attempts(tx, founder_id)


def remove(tx: Tx, founder_id: FounderId) -> None:
    """A person may not enter any more, from the next request on; what they wrote stays.

    Raises:
        AppError: 409; nobody would be left who may do everything.
        NotThere: There is no such person.
    """
    founders.founder_by_id(tx, founder_id)
    _require_another(tx, founder_id)
    founders.remove_founder(tx, founder_id)


def _require_another(tx: Tx, founder_id: FounderId) -> None:
    people = founders.lock_founders(tx)
    if not any(one.role == "founder" and one.id != founder_id for one in people):
        raise AppError(
            409,
            "Somebody must be able to do everything: this is the last founder.",
            "Make somebody else a founder first.",
        )


def hashed(secret: str) -> bytes:
    """How secrets of sessions and links are stored."""
    return sha256(secret.encode()).digest()
