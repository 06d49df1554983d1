"""The doctor's probe: a mail to our own bounce address, which must come back through our door.

Its number is random and its tag signed, so nobody else's mail is taken for it; that it came is a
counter that ends by itself. It concerns no reader and no delivery.

Sources: email.md 9.1, 12.2 (DO-10).
"""

import secrets
from datetime import datetime, timedelta

from fediletter.findings import Finding
from fediletter.mail.compose import CannotCompose, Sender, compose_plain, new_message_id
from fediletter.mail.courier import Accepted, Envelope, Result
from fediletter.outbound.letters import Letters
from fediletter.services import Services
from fediletter.words import words
from storage.newsletters import get_newsletter
from storage.store import Tx
from storage.throttles import hit, is_free

_WITHIN = timedelta(minutes=5)
_LOOK_SECONDS = 1.0
_KEPT = timedelta(hours=1)  # Longer than anybody waits for it.


def note_probe(tx: Tx, number: int, *, now: datetime) -> str:
    """It came in at the door."""
    hit(tx, _key(number), most=0, span=_KEPT, now=now)
    return "probe"


def _key(number: int) -> str:
    return f"probe:{number}"


async def probe_findings(services: Services) -> list[Finding]:
    """Send a probe over the relay, and wait for it, at most five minutes (DO-10)."""
    settings = services.settings
    if settings.smtp_url.startswith("maildir:"):
        return []  # Said already: mail reaches nobody.
    domain = settings.mail_from.rpartition("@")[2]
    fields: dict[str, object] = {"domain": domain}
    if settings.lmtp is None:
        fact = "No mail comes in here: bounces and answers to {domain} are not seen."
        remedy = "Set FEDILETTER_LMTP, and let your mail server hand mail over there."
        return [Finding("probe", False, fact, remedy, fields)]
    number = secrets.randbits(63)
    reason = await _send(services, f"bounce+{services.tokens.probe(number)}@{domain}", domain)
    if reason:
        fact = "The relay did not take a probe to our own bounce address: {reason}."
        remedy = "Let it take mail for {domain}, and hand it over at FEDILETTER_LMTP."
        return [Finding("probe", False, fact, remedy, fields | {"reason": reason})]
    end = services.clock.monotonic() + _WITHIN.total_seconds()
    while await services.store.read(is_free, _key(number), most=1, now=services.clock.now()):
        if services.clock.monotonic() >= end:
            fact = "A probe to our own bounce address did not come back within 5 minutes."
            remedy = (
                "Check that fediletter serves, that the MX of {domain} hands mail for bounce+… "
                "over at FEDILETTER_LMTP, and what the relay's log says."
            )
            return [Finding("probe", False, fact, remedy, fields)]
        await services.clock.sleep(_LOOK_SECONDS)
    return [Finding("probe", True, "A probe to our own bounce address came back.")]


async def _send(services: Services, address: str, domain: str) -> str:
    """Why the relay did not take it; empty if it did."""
    letter, now = await services.store.read(get_newsletter), services.clock.now()
    language = services.settings.language
    try:
        content = compose_plain(
            sender=Sender(letter.sender_name or letter.title, services.settings.mail_from),
            to=address,
            subject="fediletter check",
            text=words(language).gettext("This must come back to fediletter, and to nobody else."),
            language=language,
            message_id=new_message_id(domain),
            now=now,
        )
    except CannotCompose as wrong:
        return str(wrong)
    letters = Letters(services)
    await letters.look_up_keys()
    courier = _One(Envelope(0, address, address, letters.signed(content, now=now)))
    halt = await services.mailer.run(courier)
    if isinstance(courier.result, Accepted):
        return ""
    return courier.result.answer if courier.result else halt.reason if halt else "no answer"


class _One:
    """Carries one message once."""

    def __init__(self, envelope: Envelope) -> None:
        self._waiting: Envelope | None = envelope
        self.result: Result | None = None

    async def following(self) -> Envelope | None:
        return self._waiting

    async def advance(self, ended: tuple[Envelope, Result] | None, start: Envelope | None) -> bool:
        if ended is not None:
            self.result = ended[1]
        self._waiting = None
        return start is not None
