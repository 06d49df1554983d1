"""What is not kept for ever: requests, bounced addresses, people who gave no sign for years.

Sources: email.md OP-6, OP-8; security.md PR-6, L-76, L-81.
"""

from datetime import datetime

from fediletter.limits import (
    ASK_AFTER,
    BOUNCED_KEPT,
    CONFIRMATIONS_PER_SITE,
    LEFT_KEPT,
    STAY_ANSWER,
    UNCONFIRMED_KEPT,
)
from fediletter.mail.addresses import Address
from fediletter.newsletter import joining
from fediletter.newsletter.mailroom import Mailroom
from fediletter.newsletter.subscribers import leave
from fediletter.newsletter.tokens import Tokens
from storage import farewells, personal, silence, subscribers
from storage.ids import SubscriberId
from storage.store import Tx
from storage.subscribers import Event

ASKED, STAYED = "asked to stay", "stayed"
_AT_A_TIME = 500


def purge(tx: Tx, tokens: Tokens, *, now: datetime) -> None:
    """Forget who never confirmed, whose address is dead for long, who left years ago."""
    for subscriber_id in farewells.unconfirmed(tx, before=now - UNCONFIRMED_KEPT):
        farewells.forget_subscriber(tx, subscriber_id)
    for subscriber_id, identity in farewells.suppressed(tx):
        since = subscribers.suppressed_since(tx, tokens.hash_address(identity))
        if since is not None and since < now - BOUNCED_KEPT:
            farewells.forget_subscriber(tx, subscriber_id)
    for subscriber_id in farewells.left(tx, before=now - LEFT_KEPT):
        farewells.forget_subscriber(tx, subscriber_id)
    personal.forget_links(tx, now=now)


def ask_the_silent(tx: Tx, mailroom: Mailroom, tokens: Tokens, *, now: datetime) -> int:
    """Ask those without an act of their own for 33 months, once (OP-6); how many were asked."""
    silent = silence.silent_since(tx, now - ASK_AFTER, marks=(ASKED,), limit=_AT_A_TIME)
    for subscriber_id in silent:
        person = subscribers.get_subscriber(tx, subscriber_id)
        token = tokens.preferences(person.key, person.epoch)
        note = mailroom.stay(person.email, token, language=person.language, now=now)
        joining.send_service(tx, person, note, now=now)
        _record(tx, subscriber_id, ASKED, person.language, "clock", now)
    return len(silent)


def part_with_the_silent(tx: Tx, tokens: Tokens, *, now: datetime) -> int:
    """Who was asked and gave no answer leaves; how many."""
    gone = silence.unanswered_since(tx, now - STAY_ANSWER, mark=ASKED, limit=_AT_A_TIME)
    for subscriber_id in gone:
        person = subscribers.get_subscriber(tx, subscriber_id)
        leave(tx, person.key, tokens, channel="clock", now=now)
    return len(gone)


def stay(tx: Tx, subscriber_id: SubscriberId, *, now: datetime) -> None:
    """The person wants to go on."""
    person = subscribers.get_subscriber(tx, subscriber_id)
    _record(tx, subscriber_id, STAYED, person.language, "link", now)


def ask_the_imported(tx: Tx, mailroom: Mailroom, tokens: Tokens, *, now: datetime) -> int:
    """Send their one confirmation to imported people whom nobody asked yet (OP-8, L-71, L-72).

    Returns:
        How many were asked; the rest waits for the next time.
    """
    asked, after, full = 0, SubscriberId(0), set[str]()
    while asked < CONFIRMATIONS_PER_SITE[0]:
        waiting = silence.unasked(tx, after=after, domains_without=full, limit=100)
        if not waiting:
            break
        for subscriber_id in waiting:
            after = subscriber_id
            person = subscribers.get_subscriber(tx, subscriber_id)
            domain = person.identity.rpartition("@")[2]
            if domain in full or not joining.domain_is_free(tx, domain, tokens, now=now):
                full.add(domain)
                continue
            address = Address(*person.identity.rsplit("@", 1))
            if not joining.may_confirm(tx, address, tokens, now=now):
                continue
            wish = joining.Choice(
                subscribers.topics_of(tx, person.id), person.rhythm, person.language
            )
            joining.send_confirmation(tx, person, wish, mailroom, tokens, now=now)
            subscribers.change_subscriber(tx, person.id, requested_at=now)
            asked += 1
    return asked


def _record(
    tx: Tx, subscriber_id: SubscriberId, kind: str, language: str, channel: str, now: datetime
) -> None:
    topics = subscribers.topics_of(tx, subscriber_id)
    subscribers.record_consent(
        tx, subscriber_id, Event(kind, now, channel, language, topics, topics)
    )
