"""From a notebook into the store, a thousand people a transaction.

What is done about each is decided on what stands in the database at that moment: nothing that was
read before is trusted. The same list twice changes nothing.

Sources: email.md IM-4, IM-5, OP-5, OP-8, BO-9; security.md PR-9.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fediletter.errors import AppError
from fediletter.exporting.record import from_cell
from fediletter.importing.deciding import ACTIVE, COMPLAINT, GONE, LEFT, PENDING, Person
from fediletter.importing.reading import Report
from fediletter.newsletter.joining import wording_version
from fediletter.newsletter.posts import topic_named
from fediletter.newsletter.slugs import slug_of
from fediletter.newsletter.subscribers import leave
from fediletter.newsletter.tokens import Tokens
from fediletter.settings import LANGUAGES
from storage import crowds, lanes, subscribers, topics
from storage.crowds import Known, Newcomer
from storage.store import Tx
from storage.subscribers import Event
from storage.topics import Topic

_KEY_BYTES = 10
_MOST_NEW_TOPICS = 100
_STATE = {COMPLAINT: "left", GONE: "suppressed", LEFT: "left", ACTIVE: "active", PENDING: "pending"}
_ENDED = (COMPLAINT, GONE, LEFT)
# How strict a suppression is, by its reason; a list replaces one by a stricter one only.
_STRICT = {
    "complaint": 0,
    "founder": 0,
    "erased": 0,
    "gone": 1,
    "inactive": 1,
    "full": 1,
    "left": 2,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the founders decided about a list."""

    take: bool = False  # Write; else only look.
    confirmed: bool = False  # These people have agreed already.
    proof: str = ""  # When and how; kept with each of them.
    order: str = ""  # `day` or `month` first, where the file does not tell.
    new_topics: tuple[str, ...] = ()  # Labels of which to make topics.
    all_topics: bool = False  # Make topics of all labels.

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Wish":
        """The reverse."""
        return cls(**{**found, "new_topics": tuple(found["new_topics"])})


@dataclass(frozen=True, slots=True)
class Way:
    """What is the same for all people of a list."""

    tokens: Tokens
    wish: Wish
    own: bool
    topics: Mapping[str, Topic]  # By label.
    now: datetime


def make_topics(tx: Tx, report: Report, wish: Wish, *, now: datetime) -> None:
    """Topics that a list needs and the founders want, made if they are not there.

    Our own export brings its topics along, hidden ones as such. A label of another program that is
    no topic of ours is passed over unless they say so: a tag may be no business of the readers.

    Raises:
        AppError: So many new topics cannot be meant.
    """
    wanted = report.labels if wish.all_topics or report.own else wish.new_topics
    found = topics_of_labels(tx, [*report.labels, *report.hidden])
    missing = [label for label in wanted if label in report.labels and label not in found]
    hidden = [label for label in report.hidden if label not in found]
    if len(missing) + len(hidden) > _MOST_NEW_TOPICS:
        raise AppError(
            422,
            "The labels of this list would be more than a hundred new topics.",
            "Choose which of them to make.",
        )
    # By its name the same slug must come about: rows speak of it by that.
    names = {label: name for label, name in report.names.items() if slug_of(name) == label}
    for label in missing:
        topic_named(tx, names.get(label, label), now=now)
    for label in hidden:
        made = topic_named(tx, names.get(label, label), now=now)
        topics.update_topic(
            tx, made.id, name=made.name, hashtag=made.hashtag, description="", public=False
        )


def way_for(tx: Tx, report: Report, wish: Wish, tokens: Tokens, *, now: datetime) -> Way:
    """What holds for each person of a list."""
    labels = topics_of_labels(tx, [*report.labels, *report.hidden])
    return Way(tokens, wish, report.own, labels, now)


def topics_of_labels(tx: Tx, labels: Sequence[str]) -> dict[str, Topic]:
    """Which of these labels are topics of ours."""
    by_name = {}
    for one in topics.all_topics(tx):
        by_name[one.slug] = by_name[one.name.casefold()] = one
    found = {label: by_name.get(label.casefold(), by_name.get(slug_of(label))) for label in labels}
    return {label: topic for label, topic in found.items() if topic is not None}


def weigh(tx: Tx, people: Sequence[Person], way: Way) -> dict[str, int]:
    """What `write` would do with a batch, counted; changes nothing."""
    return _counted(_decide(tx, people, way))


def write(tx: Tx, people: Sequence[Person], way: Way) -> dict[str, int]:
    """Add, confirm and let go, each person of a batch; counted by what was done."""
    decided = _decide(tx, people, way)
    _keep_wordings(tx, people, way)
    crowds.add_all(
        tx, [_newcomer(one, way) for one, what, _ in decided if what == "added"], now=way.now
    )
    waiting = {known.id: one for one, what, known in decided if what == "confirmed" and known}
    crowds.activate_all(tx, {whose: one.confirmed_at or way.now for whose, one in waiting.items()})
    crowds.record_all(
        tx,
        {
            whose: [Event("imported", way.now, "import", one.language, proof=_proof(one, way))]
            for whose, one in waiting.items()
        },
    )
    for one, what, known in decided:
        if what == "ended" and known is not None:
            _end(tx, one, known, way)
    # Not who chose letters here since.
    _suppress(
        tx,
        [
            one
            for one, what, known in decided
            if one.level in _ENDED
            and (what != "known" or known is None or known.state not in ("active", "pending"))
        ],
        way,
    )
    return _counted(decided)


_Decided = list[tuple[Person, str, Known | None]]


def _decide(tx: Tx, people: Sequence[Person], way: Way) -> _Decided:
    """For each person `added`, `confirmed`, `ended`, `known` or `kept_out` (IM-4)."""
    known = crowds.known_among(tx, [one.address.identity for one in people])
    hashes = {one.address.identity: _hash(one, way) for one in people}
    silent = crowds.suppressions_among(tx, list(hashes.values()))
    decided: _Decided = []
    for one in people:
        here = known.get(one.address.identity)
        is_silent = hashes[one.address.identity] in silent
        decided.append((one, _what(one, here, way, is_silent=is_silent), here))
    return decided


def _what(one: Person, here: Known | None, way: Way, *, is_silent: bool) -> str:
    ends = one.level in _ENDED
    if here is None:
        if not is_silent:
            return "added"
        return "known" if ends else "kept_out"
    if here.state in ("left", "suppressed"):
        return "known" if ends else "kept_out"
    if ends:
        return "ended" if _is_newer(one, here) else "known"
    if here.state == "pending" and not is_silent and _state(one, way) == "active":
        return "confirmed"
    return "known"


def _is_newer(one: Person, here: Known) -> bool:
    """Who chose letters here after they left elsewhere keeps them; a complaint without a date wins.

    A choice is newer only than what is dated, and of all that ends letters a complaint weighs most.
    """
    if here.acted_at is None:
        return True
    if one.ended_at is None:
        return one.level == COMPLAINT
    return one.ended_at > here.acted_at


def _state(one: Person, way: Way) -> str:
    """Nobody is active whom nobody asked (OP-8); our own export carries its proof along."""
    if one.level != ACTIVE:
        return _STATE[one.level]
    return "active" if way.wish.confirmed or (way.own and one.confirmed_at) else "pending"


def _newcomer(one: Person, way: Way) -> Newcomer:
    labels = [label for label in (*one.topics, *one.hidden) if label in way.topics]
    chosen = {way.topics[label].id: way.topics[label].slug for label in labels}
    # As in the form: a hidden topic is no choice of theirs.
    chose_none = not any(way.topics[label].public for label in labels)
    state, kept = _state(one, way), from_cell(one.record)
    ends = one.level in _ENDED
    imported = Event(
        "imported",
        way.now,
        "import",
        one.language,
        topics_before=tuple(chosen.values()) if ends else (),
        topics_after=() if ends else tuple(chosen.values()),
        text_version=one.version or None,
        proof=_proof(one, way),
    )
    return Newcomer(
        key=secrets.token_bytes(_KEY_BYTES),
        email=str(one.address),
        identity=one.address.identity,
        state=state,
        language=one.language,
        rhythm=one.rhythm,
        source=one.source or "import",
        requested_at=one.requested_at or way.now,
        confirmed_at=_confirmed(one, state, way),
        left_at=(one.ended_at or way.now) if state == "left" else None,
        paused_until=one.paused_until,
        held_until=kept.held_until,
        follows_as=kept.follows_as or None,
        topics=tuple(chosen),
        all_topics=chose_none if one.all_topics is None else one.all_topics,
        events=(*kept.events, imported),
        reports=kept.reports,
    )


def _confirmed(one: Person, state: str, way: Way) -> datetime | None:
    if way.own:
        return one.confirmed_at or (way.now if state == "active" else None)
    return (one.confirmed_at or way.now) if state == "active" else None


def _proof(one: Person, way: Way) -> str | None:
    return one.proof or way.wish.proof or None


def _keep_wordings(tx: Tx, people: Sequence[Person], way: Way) -> None:
    """The wordings that they agreed to: each is proved by its version, which is its hash."""
    texts = {one.version: one.text for one in people if one.text}
    for one in people:
        texts |= from_cell(one.record).wordings
    for version, text in texts.items():
        for language in LANGUAGES:
            if wording_version(language, text) == version:
                subscribers.keep_consent_text(tx, version, language, text, now=way.now)


def _end(tx: Tx, one: Person, known: Known, way: Way) -> None:
    if one.level == GONE:
        subscribers.change_subscriber(tx, known.id, state="suppressed", held_until=None)
        lanes.cancel_for_subscriber(tx, known.id, now=way.now)
    else:
        leave(tx, known.key, way.tokens, channel="import", now=way.now)


def _suppress(tx: Tx, people: Sequence[Person], way: Way) -> None:
    """Who left, complained or cannot be reached is remembered, even when they are forgotten."""
    there = crowds.suppressions_among(tx, [_hash(one, way) for one in people])
    wanted = {}
    for one in people:
        reason = one.reason or {COMPLAINT: "complaint", GONE: "gone"}.get(one.level, "left")
        before = there.get(_hash(one, way))
        if before is None or _STRICT[reason] < _STRICT.get(before, 0):
            wanted[_hash(one, way)] = (reason, one.ended_at or way.now)
    crowds.suppress_all(tx, wanted)


def _hash(one: Person, way: Way) -> bytes:
    return way.tokens.hash_address(one.address.identity)


def _counted(decided: _Decided) -> dict[str, int]:
    counts = dict.fromkeys(("added", "confirmed", "ended", "known", "kept_out"), 0)
    for _, what, _ in decided:
        counts[what] += 1
    return counts
