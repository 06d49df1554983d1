"""When again, and when no more (L-90, L-91)."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from fediletter.limits import (
    ACTIVITY_GIVES_UP,
    ACTIVITY_STEPS,
    DAILY,
    JITTER,
    LANE_REST,
    MAIL_GIVES_UP,
    MAIL_STEPS,
    SMTP_DOT_SECONDS,
    UNCERTAIN_HELD,
)

# A letter that may have arrived is sent once more when every answer must have come (TR-22).
_UNCERTAIN_AGAIN = timedelta(seconds=SMTP_DOT_SECONDS, minutes=15)

_spread = random.SystemRandom()


def activity_again(
    attempts: int, *, created_at: datetime, now: datetime, after: timedelta | None = None
) -> datetime | None:
    """When an activity is tried again; None when it has failed for good.

    Args:
        attempts: How often it was tried, this time included.
        created_at: When the delivery was made.
        now: The time.
        after: What the peer asked for (Retry-After): it wins over a shorter step.
    """
    return _again(ACTIVITY_STEPS, ACTIVITY_GIVES_UP, attempts, created_at, now, after)


def mail_again(
    attempts: int, *, created_at: datetime, now: datetime, after: timedelta | None = None
) -> datetime | None:
    """When a message is tried again; None when it has failed for good."""
    return _again(MAIL_STEPS, MAIL_GIVES_UP, attempts, created_at, now, after)


def uncertain_again(now: datetime, *, hold: bool) -> datetime:
    """When a letter that may have arrived is sent once more (TR-22).

    Args:
        now: When its answer failed to come.
        hold: Not before a founder says so.
    """
    if hold:
        return UNCERTAIN_HELD
    return now + _UNCERTAIN_AGAIN


def rest_of(failures: int) -> timedelta:
    """How long a lane rests after `failures` attempts in a row without an answer."""
    return jittered(LANE_REST[min(failures, len(LANE_REST) - 1)])


def jittered(span: timedelta) -> timedelta:
    """The span, longer or shorter by up to a fifth, so that hosts are not met by a crowd."""
    return span * (1 + _spread.uniform(-JITTER, JITTER))


def _again(
    steps: Sequence[timedelta],
    gives_up: timedelta,
    attempts: int,
    created_at: datetime,
    now: datetime,
    after: timedelta | None,
) -> datetime | None:
    step = jittered(steps[attempts - 1] if attempts <= len(steps) else DAILY)
    at = now + max(step, after or timedelta())
    return at if at <= created_at + gives_up else None
