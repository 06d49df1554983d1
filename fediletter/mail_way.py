"""What its way did to a mail of ours, as the header of the arrived one tells.

Sources: email.md 12 (DO-8, DO-11, DO-12); RFC 8601.
"""

import contextlib
import re
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from fediletter.findings import Finding

_CLOCK_MINUTES = 5


def way_findings(message: EmailMessage, domain: str) -> list[Finding]:
    """What is wrong with a mail as it arrived (DO-8, DO-11, DO-12); nothing if all is well.

    Args:
        message: As the mailbox keeps it; its topmost lines are the mailbox's own.
        domain: That we write from.
    """
    found: list[Finding] = []

    def bad(fact: str, remedy: str, **fields: str) -> None:
        found.append(Finding("way", False, fact, remedy, dict(fields)))

    sender = str(message.get("Return-Path", "")).strip("<> ")
    if sender and not re.fullmatch(rf"bounce\+[a-z2-7]{{29}}@{re.escape(domain)}", sender.lower()):
        fact = "The relay put its own return address: bounces go to {where} and are not seen."
        remedy = "Let it keep ours, or take another relay."
        bad(fact, remedy, where=sender.rpartition("@")[2])
    results = str((message.get_all("Authentication-Results") or [""])[0])
    for name, result in re.findall(r"\b(spf|dkim|dmarc)=(\w+)", results):
        if result != "pass":
            fact = "The mailbox says of {name}: {result}."
            remedy = "Correct its record in DNS, or what the relay signs."
            bad(fact, remedy, name=name.upper(), result=result)
    arrived = str((message.get_all("Received") or [""])[0]).rpartition(";")[2].strip()
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        apart = parsedate_to_datetime(arrived) - message["Date"].datetime
        minutes = round(apart.total_seconds() / 60)
        if abs(minutes) > _CLOCK_MINUTES:
            fact = "The letter came {minutes} minutes away from its date: is the clock right?"
            bad(fact, "Let the machine keep its clock by NTP.", minutes=str(abs(minutes)))
    return found
