"""What a person of the desk shows beside the password: one-time codes, passkeys, recovery codes.

Also what is begun at the door and not done yet (`attempt`): each has a secret token, of which only
the hash is kept, an end, and a number of tries.

Sources: security.md WE-1, WE-5, WE-19, L-63.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import FounderId
from storage.schema import attempt, founder, passkey, recovery_code
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Passkey:
    """A public key that some device of a person's keeps the other half of."""

    id: int
    founder_id: FounderId
    credential_id: bytes
    public_key: bytes
    sign_count: int
    label: str
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Begun and not done yet; `secret` is a challenge or a sealed seed."""

    purpose: str
    founder_id: FounderId | None
    session_hash: bytes | None
    secret: bytes | None
    tries: int


# --- one-time codes --------------------------------------------------------------------------


def sealed_seed(tx: Tx, founder_id: FounderId) -> bytes | None:
    """The sealed secret of a person's codes; None if they use none."""
    found: bytes | None = tx.scalar(
        sa.select(founder.c.totp_sealed).where(founder.c.id == founder_id)
    )
    return found


def set_seed(tx: Tx, founder_id: FounderId, sealed: bytes | None, *, step: int | None) -> None:
    """From now on these codes, those after `step`; None: no codes."""
    tx.execute(
        sa.update(founder)
        .where(founder.c.id == founder_id)
        .values(totp_sealed=sealed, totp_step=step)
    )


def use_step(tx: Tx, founder_id: FounderId, step: int) -> bool:
    """Use up the code of a step and all before it; False if it was used already (WE-5)."""
    done = tx.execute(
        sa.update(founder)
        .where(
            founder.c.id == founder_id,
            sa.or_(founder.c.totp_step.is_(None), founder.c.totp_step < step),
        )
        .values(totp_step=step)
    )
    return done.rowcount == 1


# --- recovery codes --------------------------------------------------------------------------


def set_recovery_codes(tx: Tx, founder_id: FounderId, hashes: list[bytes]) -> None:
    """These and no others."""
    tx.execute(sa.delete(recovery_code).where(recovery_code.c.founder_id == founder_id))
    if hashes:
        tx.execute(
            sa.insert(recovery_code),
            [{"founder_id": founder_id, "code_hash": one} for one in hashes],
        )


def use_recovery_code(tx: Tx, founder_id: FounderId, code_hash: bytes, *, now: datetime) -> bool:
    """Use one up; False if there is no such code, or no more."""
    done = tx.execute(
        sa.update(recovery_code)
        .where(
            recovery_code.c.founder_id == founder_id,
            recovery_code.c.code_hash == code_hash,
            recovery_code.c.used_at.is_(None),
        )
        .values(used_at=to_ms(now))
    )
    return done.rowcount == 1


def recovery_hashes(tx: Tx, founder_id: FounderId) -> list[bytes]:
    """Of those that may be used still."""
    return [
        row[0]
        for row in tx.rows(
            sa.select(recovery_code.c.code_hash).where(
                recovery_code.c.founder_id == founder_id, recovery_code.c.used_at.is_(None)
            )
        )
    ]


# --- passkeys --------------------------------------------------------------------------------

_SELECT = sa.select(*(passkey.c[name] for name in Passkey.__dataclass_fields__))


def _passkey(row: tuple[Any, ...]) -> Passkey:
    return Passkey(row[0], row[1], row[2], row[3], row[4], row[5], from_ms(row[6]), from_ms(row[7]))


def passkeys_of(tx: Tx, founder_id: FounderId) -> list[Passkey]:
    """A person's passkeys, the oldest first."""
    query = _SELECT.where(passkey.c.founder_id == founder_id).order_by(passkey.c.id)
    return [_passkey(row) for row in tx.rows(query)]


def passkey_by_credential(tx: Tx, credential_id: bytes) -> Passkey | None:
    """The passkey that a browser names."""
    row = tx.row(_SELECT.where(passkey.c.credential_id == credential_id))
    return None if row is None else _passkey(row)


def add_passkey(
    tx: Tx,
    founder_id: FounderId,
    *,
    credential_id: bytes,
    public_key: bytes,
    sign_count: int,
    label: str,
    now: datetime,
) -> None:
    """One more. Raises Conflict if it is somebody's already."""
    row = tx.row(
        tx.insert(passkey)
        .values(
            founder_id=founder_id,
            credential_id=credential_id,
            public_key=public_key,
            sign_count=sign_count,
            label=label,
            created_at=to_ms(now),
        )
        .on_conflict_do_nothing()
        .returning(passkey.c.id)
    )
    if row is None:
        raise Conflict("passkey")


def use_passkey(tx: Tx, passkey_id: int, *, sign_count: int, now: datetime) -> None:
    """It was used; its count has moved."""
    tx.execute(
        sa.update(passkey)
        .where(passkey.c.id == passkey_id)
        .values(sign_count=sign_count, used_at=to_ms(now))
    )


def rename_passkey(tx: Tx, founder_id: FounderId, passkey_id: int, label: str) -> None:
    """Another name. Raises NotThere if this person has no such passkey."""
    done = tx.execute(sa.update(passkey).where(*_own(founder_id, passkey_id)).values(label=label))
    if done.rowcount == 0:
        raise NotThere("passkey")


def remove_passkey(tx: Tx, founder_id: FounderId, passkey_id: int) -> None:
    """It opens nothing any more. Raises NotThere if this person has no such passkey."""
    if tx.execute(sa.delete(passkey).where(*_own(founder_id, passkey_id))).rowcount == 0:
        raise NotThere("passkey")


def _own(founder_id: FounderId, passkey_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return passkey.c.founder_id == founder_id, passkey.c.id == passkey_id


def drop_factors(tx: Tx, founder_id: FounderId) -> None:
    """The password alone is left."""
    set_seed(tx, founder_id, None, step=None)
    set_recovery_codes(tx, founder_id, [])
    tx.execute(sa.delete(passkey).where(passkey.c.founder_id == founder_id))


# --- what is begun ---------------------------------------------------------------------------


def begin(
    tx: Tx,
    token_hash: bytes,
    purpose: str,
    *,
    expires_at: datetime,
    founder_id: FounderId | None = None,
    session_hash: bytes | None = None,
    secret: bytes | None = None,
) -> None:
    """Something begins."""
    tx.execute(
        sa.insert(attempt).values(
            token_hash=token_hash,
            purpose=purpose,
            founder_id=founder_id,
            session_hash=session_hash,
            secret=secret,
            expires_at=to_ms(expires_at),
        )
    )


def try_once(
    tx: Tx, token_hash: bytes, purposes: tuple[str, ...], *, most: int, now: datetime
) -> Attempt | None:
    """Count a try; None if there is no such attempt, it is over, or was tried too often."""
    row = tx.row(
        sa.update(attempt)
        .where(
            attempt.c.token_hash == token_hash,
            attempt.c.purpose.in_(purposes),
            attempt.c.expires_at > to_ms(now),
            attempt.c.tries < most,
        )
        .values(tries=attempt.c.tries + 1)
        .returning(*(attempt.c[name] for name in Attempt.__dataclass_fields__))
    )
    return None if row is None else Attempt(*row)


def look_at(
    tx: Tx, token_hash: bytes, purposes: tuple[str, ...], *, now: datetime
) -> Attempt | None:
    """An attempt that goes on; counts nothing."""
    row = tx.row(
        sa.select(*(attempt.c[name] for name in Attempt.__dataclass_fields__)).where(
            attempt.c.token_hash == token_hash,
            attempt.c.purpose.in_(purposes),
            attempt.c.expires_at > to_ms(now),
        )
    )
    return None if row is None else Attempt(*row)


def challenge(tx: Tx, token_hash: bytes, secret: bytes | None) -> None:
    """What the next answer must be to; None: nothing is asked."""
    tx.execute(sa.update(attempt).where(attempt.c.token_hash == token_hash).values(secret=secret))


def finish(tx: Tx, token_hash: bytes) -> None:
    """It is done, or given up."""
    tx.execute(sa.delete(attempt).where(attempt.c.token_hash == token_hash))


def end_attempts(tx: Tx, founder_id: FounderId) -> None:
    """Whatever this person began is over (WE-2)."""
    tx.execute(sa.delete(attempt).where(attempt.c.founder_id == founder_id))


def forget_attempts(tx: Tx, *, now: datetime) -> None:
    """Drop what came to no end."""
    tx.execute(sa.delete(attempt).where(attempt.c.expires_at <= to_ms(now)))
