"""Growth as a picture: two lines over time, drawn as SVG by the template, and told in words.

Pure: counts in, coordinates out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.census import Census

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 220, 52, 8, 12, 26
_POINTS = 200  # More would not be seen.


@dataclass(frozen=True, slots=True)
class Line:
    """One channel."""

    channel: str  # mail, fediverse
    points: str  # `x,y x,y …`
    total: int


@dataclass(frozen=True, slots=True)
class Chart:
    """What the template draws; None of it when nobody reads yet."""

    lines: tuple[Line, ...]
    heights: tuple[tuple[float, int], ...]  # y and the number that stands there.
    since: datetime
    until: datetime


def chart_of(census: Census, *, now: datetime) -> Chart | None:
    """The growth of each channel until now."""
    series = (("mail", census.by_mail), ("fediverse", census.by_fediverse))
    moments = [moment for _, points in series for moment, _ in points]
    if not moments:
        return None
    since = min(min(moments), now - timedelta(days=1))
    span = max((now - since).total_seconds(), 1.0)
    most = _round_up(max(count for _, points in series for _, count in points))

    def y_of(count: int) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * count / most, 1)

    def x_of(moment: datetime) -> float:
        part = min(max((moment - since).total_seconds() / span, 0.0), 1.0)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * part, 1)

    lines = []
    for channel, points in series:
        if not points:
            continue
        kept = _thinned(points)
        drawn = [f"{x_of(moment)},{y_of(count)}" for moment, count in kept]
        total = points[-1][1]
        lines.append(Line(channel, " ".join([*drawn, f"{x_of(now)},{y_of(total)}"]), total))
    heights = tuple((y_of(count), count) for count in sorted({0, most // 2, most}))
    return Chart(tuple(lines), heights, since, now)


def _round_up(count: int) -> int:
    """The next number that people like: 1, 2 or 5 with noughts; at least 2."""
    step = 1
    while True:
        for factor in (2, 4, 10):
            if step * factor >= count:
                return step * factor
        step *= 10


def _thinned(points: tuple[tuple[datetime, int], ...]) -> list[tuple[datetime, int]]:
    every = max(1, len(points) // _POINTS)
    return [point for at, point in enumerate(points) if at % every == 0 or at == len(points) - 1]
