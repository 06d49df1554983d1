"""Whether a domain can take mail at all: asked before a confirmation goes there, never on a page.

Source: email.md OP-1 and 12.3; RFC 5321 §5.1 (MX, else the address itself), RFC 7505 (null MX).
"""

from typing import Protocol


class Domains(Protocol):
    """Who knows."""

    async def takes_mail(self, domain: str) -> bool | None:
        """Whether it has a mail server, as an A-label domain; None: DNS gave no answer."""


class AnyDomain:
    """Takes every domain for good: with the built-in catcher nothing leaves the machine."""

    async def takes_mail(self, domain: str) -> bool | None:
        """Yes."""
        return True
