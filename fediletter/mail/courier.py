"""What a relay session and its caller say to each other.

The caller chooses what is next and commits between the steps; the session asks for it at exactly
the points where a commit must stand (TR-20 of email.md).
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message to one person, ready to be handed over."""

    id: int  # Of its delivery.
    sender: str  # MAIL FROM
    recipient: str  # RCPT TO
    content: bytes  # CRLF line ends, no line that begins with a dot.


@dataclass(frozen=True, slots=True)
class Accepted:
    """The relay has taken it: never sent again."""

    answer: str


@dataclass(frozen=True, slots=True)
class Later:
    """The relay may take this message another time.

    `is_silence`: it did not say so; the connection broke over the message's envelope.
    """

    answer: str
    is_silence: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The relay will not take this message.

    `is_ours`: not because of the reader, but of our sender or our message: the mailing pauses.
    `at_rcpt`: said of the address, before anything of the message was seen.
    """

    answer: str
    is_ours: bool = False
    at_rcpt: bool = False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Octets of the message left, and no answer came: it may have arrived."""

    answer: str


Result: TypeAlias = Accepted | Later | Failed | InDoubt


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a session ended before its work did: the lane should rest.

    `login_refused`: all lanes should, and for longer, or the account is locked (TR-2).
    """

    reason: str
    login_refused: bool = False


class Courier(Protocol):
    """The caller of a session."""

    async def following(self) -> Envelope | None:
        """What may be sent next; nothing is committed by asking."""

    async def advance(self, ended: tuple[Envelope, Result] | None, start: Envelope | None) -> bool:
        """Commit a result together with the next start; whether that one may really leave."""

    def slow_down(self) -> None:
        """The relay ended a session in good order: it has enough for now (TR-18)."""


class Mailer(Protocol):
    """Hands over all that a courier has."""

    async def run(self, courier: Courier) -> Halt | None:
        """Send until the courier has nothing more; why it ended earlier, if it did."""
