"""Composed letters and our own DKIM keys, kept in memory while they are sent.

Sources: email.md SE-1, DK-1 to DK-4; TR-16.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from federation.keys import private_key
from fediletter.mail.compose import Template
from fediletter.mail.dkim import Canonical, DkimKey
from fediletter.outbound.digest import compose_variant
from fediletter.services import Services
from storage.dkim import keys_in_use
from storage.ids import MailingId
from storage.mailings import templates_of

_KEPT = 64  # Templates, of a few tens of kB each.
DKIM_PURPOSE = "dkim-key"  # Under which the private keys are sealed.


@dataclass(frozen=True, slots=True)
class Composed:
    """One template, and the same as it is signed."""

    template: Template
    canonical: Canonical


class Letters:
    """One for each process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: OrderedDict[tuple[MailingId, str], Composed] = OrderedDict()
        self._keys: tuple[DkimKey, ...] = ()
        self._selectors: tuple[str, ...] = ()
        self._domain = services.settings.mail_from.rpartition("@")[2]

    async def look_up_keys(self) -> None:
        """Sign from now on with what is in use: keys are changed while we run."""
        stored = await self._services.store.read(keys_in_use)
        selectors = tuple(one.selector for one in stored)
        if selectors != self._selectors:
            self._keys = tuple(
                DkimKey(
                    one.selector,
                    private_key(self._services.vault.open(one.sealed_private, DKIM_PURPOSE)),
                )
                for one in stored
            )
            self._selectors = selectors

    async def composed(self, mailing_id: MailingId, language: str, variant: int | None) -> Composed:
        """The letter in a reader's language; of a digest, with a reader's letters."""
        name = language if variant is None else f"{language}:{variant}"
        found = self._kept.get((mailing_id, name))
        if found is not None:
            self._kept.move_to_end((mailing_id, name))
            return found
        stored = await self._services.store.read(templates_of, mailing_id)
        raw = stored.get(name)
        if raw is None and variant is not None:
            raw = await compose_variant(self._services, mailing_id, language, variant, name)
        if raw is None:
            raw = next(iter(stored.values()))
        found = Composed(Template(raw), Canonical(raw))
        self._kept[mailing_id, name] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def filled(self, letter: Composed, values: Mapping[str, bytes], *, now: datetime) -> bytes:
        """One reader's message, signed if we sign."""
        signed = letter.canonical.signatures(values, domain=self._domain, keys=self._keys, now=now)
        return signed + letter.template.join(values)

    def signed(self, message: bytes, *, now: datetime) -> bytes:
        """A message that is complete already."""
        if not self._keys:
            return message
        made = Canonical(message).signatures({}, domain=self._domain, keys=self._keys, now=now)
        return made + message
