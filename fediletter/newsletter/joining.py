"""Joining: what follows when somebody asks for letters to an address, and the owner's yes.

Nothing that a page says depends on who asks or for whom (EM-10): a page keeps the ask, and what
stands here is done after its reply.

Sources: email.md section 8 (OP-1 to OP-8); security.md EM-6, EM-7, EM-10, L-71 to L-75.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeAlias

from fediletter.errors import AppError
from fediletter.limits import (
    AUTOMATIC_PER_DAY,
    CONFIRMATION,
    CONFIRMATIONS_PER_DAY,
    CONFIRMATIONS_PER_DOMAIN,
    CONFIRMATIONS_PER_MONTH,
    DOMAIN_SHARE,
    REMINDERS_PER_DAY,
    SUPPRESSED_PER_MONTH,
)
from fediletter.mail.addresses import Address, canonical_for_limits
from fediletter.newsletter.mailroom import Mailroom, Note
from fediletter.newsletter.tokens import Tokens
from storage import subscribers
from storage.farewells import forget_subscriber
from storage.ids import SubscriberId
from storage.notices import send_notice
from storage.store import Tx
from storage.subscribers import Event, Subscriber
from storage.throttles import hit, is_free
from storage.topics import all_topics

RHYTHMS = ("every", "monthly")
NEVER_AGAIN = "complaint"  # Only a founder lifts it, after hearing from the person.
_KEY_BYTES = 10
_TOKEN_BYTES = 20  # 160 bits (EM-9).
Limit: TypeAlias = tuple[int, timedelta]
_TIED = frozenset({None, "left"})  # Suppressions that a form lifts like any other wish.


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for in the form."""

    address: Address
    topics: tuple[str, ...]  # Slugs; empty: every letter.
    rhythm: str
    language: str
    text: str  # The wording of the form, for the consent record.


@dataclass(frozen=True, slots=True)
class Choice:
    """What the owner of an address chose on the page of the link."""

    topics: tuple[str, ...]
    rhythm: str
    language: str


def request(tx: Tx, wish: Wish, mailroom: Mailroom, tokens: Tokens, *, now: datetime) -> None:
    """Somebody asked for letters: a mail to the address says how to go on, or none goes.

    Unknown or left: a confirmation. Pending: another within the limits, else the one that is there
    lives longer. Active: a reminder. Suppressed as gone or full: once a month. Complained: nothing.
    """
    found = subscribers.find_subscriber(tx, wish.address.identity)
    reason = subscribers.suppression_of(tx, tokens.hash_address(wish.address.identity))
    if reason == NEVER_AGAIN:
        return
    if found is not None and found.state == "active":
        remind(tx, found, mailroom, tokens, now=now)
        return
    limits = _limits(tx, wish.address, tokens)
    if reason not in _TIED or (found is not None and found.state == "suppressed"):
        limits["mail:suppressed:" + _person(wish.address, tokens)] = SUPPRESSED_PER_MONTH
    if not _count_all(tx, limits, now):
        if found is not None and found.state == "pending":
            subscribers.renew_confirmation(tx, found.id, expires_at=now + CONFIRMATION)
            subscribers.change_subscriber(tx, found.id, requested_at=now)
        return
    person = found or _add(tx, wish, now)
    if person.state == "pending":
        subscribers.change_subscriber(tx, person.id, requested_at=now)
    version = keep_text(tx, wish.language, wish.text, now=now)
    note = send_confirmation(
        tx,
        person,
        Choice(wish.topics, wish.rhythm, wish.language),
        mailroom,
        tokens,
        now=now,
        to=str(wish.address),
    )
    subscribers.record_consent(
        tx,
        person.id,
        Event(
            "requested",
            now,
            "form",
            wish.language,
            topics_after=wish.topics,
            text_version=version,
            message_id=note.message_id,
        ),
    )


def remind(
    tx: Tx, person: Subscriber, mailroom: Mailroom, tokens: Tokens, *, now: datetime
) -> None:
    """Who gets the letters already hears so, with a new link, at most once a day."""
    key = _person_of(person, tokens)
    limits = {f"mail:remind:{key}": REMINDERS_PER_DAY, f"mail:auto:{key}": AUTOMATIC_PER_DAY}
    if not _count_all(tx, limits, now):
        return
    token = tokens.preferences(person.key, person.epoch + 1)
    note = mailroom.already_subscribed(person.email, token, language=person.language, now=now)
    send_service(tx, person, note, now=now)


def may_write_to(tx: Tx, person: Subscriber, tokens: Tokens, *, now: datetime) -> bool:
    """Count one automatic mail to a person; False if there were enough today (L-75)."""
    return may_write_to_address(tx, person.email, tokens, now=now)


def may_write_to_address(tx: Tx, email: str, tokens: Tokens, *, now: datetime) -> bool:
    """The same by the bare address of somebody who may be no subscriber."""
    local, _, domain = email.rpartition("@")
    key = f"mail:auto:{_person(Address(local, domain), tokens)}"
    return _count_all(tx, {key: AUTOMATIC_PER_DAY}, now)


def send_confirmation(
    tx: Tx,
    person: Subscriber,
    wish: Choice,
    mailroom: Mailroom,
    tokens: Tokens,
    *,
    now: datetime,
    to: str | None = None,
) -> Note:
    """Queue a confirmation and keep what its link will confirm."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    names = {topic.slug: topic.name for topic in all_topics(tx, public_only=True)}
    chosen = tuple(names[slug] for slug in wish.topics if slug in names)
    note = mailroom.confirmation(
        to or person.email, token, chosen, rhythm=wish.rhythm, language=wish.language, now=now
    )
    subscribers.add_confirmation(
        tx,
        tokens.hash_secret(token),
        person.id,
        {
            "topics": wish.topics,
            "rhythm": wish.rhythm,
            "language": wish.language,
            "text_version": keep_text(
                tx, wish.language, mailroom.confirmation_wording(wish.language), now=now
            ),
        },
        expires_at=now + CONFIRMATION,
        now=now,
    )
    send_notice(
        tx,
        kind="confirm",
        recipient=to or person.email,
        message_id=note.message_id,
        body=note.body,
        subscriber_id=person.id,
        expires_at=now + CONFIRMATION,
        now=now,
    )
    return note


def look_up_confirmation(
    tx: Tx, token: str, tokens: Tokens, *, now: datetime
) -> tuple[Subscriber, subscribers.Confirmation]:
    """What a confirmation link stands for; changes nothing.

    Raises:
        AppError: The link is none of ours (404); it has expired, or who used it has left (410).
    """
    found = subscribers.find_confirmation(tx, tokens.hash_secret(tokens.trimmed(token)))
    if found is None:
        raise AppError(
            404,
            "This link does not work.",
            "It may have been cut on its way. Enter your address and we will send a new one.",
            rejoin=True,
        )
    if found.used_at is None and found.expires_at < now:
        raise AppError(
            410,
            "This link has expired.",
            "Links work for three days. Enter your address and we will send a new one.",
            rejoin=True,
        )
    person = subscribers.get_subscriber(tx, found.subscriber_id)
    hashed = tokens.hash_address(person.identity)
    # A complaint ends what was asked for before it: a founder lifts it (BO-9).
    has_complained = subscribers.suppression_of(tx, hashed) == NEVER_AGAIN
    if has_complained or (found.used_at is not None and person.state == "left"):
        raise left_already()
    return person, found


def left_already() -> AppError:
    """To who uses a link of letters that they have left."""
    return AppError(
        410,
        "You have left these letters.",
        "Enter your address if you want them again.",
        rejoin=True,
    )


def confirm(
    tx: Tx, token: str, tokens: Tokens, *, now: datetime, choice: Choice | None = None
) -> Subscriber:
    """The owner of the address says yes. Twice is as good as once.

    Args:
        tx: The transaction.
        token: From the link.
        tokens: Read it.
        now: The time.
        choice: What was chosen on the page; None: what was asked for.

    Raises:
        AppError: As `look_up_confirmation`.
    """
    person, found = look_up_confirmation(tx, token, tokens, now=now)
    if found.used_at is not None:
        return person
    wish = choice or Choice(
        tuple(found.wish["topics"]), found.wish["rhythm"], found.wish["language"]
    )
    before = subscribers.topics_of(tx, person.id)
    after = subscribers.choose_topics(tx, person.id, wish.topics, now=now)
    subscribers.change_subscriber(
        tx,
        person.id,
        state="active",
        language=wish.language,
        rhythm=wish.rhythm,
        confirmed_at=now,
        left_at=None,
        left_topics_json=None,
    )
    subscribers.use_confirmation(tx, tokens.hash_secret(tokens.trimmed(token)), now=now)
    subscribers.lift_suppression(tx, tokens.hash_address(person.identity))
    subscribers.record_consent(
        tx,
        person.id,
        Event(
            "confirmed",
            now,
            "link",
            wish.language,
            topics_before=before,
            topics_after=after,
            text_version=found.wish.get("text_version"),
        ),
    )
    return subscribers.get_subscriber(tx, person.id)


def confirmation_bounced(
    tx: Tx, subscriber_id: SubscriberId, tokens: Tokens, *, now: datetime
) -> None:
    """A confirmation came back for good: the request is forgotten, the address counts (L-71)."""
    person = subscribers.get_subscriber(tx, subscriber_id)
    if person.state != "pending":
        return
    key = _person_of(person, tokens)
    most, span = CONFIRMATIONS_PER_MONTH
    hit(tx, f"mail:month:{key}", most=most, span=span, now=now)
    forget_subscriber(tx, person.id)


def domain_is_free(tx: Tx, domain: str, tokens: Tokens, *, now: datetime) -> bool:
    """Whether a confirmation may go to this domain now (L-72); counts nothing."""
    limits = _domain_limit(tx, domain, tokens)
    return all(is_free(tx, key, most=most, now=now) for key, (most, _) in limits.items())


def may_confirm(tx: Tx, address: Address, tokens: Tokens, *, now: datetime) -> bool:
    """Count one mail that asks an address for its yes; False over L-71, L-72 or L-75."""
    return _count_all(tx, _limits(tx, address, tokens), now)


def send_service(
    tx: Tx, person: Subscriber, note: Note, *, now: datetime, to: str | None = None
) -> None:
    """Queue a service mail to a person, at their address or at `to`."""
    send_notice(
        tx,
        kind="service",
        recipient=to or person.email,
        message_id=note.message_id,
        body=note.body,
        subscriber_id=person.id,
        now=now,
    )


def wording_version(language: str, text: str) -> str:
    """What a wording is called in the consent record: a hash of it."""
    return sha256(f"{language}\n{text}".encode()).hexdigest()[:16]


def keep_text(tx: Tx, language: str, text: str, *, now: datetime) -> str:
    """Keep a wording that people agree to; its version."""
    version = wording_version(language, text)
    subscribers.keep_consent_text(tx, version, language, text, now=now)
    return version


def _add(tx: Tx, wish: Wish, now: datetime) -> Subscriber:
    subscriber_id = subscribers.add_subscriber(
        tx,
        key=secrets.token_bytes(_KEY_BYTES),
        email=str(wish.address),
        identity=wish.address.identity,
        state="pending",
        language=wish.language,
        source="form",
        now=now,
    )
    return subscribers.get_subscriber(tx, subscriber_id)


def _person(address: Address, tokens: Tokens) -> str:
    return tokens.hash_address(canonical_for_limits(address)).hex()


def _person_of(person: Subscriber, tokens: Tokens) -> str:
    local, _, domain = person.email.rpartition("@")
    return _person(Address(local, domain), tokens)


def _limits(tx: Tx, address: Address, tokens: Tokens) -> dict[str, Limit]:
    person = _person(address, tokens)
    return {
        f"mail:day:{person}": CONFIRMATIONS_PER_DAY,
        f"mail:month:{person}": CONFIRMATIONS_PER_MONTH,
        f"mail:auto:{person}": AUTOMATIC_PER_DAY,
    } | _domain_limit(tx, address.domain, tokens)


def _domain_limit(tx: Tx, domain: str, tokens: Tokens) -> dict[str, Limit]:
    """L-72; none for a domain that is a good part of the list already."""
    here, all_of_us = subscribers.count_at_domain(tx, domain)
    if here > CONFIRMATIONS_PER_DOMAIN[0] and here > DOMAIN_SHARE * all_of_us:
        return {}
    return {f"mail:domain:{tokens.hash_address(domain).hex()}": CONFIRMATIONS_PER_DOMAIN}


def _count_all(tx: Tx, limits: dict[str, Limit], now: datetime) -> bool:
    """Count one under each limit if all of them have room, else under none."""
    if not all(is_free(tx, key, most=most, now=now) for key, (most, _) in limits.items()):
        return False
    for key, (most, span) in limits.items():
        hit(tx, key, most=most, span=span, now=now)
    return True
