"""Passkeys: a key that a device keeps and shows after it has seen its owner (WebAuthn).

The device verifies the person (fingerprint, face, PIN), so a passkey is worth password and code
together. Challenges are kept on the server, serve once, and belong to one attempt; the origin
must be ours, and the count of uses must not go back. The library is loaded when somebody uses one:
it is large, and most days nobody does.

Sources: W3C Web Authentication Level 2; security.md WE-5.
"""

import hmac
import ipaddress
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from urllib.parse import urlsplit

from fediletter.sealing import Vault
from storage import factors
from storage.errors import Conflict
from storage.factors import Passkey
from storage.founders import Founder
from storage.ids import FounderId
from storage.store import Tx

CHALLENGE_BYTES = 32
_LARGEST = 16 << 10  # Octets of what a browser answers.


class Unfit(Exception):
    """What the browser answered does not count."""


@dataclass(frozen=True, slots=True)
class House:
    """Whose passkeys they are: the site that browsers bind them to."""

    base_url: str
    vault: Vault

    @property
    def rp_id(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def can(self) -> bool:
        """Browsers take names of hosts, no addresses."""
        try:
            ipaddress.ip_address(self.rp_id)
        except ValueError:
            return True
        return False

    def handle(self, founder_id: FounderId) -> bytes:
        """A person's name in the device: opaque, the same each time."""
        return hmac.digest(self.vault.derive("passkey-user"), str(founder_id).encode(), sha256)


def new_challenge() -> bytes:
    """Random; for one answer."""
    return secrets.token_bytes(CHALLENGE_BYTES)


def options_to_add(
    house: House, person: Founder, known: list[Passkey], challenge: bytes, *, site: str
) -> str:
    """What the browser needs to make one, as JSON."""
    import webauthn  # noqa: PLC0415 (memory)
    from webauthn.helpers import structs  # noqa: PLC0415 (the same)

    options = webauthn.generate_registration_options(
        rp_id=house.rp_id,
        rp_name=site,
        user_id=house.handle(person.id),
        user_name=person.email,
        user_display_name=person.name or person.email,
        challenge=challenge,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[
            structs.PublicKeyCredentialDescriptor(id=one.credential_id) for one in known
        ],
    )
    return webauthn.options_to_json(options)


def options_to_show(house: House, allowed: list[Passkey], challenge: bytes) -> str:
    """What the browser needs to show one, as JSON; empty `allowed`: any that it has of ours."""
    import webauthn  # noqa: PLC0415 (memory)
    from webauthn.helpers import structs  # noqa: PLC0415 (the same)

    options = webauthn.generate_authentication_options(
        rp_id=house.rp_id,
        challenge=challenge,
        allow_credentials=[
            structs.PublicKeyCredentialDescriptor(id=one.credential_id) for one in allowed
        ],
        user_verification=structs.UserVerificationRequirement.REQUIRED,
    )
    return webauthn.options_to_json(options)


def add(
    tx: Tx,
    house: House,
    founder_id: FounderId,
    answer: str,
    challenge: bytes,
    *,
    label: str,
    now: datetime,
) -> None:
    """Keep a new passkey. Raises Unfit."""
    import webauthn  # noqa: PLC0415 (memory)

    refusals: tuple[type[Exception], ...] = (*_refusals(), Conflict)
    try:
        found = webauthn.verify_registration_response(
            credential=_parsed(answer),
            expected_challenge=challenge,
            expected_rp_id=house.rp_id,
            expected_origin=house.base_url,
            require_user_verification=True,
        )
        factors.add_passkey(
            tx,
            founder_id,
            credential_id=found.credential_id,
            public_key=found.credential_public_key,
            sign_count=found.sign_count,
            label=label,
            now=now,
        )
    except refusals as wrong:
        raise Unfit(str(wrong)) from wrong


def show(
    tx: Tx,
    house: House,
    answer: str,
    challenge: bytes,
    *,
    of: FounderId | None,
    now: datetime,
) -> FounderId:
    """Whose passkey was shown; it must be `of` that person, if somebody is expected. Raises Unfit.

    A browser that was told which passkeys to look for need not name the person.
    """
    import webauthn  # noqa: PLC0415 (memory)

    credential = _parsed(answer)
    try:
        known = factors.passkey_by_credential(
            tx, webauthn.base64url_to_bytes(str(credential.get("id")))
        )
        if known is None:
            raise Unfit("no passkey of ours")
        found = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=house.rp_id,
            expected_origin=house.base_url,
            credential_public_key=known.public_key,
            credential_current_sign_count=known.sign_count,
            require_user_verification=True,
        )
        handle = webauthn.helpers.parse_authentication_credential_json(
            credential
        ).response.user_handle
    except _refusals() as wrong:
        raise Unfit(str(wrong)) from wrong
    expected = house.handle(known.founder_id) if handle or of is None else b""
    if not hmac.compare_digest(handle or b"", expected) or of not in (None, known.founder_id):
        raise Unfit("a passkey of somebody else")
    factors.use_passkey(tx, known.id, sign_count=found.new_sign_count, now=now)
    return known.founder_id


def _refusals() -> tuple[type[Exception], ...]:
    """What the library raises for what is not as it should be, and for what is no answer at all."""
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415 (memory)

    return WebAuthnException, ValueError, LookupError, TypeError, AttributeError, OverflowError


def _parsed(answer: str) -> dict[str, object]:
    if len(answer) > _LARGEST:
        raise Unfit("too large")
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as wrong:
        raise Unfit("no JSON") from wrong
    if not isinstance(found, dict):
        raise Unfit("no object")
    return found
