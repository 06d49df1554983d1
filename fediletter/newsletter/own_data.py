"""One's own data: a copy, a new address, or the end of it, without asking anybody.

The link in a letter is not enough, for letters are forwarded (UN-9): each of these begins with a
fresh link mailed to the address, which works once and for a day.

Sources: email.md UN-9, OP-7; security.md EM-9, PR-4, PR-5.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fediletter.errors import AppError
from fediletter.limits import DATA_LINK
from fediletter.mail.addresses import Address
from fediletter.newsletter import joining
from fediletter.newsletter.mailroom import Mailroom
from fediletter.newsletter.tokens import Tokens
from fediletter.words import words
from storage import audit, personal, subscribers
from storage.asks import forget_asks_of
from storage.farewells import forget_subscriber
from storage.lanes import mail_lane_of
from storage.store import Tx
from storage.subscribers import Event, Subscriber

PURPOSES = ("export", "erase", "change-address")
ERASED = "erased"  # Why a keyed hash is kept: an import must not bring the person back.


@dataclass(frozen=True, slots=True)
class Opened:
    """What a link of this kind stands for."""

    purpose: str
    person: Subscriber
    detail: str  # The new address, where there is one.


def send_link(
    tx: Tx, person: Subscriber, purpose: str, mailroom: Mailroom, tokens: Tokens, *, now: datetime
) -> None:
    """Mail a fresh link to the address; nothing if it had enough mail today (L-75)."""
    if purpose in PURPOSES and joining.may_write_to(tx, person, tokens, now=now):
        token = _mint(tx, person, purpose, "", tokens, now)
        note = mailroom.data_link(person.email, token, purpose, language=person.language, now=now)
        joining.send_service(tx, person, note, now=now)


def look_up(tx: Tx, token: str, tokens: Tokens, *, now: datetime) -> Opened:
    """What a link stands for; changes nothing.

    Raises:
        AppError: It is none of ours, has served, or is older than a day: all alike (404).
    """
    found = personal.find_link(tx, tokens.hash_secret(tokens.trimmed(token)), now=now)
    if found is None:
        raise AppError(
            404,
            "This link does not work.",
            "It works once, for a day. Ask for a new one on the page of your choices.",
        )
    purpose, subscriber_id, detail = found
    return Opened(purpose, subscribers.get_subscriber(tx, subscriber_id), detail or "")


def export(tx: Tx, token: str, tokens: Tokens, *, now: datetime) -> bytes:
    """Everything on one person, as JSON in UTF-8; the link has served."""
    opened = _use(tx, token, "export", tokens, now)
    document: dict[str, Any] = {
        "about": words(opened.person.language).gettext(
            "Everything that this newsletter keeps about one subscriber."
        ),
        "made_at": now.isoformat(),
        "suppression": subscribers.suppression_of(tx, tokens.hash_address(opened.person.identity)),
    }
    document |= personal.everything_on(tx, opened.person.id)
    return json.dumps(document, ensure_ascii=False, indent=2).encode()


def erase(tx: Tx, token: str, tokens: Tokens, *, hash_too: bool, now: datetime) -> None:
    """Forget a person: rows, queued mail, answers, votes.

    Args:
        tx: The transaction.
        token: From the mailed link.
        tokens: Read it.
        hash_too: They want the keyed hash to go as well, which keeps imports from adding them.
        now: The time.
    """
    person = _use(tx, token, "erase", tokens, now).person
    hashed = tokens.hash_address(person.identity)
    complained = subscribers.suppression_of(tx, hashed) == joining.NEVER_AGAIN
    forget_asks_of(tx, person.identity)
    forget_subscriber(tx, person.id)
    audit.write(tx, "erase", channel="web", now=now)
    if hash_too:
        subscribers.lift_suppression(tx, hashed)
    elif not complained:
        subscribers.suppress(tx, hashed, ERASED, now=now)


def ask_to_move(
    tx: Tx, token: str, to: Address, mailroom: Mailroom, tokens: Tokens, *, now: datetime
) -> None:
    """The new address is asked to confirm; nothing has changed yet.

    The same happens, as far as anybody sees, where the new address has a subscription already.
    """
    person = _use(tx, token, "change-address", tokens, now).person
    taken = subscribers.find_subscriber(tx, to.identity)
    reason = subscribers.suppression_of(tx, tokens.hash_address(to.identity))
    if reason == joining.NEVER_AGAIN or (taken is not None and taken.id != person.id):
        return
    if not joining.may_confirm(tx, to, tokens, now=now):
        return
    fresh = _mint(tx, person, "new-address", str(to), tokens, now)
    note = mailroom.data_link(str(to), fresh, "new-address", language=person.language, now=now)
    joining.send_service(tx, person, note, now=now, to=str(to))


def move(tx: Tx, token: str, mailroom: Mailroom, tokens: Tokens, *, now: datetime) -> Subscriber:
    """The owner of the new address says yes; the old one is told, its links end."""
    opened = _use(tx, token, "new-address", tokens, now)
    person, to = opened.person, opened.detail
    if subscribers.find_subscriber(tx, to.lower()) not in (None, person):
        raise AppError(409, "This address receives the letters already.")
    note = mailroom.moved(person.email, language=person.language, now=now)
    joining.send_service(tx, person, note, now=now)
    subscribers.change_subscriber(
        tx,
        person.id,
        email=to,
        identity=to.lower(),
        mail_lane=mail_lane_of(to.lower()),
        epoch=person.epoch + 2,  # Of the links before, one may be newer than the last used one.
    )
    topics = subscribers.topics_of(tx, person.id)
    subscribers.drop_confirmations(tx, person.id)
    personal.drop_links(tx, person.id)
    subscribers.lift_suppression(tx, tokens.hash_address(to.lower()))
    subscribers.record_consent(
        tx,
        person.id,
        Event("address changed", now, "link", person.language, topics, topics),
    )
    return subscribers.get_subscriber(tx, person.id)


def _mint(
    tx: Tx, person: Subscriber, purpose: str, detail: str, tokens: Tokens, now: datetime
) -> str:
    token = secrets.token_urlsafe(20)
    personal.add_link(
        tx,
        tokens.hash_secret(token),
        purpose,
        person.id,
        detail=detail,
        expires_at=now + DATA_LINK,
        now=now,
    )
    return token


def _use(tx: Tx, token: str, purpose: str, tokens: Tokens, now: datetime) -> Opened:
    opened = look_up(tx, token, tokens, now=now)
    if opened.purpose != purpose:
        raise AppError(404, "This link does not work.")
    personal.use_link(tx, tokens.hash_secret(tokens.trimmed(token)), now=now)
    return opened
