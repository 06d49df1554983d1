"""Whether a domain can take mail at all: asked before a confirmation goes there, never on a page.

Source: email.md OP-1 and 12.3; RFC 5321 §5.1 (MX, else the address itself), RFC 7505 (null MX).
"""

from datetime import datetime, timedelta
from typing import Protocol

from fediletter.clock import Clock
from fediletter.mail.dns import Dns, NoAnswer

_KEPT = timedelta(hours=1)
_MOST = 10_000  # Domains remembered; then all are forgotten.


class Domains(Protocol):
    """Who knows."""

    async def takes_mail(self, domain: str) -> bool | None:
        """Whether it has a mail server, as an A-label domain; None: DNS gave no answer."""


class AnyDomain:
    """Takes every domain for good: with the built-in catcher nothing leaves the machine."""

    async def takes_mail(self, domain: str) -> bool | None:
        """Yes."""
        return True


class KnownDomains:
    """Asks DNS, and remembers its answers for an hour.

    Args:
        names: The door to DNS.
        clock: Tells how old an answer is.
    """

    def __init__(self, names: Dns, clock: Clock) -> None:
        self._names = names
        self._clock = clock
        self._known: dict[str, tuple[bool, datetime]] = {}

    async def takes_mail(self, domain: str) -> bool | None:
        """Whether there is a mail server; a null MX says that there is none."""
        now = self._clock.now()
        known = self._known.get(domain)
        if known is not None and now - known[1] < _KEPT:
            return known[0]
        try:
            hosts = await self._names.mx(domain)
            takes = any(hosts) if hosts else bool(await self._names.addresses(domain))
        except NoAnswer:
            return None
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[domain] = (takes, now)
        return takes
