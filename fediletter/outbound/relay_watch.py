"""How the relay fares, over all lanes of a process: trouble is said once, and so is its end.

Said in the log and, from what the lanes remember, on the desk and by `fediletter status`. Never by
mail: it could not leave before the trouble is over, and then there is nothing left to do.

Sources: email.md TR-2, 11.3 (the same refusal for three readers in a row); issue 4, bad input.
"""

import logging
import re
from datetime import datetime, timedelta

from fediletter.clock import Clock
from fediletter.limits import LOGIN_REST, SAME_REFUSALS
from fediletter.mail.courier import Accepted, Failed, Halt, Result
from storage.ids import MailingId

_log = logging.getLogger("fediletter.outbound")


# How a halt begins, and what it is in words for people.
_KINDS = (
    ("the relay does not answer", "The mail relay does not answer."),
    ("no secure connection", "The mail relay shows no certificate that can be trusted."),
    ("the relay offers no STARTTLS", "The mail relay offers no encrypted connection."),
    ("the relay refuses the login", "The mail relay refuses the name or the password."),
    ("no more for now", "As many mails have left as the relay may be given."),
    ("4", "The mail relay takes nothing for now: it is full or busy."),
)
_BROKE_OFF = "The mail relay broke off the conversation."


def kind_of(reason: str) -> str:
    """The trouble of a relay in words for people (a message id), from a halt's reason."""
    return next((said for begins, said in _KINDS if reason.startswith(begins)), _BROKE_OFF)


class RelayWatch:
    """One for each process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._trouble = ""
        self._login_refused_at: datetime | None = None
        self._refusals: dict[MailingId, tuple[str, int]] = {}

    @property
    def quiet(self) -> timedelta | None:
        """How long nobody should log in yet: a wrong password locks accounts.

        By the time of day, as lanes rest: a clock that jumps costs one login, not a long silence.
        """
        if self._login_refused_at is None:
            return None
        passed = self._clock.now() - self._login_refused_at
        return LOGIN_REST - passed if timedelta() <= passed < LOGIN_REST else None

    @property
    def trouble(self) -> str:
        """Why mail rests; empty while it flows."""
        return self._trouble

    def halted(self, halt: Halt) -> None:
        """A session ended before its work did."""
        if halt.login_refused:
            self._login_refused_at = self._clock.now()
        if not self._trouble:
            _log.warning("mail rests", extra={"reason": halt.reason})
        self._trouble = halt.reason

    def went_well(self) -> None:
        """A session did its work."""
        if self._trouble:
            _log.info("mail goes on")
        self._trouble = ""

    def refused(self, mailing_id: MailingId | None, result: Result) -> bool:
        """True if readers of a mailing met the same refusal of its content too often in a row."""
        if mailing_id is None:
            return False
        if isinstance(result, Accepted):
            self._refusals.pop(mailing_id, None)
        if not isinstance(result, Failed) or result.at_rcpt or result.is_ours:
            return False
        # Without what differs from message to message: queue ids, times.
        text = result.answer[:4] + re.sub(r"\S*\d\S*", "", result.answer[4:])
        before, count = self._refusals.get(mailing_id, ("", 0))
        count = count + 1 if text == before else 1
        self._refusals[mailing_id] = (text, count)
        return count >= SAME_REFUSALS
