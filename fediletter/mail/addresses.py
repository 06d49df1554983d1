"""Addresses of people: our own grammar, before any library sees one.

Two grammars: one for everybody, and one that also knows letters beyond ASCII before the @, for
readers whose letters travel by SMTPUTF8.

Sources: security.md EM-3; email.md TR-25, TR-26, OP-1; RFC 5321 §4.1.2, RFC 5890, RFC 6531 §3.3.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import idna

_LOCAL = re.compile(r"[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST, _LONGEST_LOCAL = 254, 64  # Octets.
_BEYOND_ASCII = re.compile("[\u00a1-\U0010ffff]")


class BadAddress(ValueError):
    """Not an address that letters can be sent to.

    Args:
        words: Why, as a message id for people.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox; the domain as A-labels, the local part as typed."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def identity(self) -> str:
        """Who it is: lower-cased (TR-26)."""
        return str(self).lower()


def parse_address(text: str) -> Address:
    """Read one address as a person typed it, in ASCII before the @.

    Raises:
        BadAddress: It is none, or one of a kind that we do not send to.
    """
    address = parse_international(text)
    if not address.local.isascii():
        raise BadAddress("Letters cannot be sent to an address with an accent before the @.")
    return address


def parse_international(text: str) -> Address:
    """Read one address as a person typed it, in any script before the @ (NFC).

    Only a relay that offers SMTPUTF8 takes what is not ASCII there.

    Raises:
        BadAddress: It is none, or one of a kind that we do not send to.
    """
    text = unicodedata.normalize("NFC", text.strip())
    if not text:
        raise BadAddress("Enter your email address.")
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise BadAddress("An email address has a name, an @ and a domain, like ana@example.org.")
    if not _is_local(local) or len(local.encode()) > _LONGEST_LOCAL:
        raise BadAddress(_what_is_wrong(local))
    ascii_domain = _domain(domain)
    if len(local.encode()) + 1 + len(ascii_domain) > _LONGEST:
        raise BadAddress("This address is too long.")
    return Address(local, ascii_domain)


def _is_local(local: str) -> bool:
    """A dot-atom, in which letters, marks and figures of any script count as letters."""
    if any(unicodedata.category(one)[0] not in "LMN" for one in _BEYOND_ASCII.findall(local)):
        return False  # Signs, spaces, and what turns the direction of writing.
    return _LOCAL.fullmatch(_BEYOND_ASCII.sub("x", local)) is not None


def _what_is_wrong(local: str) -> str:
    """One sentence that fits what was typed before the last @."""
    if any(ord(character) < 32 or ord(character) == 127 for character in local):
        return "There is a line break or a control character in this address."
    if "@" in local or "," in local or ";" in local:
        return "Enter one address only, with one @."
    if any(character.isspace() for character in local):
        return "An email address has no space in it."
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return "Two dots, or a dot beside the @: a letter may be missing there."
    if len(local.encode(errors="replace")) > _LONGEST_LOCAL:
        return "The part before the @ is too long: 64 characters at most."
    return "The part before the @ has a character that letters cannot be sent to."


@lru_cache(4096)  # A list of a hundred thousand has a few large domains.
def _domain(text: str) -> str:
    try:
        domain = idna.encode(text, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as wrong:
        raise BadAddress("The part after the @ is not a domain name.") from wrong
    labels = domain.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadAddress("The part after the @ is not a domain name.")
    if labels[-1].isdigit():
        raise BadAddress("The part after the @ is not a domain name.")
    return domain


def canonical_for_limits(address: Address) -> str:
    """One person's spellings of one mailbox, as one: for limits only, never for identity."""
    local, domain = address.local.lower().partition("+")[0], address.domain
    if domain in ("gmail.com", "googlemail.com"):  # The same mailbox by both names.
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"


def mask(text: str) -> str:
    """An address as a page may show it: `a…@example.org`."""
    local, _, domain = text.rpartition("@")
    return f"{local[:1]}…@{domain}"
