"""The one door: who showed what, whether that is enough, and the session that follows.

Whoever comes in by password, code, passkey or set-up link passes `enter`, which demands all that
the person has enrolled; nothing else makes a session (WE-4). What is begun and not done yet is
kept on the server, ends by itself, and is tried a few times at most.

Sources: security.md WE-1 to WE-5, L-60, L-63.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fediletter.founders import codes, passkeys
from fediletter.founders.people import hashed
from fediletter.limits import (
    ATTEMPT,
    CODES_PER_ATTEMPT,
    CODES_PER_DAY,
    SESSION_ABSOLUTE,
    SESSION_IDLE,
)
from fediletter.sealing import Vault
from storage import audit, factors, founders
from storage.errors import NotThere
from storage.founders import Founder, Session
from storage.ids import FounderId
from storage.store import Tx
from storage.throttles import clear, hit

Proof = Literal["password", "code", "recovery", "passkey"]
SECOND, PASSKEY = "second", "passkey"


@dataclass(frozen=True, slots=True)
class Visit:
    """From where somebody comes in.

    Args:
        device: In the words of the browser.
        former: The secret of the session that the new one replaces; empty if there is none.
    """

    device: str
    former: str = ""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a person has beside the password."""

    codes: bool
    passkeys: int
    recovery: int

    @property
    def any(self) -> bool:
        return self.codes or self.passkeys > 0


class NotEnough(Exception):
    """More must be shown."""


def enrolled(tx: Tx, founder_id: FounderId) -> Enrolled:
    """What a person has beside the password."""
    return Enrolled(
        factors.sealed_seed(tx, founder_id) is not None,
        len(factors.passkeys_of(tx, founder_id)),
        len(factors.recovery_hashes(tx, founder_id)),
    )


def enter(
    tx: Tx, founder_id: FounderId, shown: frozenset[Proof], visit: Visit, *, now: datetime
) -> str:
    """The secret of a new session, for the cookie; the former one is dead (WE-1).

    Raises:
        NotEnough: The person has enrolled more than was shown, or may not enter at all.
    """
    person = founders.founder_by_id(tx, founder_id)
    if person.disabled_at is not None or not _is_enough(shown, enrolled(tx, founder_id)):
        raise NotEnough
    if visit.former:
        founders.end_session(tx, hashed(visit.former))
    audit.write(tx, "login", founder_id=founder_id, now=now, detail={"with": sorted(shown)})
    return _issue(tx, founder_id, visit, now=now)


def renew(tx: Tx, session: Session, visit: Visit, *, now: datetime) -> str:
    """After a change of password or factors: every session of this person ends, a new one begins.

    Whoever asks for that has shown everything a moment ago (L-60), so nothing is asked again.
    """
    founders.end_sessions(tx, session.founder.id)
    factors.end_attempts(tx, session.founder.id)
    return _issue(tx, session.founder.id, visit, now=now)


def _issue(tx: Tx, founder_id: FounderId, visit: Visit, *, now: datetime) -> str:
    secret = secrets.token_urlsafe(32)
    founders.add_session(
        tx,
        hashed(secret),
        founder_id,
        csrf=secrets.token_urlsafe(24),
        label=visit.device,
        now=now,
    )
    return secret


def _is_enough(shown: frozenset[Proof], has: Enrolled) -> bool:
    """A passkey is enough: the device has seen its owner; a password needs what is enrolled."""
    if "passkey" in shown:
        return True
    return "password" in shown and (not has.any or not shown.isdisjoint({"code", "recovery"}))


def after_password(
    tx: Tx, founder_id: FounderId, visit: Visit, *, now: datetime
) -> tuple[str, str]:
    """After the right password: the secret of a session, or the token of a second step."""
    try:
        return enter(tx, founder_id, frozenset({"password"}), visit, now=now), ""
    except NotEnough:
        return "", begin(tx, SECOND, founder_id=founder_id, now=now)


def begin(
    tx: Tx,
    purpose: str,
    *,
    now: datetime,
    founder_id: FounderId | None = None,
    session: Session | None = None,
    secret: bytes | None = None,
) -> str:
    """The token of something that goes on in another request."""
    token = secrets.token_urlsafe(24)
    factors.begin(
        tx,
        hashed(token),
        purpose,
        expires_at=now + ATTEMPT,
        founder_id=founder_id,
        session_hash=None if session is None else session.token_hash,
        secret=secret,
    )
    return token


def second_step(tx: Tx, token: str, *, now: datetime) -> tuple[Founder, Enrolled] | None:
    """Who is asked for more, and what there is; None if it is over."""
    found = factors.look_at(tx, hashed(token), (SECOND,), now=now)
    if found is None or found.founder_id is None or found.tries >= CODES_PER_ATTEMPT:
        return None
    person = founders.founder_by_id(tx, found.founder_id)
    return person, enrolled(tx, person.id)


def show_code(tx: Tx, vault: Vault, token: str, code: str, visit: Visit, *, now: datetime) -> str:
    """The session after password and code; empty if the code does not fit (WE-5)."""
    found = factors.try_once(tx, hashed(token), (SECOND,), most=CODES_PER_ATTEMPT, now=now)
    if found is None or found.founder_id is None:
        return ""
    kind = try_code(tx, vault, found.founder_id, code, now=now)
    if kind is None:
        return ""
    factors.finish(tx, hashed(token))
    proof: Proof = "code" if kind == "code" else "recovery"
    return enter(tx, found.founder_id, frozenset({"password", proof}), visit, now=now)


def try_code(
    tx: Tx, vault: Vault, founder_id: FounderId, code: str, *, now: datetime
) -> str | None:
    """Use up a code, if this person has not tried too many today (L-63)."""
    key = f"codes:{founder_id}"
    if not hit(tx, key, most=CODES_PER_DAY[0], span=CODES_PER_DAY[1], now=now):
        _refused(tx, founder_id, "too many codes", now)
        return None
    kind = codes.use(tx, vault, founder_id, code, now=now)
    if kind is None:
        _refused(tx, founder_id, "code", now)
    else:
        clear(tx, key)
    return kind


def ask_passkey(tx: Tx, house: passkeys.House, token: str, *, now: datetime) -> tuple[str, str]:
    """The token of an attempt and what the browser needs, as JSON.

    Args:
        tx: The transaction.
        house: Whose passkeys.
        token: Of a second step; empty: a passkey alone, of whomever.
        now: The time.
    """
    challenge = passkeys.new_challenge()
    step = second_step(tx, token, now=now) if token else None
    if step is None:
        token = begin(tx, PASSKEY, secret=challenge, now=now)
        return token, passkeys.options_to_show(house, [], challenge)
    factors.challenge(tx, hashed(token), challenge)
    known = factors.passkeys_of(tx, step[0].id)
    return token, passkeys.options_to_show(house, known, challenge)


def show_passkey(
    tx: Tx, house: passkeys.House, token: str, answer: str, visit: Visit, *, now: datetime
) -> str:
    """The session after a passkey; empty if it does not fit. The challenge is used up."""
    purposes = (PASSKEY, SECOND)
    found = factors.try_once(tx, hashed(token), purposes, most=CODES_PER_ATTEMPT, now=now)
    if found is None or found.secret is None:
        return ""
    factors.challenge(tx, hashed(token), None)
    try:
        founder_id = passkeys.show(tx, house, answer, found.secret, of=found.founder_id, now=now)
        shown: frozenset[Proof] = frozenset({"passkey"})
        secret = enter(tx, founder_id, shown, visit, now=now)
    except (passkeys.Unfit, NotEnough, NotThere):
        _refused(tx, found.founder_id, "passkey", now)
        return ""
    factors.finish(tx, hashed(token))
    return secret


def _refused(tx: Tx, founder_id: FounderId | None, reason: str, now: datetime) -> None:
    audit.write(
        tx,
        "login refused",
        channel="web",
        subject="" if founder_id is None else str(founder_id),
        detail={"with": reason},
        now=now,
    )


def session_of(tx: Tx, secret: str, *, now: datetime) -> Session | None:
    """The session of a cookie, if it lives (L-60)."""
    found = founders.find_session(tx, hashed(secret))
    return found if found is not None and is_alive(found, now=now) else None


def is_alive(session: Session, *, now: datetime) -> bool:
    """Used lately, and not begun too long ago (L-60)."""
    return now - session.seen_at <= SESSION_IDLE and now - session.created_at <= SESSION_ABSOLUTE
