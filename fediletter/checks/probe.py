"""The doctor's probe: a mail to our own bounce address, which must come back through our door.

Its number is random and its tag signed, so nobody else's mail is taken for it. The door keeps the
header with which it came, and nothing else: it concerns no reader and no delivery.

Sources: email.md 9.1, 12 (DO-2, DO-3, DO-8, DO-10 to DO-12).
"""

import secrets
from dataclasses import replace
from datetime import timedelta
from email import message_from_string, policy
from email.message import EmailMessage

from fediletter.checks.domain_keys import seen_key_finding
from fediletter.checks.findings import Finding
from fediletter.checks.way import last_server, signature_findings, way_findings
from fediletter.mail.compose import CannotCompose, Sender, compose_plain, new_message_id
from fediletter.mail.courier import Accepted, Envelope, Result
from fediletter.mail.dns import Dns, NoAnswer, dmarc_of
from fediletter.newsletter.tokens import TEST_KEY
from fediletter.outbound.letters import Letters
from fediletter.services import Services
from fediletter.words import words
from storage.dkim import keys_in_use
from storage.newsletters import get_newsletter
from storage.probes import head_of

PROBE_WITHIN = timedelta(minutes=5)
_LOOK_SECONDS = 1.0


async def probe_findings(services: Services) -> list[Finding]:
    """Send a probe over the relay, and wait for it, at most five minutes (DO-10)."""
    settings = services.settings
    if settings.smtp_url.startswith("maildir:"):
        return []  # Said already: mail reaches nobody.
    domain = settings.mail_from.rpartition("@")[2]
    fields: dict[str, object] = {"domain": domain}
    if not settings.takes_mail_in:
        fact = "No mail comes in here: bounces and answers to {domain} are not seen."
        remedy = "Set FEDILETTER_LMTP for your mail server, or FEDILETTER_IMAP_URL for a mailbox."
        return [Finding("probe", False, fact, remedy, fields)]
    number = secrets.randbits(63)
    reason = await _send(services, f"bounce+{services.tokens.probe(number)}@{domain}", domain)
    if reason:
        fact = "The relay did not take a probe to our own bounce address: {reason}."
        remedy = "Let it take mail for bounce+… at {domain} and bring it to fediletter's door."
        return [Finding("probe", False, fact, remedy, fields | {"reason": reason})]
    end = services.clock.monotonic() + PROBE_WITHIN.total_seconds()
    while (head := await services.store.read(head_of, number)) is None:
        if services.clock.monotonic() >= end:
            fact = "A probe to our own bounce address did not come back within 5 minutes."
            remedy = (
                "Check that fediletter serves, that the MX of {domain} brings mail for bounce+… "
                "to FEDILETTER_LMTP or FEDILETTER_IMAP_URL, and what the relay's log says."
            )
            return [Finding("probe", False, fact, remedy, fields)]
        await services.clock.sleep(_LOOK_SECONDS)
    came = Finding("probe", True, "A probe to our own bounce address came back.")
    message = message_from_string(head, policy=policy.default)
    names = Dns()
    return [
        came,
        *_signed(message, domain),
        *await _keys_seen(services, names, message, domain),
        *await _aligned(names, message, domain),
        *way_findings(message, domain, server=last_server(message)),
    ]


def _signed(message: EmailMessage, domain: str) -> list[Finding]:
    """DO-12, DK-1: nothing if a signature of our domain holds the fields of one-click."""
    signatures = signature_findings(message, domain)
    if any(one.is_good for one in signatures):
        return []
    remedy = "Let the relay sign for it, or run `fediletter dkim new`."
    if not signatures:
        fact = "The probe came back without any signature of {domain} (DKIM)."
        return [Finding("signature", False, fact, remedy, {"domain": domain})]
    return [replace(one, remedy=remedy) for one in signatures]


async def _keys_seen(
    services: Services, names: Dns, message: EmailMessage, domain: str
) -> list[Finding]:
    """DO-2: the record of each key that is not ours and signed for our domain, if it is wrong."""
    own = {one.selector for one in await services.store.read(keys_in_use)}
    seen = [
        (one.fields["selector"], one.fields["signer"])
        for one in signature_findings(message, domain)
        if one.is_good and one.fields["selector"] not in own
    ]
    try:
        found = [await seen_key_finding(names, *one) for one in seen]
    except NoAnswer:
        return []  # Said of all names already, by the rest of the check.
    return [one for one in found if one.remedy]


async def _aligned(names: Dns, message: EmailMessage, domain: str) -> list[Finding]:
    """DO-3: a policy that wants signatures of the very domain (adkim=s) gets one."""
    good = [one for one in signature_findings(message, domain) if one.is_good]
    try:
        policy_found = await dmarc_of(names, domain)
    except NoAnswer:
        return []
    is_strict = policy_found is not None and policy_found.tags.get("adkim", "").lower() == "s"
    if not good or not is_strict or any(one.fields["signer"] == domain for one in good):
        return []
    fact = "The DMARC record wants signatures of {domain} itself (adkim=s), and {signer} signs."
    remedy = "Take out adkim=s, or let the relay sign with d={domain}."
    fields = {"domain": domain, "signer": good[0].fields["signer"]}
    return [Finding("dmarc", False, fact, remedy, fields)]


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
    content = _one_click(services) + content
    letters = Letters(services)
    await letters.look_up_keys()
    courier = _One(Envelope(0, address, address, letters.signed(content, now=now)))
    halt = await services.mailer.run(courier)
    if isinstance(courier.result, Accepted):
        return ""
    return courier.result.answer if courier.result else halt.reason if halt else "no answer"


def _one_click(services: Services) -> bytes:
    """The fields of a letter by which readers leave, of nobody's token: are they signed?"""
    url = services.links.unsubscribe(services.tokens.unsubscribe(TEST_KEY))
    fields = f"List-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    return fields.encode("ascii")


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

    def slow_down(self) -> None:
        """One message cannot be slower."""
