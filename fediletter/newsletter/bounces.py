"""What follows from a message that came back: for its reader, its domain, its mailing.

Whom it concerns is known already: our tag, or the relay's own answer. A message counts once,
however often it is reported. Nobody is suppressed by words alone, by one full box, or while a
whole provider says of too many at a time that they do not exist.

Sources: email.md BO-2, BO-7 to BO-9 and 9.4; security.md EM-13, L-81.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from fediletter.limits import HELD_GONE, HELD_INACTIVE, REPORTS_OLDEST
from fediletter.mail import reports
from fediletter.mail.reports import Verdict
from fediletter.newsletter import providers
from fediletter.newsletter.alerts import House
from fediletter.newsletter.joining import confirmation_bounced
from fediletter.newsletter.subscribers import leave, left_by, undo_leave
from storage import bounces, lanes, subscribers
from storage.bounces import Sent
from storage.ids import SubscriberId
from storage.store import Tx
from storage.subscribers import Event

_SOFT = (reports.FULL, reports.LATER, reports.UNKNOWN)
_SOFT_MOST, _SOFT_SPAN, _SOFT_FROM = 5, timedelta(days=60), timedelta(days=14)
_GRACE = timedelta(days=7)  # A report may take so long to come.


def take_report(tx: Tx, delivery_id: int, verdict: Verdict, house: House, *, now: datetime) -> str:
    """A report came back to the tag of a message.

    Args:
        tx: The transaction.
        delivery_id: From the tag.
        verdict: Of the report; `nowhere` was settled by the caller.
        house: This installation.
        now: The time.

    Returns:
        What was done, in a word for the log.
    """
    sent = bounces.sent_by_id(tx, delivery_id)
    if sent is None:
        return "unknown message"
    if verdict.kind == reports.NOTE:
        if verdict.action in ("delivered", "relayed"):
            bounces.settle_doubt(tx, sent.id, "delivered", verdict.action, now=now)
        return "noted"
    moment = sent.ended_at or sent.started_at
    if sent.state not in ("delivered", "uncertain") or moment is None:
        return "not a message that was sent"
    if now - moment > REPORTS_OLDEST:
        return "too old"
    if bounces.has_bounced(tx, sent.id):
        return "reported before"
    bounces.settle_doubt(tx, sent.id, "failed", f"came back: {verdict.status or ''}", now=now)
    return _follow(tx, sent, verdict, house, now)


def take_refusal(
    tx: Tx, delivery_id: int, answer: str, house: House, *, at_rcpt: bool, now: datetime
) -> str:
    """The relay refused a message for good: the best evidence there is (email.md 9.1)."""
    sent = bounces.sent_by_id(tx, delivery_id)
    if sent is None or sent.state != "failed" or bounces.has_bounced(tx, sent.id):
        return "nothing to do"
    if answer.startswith("given up: "):  # TR-17
        return _follow(tx, sent, Verdict(reports.LATER, excerpt=reports.masked(answer)), house, now)
    if not answer[:3].isdigit():
        return "no refusal of the relay"  # Expired, or stopped: nobody said anything.
    verdict = reports.judge_answer(answer, at_rcpt=at_rcpt)
    if verdict.kind == reports.NOWHERE:
        verdict = replace(verdict, kind=reports.LATER)  # A relay's word; ours is not asked here.
    return _follow(tx, sent, verdict, house, now)


def note_untagged(tx: Tx, sent: Sent, verdict: Verdict, *, now: datetime) -> None:
    """A report that only a Message-ID connects with a message: kept, without effect (9.2.1)."""
    if not bounces.has_bounced(tx, sent.id, "untagged"):
        bounces.add_bounce(
            tx,
            sent,
            "untagged",
            status=verdict.status,
            excerpt=verdict.excerpt,
            counted=False,
            now=now,
        )


def complain(tx: Tx, sent: Sent | None, key: bytes, house: House, *, now: datetime) -> None:
    """The reader pressed "this is spam": they leave, and no mail ever says so (9.4)."""
    person = subscribers.subscriber_by_key(tx, key)
    if person is None:
        return
    leave(tx, key, house.tokens, channel="complaint", now=now)
    address_hash = house.tokens.hash_address(person.identity)
    subscribers.suppress(tx, address_hash, "complaint", now=now)
    if sent is None or sent.mailing_id is None or bounces.has_bounced(tx, sent.id, "complaint"):
        return
    bounces.add_bounce(tx, sent, "complaint", status=None, excerpt="", counted=True, now=now)
    providers.weigh_complaints(tx, sent.mailing_id, house, now)


def withdraw_complaint(tx: Tx, key: bytes, house: House, *, now: datetime) -> None:
    """The reader says "not spam" (RFC 6430): within a day all is as it was, as after any leave.

    Later they may join again, as who left (UN-7).
    """
    person = subscribers.subscriber_by_key(tx, key)
    if person is None:
        return
    address_hash = house.tokens.hash_address(person.identity)
    if subscribers.suppression_of(tx, address_hash) == "complaint":
        subscribers.suppress(tx, address_hash, "left", now=now)
        if left_by(person) == "complaint":
            undo_leave(tx, key, house.tokens, channel="complaint", now=now)


def lift(tx: Tx, subscriber_id: SubscriberId, note: str, house: House, *, now: datetime) -> None:
    """A founder lets letters go to a reader again, and says why (BO-9)."""
    person = subscribers.get_subscriber(tx, subscriber_id)
    address_hash = house.tokens.hash_address(person.identity)
    if person.state == "suppressed":
        state = "active" if person.confirmed_at is not None else "pending"
        subscribers.change_subscriber(tx, person.id, state=state)
    subscribers.change_subscriber(tx, person.id, held_until=None)
    subscribers.lift_suppression(tx, address_hash)
    subscribers.record_consent(
        tx, person.id, Event("lifted", now, "desk", person.language, proof=note)
    )


# --- one reader ------------------------------------------------------------------------------


def _follow(tx: Tx, sent: Sent, verdict: Verdict, house: House, now: datetime) -> str:
    """The row of the table in 9.4."""
    kind = verdict.kind
    counted = kind in (reports.GONE, reports.INACTIVE)
    if kind in _SOFT:
        counted = _counts(tx, sent, now)
    elif kind == reports.POLICY:
        counted = providers.starts_pause(tx, sent, now)
    bounces.add_bounce(
        tx,
        sent,
        kind,
        status=verdict.status,
        excerpt=verdict.excerpt,
        counted=counted,
        now=now,
    )
    if kind in (reports.CONTENT, reports.OURS):
        providers.our_fault(tx, sent, verdict, house, now)
    elif kind == reports.POLICY:
        providers.pause_domain(tx, sent, house, counted=counted, now=now)
    elif sent.subscriber_id is not None and sent.subscriber_state in ("active", "pending"):
        return _follow_reader(tx, sent, verdict, house, now)
    return kind


def _follow_reader(tx: Tx, sent: Sent, verdict: Verdict, house: House, now: datetime) -> str:
    assert sent.subscriber_id is not None  # noqa: S101 (the caller looked)
    kind = verdict.kind
    if kind in _SOFT:
        if _is_enough(tx, sent.subscriber_id, now):
            _suppress(tx, sent.subscriber_id, kind, house, now)
            return "suppressed"
        return kind
    if sent.subscriber_state == "pending":
        # Nobody could confirm there: the request is void (email.md 8.5).
        confirmation_bounced(tx, sent.subscriber_id, house.tokens, now=now)
        return "request void"
    again = _failed_before(tx, sent, now)
    if kind == reports.GONE and not again and providers.guarded(tx, sent, house, now):
        return "held by the guard"
    if (kind == reports.GONE and verdict.certain) or again:
        _suppress(tx, sent.subscriber_id, kind, house, now)
        return "suppressed"
    span = HELD_INACTIVE if kind == reports.INACTIVE else HELD_GONE
    _hold(tx, sent.subscriber_id, now + span, now)
    return "held"


def _suppress(tx: Tx, subscriber_id: SubscriberId, kind: str, house: House, now: datetime) -> None:
    reason = kind if kind in (reports.INACTIVE, reports.FULL) else reports.GONE
    person = subscribers.get_subscriber(tx, subscriber_id)
    subscribers.change_subscriber(tx, subscriber_id, state="suppressed", held_until=None)
    lanes.cancel_for_subscriber(tx, subscriber_id, now=now)
    subscribers.suppress(tx, house.tokens.hash_address(person.identity), reason, now=now)


def _hold(tx: Tx, subscriber_id: SubscriberId, until: datetime, now: datetime) -> None:
    subscribers.change_subscriber(tx, subscriber_id, held_until=until)
    lanes.cancel_for_subscriber(tx, subscriber_id, now=now)


def _failed_before(tx: Tx, sent: Sent, now: datetime) -> bool:
    """Another letter was reported so before, and none arrived since; or the guard's second try."""
    assert sent.subscriber_id is not None  # noqa: S101 (the caller looked)
    if bounces.has_bounced(tx, sent.id, bounces.HELD):
        return True
    return any(
        one.class_ in (reports.GONE, reports.INACTIVE) and one.mailing_id != sent.mailing_id
        for one in _past(tx, sent.subscriber_id, now)
    )


def _past(tx: Tx, subscriber_id: SubscriberId, now: datetime) -> list[bounces.Past]:
    since = now - _SOFT_SPAN
    arrived = bounces.newest_arrival(tx, subscriber_id, before=now - _GRACE)
    return bounces.past_of(tx, subscriber_id, since=max(since, arrived or since))


def _counts(tx: Tx, sent: Sent, now: datetime) -> bool:
    """At most one for each mailing and day."""
    if sent.subscriber_id is None:
        return False
    past = [one for one in _past(tx, sent.subscriber_id, now) if one.counted]
    return not any(
        one.at.date() == now.date()
        or (one.mailing_id is not None and one.mailing_id == sent.mailing_id)
        for one in past
        if one.class_ in _SOFT
    )


def _is_enough(tx: Tx, subscriber_id: SubscriberId, now: datetime) -> bool:
    soft = [one for one in _past(tx, subscriber_id, now) if one.counted and one.class_ in _SOFT]
    return len(soft) >= _SOFT_MOST and soft[-1].at - soft[0].at >= _SOFT_FROM
