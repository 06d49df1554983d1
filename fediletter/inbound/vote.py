"""Votes: Notes that name an answer of a poll of ours, one in each Create or several in one.

A vote is never shown, never a reply, never told to anybody else.

Sources: federation.md 9.6, 13.7; vectors I11, I12.
"""

from dataclasses import dataclass

from federation.inbox import VerifiedActivity
from federation.origins import same_origin
from federation.reading import first, id_of, ids_of, many, text_of, types_of
from fediletter.inbound.facts import Apply, our_post
from fediletter.links import Links
from fediletter.newsletter.polls import LONGEST_OPTION, MOST_OPTIONS, vote
from fediletter.services import Services
from storage.store import Tx


@dataclass(frozen=True, slots=True)
class Ballot:
    """What somebody chose, and of which object."""

    poll_uri: str
    names: tuple[str, ...]


def ballot_of(activity: VerifiedActivity, links: Links) -> Ballot | None:
    """The votes that a Create carries; None if it carries something else."""
    names, polls = [], set()
    for note in many(activity.document.get("object"))[:MOST_OPTIONS]:
        if not isinstance(note, dict) or "Note" not in types_of(note):
            return None
        if text_of(note, "content", longest=1) or id_of(first(note.get("attributedTo"))) not in (
            None,
            activity.actor,
        ):
            return None
        note_id = id_of(note)  # Option Notes may lack one.
        if note_id is not None and not same_origin(note_id, activity.actor):
            return None
        name = text_of(note, "name", longest=LONGEST_OPTION + 1)
        answered = ids_of(note.get("inReplyTo"))
        if not name or len(answered) != 1:
            return None
        names.append(name)
        polls.add(answered[0])
    if len(polls) != 1:
        return None
    uri = polls.pop()
    return Ballot(uri, tuple(names)) if links.post_of(uri) is not None else None


def apply_ballot(services: Services, activity: VerifiedActivity, ballot: Ballot) -> Apply:
    """Count what was chosen."""
    now = services.clock.now()

    def apply(tx: Tx) -> str | None:
        post = our_post(tx, services.links, ballot.poll_uri)
        if post is None or post.kind != "poll":
            return "is no poll of ours"
        if activity.actor.startswith(f"{services.links.base}/"):
            return "nobody votes in their own poll"
        return vote(tx, post.id, ballot.names, activity.actor, now=now)

    return apply
