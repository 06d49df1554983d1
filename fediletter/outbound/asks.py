"""Does what open forms asked for, after their reply: looks the domain up, then writes mails.

Sources: email.md 8 and 12.3 (OP-1); security.md EM-10.
"""

import logging
from datetime import timedelta

from fediletter.mail.addresses import Address, parse_international
from fediletter.newsletter import joining
from fediletter.newsletter.mailroom import Mailroom
from fediletter.services import Services
from storage import subscribers
from storage.asks import Ask, postpone_ask, take_ask
from storage.newsletters import get_newsletter
from storage.store import Tx

_AGAIN = tuple(timedelta(minutes=m) for m in (1, 5, 15, 60, 240))  # Then it is given up.
_log = logging.getLogger("fediletter.asks")


def mailroom_of(tx: Tx, services: Services) -> Mailroom:
    """Who composes the small mails."""
    return Mailroom(get_newsletter(tx), services.links, services.settings.mail_from)


async def answer_ask(services: Services, ask: Ask) -> None:
    """Answer one; what DNS cannot say now is asked again, and given up after a few hours."""
    address = parse_international(ask.email)
    takes = await services.domains.takes_mail(address.domain)
    now = services.clock.now()
    if takes is None and ask.attempts < len(_AGAIN):
        until = now + _AGAIN[ask.attempts]
        await services.store.write(postpone_ask, ask.id, until=until)
        return

    def work(tx: Tx) -> None:
        if not take_ask(tx, ask.id) or not takes:
            return  # Another process has it; or: nothing there to write to, and nobody to tell.
        if ask.kind == "subscribe":
            _subscribe(tx, services, ask, address)
        elif ask.kind == "vote":
            _send_ballot(tx, services, ask, address)
        else:
            _send_link(tx, services, ask, address)

    try:
        await services.store.write(work)
    except Exception:  # noqa: BLE001 (one ask's trouble is not another's)
        _log.exception("an ask could not be answered", extra={"ask": ask.id})
        if ask.attempts < len(_AGAIN):
            until = now + _AGAIN[ask.attempts]
            await services.store.write(postpone_ask, ask.id, until=until)
        else:
            await services.store.write(take_ask, ask.id)


def _subscribe(tx: Tx, services: Services, ask: Ask, address: Address) -> None:
    wish = joining.Wish(
        address,
        tuple(ask.wish["topics"]),
        ask.wish["rhythm"],
        ask.wish["language"],
        ask.wish["text"],
    )
    joining.request(tx, wish, mailroom_of(tx, services), services.tokens, now=ask.at)


def _send_link(tx: Tx, services: Services, ask: Ask, address: Address) -> None:
    """The link to one's choices, for whom we know; nobody else hears anything."""
    found = subscribers.find_subscriber(tx, address.identity)
    reason = subscribers.suppression_of(tx, services.tokens.hash_address(address.identity))
    if found is None or found.state == "pending" or reason == joining.NEVER_AGAIN:
        return
    joining.remind(tx, found, mailroom_of(tx, services), services.tokens, now=ask.at)


def _send_ballot(tx: Tx, services: Services, ask: Ask, address: Address) -> None:
    """The link to vote with, for whom the letters come to; nobody else hears anything."""
    found = subscribers.find_subscriber(tx, address.identity)
    if found is None or found.state != "active":
        return
    if joining.may_write_to(tx, found, services.tokens, now=ask.at):
        token = services.tokens.preferences(found.key, found.epoch)
        url = f"{services.links.preferences(token)}/agenda"
        if ask.wish["choice"]:
            url += f"?choice={ask.wish['choice']}"
        note = mailroom_of(tx, services).ballot(
            found.email, url, language=found.language, now=ask.at
        )
        joining.send_service(tx, found, note, now=ask.at)
