"""Settings: read once, checked together, frozen.

The environment wins over `fediletter.toml` in the data directory, which wins over the defaults
(interface.md section 3). All mistakes are reported in one message and nothing is created. What a
founder changes while it runs (title, sender's name, topics) is data, not a setting.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from federation import limits as federation_limits
from federation.limits import ENVIRONMENT, read_limit
from fediletter import limits
from fediletter.errors import SettingsError
from fediletter.mail.imap import Mailbox, mailbox_from_url
from fediletter.mail.relay import is_loopback

T = TypeVar("T")
_Mistake: TypeAlias = tuple[str, str, Mapping[str, object]]  # Of SettingsError.
IPNetwork = IPv4Network | IPv6Network

_LOCALE = Path(__file__).parent / "locale"
# The messages are written in English; each other language is one folder of catalogues.
LANGUAGES = tuple(sorted({"en"} | {one.parent.name for one in _LOCALE.glob("*/LC_MESSAGES")}))

_USERNAME = re.compile(r"[A-Za-z0-9_]{1,30}")
RESERVED_NAMES = frozenset({"inbox", "act", "instance"})  # Paths below /ap/.
_SPAN = re.compile(r"(\d{1,6})(ms|s|m|h)?")
_UNITS = {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600}
_PUBLIC_MAILBOXES = re.compile(  # ID-1: domains that we cannot align with.
    r"(gmail|googlemail|icloud|me|mac|aol|ymail|protonmail)\.com|(proton|pm)\.me|web\.de"
    r"|(yahoo|outlook|hotmail|live|msn|gmx)\.((com?\.)?[a-z]{2}|com|net)"
    r"|(orange|wanadoo|free|sfr|neuf|bbox)\.fr|laposte\.net"
)


_RATE = re.compile(r"([1-9]\d{0,6})/([shd])")
_SPANS = {"s": timedelta(seconds=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class MailRate:
    """What a relay allows: so many messages in a span."""

    most: int
    span: timedelta


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decided. Paths are absolute, the base URL has no final slash."""

    data: Path
    base_url: str
    former_hosts: tuple[str, ...]  # Where letters of before still lead.
    account_user: str
    account_host: str
    database_url: str
    smtp_url: str
    mail_rates: tuple[MailRate, ...]
    hold_uncertain: bool  # A letter that may have arrived waits for a founder (RE-6).
    mail_from: str
    international_addresses: bool  # Readers may have letters beyond ASCII before the @ (TR-25).
    lmtp: str | None
    imap: Mailbox | None  # Where mail for us is picked up.
    second_thoughts: timedelta
    language: str
    secret_file: Path
    trusted_proxies: tuple[IPNetwork, ...]
    allow_addresses: tuple[IPNetwork, ...]
    ports: frozenset[int]  # At which other servers may be reached (FE-9).
    log: str
    fail_at: str | None  # For fault tests (security.md FT-3): where this process shall die.
    metrics_token: str | None  # Who may read /metrics from elsewhere than this machine (CL-6).

    @property
    def host(self) -> str:
        """Host of the base URL, with its port where it has one."""
        return urlsplit(self.base_url).netloc

    @property
    def is_secure(self) -> bool:
        """Readers come by https: cookies and headers may insist on it."""
        return self.base_url.startswith("https:")

    @property
    def is_laboratory(self) -> bool:
        """Outgoing requests may reach addresses that are not public: never in production."""
        return bool(self.allow_addresses)

    @property
    def takes_mail_in(self) -> bool:
        """Bounces, complaints and answers reach us by one door or the other."""
        return self.lmtp is not None or self.imap is not None

    @property
    def media(self) -> Path:
        return self.data / "media"


def load(environ: Mapping[str, str] | None = None, data: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        environ: Instead of the process's environment.
        data: From `--data DIR`; wins over everything.

    Raises:
        SettingsError: One or more values cannot be used; the message names them all.
    """
    environ = os.environ if environ is None else environ
    problems: list[_Mistake] = []
    directory = (data or Path(environ.get("FEDILETTER_DATA", "./data"))).expanduser().absolute()
    values = _from_file(directory / "fediletter.toml", problems)
    values |= {
        name.removeprefix("FEDILETTER_").lower(): value
        for name, value in environ.items()
        if name.startswith("FEDILETTER_") and not name.startswith(ENVIRONMENT) and value != ""
    }
    problems += _wrong_limits(environ)
    for unknown in sorted(set(values) - _NAMES):
        problems.append((f"FEDILETTER_{unknown.upper()}", "there is no such setting", {}))

    def take(name: str, default: str, read: Callable[[str], T], otherwise: T) -> T:
        try:
            return read(values.get(name, default))
        except ValueError as wrong:
            words, *named = wrong.args
            fields = {"values": ", ".join(named)} if named else {}
            problems.append((f"FEDILETTER_{name.upper()}", words, fields))
            return otherwise

    base_url = take("base_url", "http://127.0.0.1:8000", _base_url, "http://127.0.0.1:8000")
    netloc = urlsplit(base_url).netloc
    bare_host = urlsplit(base_url).hostname or ""
    account = take("account", f"shop@{netloc}", _account, ("shop", netloc))
    settings = Settings(
        data=directory,
        base_url=base_url,
        former_hosts=take("former_hosts", "", _hosts, ()),
        account_user=account[0],
        account_host=account[1],
        database_url=take(
            "database_url", f"sqlite:///{directory / 'fediletter.db'}", _database_url, ""
        ),
        smtp_url=take("smtp_url", f"maildir:{directory / 'mail'}", _smtp_url, ""),
        mail_rates=take("mail_rate", "", _mail_rates, ()),
        hold_uncertain=take("uncertain", "again", _uncertain, False),
        mail_from=take("mail_from", f"news@{bare_host}", _mail_from, ""),
        international_addresses=take("international_addresses", "no", _yes_or_no, False),
        lmtp=take("lmtp", "", _lmtp, None),
        imap=take("imap_url", "", lambda url: mailbox_from_url(url) if url else None, None),
        second_thoughts=take("second_thoughts", "10m", _second_thoughts, timedelta()),
        language=take("language", "fr", _language, "fr"),
        secret_file=Path(values.get("secret_file", str(directory / "secret"))).absolute(),
        trusted_proxies=take("trusted_proxies", "", _networks, ()),
        allow_addresses=take("allow_addresses", "", _networks, ()),
        ports=take("ports", "443", _ports, frozenset()),
        log=take("log", "info", _log, "info"),
        fail_at=take("fail_at", "", _fail_at, None) if is_loopback(bare_host) else None,
        metrics_token=take("metrics_token", "", _metrics_token, None),
    )
    if problems:
        raise SettingsError(problems)
    return settings


_NAMES = {
    "data",
    "base_url",
    "former_hosts",
    "account",
    "database_url",
    "smtp_url",
    "mail_rate",
    "uncertain",
    "mail_from",
    "international_addresses",
    "lmtp",
    "imap_url",
    "second_thoughts",
    "language",
    "secret_file",
    "trusted_proxies",
    "allow_addresses",
    "ports",
    "log",
    "fail_at",
    "metrics_token",
}


_COMMIT_POINT = re.compile(r"\w+\.[\w.]+:(before|after):[1-9]\d{0,5}")


def _wrong_limits(environ: Mapping[str, str]) -> Iterator[_Mistake]:
    """What is wrong with other values of limits, which were taken when their module was loaded."""
    known = vars(federation_limits) | vars(limits)
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT) or text == "":
            continue
        default = known.get(name.removeprefix(ENVIRONMENT))
        if default is None:
            yield name, "there is no such limit", {}
            continue
        try:
            read_limit(text, default)
        except ValueError:
            words = "is not a value of the kind that the limit has: 300, 0.5, 90s, 300/5m"
            yield name, words, {}


def _from_file(path: Path, problems: list[_Mistake]) -> dict[str, str]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        problems.append((str(path), "cannot be read: {reason}", {"reason": wrong}))
        return {}
    values = {}
    for name, value in found.items():
        key = name.lower().removeprefix("fediletter_")
        values[key] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return values


def _base_url(text: str) -> str:
    parts = urlsplit(text.rstrip("/"))
    host = parts.hostname
    _ = parts.port  # Raises ValueError when it is not a number.
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must be an address such as https://letters.example.org")
    if parts.path or parts.query or parts.fragment or parts.username:
        raise ValueError("must be only scheme and host, without a path")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https:// unless the host is this machine")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _account(text: str) -> tuple[str, str]:
    user, at, host = text.removeprefix("acct:").removeprefix("@").partition("@")
    if not at or not _USERNAME.fullmatch(user):
        raise ValueError("must look like shop@example.org, with letters, digits and _ before the @")
    if user.lower() in RESERVED_NAMES:
        raise ValueError("cannot be called {values}: that name has another meaning here", user)
    if not re.fullmatch(r"[a-z0-9.\-\[\]:]+", host.lower()):
        raise ValueError("must end in a host name")
    return user, host.lower()


def _database_url(text: str) -> str:
    if re.match(r"sqlite:////?[^/]", text):
        return text
    if text.startswith(("postgresql://", "postgresql+psycopg://")):
        return text
    raise ValueError("must begin with sqlite:/// or postgresql://")


def _smtp_url(text: str) -> str:
    if text.startswith("maildir:") and len(text) > len("maildir:"):
        return text
    relays = text.split()
    for relay in relays:
        parts = urlsplit(relay)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("must begin with smtp://, smtps:// or maildir:")
        _ = parts.port
    if not 1 <= len(relays) <= 2:
        raise ValueError("must be one relay, or two with a space between")
    return " ".join(relays)


def _ports(text: str) -> frozenset[int]:
    ports = re.split(r"[,\s]+", text.strip())
    if not all(re.fullmatch(r"[1-9]\d{0,4}", port) and int(port) < 65536 for port in ports):
        raise ValueError("must be ports such as 443, with commas between")
    return frozenset(map(int, ports))


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.lower() for part in re.split(r"[,\s]+", text.strip()) if part)
    if not all(re.fullmatch(r"[a-z0-9.-]+(:\d{1,5})?", host) for host in hosts):
        raise ValueError("must be hosts such as old.example.org, with spaces between")
    return hosts


def _mail_rates(text: str) -> tuple[MailRate, ...]:
    rates = [_RATE.fullmatch(part) for part in text.split()]
    found = [MailRate(int(one[1]), _SPANS[one[2]]) for one in rates if one]
    if len(found) != len(rates) or len({one.span for one in found}) != len(found):
        raise ValueError("must be such as 5/s 1000/h 10000/d, each at most once")
    return tuple(found)


def _uncertain(text: str) -> bool:
    if text not in ("again", "hold"):
        raise ValueError("must be again or hold")
    return text == "hold"


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("must be yes or no")
    return text == "yes"


def _mail_from(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not at or not re.fullmatch(r"[A-Za-z0-9.!#$&'*+/=?^_{|}~-]{1,64}", local):
        raise ValueError("must be one address such as news@example.org")
    if _PUBLIC_MAILBOXES.fullmatch(domain.lower()):
        raise ValueError(
            "letters cannot be sent from {values}: use an address of your own domain", domain
        )
    return f"{local}@{domain.lower()}"


def _lmtp(text: str) -> str | None:
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if text.startswith("/") or (colon and host and port.isdigit() and 0 < int(port) < 65536):
        return text
    raise ValueError("must be host:port, such as 127.0.0.1:24, or the path of a socket")


def _second_thoughts(text: str) -> timedelta:
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise ValueError("must be a time such as 10m, 90s, 2h or 0")
    span = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    if span > timedelta(hours=24):
        raise ValueError("must be 24h or less")
    return span


def _language(text: str) -> str:
    if text not in LANGUAGES:
        raise ValueError("must be one of {values}", *LANGUAGES)
    return text


def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(
        ipaddress.ip_network(part, strict=False)
        for part in re.split(r"[,\s]+", text.strip())
        if part
    )


def _log(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error")
    return text.lower()


def _fail_at(text: str) -> str | None:
    if text and not _COMMIT_POINT.fullmatch(text):
        raise ValueError("must look like publish._commit:before:1")
    return text or None


def _metrics_token(text: str) -> str | None:
    if text and not re.fullmatch(r"[A-Za-z0-9._~+/-]{20,200}", text):
        raise ValueError("must have 20 to 200 letters, digits or ._~+/-")
    return text or None
