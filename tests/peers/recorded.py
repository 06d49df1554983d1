"""Requests and documents as real servers sent them, in folders named by software and version.

Each folder has a README.md that says when and how they were taken, `actor.json` and perhaps more
actors, and `requests/`, in the order in which they came.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from federation.actors import RemoteActor, actor_from
from federation.inbox import InboxRequest
from federation.keys import KnownKey

FOLDERS = sorted(found.parent for found in Path(__file__).parent.glob("*/requests"))


@dataclass(frozen=True)
class Recorded:
    """One request that came to an inbox, and when."""

    name: str
    at: datetime
    request: InboxRequest

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.request.body)


def requests_of(folder: Path) -> list[Recorded]:
    """The requests in the order in which they came."""
    found = []
    for path in sorted((folder / "requests").glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        request = InboxRequest(
            values["method"],
            values["target"],
            tuple(values["headers"].items()),
            values["body"].encode(),
        )
        found.append(Recorded(path.stem, datetime.fromisoformat(values["at"]), request))
    return found


def actors_of(folder: Path) -> list[RemoteActor]:
    """The actors whose documents were taken, by our own reader."""
    return [actor_from(json.loads(path.read_bytes())) for path in sorted(folder.glob("*.json"))]


def keys_of(folder: Path) -> dict[str, KnownKey]:
    """Their keys by id."""
    return {key.key_id: key for actor in actors_of(folder) for key in actor.keys}
