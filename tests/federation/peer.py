"""A peer for tests: its own keys, its own documents, signing by either scheme."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from federation.digests import content_digest_header, digest_header, sha256_base64
from federation.inbox import InboxRequest
from federation.keys import Ed25519PrivateKey, RsaPrivateKey, Signer
from federation.origins import parse_url
from federation.signatures import cavage, rfc9421

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TYPE = "application/activity+json"
RSA = RsaPrivateKey.generate()
OTHER_RSA = RsaPrivateKey.generate()
ED25519 = Ed25519PrivateKey.generate()


@dataclass
class Peer:
    """An actor elsewhere."""

    id: str = "https://m.example/users/ana"
    key: RsaPrivateKey = field(default_factory=lambda: RSA)

    @property
    def signer(self) -> Signer:
        return Signer(f"{self.id}#main-key", self.key)

    def document(self) -> dict:
        return {
            "@context": ["https://www.w3.org/ns/activitystreams", "https://w3id.org/security/v1"],
            "id": self.id,
            "type": "Person",
            "preferredUsername": "ana",
            "name": "Ana",
            "inbox": f"{self.id}/inbox",
            "publicKey": {
                "id": f"{self.id}#main-key",
                "owner": self.id,
                "publicKeyPem": self.key.public.text,
            },
        }

    def headers(self, url: str, body: bytes, *, now=NOW, scheme="cavage") -> dict[str, str]:
        digest = sha256_base64(body)
        target = parse_url(url)
        if scheme == "cavage":
            return cavage.sign_post(
                target,
                digest=digest_header(digest),
                content_type=TYPE,
                signer=self.signer,
                now=now,
            )
        return rfc9421.sign_post(
            target,
            content_digest=content_digest_header(digest),
            content_type=TYPE,
            signer=self.signer,
            now=now,
        )

    def request(self, url: str, activity: dict | bytes, *, now=NOW, scheme="cavage", **changes):
        """A signed request; `changes` replace or (None) drop header fields after signing."""
        body = activity if isinstance(activity, bytes) else json.dumps(activity).encode()
        fields = self.headers(url, body, now=now, scheme=scheme)
        for name, value in changes.items():
            fields[name.replace("_", "-").title()] = value
        target = parse_url(url).target
        headers = tuple(
            (name.lower(), value) for name, value in fields.items() if value is not None
        )
        return InboxRequest("POST", target, headers, body)


def follow(actor: str = "https://m.example/users/ana", **changes) -> dict:
    return {
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": "https://m.example/4f0c",
        "type": "Follow",
        "actor": actor,
        "object": "https://shop.example/ap/shop",
    } | changes
