"""One-time codes of a telephone, and the recovery codes for the day it is lost.

Seeds are sealed; a code serves once, one step of thirty seconds early or late at most. Of recovery
codes only a keyed hash is kept.

Sources: RFC 6238; security.md WE-5, WE-19, L-63.
"""

import base64
import hmac
import secrets
from datetime import datetime
from hashlib import sha256

import pyotp

from fediletter.limits import RECOVERY_CODES
from fediletter.sealing import Vault
from storage import factors
from storage.ids import FounderId
from storage.store import Tx

_STEP_SECONDS = 30
_RECOVERY_BYTES = 10  # 80 bits


def new_seed() -> str:
    """A secret in base32, as telephones take it."""
    return pyotp.random_base32()


def seal(vault: Vault, founder_id: FounderId, seed: str) -> bytes:
    """The seed as it is stored: of no use for another person."""
    return vault.seal(seed.encode(), f"totp:{founder_id}")


def unseal(vault: Vault, founder_id: FounderId, sealed: bytes) -> str:
    """The seed again."""
    return vault.open(sealed, f"totp:{founder_id}").decode()


def step_of(seed: str, code: str, *, now: datetime) -> int | None:
    """The step that a code belongs to, a step early or late at most; None if to none."""
    plain = "".join(code.split())
    if not (plain.isascii() and plain.isdigit() and len(plain) == 6):
        return None
    codes = pyotp.TOTP(seed)
    step = int(now.timestamp()) // _STEP_SECONDS
    fitting = [
        one
        for one in (step - 1, step, step + 1)
        if hmac.compare_digest(codes.generate_otp(one), plain)
    ]
    return fitting[-1] if fitting else None


def use(tx: Tx, vault: Vault, founder_id: FounderId, code: str, *, now: datetime) -> str | None:
    """Use up a code: `code` of the telephone or `recovery`; None if it is neither."""
    sealed = factors.sealed_seed(tx, founder_id)
    if sealed is not None:
        step = step_of(unseal(vault, founder_id, sealed), code, now=now)
        if step is not None and factors.use_step(tx, founder_id, step):
            return "code"
    hashed = recovery_hash(vault, founder_id, code)
    return "recovery" if factors.use_recovery_code(tx, founder_id, hashed, now=now) else None


def new_recovery_codes(tx: Tx, vault: Vault, founder_id: FounderId) -> list[str]:
    """Ten new ones instead of all before, to be shown once."""
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    hashes = [recovery_hash(vault, founder_id, code) for code in codes]
    factors.set_recovery_codes(tx, founder_id, hashes)
    return codes


def recovery_hash(vault: Vault, founder_id: FounderId, code: str) -> bytes:
    """How a recovery code is stored: keyed, with whose it is."""
    plain = "".join(one for one in code.lower() if one.isalnum())
    key = vault.derive_all("recovery-codes")[-1]  # Codes outlive a newer key.
    return hmac.digest(key, f"{founder_id}:{plain}".encode(), sha256)


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def picture(seed: str, *, account: str, issuer: str) -> str:
    """The QR code for the telephone: an SVG element to stand in a page."""
    import segno  # noqa: PLC0415 (memory)

    address = pyotp.TOTP(seed).provisioning_uri(name=account, issuer_name=issuer)
    svg: str = segno.make(address, micro=False).svg_inline(
        border=4, dark="#000", light="#fff", svgclass=None, lineclass=None, omitsize=True
    )
    return svg
