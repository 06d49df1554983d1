"""The toolbox: everything that touches the world, made once and handed down.

Frozen; made by `app.build_services`. `newsletter`, `rendering`, `founders`, `media` and `mail`
never see it: they take values.
"""

from collections import Counter
from dataclasses import dataclass, field

from federation.network import Network
from fediletter.clock import Clock
from fediletter.importing import Desk, folder_of
from fediletter.keyring import KeyRing
from fediletter.links import Links
from fediletter.mail.addresses import Address, parse_address, parse_international
from fediletter.mail.courier import Mailer
from fediletter.mail.domains import Domains
from fediletter.newsletter.alerts import House
from fediletter.newsletter.tokens import Tokens
from fediletter.sealing import Vault
from fediletter.settings import Settings
from fediletter.turns import Turns
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """What the edges work with."""

    settings: Settings
    store: Store
    network: Network
    mailer: Mailer
    domains: Domains
    vault: Vault
    tokens: Tokens
    keyring: KeyRing
    links: Links
    clock: Clock
    # What this process brought to an end: `letter`, `notice` or `fediverse`, and how.
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    turns: Turns = field(default_factory=Turns)


def house_of(services: Services) -> House:
    """What the rules of mail need of this installation."""
    return House(services.tokens, services.links, services.settings.mail_from)


def desk_of(services: Services) -> Desk:
    """What lists that come in need of this installation."""
    return Desk(
        services.store,
        services.tokens,
        folder_of(services.settings.data),
        services.settings.language,
    )


def reader_address(services: Services, text: str) -> Address:
    """An address to which letters shall go, as typed; whether in any script is a setting (TR-25).

    Raises:
        BadAddress: It is none, or one that our relay does not take.
    """
    is_open = services.settings.international_addresses
    return parse_international(text) if is_open else parse_address(text)
