"""What its way did to a mail of ours, as the header of the arrived one tells.

Sources: email.md 12 (DO-8, DO-11, DO-12), DK-1; RFC 8601 §2.5, §5; RFC 8058 §4.
"""

import contextlib
import re
from datetime import timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from fediletter.checks.findings import Finding

_CLOCK_WRONG, _CLOCK_APART = timedelta(minutes=5), timedelta(seconds=30)
_METHODS = ("spf", "dkim", "dmarc")
_OF_ONE_CLICK = frozenset(("list-unsubscribe", "list-unsubscribe-post"))


def way_findings(message: EmailMessage, domain: str, *, server: str) -> list[Finding]:
    """What is wrong with a mail as it arrived (DO-8, DO-11, DO-12); nothing if all is well.

    Args:
        message: As the mailbox keeps it; its topmost lines are the mailbox's own.
        domain: That we write from.
        server: Whose word on SPF, DKIM and DMARC counts (`last_server`, `noting_server`).
    """
    found: list[Finding] = []

    def bad(fact: str, remedy: str, *, is_amber: bool = False, **fields: str) -> None:
        found.append(Finding("way", is_amber, fact, remedy, dict(fields), is_amber=is_amber))

    sender = str(message.get("Return-Path", "")).strip("<> ")
    if sender and not re.fullmatch(rf"bounce\+[a-z2-7]{{29}}@{re.escape(domain)}", sender.lower()):
        fact = "The relay put its own return address: bounces go to {where} and are not seen."
        remedy = "Let it keep ours, or take another relay."
        bad(fact, remedy, where=sender.rpartition("@")[2])
    results = _results(message, server)
    for name in _METHODS:
        said = results.get(name, [])
        if said and "pass" not in said:  # One of several signatures is enough.
            fact = "The mailbox says of {name}: {result}."
            remedy = "Correct its record in DNS, or what the relay signs."
            bad(fact, remedy, name=name.upper(), result=said[0])
    silent = [name.upper() for name in _METHODS if name not in results]
    if silent:
        fact = "The mail server that took it in noted nothing of {names}."
        remedy = (
            "Let it check them, or look at a letter that you received elsewhere: "
            "`fediletter dkim look FILE`."
        )
        bad(fact, remedy, is_amber=True, names=", ".join(silent))
    arrived = str((message.get_all("Received") or [""])[0]).rpartition(";")[2].strip()
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        apart = abs(parsedate_to_datetime(arrived) - message["Date"].datetime)
        if apart > _CLOCK_WRONG:
            fact = "The letter came {minutes} minutes away from its date: is the clock right?"
            minutes = str(round(apart / timedelta(minutes=1)))
            bad(fact, "Let the machine keep its clock by NTP.", minutes=minutes)
        elif apart > _CLOCK_APART:
            fact = "The letter came {seconds} seconds away from its date: a slow way, or the clock."
            seconds = str(round(apart.total_seconds()))
            bad(fact, "Let the machine keep its clock by NTP.", is_amber=True, seconds=seconds)
    return found


def signature_findings(message: EmailMessage, domain: str) -> list[Finding]:
    """Who signed a mail, one line for each signature, in their order (DK-1).

    Green where it speaks for our domain and holds the fields of one-click.
    """
    found = []
    for field in message.get_all("DKIM-Signature", []):
        tags = {
            name.strip(): re.sub(r"\s", "", value)
            for name, _sign, value in (part.partition("=") for part in str(field).split(";"))
        }
        signer, names = tags.get("d", "").lower(), set(tags.get("h", "").lower().split(":"))
        fields = {"signer": signer, "selector": tags.get("s", ""), "domain": domain}
        is_good = False
        if not signer or (domain != signer and not domain.endswith(f".{signer}")):
            fact = "Signed by {signer}, which is not the domain {domain}."
        elif not names >= _OF_ONE_CLICK:
            fact = "Signed by {signer}, but the fields of one-click are not."
        else:
            fact, is_good = "Signed by {signer} with {selector}, one-click too.", True
        found.append(Finding("signature", is_good, fact, fields=fields))
    return found


def last_server(message: EmailMessage) -> str:
    """The server that handed a mail over to us, by its own line on top: ours (RFC 8601 §5)."""
    top = str((message.get_all("Received") or [""])[0])
    by = re.search(r"\bby\s+([^\s;()]+)", top)
    return by[1].lower().rstrip(".") if by else ""


def noting_server(message: EmailMessage) -> str:
    """The server that noted last what it thinks of a mail: its mailbox's; empty if none did."""
    noted = str((message.get_all("Authentication-Results") or [""])[0])
    return _authserv_id(re.sub(r"\([^()]*\)", " ", noted))


def _results(message: EmailMessage, server: str) -> dict[str, list[str]]:
    """What one server noted of each method; several programs of it write a field each."""
    results: dict[str, list[str]] = {}
    for one in message.get_all("Authentication-Results") or []:
        field = re.sub(r"\([^()]*\)", " ", str(one))
        if _is_of(_authserv_id(field), server):
            for method, result in re.findall(r"(?<![\w.])(spf|dkim|dmarc)\s*=\s*(\w+)", field):
                results.setdefault(method, []).append(result.lower())
    return results


def _authserv_id(field: str) -> str:
    first = (field.partition(";")[0].split() or [""])[0].lower()
    return "" if "=" in first else first  # Some write no name of theirs.


def _is_of(authserv_id: str, server: str) -> bool:
    """Whether a server signs so: with its own name, or the domain above it."""
    return authserv_id == server or ("." in authserv_id and server.endswith(f".{authserv_id}"))
