"""A slip in a well-known domain, as a question: the address is never repaired in silence.

Source: email.md 12.3.
"""

from fediletter.mail.addresses import Address

_KNOWN = (
    "gmail.com", "yahoo.com", "yahoo.fr", "hotmail.com", "hotmail.fr", "outlook.com", "outlook.fr",
    "icloud.com", "live.fr", "live.com", "orange.fr", "wanadoo.fr", "free.fr", "sfr.fr",
    "laposte.net", "proton.me", "protonmail.com", "gmx.de", "gmx.net", "gmx.fr", "web.de",
)  # fmt: skip
# Domains that exist and are one slip away from another.
_REAL = frozenset({"mail.com", "gmx.com", "email.com", "ymail.com", "live.de", "gmx.at", "gmx.ch"})


def did_you_mean(address: Address) -> Address | None:
    """The address with a well-known domain that is one slip away; None if there is none."""
    domain = address.domain
    if domain in _KNOWN or domain in _REAL:
        return None
    for known in _KNOWN:
        if len(known) > 6 and _one_slip(domain, known):
            return Address(address.local, known)
    return None


def _one_slip(typed: str, meant: str) -> bool:
    """One letter too many, missing, wrong, or two swapped."""
    if abs(len(typed) - len(meant)) > 1:
        return False
    start = 0
    while start < min(len(typed), len(meant)) and typed[start] == meant[start]:
        start += 1
    rest, wanted = typed[start:], meant[start:]
    return (
        rest[1:] == wanted[1:]
        or rest[1:] == wanted
        or rest == wanted[1:]
        or (len(rest) > 1 and rest[1::-1] + rest[2:] == wanted)
    )
