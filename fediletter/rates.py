"""How often somebody comes: counted in memory, bounded, by each process for itself.

For what is too frequent to write down each time. Nothing is kept of whom it counts once their span
is over; when too many are counted at once, those who came first are forgotten (FE-16).

Sources: security.md L-14 to L-16, FE-16.
"""

from collections import OrderedDict
from datetime import timedelta

_MOST_KEYS = 10_000


class Rates:
    """At most so many within a span, for each key.

    Args:
        most: That are let through.
        span: From the first of them on.
        keys: Counted at once.
    """

    def __init__(self, most: int, span: timedelta, *, keys: int = _MOST_KEYS) -> None:
        self._most = most
        self._span = span.total_seconds()
        self._keys = keys
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def hit(self, key: str, *, at: float) -> int | None:
        """Count one. None if it is let through, else the seconds to wait.

        Args:
            key: Who it is.
            at: The monotonic time, in seconds.
        """
        count, until = self._counts.get(key, (0, 0.0))
        if until <= at:
            self._counts.pop(key, None)
            count, until = 0, at + self._span
        if count >= self._most:
            return max(1, round(until - at))
        self._counts[key] = (count + 1, until)
        if len(self._counts) > self._keys:
            self._counts.popitem(last=False)
        return None

    def give_back(self, key: str) -> None:
        """One was counted that need not be."""
        count, until = self._counts.get(key, (0, 0.0))
        if count:
            self._counts[key] = (count - 1, until)
