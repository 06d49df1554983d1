"""The rules of a poll: what may be asked, and which votes count.

Sources: federation.md 9.6; vectors I11 to I13.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from storage import polls
from storage.errors import NotThere
from storage.ids import PostId
from storage.store import Tx

GRACE = timedelta(minutes=2)  # For votes that were under way at the end.
TALLY_EVERY = timedelta(minutes=3)
LONGEST_QUESTION, LONGEST_OPTION = 500, 100
FEWEST_OPTIONS, MOST_OPTIONS = 2, 10
LONGEST_LIFE = timedelta(days=60)


def check_poll(
    question: str, options: Sequence[str], *, ends_at: datetime, now: datetime
) -> dict[str, str]:
    """What is wrong with a poll, as message ids by field; empty if nothing."""
    problems = {}
    if not question.strip():
        problems["question"] = "A poll needs a question."
    elif len(question) > LONGEST_QUESTION:
        problems["question"] = "The question has at most 500 characters."
    if not FEWEST_OPTIONS <= len(options) <= MOST_OPTIONS:
        problems["options"] = "A poll has two to ten answers to choose from."
    elif any(not one.strip() for one in options) or len(set(options)) != len(options):
        problems["options"] = "Each answer has words of its own."
    elif any(len(one) > LONGEST_OPTION for one in options):
        problems["options"] = "An answer has at most 100 characters."
    if not now < ends_at <= now + LONGEST_LIFE:
        problems["ends_at"] = "A poll ends within sixty days."
    return problems


def vote(tx: Tx, post_id: PostId, names: Sequence[str], voter: str, *, now: datetime) -> str | None:
    """Count what somebody chose; a reason if nothing counts.

    With a single choice the first one stays; with several each counts once. A name that is no
    option is passed over.

    Args:
        tx: The transaction.
        post_id: A published poll.
        names: The options as written on the wire, in order.
        voter: Actor id, or `subscriber:` and a row id.
        now: The time.
    """
    polls.lock_poll(tx, post_id)
    try:
        poll = polls.get_poll(tx, post_id)
    except NotThere:
        return "is no poll"
    if poll.closed_at is not None or now > poll.ends_at + GRACE:
        return "the poll has ended"
    by_name = {option.name: option.id for option in poll.options}
    chosen = [by_name[name] for name in dict.fromkeys(names) if name in by_name]
    if not chosen:
        return "is no answer of this poll"
    before = polls.choices_of(tx, post_id, voter)
    if not poll.multiple:
        if before:
            return "has voted before"
        chosen = chosen[:1]
    new = [one for one in chosen if one not in before]
    for option_id in new:
        polls.add_vote(tx, post_id, option_id, voter, now=now)
    return None if new else "has voted before"
