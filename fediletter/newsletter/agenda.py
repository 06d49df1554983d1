"""The rules of the agenda: what may be proposed, who votes, and that each reader votes once.

A vote on subjects is a poll on the fediverse; readers by mail vote in the same poll. A reader who
proved that an account and an address are both theirs votes under the account, wherever they do.

Source: issue 6.6.
"""

from dataclasses import dataclass

from fediletter.newsletter.polls import LONGEST_OPTION
from storage import agenda, polls
from storage.agenda import Subject
from storage.polls import Poll
from storage.store import Tx
from storage.subscribers import Subscriber

LONGEST_TITLE, LONGEST_DESCRIPTION = LONGEST_OPTION, 500
MOST_PROPOSED = 200
_SHOWN, _CHOSEN = 50, 5


@dataclass(frozen=True, slots=True)
class Agenda:
    """What readers see: subjects that are open, and the last vote if one of them stood in it."""

    subjects: list[Subject]
    chosen: list[Subject]
    poll: Poll | None
    votes: dict[str, int]  # By title, of that poll.
    options: dict[str, int]  # Ids of its options, by title.

    @property
    def is_voting(self) -> bool:
        return self.poll is not None and self.poll.closed_at is None


def agenda_of(tx: Tx) -> Agenda:
    """The agenda as it stands; subjects with the most votes first, then the newest."""
    poll_id = agenda.last_poll(tx)
    poll = None if poll_id is None else polls.get_poll(tx, poll_id)
    votes = {} if poll is None else {one.name: one.votes for one in poll.options}
    found = agenda.subjects(tx, "open", limit=_SHOWN)
    found.sort(key=lambda one: -votes.get(one.title, 0) if one.poll_id == poll_id else 1)
    return Agenda(
        found,
        agenda.subjects(tx, "chosen", limit=_CHOSEN),
        poll,
        votes,
        {} if poll is None else {one.name: one.id for one in poll.options},
    )


def check_subject(title: str, description: str) -> dict[str, str]:
    """What is wrong with a subject, as message ids by field; empty if nothing."""
    problems = {}
    if not title:
        problems["title"] = "A subject needs a few words."
    elif len(title) > LONGEST_TITLE:
        problems["title"] = "A subject has at most 100 characters."
    if len(description) > LONGEST_DESCRIPTION:
        problems["description"] = "Say it in at most 500 characters."
    return problems


def voter_of(person: Subscriber) -> str:
    """Under which name a reader by mail votes: the account that is proven to be theirs, or none."""
    return person.follows_as or f"subscriber:{person.id}"
