"""Private keys as PEM, so that another program can speak and sign as this newsletter."""

from cryptography.hazmat.primitives import serialization

from fediletter.keyring import KeyRing
from fediletter.outbound.letters import DKIM_PURPOSE
from fediletter.sealing import Vault
from storage import dkim
from storage.store import Store


async def key_files(store: Store, keyring: KeyRing, vault: Vault) -> dict[str, bytes]:
    """Each of our keys, unencrypted (PKCS#8 as PEM, RFC 7468), by the name of its file."""
    found = {
        f"{own.row.username}-{kind}.pem": _pem(signer.key.to_bytes())
        for own in await keyring.all()
        for kind, signer in (("rsa", own.rsa), ("ed25519", own.ed25519))
    }
    for key in await store.read(dkim.all_keys):
        found[f"dkim-{key.selector}.pem"] = _pem(vault.open(key.sealed_private, DKIM_PURPOSE))
    return found


def _pem(der: bytes) -> bytes:
    return serialization.load_der_private_key(der, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
