"""The relay to which mail is handed over, by its URL.

Sources: interface.md section 3 (`FEDILETTER_SMTP_URL`); email.md TR-1, TR-2.
"""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Relay:
    """The SMTP server that takes our mail."""

    host: str
    port: int
    tls: Literal["implicit", "starttls", "none"]
    user: str | None
    password: str | None
    ehlo_name: str

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: only to it we speak in clear (EM-5)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def relay_from_url(url: str, ehlo_name: str | None = None) -> Relay:
    """A relay from `smtp://user:pass@host:587`, `smtps://…` or `smtp://127.0.0.1:25`.

    Plain text goes only to this machine (EM-5). Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("not the address of a relay")
    implicit = parts.scheme == "smtps"
    relay = Relay(
        parts.hostname,
        parts.port or (465 if implicit else 587),
        "implicit" if implicit else "starttls",
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        ehlo_name or socket.getfqdn(),
    )
    if relay.is_loopback and not implicit:
        return Relay(
            relay.host, parts.port or 25, "none", relay.user, relay.password, relay.ehlo_name
        )
    return relay


def relays_from_urls(url: str, ehlo_name: str | None = None) -> tuple[Relay, Relay | None]:
    """One relay, or two with a space between. Raises ValueError."""
    urls = url.split() or [""]
    if len(urls) > 2:
        raise ValueError("at most two relays")
    second = relay_from_url(urls[1], ehlo_name) if len(urls) == 2 else None
    return relay_from_url(urls[0], ehlo_name), second
