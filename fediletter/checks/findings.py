"""What the doctor finds: a fact, how grave it is, and one thing to do."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact and, if it is bad, one thing to do; both message ids.

    `is_amber`: it works, and could be better.
    """

    name: str
    is_good: bool
    fact: str
    remedy: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    is_amber: bool = False
