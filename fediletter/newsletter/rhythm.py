"""The promise of a rhythm: at most one letter every so many days, or a reason in writing.

Days are days of the calendar (UTC): a letter each second Tuesday keeps a promise of fourteen days,
whatever the hour. Letters that came out and were withdrawn count, planned ones count both ways,
corrections and edits do not. The reason is kept with the letter and shown wherever it is.

A promise is made with the letter that says it: until its days are over it can be made stricter and
not weaker, so that whoever wants to write sooner gives the reason with that letter.

Source: issue 6.5.
"""

from datetime import datetime, time, timedelta

from fediletter.errors import AppError
from fediletter.words import Words
from storage import posts, rhythm
from storage.ids import PostId
from storage.newsletters import Newsletter
from storage.store import Tx

LONGEST_REASON = 300
_MOST_PLANNED = 50


class PromiseBroken(AppError):
    """A letter would come sooner than promised, and nobody wrote why."""

    def __init__(self) -> None:
        super().__init__(
            422,
            "This would break the promise of the rhythm.",
            "Choose a later day, or write why: readers will see it.",
        )


def too_near(tx: Tx, post_id: PostId | None, at: datetime) -> datetime | None:
    """The letter that is too near for another one at a time; None if the promise is kept.

    Args:
        tx: The transaction.
        post_id: The letter that comes out at that time; None for one that is not written down.
        at: When.
    """
    days = rhythm.promised_days(tx)
    if not days:
        return None
    midnight = datetime.combine(at.date(), time(), at.tzinfo)
    since, until = midnight - timedelta(days=days - 1), midnight + timedelta(days=days)
    return rhythm.letter_between(tx, at, since, until, but=post_id)


def hold_to_promise(tx: Tx, post_id: PostId, at: datetime, reason: str) -> None:
    """Keep the reason with the letter if it breaks the promise, and none if it does not.

    Raises:
        PromiseBroken: It does, without a reason.
    """
    rhythm.lock_rhythm(tx)
    broken = too_near(tx, post_id, at) is not None
    if broken and not reason:
        raise PromiseBroken
    rhythm.set_reason(tx, post_id, reason if broken else "")


def holds_until(tx: Tx, days: int, now: datetime) -> datetime | None:
    """The day from which a weaker promise may be made; None if this one is free to be.

    Args:
        tx: The transaction, which holds the rhythm's lock if the promise is then made.
        days: Of the promise to be made; 0 for none.
        now: The time.
    """
    promised = rhythm.promised_days(tx)
    if (days and days >= promised) or not promised:
        return None
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    since = midnight - timedelta(days=promised - 1)
    last = rhythm.letter_between(tx, now, since, now + timedelta(microseconds=1), but=None)
    return None if last is None else last + timedelta(days=promised)


def planned_too_near(tx: Tx) -> frozenset[PostId]:
    """Planned letters that would break a promise made since, without a reason."""
    return frozenset(
        post.id
        for post in posts.posts_in_state(tx, "scheduled", limit=_MOST_PLANNED)
        if post.scheduled_at is not None
        and not post.rhythm_reason
        and too_near(tx, post.id, post.scheduled_at) is not None
    )


def reason_in(text: str) -> str:
    """A reason as it is kept, from what was typed."""
    return " ".join(text.split())[:LONGEST_REASON]


def promise(words: Words, letter: Newsletter, *, reason: str = "") -> str:
    """The promise in words, and whether it was kept; empty if none is made.

    Args:
        words: Of whoever reads it.
        letter: Who promises.
        reason: Why the letter at hand comes sooner.
    """
    if not letter.rhythm_days:
        return ""
    said = words.ngettext(
        "At most one letter a day.", "At most one letter every {count} days.", letter.rhythm_days
    )
    if reason:
        kept = words.gettext("This one comes sooner: {reason}", reason=reason)
    elif letter.rhythm_broken_at is not None:
        kept = words.gettext(
            "Last broken on {day}, kept since.", day=words.day(letter.rhythm_broken_at)
        )
    else:
        kept = words.gettext("We have kept to it so far.")
    return f"{said} {kept}"
