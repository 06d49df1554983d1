"""What another fediletter reads of a person beside what a spreadsheet shows: JSON in one cell.

The record of consent with its wordings, what came back lately, who is held, which account follows:
so that a list goes out and comes in without loss. A wording, or a topic's name, stands in the first
row that needs it.

Sources: email.md IM-7, OP-5, BO-7; issue 4.8.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from storage.crowds import Reported
from storage.subscribers import Event

_CELL = 60_000  # Characters: a cell has its limit when it comes in (IM-6).
_MOST = 1_000
_LONGEST, _LONGEST_WORDING = 500, 10_000  # Characters.


class NoRecord(ValueError):
    """A cell that we did not write."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a person beyond the columns of the list."""

    held_until: datetime | None = None
    follows_as: str = ""  # Actor id; empty: told us none.
    events: tuple[Event, ...] = ()  # The oldest first.
    reports: tuple[Reported, ...] = ()
    wordings: Mapping[str, str] = field(default_factory=dict)  # Text by version.
    topics: Mapping[str, str] = field(default_factory=dict)  # Name by slug.


def as_cell(kept: Kept) -> str:
    """As it stands in a list; empty if there is nothing to tell. Of very many events the newest."""
    text = _as_cell(kept)
    while len(text) > _CELL and kept.events:
        kept = replace(kept, events=kept.events[len(kept.events) // 2 + 1 :])
        text = _as_cell(kept)
    return text


def _as_cell(kept: Kept) -> str:
    told = {
        "held_until": kept.held_until and kept.held_until.isoformat(),
        "follows_as": kept.follows_as,
        "consent": [_of_event(one) for one in kept.events],
        "returned": [
            [one.class_, one.status, one.counted, one.at.isoformat()] for one in kept.reports
        ],
        "wordings": kept.wordings,
        "topics": kept.topics,
    }
    told = {name: value for name, value in told.items() if value}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")) if told else ""


def from_cell(text: str) -> Kept:
    """The reverse. Raises NoRecord."""
    if not text:
        return Kept()
    try:
        told = json.loads(text)
        held = told.get("held_until")
        return Kept(
            held_until=_moment(held) if held else None,
            follows_as=_text(told.get("follows_as", "")),
            events=tuple(_event(one) for one in told.get("consent", [])[-_MOST:]),
            reports=tuple(
                Reported(_text(kind), _maybe(status), bool(counted), _moment(at))
                for kind, status, counted, at in told.get("returned", [])[-_MOST:]
            ),
            wordings=_texts(told.get("wordings", {}), _LONGEST_WORDING),
            topics=_texts(told.get("topics", {}), _LONGEST),
        )
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as wrong:
        raise NoRecord from wrong


def _of_event(event: Event) -> dict[str, Any]:
    told = {
        "kind": event.kind,
        "at": event.at.isoformat(),
        "channel": event.channel,
        "language": event.language,
        "before": event.topics_before,
        "after": event.topics_after,
        "version": event.text_version,
        "message_id": event.message_id,
        "proof": event.proof,
    }
    return {name: value for name, value in told.items() if value}


def _event(told: Mapping[str, Any]) -> Event:
    return Event(
        kind=_text(told["kind"]),
        at=_moment(told["at"]),
        channel=_text(told.get("channel", "")),
        language=_text(told.get("language", "")),
        topics_before=tuple(_text(one) for one in told.get("before", [])),
        topics_after=tuple(_text(one) for one in told.get("after", [])),
        text_version=_maybe(told.get("version")),
        message_id=_maybe(told.get("message_id")),
        proof=_maybe(told.get("proof")),
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or not 1990 < moment.year < 9000:
        raise NoRecord
    return moment


def _texts(told: Mapping[str, Any], longest: int) -> dict[str, str]:
    return {_text(name): _text(value, longest) for name, value in told.items()}


def _maybe(value: object) -> str | None:
    return None if value is None else _text(value)


def _text(value: object, longest: int = _LONGEST) -> str:
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise NoRecord
    value.encode()  # Not half a sign.
    return value
