"""Picks up mail from a hosted mailbox, every minute: bounces, answers, complaints, leaves.

A message there has lost its envelope. Its recipient is read from the lines that mailboxes add; that
these can be written by anybody does no harm, as only a tag of ours makes anything happen.

Sources: email.md 9.1, 9.2.1; security.md EM-11, EM-13.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses

from fediletter.inbound.arrivals import YES, Arrivals
from fediletter.limits import LMTP_BYTES
from fediletter.mail.imap import OTHER, TAKEN, ImapSession, Mailbox, NoMailbox
from fediletter.services import Services
from fediletter.workers.loop import wait_for_either

_EVERY_SECONDS = 60.0  # The doctor's probe shall be back within five minutes (DO-10).
_AT_A_VISIT = 100
_RECIPIENT = ("Delivered-To", "X-Original-To", "Envelope-To", "To")
_log = logging.getLogger("fediletter.workers")


async def pick_up(
    services: Services, mailbox: Mailbox, may_work: Callable[[], bool], stopping: asyncio.Event
) -> None:
    """Visit the mailbox until `stopping`.

    Of several processes two may meet there: each message is then taken twice, which changes
    nothing, and moved once.
    """
    arrivals, told = Arrivals(services), False
    while not stopping.is_set():
        try:
            count = await _visit(arrivals, mailbox, stopping) if may_work() else 0
            told = False
        except NoMailbox as wrong:
            count = 0
            if not told:
                _log.warning("no mail is picked up", extra={"reason": str(wrong)})
                told = True
        except Exception:  # noqa: BLE001 (logged; the messages lie where they lay)
            _log.exception("mail could not be picked up")
            count = 0
        if count < _AT_A_VISIT:
            await wait_for_either(stopping, stopping, _EVERY_SECONDS, services.clock)


async def _visit(arrivals: Arrivals, mailbox: Mailbox, stopping: asyncio.Event) -> int:
    """Take in what waits; how many messages were put away."""
    session = await asyncio.to_thread(ImapSession, mailbox)
    put_away = 0
    try:
        for uid in await asyncio.to_thread(session.waiting, most=_AT_A_VISIT):
            if stopping.is_set():
                break
            raw = await asyncio.to_thread(session.read, uid, most_bytes=LMTP_BYTES)
            answer = "5" if raw is None else await _take(arrivals, raw)
            if not answer.startswith("4"):  # Later: it lies there still.
                folder = TAKEN if answer == YES else OTHER
                await asyncio.to_thread(session.put_away, uid, folder)
                put_away += 1
    finally:
        await asyncio.to_thread(session.close)
    return put_away


async def _take(arrivals: Arrivals, raw: bytes) -> str:
    head = message_from_bytes(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    found = [one for one in _recipients(head) if arrivals.is_ours(one)]
    tagged = (one for one in found if "+" in one)
    # Reports on complaints are addressed to whomever one told the provider.
    recipient = next(tagged, None) or next(iter(found), None) or arrivals.address
    (answer,) = await arrivals.take(_sender(head), [recipient], raw)
    return answer


def _recipients(head: Message) -> Iterator[str]:
    for name in _RECIPIENT:
        for _, address in getaddresses([str(one) for one in head.get_all(name, [])]):
            yield address


def _sender(head: Message) -> str:
    """Of the envelope; empty if that was, or is not told."""
    return str(head.get("Return-Path", "")).strip("<> \t\r\n")
