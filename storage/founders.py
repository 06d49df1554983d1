"""People who may enter the desk, and their sessions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import FounderId
from storage.schema import founder, one_time_link, session
from storage.store import Tx
from storage.times import from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Founder:
    """One person; `password_hash` None means that there is no way in yet."""

    id: FounderId
    email: str
    name: str
    role: str
    language: str | None
    password_hash: str | None
    disabled_at: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session on the server; the browser holds only its secret."""

    founder: Founder
    csrf: str
    created_at: datetime
    seen_at: datetime
    fresh_at: datetime


_NAMES = list(Founder.__dataclass_fields__)
_SELECT = sa.select(*(founder.c[name] for name in _NAMES))


def _one(tx: Tx, query: sa.Select[Any]) -> Founder | None:
    row = tx.row(query)
    return None if row is None else Founder(*row)


def all_founders(tx: Tx) -> list[Founder]:
    """Everybody, the oldest first."""
    return [Founder(*row) for row in tx.rows(_SELECT.order_by(founder.c.id))]


def count_founders(tx: Tx) -> int:
    """How many there are."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(founder)))


def founder_by_email(tx: Tx, email: str) -> Founder | None:
    """The founder of an address, in any case of letters."""
    return _one(tx, _SELECT.where(founder.c.identity == email.strip().lower()))


def add_founder(
    tx: Tx, *, email: str, role: str, password_hash: str | None, now: datetime, name: str = ""
) -> FounderId:
    """A new person. Raises Conflict if the address is taken."""
    statement = (
        tx.insert(founder)
        .values(
            email=email.strip(),
            identity=email.strip().lower(),
            name=name,
            role=role,
            password_hash=password_hash,
            created_at=to_ms(now),
        )
        .on_conflict_do_nothing()
        .returning(founder.c.id)
    )
    row = tx.row(statement)
    if row is None:
        raise Conflict(email)
    return FounderId(row[0])


def set_password(tx: Tx, founder_id: FounderId, password_hash: str) -> None:
    """Change a password; every session of that person ends (WE-2)."""
    tx.execute(
        sa.update(founder).where(founder.c.id == founder_id).values(password_hash=password_hash)
    )
    end_sessions(tx, founder_id)


def set_language(tx: Tx, founder_id: FounderId, language: str) -> None:
    """The language in which this person sees the desk."""
    tx.execute(sa.update(founder).where(founder.c.id == founder_id).values(language=language))


def remove_founder(tx: Tx, email: str) -> None:
    """A person may not enter any more, from the next request on. Raises NotThere."""
    gone = tx.execute(sa.delete(founder).where(founder.c.identity == email.strip().lower()))
    if gone.rowcount == 0:
        raise NotThere(email)


def add_session(
    tx: Tx, token_hash: bytes, founder_id: FounderId, *, csrf: str, now: datetime
) -> None:
    """A new session."""
    moment = to_ms(now)
    tx.execute(
        sa.insert(session).values(
            token_hash=token_hash,
            founder_id=founder_id,
            csrf=csrf,
            created_at=moment,
            seen_at=moment,
            fresh_at=moment,
        )
    )


def find_session(tx: Tx, token_hash: bytes) -> Session | None:
    """A session with its person, as they are now (WE-3)."""
    columns = [founder.c[name] for name in _NAMES]
    row = tx.row(
        sa.select(
            session.c.csrf, session.c.created_at, session.c.seen_at, session.c.fresh_at, *columns
        )
        .join(founder, founder.c.id == session.c.founder_id)
        .where(session.c.token_hash == token_hash, founder.c.disabled_at.is_(None))
    )
    if row is None:
        return None
    return Session(Founder(*row[4:]), row[0], from_ms(row[1]), from_ms(row[2]), from_ms(row[3]))


def see_session(tx: Tx, token_hash: bytes, *, now: datetime) -> None:
    """The session was used."""
    tx.execute(
        sa.update(session).where(session.c.token_hash == token_hash).values(seen_at=to_ms(now))
    )


def end_session(tx: Tx, token_hash: bytes) -> None:
    """Log out."""
    tx.execute(sa.delete(session).where(session.c.token_hash == token_hash))


def end_sessions(tx: Tx, founder_id: FounderId) -> None:
    """All sessions of a person end."""
    tx.execute(sa.delete(session).where(session.c.founder_id == founder_id))


def forget_sessions(tx: Tx, *, now: datetime, idle: timedelta, absolute: timedelta) -> None:
    """Drop sessions that have ended by themselves."""
    tx.execute(
        sa.delete(session).where(
            sa.or_(
                session.c.seen_at < to_ms(now - idle), session.c.created_at < to_ms(now - absolute)
            )
        )
    )


def add_link(
    tx: Tx,
    token_hash: bytes,
    purpose: str,
    *,
    expires_at: datetime,
    now: datetime,
    founder_id: FounderId | None = None,
) -> None:
    """A one-time link; earlier ones of the same purpose and person die."""
    tx.execute(
        sa.delete(one_time_link).where(
            one_time_link.c.purpose == purpose,
            one_time_link.c.founder_id.is_(None)
            if founder_id is None
            else one_time_link.c.founder_id == founder_id,
        )
    )
    tx.execute(
        sa.insert(one_time_link).values(
            token_hash=token_hash,
            purpose=purpose,
            founder_id=founder_id,
            created_at=to_ms(now),
            expires_at=to_ms(expires_at),
        )
    )


def link_is_good(tx: Tx, token_hash: bytes, purpose: str, *, now: datetime) -> bool:
    """Whether a one-time link may be used still."""
    return (
        tx.row(
            sa.select(one_time_link.c.purpose).where(
                one_time_link.c.token_hash == token_hash,
                one_time_link.c.purpose == purpose,
                one_time_link.c.used_at.is_(None),
                one_time_link.c.expires_at > to_ms(now),
            )
        )
        is not None
    )


def use_link(tx: Tx, token_hash: bytes, *, now: datetime) -> None:
    """A one-time link has served."""
    tx.execute(
        sa.update(one_time_link)
        .where(one_time_link.c.token_hash == token_hash)
        .values(used_at=to_ms(now))
    )
