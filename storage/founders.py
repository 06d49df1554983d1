"""People who may enter the desk, and their sessions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import FounderId
from storage.schema import founder, media, one_time_link, post, post_version, session
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
    time_zone: str  # Name of IANA; empty: never chosen.
    password_hash: str | None
    disabled_at: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session on the server; the browser holds only its secret."""

    token_hash: bytes
    founder: Founder
    csrf: str
    label: str  # The device, in the words of its browser.
    created_at: datetime
    seen_at: datetime
    fresh_at: datetime


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link, used or not."""

    purpose: str
    founder_id: FounderId | None
    expires_at: datetime
    is_used: bool


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


def set_time_zone(tx: Tx, founder_id: FounderId, time_zone: str) -> None:
    """The hours in which this person sees and plans."""
    tx.execute(sa.update(founder).where(founder.c.id == founder_id).values(time_zone=time_zone))


def founder_by_id(tx: Tx, founder_id: FounderId) -> Founder:
    """One person. Raises NotThere."""
    found = _one(tx, _SELECT.where(founder.c.id == founder_id))
    if found is None:
        raise NotThere("founder")
    return found


def rehash(tx: Tx, founder_id: FounderId, password_hash: str, *, former: str) -> None:
    """The same password by newer parameters (L-61): no session ends."""
    tx.execute(
        sa.update(founder)
        .where(founder.c.id == founder_id, founder.c.password_hash == former)
        .values(password_hash=password_hash)
    )


def set_name(tx: Tx, founder_id: FounderId, name: str) -> None:
    """What the others at the desk call this person."""
    tx.execute(sa.update(founder).where(founder.c.id == founder_id).values(name=name))


def set_role(tx: Tx, founder_id: FounderId, role: str) -> None:
    """`founder` or `editor`; every session of that person ends (WE-2)."""
    tx.execute(sa.update(founder).where(founder.c.id == founder_id).values(role=role))
    end_sessions(tx, founder_id)


def lock_founders(tx: Tx) -> list[Founder]:
    """Everybody who may enter; nobody else changes who that is until this transaction ends."""
    query = _SELECT.where(founder.c.password_hash.is_not(None), founder.c.disabled_at.is_(None))
    return [Founder(*row) for row in tx.rows(query.order_by(founder.c.id).with_for_update())]


def remove_founder(tx: Tx, founder_id: FounderId) -> None:
    """A person may not enter any more, from the next request on; what they wrote stays."""
    for table in (media, post, post_version):
        tx.execute(sa.update(table).where(table.c.founder_id == founder_id).values(founder_id=None))
    tx.execute(sa.delete(founder).where(founder.c.id == founder_id))


def add_session(
    tx: Tx, token_hash: bytes, founder_id: FounderId, *, csrf: str, label: str, now: datetime
) -> None:
    """A new session."""
    moment = to_ms(now)
    tx.execute(
        sa.insert(session).values(
            token_hash=token_hash,
            founder_id=founder_id,
            csrf=csrf,
            label=label,
            created_at=moment,
            seen_at=moment,
            fresh_at=moment,
        )
    )


_SESSION = ("token_hash", "csrf", "label", "created_at", "seen_at", "fresh_at")


def _sessions(tx: Tx, *conditions: sa.ColumnElement[bool]) -> list[Session]:
    """Sessions with their people, as they are now (WE-3); the last used first."""
    columns = [session.c[name] for name in _SESSION] + [founder.c[name] for name in _NAMES]
    rows = tx.rows(
        sa.select(*columns)
        .join(founder, founder.c.id == session.c.founder_id)
        .where(founder.c.disabled_at.is_(None), *conditions)
        .order_by(session.c.seen_at.desc())
    )
    return [
        Session(row[0], Founder(*row[6:]), row[1], row[2], *(from_ms(ms) for ms in row[3:6]))
        for row in rows
    ]


def find_session(tx: Tx, token_hash: bytes) -> Session | None:
    """A session, if it is there."""
    found = _sessions(tx, session.c.token_hash == token_hash)
    return found[0] if found else None


def sessions_of(tx: Tx, founder_id: FounderId) -> list[Session]:
    """A person's sessions, the last used first."""
    return _sessions(tx, session.c.founder_id == founder_id)


def see_session(tx: Tx, token_hash: bytes, *, now: datetime) -> None:
    """The session was used."""
    tx.execute(
        sa.update(session).where(session.c.token_hash == token_hash).values(seen_at=to_ms(now))
    )


def end_session(tx: Tx, token_hash: bytes) -> None:
    """Log out."""
    tx.execute(sa.delete(session).where(session.c.token_hash == token_hash))


def end_own_session(tx: Tx, founder_id: FounderId, token_hash: bytes) -> None:
    """End a session of this person's. Raises NotThere if it is none (WE-11)."""
    done = tx.execute(
        sa.delete(session).where(
            session.c.token_hash == token_hash, session.c.founder_id == founder_id
        )
    )
    if done.rowcount == 0:
        raise NotThere("session")


def end_sessions(tx: Tx, founder_id: FounderId) -> None:
    """All sessions of a person end, and the links that would let them in (WE-2)."""
    tx.execute(sa.delete(session).where(session.c.founder_id == founder_id))
    tx.execute(
        sa.delete(one_time_link).where(
            one_time_link.c.founder_id == founder_id, one_time_link.c.used_at.is_(None)
        )
    )


def end_every_session(tx: Tx) -> None:
    """Nobody is logged in, no link of the desk lets anybody in."""
    tx.execute(sa.delete(session))
    tx.execute(
        sa.delete(one_time_link).where(
            one_time_link.c.subscriber_id.is_(None), one_time_link.c.used_at.is_(None)
        )
    )


def end_other_sessions(tx: Tx, founder_id: FounderId, kept: bytes) -> None:
    """All sessions of a person end but one."""
    tx.execute(
        sa.delete(session).where(session.c.founder_id == founder_id, session.c.token_hash != kept)
    )


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


def find_link(tx: Tx, token_hash: bytes) -> Link | None:
    """A one-time link, used or not, over or not."""
    row = tx.row(
        sa.select(
            one_time_link.c.purpose,
            one_time_link.c.founder_id,
            one_time_link.c.expires_at,
            one_time_link.c.used_at.is_not(None),
        ).where(one_time_link.c.token_hash == token_hash)
    )
    return None if row is None else Link(row[0], row[1], from_ms(row[2]), bool(row[3]))


def use_link(tx: Tx, token_hash: bytes, *, now: datetime) -> bool:
    """A one-time link serves; False if it had served already."""
    done = tx.execute(
        sa.update(one_time_link)
        .where(one_time_link.c.token_hash == token_hash, one_time_link.c.used_at.is_(None))
        .values(used_at=to_ms(now))
    )
    return done.rowcount == 1
