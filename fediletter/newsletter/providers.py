"""What came back, seen together: the readers of one provider, the whole mailing.

A provider that is mistaken about thousands must cost nobody a reader (BO-8); one that refuses us
must be left alone for a while; a text that everybody refuses must stop.

Sources: email.md BO-8, 9.4 and 11.3; BO-12.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from fediletter.limits import COMPLAINTS_STOP, COMPLAINTS_WARN, HELD_BY_GUARD
from fediletter.mail import reports
from fediletter.mail.reports import Verdict
from fediletter.newsletter.alerts import Alert, House, tell_founders
from storage import bounces, mailings, subscribers
from storage.bounces import Returned, Sent
from storage.ids import MailingId
from storage.store import Tx

_GUARD_LEAST, _GUARD_SHARE = 10, 0.2  # BO-8
_POLICY_PAUSE, _POLICY_LONGEST = timedelta(minutes=30), timedelta(hours=8)
_POLICY_STOP, _POLICY_SHARE, _POLICY_LEAST = 20, 0.05, 3
_STOPPED = timedelta(days=3650)  # Until a founder lets it go on.
# Domains of one operator (BO-8), as patterns of an address.
_OPERATORS = (
    ("gmail.com", "googlemail.com"),
    ("outlook.%", "hotmail.%", "live.%", "msn.com"),
    ("yahoo.%", "ymail.com", "rocketmail.com", "aol.com"),
    ("icloud.com", "me.com", "mac.com"),
    ("orange.fr", "wanadoo.fr"),
    ("sfr.fr", "neuf.fr", "cegetel.net", "club-internet.fr"),
    ("free.fr", "aliceadsl.fr"),
    ("gmx.%", "web.de", "mail.com", "1und1.de"),
    ("proton.me", "protonmail.com", "pm.me"),
)


# --- many readers of one provider ----------------------------------------------------------


def _patterns(domain: str) -> Sequence[str]:
    for operator in _OPERATORS:
        if any(
            re.fullmatch(one.replace(".", r"\.").replace("%", ".+"), domain) for one in operator
        ):
            return [f"%@{one}" for one in operator]
    return [f"%@{domain}"]


def _domain(sent: Sent) -> str:
    return (sent.identity or "").rpartition("@")[2]


def guarded(tx: Tx, sent: Sent, house: House, now: datetime) -> bool:
    """BO-8: too many of one provider are "gone" at a time to be believed."""
    if sent.mailing_id is None:
        return False
    patterns = _patterns(_domain(sent))
    found = bounces.returned(
        tx, (reports.GONE, bounces.HELD), mailing_id=sent.mailing_id, patterns=patterns
    )
    by_delivery: dict[int, Returned] = {one.delivery_id: one for one in found}
    if len(by_delivery) < _GUARD_LEAST:
        return False
    if len(by_delivery) < _GUARD_SHARE * bounces.count_sent(tx, sent.mailing_id, patterns):
        return False
    for one in by_delivery.values():
        if one.class_ == reports.GONE:
            _disbelieve(tx, one, house, now)
    _tell(
        tx,
        sent.mailing_id,
        "mass failure",
        "Many addresses at once are said not to exist",
        "A provider says of {count} readers of “{title}” that their addresses do not exist. That "
        "may be the provider's mistake, so nobody was struck off: the letter is tried again in "
        "three days.",
        house,
        now,
        count=len(by_delivery),
    )
    return True


def _disbelieve(tx: Tx, one: Returned, house: House, now: datetime) -> None:
    again = now + HELD_BY_GUARD
    if one.subscriber_state == "suppressed":
        subscribers.lift_suppression(tx, house.tokens.hash_address(one.identity))
    if one.subscriber_state in ("suppressed", "active"):
        subscribers.change_subscriber(tx, one.subscriber_id, state="active", held_until=again)
        bounces.hold_for_retry(tx, one.delivery_id, at=again, now=now)


def starts_pause(tx: Tx, sent: Sent, now: datetime) -> bool:
    """Whether the domain is not pausing already."""
    started = _pauses(tx, sent, now)
    if not started:
        return True
    return now >= started[-1].at + _pause_of(len(started))


def _pauses(tx: Tx, sent: Sent, now: datetime) -> list[Returned]:
    day = now - timedelta(days=1)
    patterns = [f"%@{_domain(sent)}"]
    found = bounces.returned(tx, (reports.POLICY,), patterns=patterns, since=day)
    return [one for one in found if one.counted]


def _pause_of(number: int) -> timedelta:
    return min(_POLICY_PAUSE * (1 << (number - 1)), _POLICY_LONGEST)


def pause_domain(tx: Tx, sent: Sent, house: House, *, counted: bool, now: datetime) -> None:
    """Letters to this domain wait, ever longer; after too many refusals until a founder acts."""
    if sent.mailing_id is None or not _domain(sent):
        return
    patterns = [f"%@{_domain(sent)}"]
    refused = len(
        bounces.returned(tx, (reports.POLICY,), mailing_id=sent.mailing_id, patterns=patterns)
    )
    share = _POLICY_SHARE * bounces.count_sent(tx, sent.mailing_id, patterns)
    if refused > _POLICY_STOP or (refused >= _POLICY_LEAST and refused > share):
        bounces.put_off(tx, patterns, until=now + _STOPPED)
        _tell(
            tx,
            sent.mailing_id,
            f"domain stopped:{_domain(sent)}",
            "{domain} refuses your letters",
            "{domain} has refused {count} letters of “{title}” because of its rules about "
            "senders. Letters to it wait until you let them go on. Ask your mail provider whether "
            "your server stands on a block list, and run fediletter check.",
            house,
            now,
            domain=_domain(sent),
            count=refused,
        )
    elif counted:
        bounces.put_off(tx, patterns, until=now + _pause_of(len(_pauses(tx, sent, now))))


# --- the whole mailing -----------------------------------------------------------------------


def our_fault(tx: Tx, sent: Sent, verdict: Verdict, house: House, now: datetime) -> None:
    if sent.mailing_id is None:
        return
    if verdict.kind == reports.CONTENT:
        _tell(
            tx,
            sent.mailing_id,
            "content",
            "A letter is refused for what it is",
            "A server refused “{title}” because of its size or its form: {answer}",
            house,
            now,
            answer=verdict.excerpt[:200],
        )
        return
    pause(tx, sent.mailing_id, verdict.excerpt[:200], house, now=now)


def weigh_complaints(tx: Tx, mailing_id: MailingId, house: House, now: datetime) -> None:
    """Warn at 0.1 %, stop at 0.3 % of what was accepted; one press in a small list is no rate."""
    count = len(
        {one.delivery_id for one in bounces.returned(tx, ("complaint",), mailing_id=mailing_id)}
    )
    accepted = max(bounces.count_accepted(tx, mailing_id), 1)
    least, share = COMPLAINTS_STOP
    if count >= least and count >= share * accepted:
        pause(tx, mailing_id, f"{count} complaints", house, now=now)
        return
    least, share = COMPLAINTS_WARN
    if count >= least and count >= share * accepted:
        _tell(
            tx,
            mailing_id,
            "complaints",
            "Readers call a letter spam",
            "{count} readers have called “{title}” spam. They get no more mail. Above three in a "
            "thousand mail providers begin to refuse everything from you.",
            house,
            now,
            count=count,
        )


def pause(tx: Tx, mailing_id: MailingId, reason: str, house: House, *, now: datetime) -> None:
    """Nothing more of a mailing leaves until a founder acts; they are told."""
    mailings.pause_mailing(tx, mailing_id, reason=reason, now=now)
    _tell(
        tx,
        mailing_id,
        "paused",
        "A letter waits for you",
        "“{title}” pauses: {reason}\n\nWho has it already keeps it; nobody else gets it until you "
        "let it go on.",
        house,
        now,
        reason=reason,
    )


def _tell(
    tx: Tx,
    mailing_id: MailingId,
    what: str,
    subject: str,
    text: str,
    house: House,
    now: datetime,
    **fields: object,
) -> None:
    _, title = bounces.title_of(tx, mailing_id)
    alert = Alert(f"{what}:{mailing_id}", subject, text, {"title": title, **fields})
    tell_founders(tx, alert, house, now=now)
