"""Draft-cavage-12, the signature that every ActivityPub server takes.

Signing covers what the strictest peers demand and nothing that proxies rewrite. Verifying accepts
the habits of all senders seen: `hs2019` over RSA-SHA256, `(created)`, a missing `algorithm`, a
query string left out.

Sources: draft-cavage-http-signatures-12 §2; federation.md 7.1, 7.2, 7.4; security.md IN-1 to IN-6.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from federation.digests import check_digest
from federation.errors import BadRequest, NotProven
from federation.keys import PublicKey, Signer
from federation.origins import Url
from federation.signatures.request import (
    InboxRequest,
    check_life,
    check_moment,
    moment_of_date,
    moment_of_seconds,
)

_PARAMETER = re.compile(r'\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^\s",]+))\s*(?:,|$)')
_ALGORITHMS = frozenset({"rsa-sha256", "hs2019", "ed25519"})


@dataclass(frozen=True, slots=True)
class CavageClaim:
    """A signature that is complete and fresh, not yet checked against a key.

    `texts` are the signing strings that may be meant, the literal one first.
    """

    key_id: str
    signature: bytes
    texts: tuple[bytes, ...]

    def is_by(self, key: PublicKey) -> bool:
        """Whether this key made the signature."""
        return any(key.verify(self.signature, text) for text in self.texts)


def sign_post(
    url: Url, *, digest: str, content_type: str, signer: Signer, now: datetime
) -> dict[str, str]:
    """Header fields of a signed POST.

    Args:
        url: Of the inbox.
        digest: The whole `Digest` value: `SHA-256=…`.
        content_type: As it will be sent.
        signer: Key and its id.
        now: The time of this attempt.
    """
    date = format_datetime(now, usegmt=True)
    text = (
        f"(request-target): post {url.target}\nhost: {url.authority}\ndate: {date}\n"
        f"digest: {digest}\ncontent-type: {content_type}"
    )
    return {
        "Host": url.authority,
        "Date": date,
        "Digest": digest,
        "Content-Type": content_type,
        "Signature": _header(signer, "(request-target) host date digest content-type", text),
    }


def sign_get(
    url: Url, *, signer: Signer, now: datetime, target: str | None = None
) -> dict[str, str]:
    """Header fields of a signed GET.

    Args:
        url: To be fetched.
        signer: Key and its id.
        now: The time of this attempt.
        target: Signed instead of the URL's path and query: some peers verify the path alone.
    """
    date = format_datetime(now, usegmt=True)
    signed = url.target if target is None else target
    text = f"(request-target): get {signed}\nhost: {url.authority}\ndate: {date}"
    return {
        "Host": url.authority,
        "Date": date,
        "Signature": _header(signer, "(request-target) host date", text),
    }


def _header(signer: Signer, covered: str, text: str) -> str:
    signature = base64.b64encode(signer.key.sign(text.encode("ascii"))).decode("ascii")
    return (
        f'keyId="{signer.key_id}",algorithm="rsa-sha256",headers="{covered}",'
        f'signature="{signature}"'
    )


def examine(request: InboxRequest, *, hosts: frozenset[str], now: datetime) -> CavageClaim:
    """Check everything about a signature that needs no key.

    Args:
        request: As received.
        hosts: Hosts under which we are reached, as in the Host header.
        now: The time.

    Raises:
        BadRequest: The header cannot be parsed.
        NotProven: Nothing signed, too little covered, stale, for another host, or the body differs.
    """
    fields = _parameters(request)
    covered = (fields.get("headers") or _default_cover(fields)).lower().split()
    _check_cover(request, fields, covered, hosts, now)
    # Fedify and others sign the path alone (V09); what of a query is signed must be as received.
    path, _, query = request.target.partition("?")
    targets = (request.target, path) if query else (request.target,)
    texts = tuple(_text(request, fields, covered, target) for target in targets)
    try:
        signature = base64.b64decode(fields["signature"], validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise BadRequest("signature is not base64") from wrong
    return CavageClaim(fields["keyid"], signature, tuple(dict.fromkeys(texts)))


def _parameters(request: InboxRequest) -> dict[str, str]:
    header = request.header("signature")
    if header is None:
        authorization = request.header("authorization") or ""
        if not authorization.lower().startswith("signature "):
            raise NotProven("no signature")
        header = authorization
    if header.lower().startswith("signature "):
        header = header[len("signature ") :]
    fields: dict[str, str] = {}
    place = 0
    while place < len(header):
        found = _PARAMETER.match(header, place)
        if not found:
            raise BadRequest("malformed Signature")
        name = found[1].lower()
        if name in fields:
            raise BadRequest("a parameter of Signature is repeated")
        fields[name] = found[2] if found[2] is not None else found[3]
        place = found.end()
    if "keyid" not in fields or "signature" not in fields:
        raise BadRequest("Signature lacks keyId or signature")
    if fields.get("algorithm", "hs2019").lower() not in _ALGORITHMS:
        raise NotProven("an algorithm that is not accepted")
    return fields


def _default_cover(fields: dict[str, str]) -> str:
    return "(created)" if "created" in fields else "date"


def _check_cover(
    request: InboxRequest,
    fields: dict[str, str],
    covered: list[str],
    hosts: frozenset[str],
    now: datetime,
) -> None:
    if "(request-target)" not in covered or "host" not in covered:
        raise NotProven("request-target and host must be covered")
    if len(set(covered)) != len(covered):
        raise BadRequest("a field is covered twice")
    host = request.header("host")
    if host is None or host.lower() not in hosts:
        raise NotProven("made for another host")
    _check_time(request, fields, covered, now)
    if request.method == "POST":
        digest = request.header("digest")
        if "digest" not in covered or digest is None:
            raise NotProven("digest must be present and covered")
        check_digest(digest, request.body)


def _check_time(
    request: InboxRequest, fields: dict[str, str], covered: list[str], now: datetime
) -> None:
    created = moment_of_seconds(fields["created"]) if "created" in fields else None
    expires = moment_of_seconds(fields["expires"]) if "expires" in fields else None
    check_life(created, expires, now)
    date = request.header("date")
    if "date" in covered and date is not None:
        check_moment(moment_of_date(date), now)
    elif not ("(created)" in covered and created is not None):
        raise NotProven("date or created must be covered")


def _text(request: InboxRequest, fields: dict[str, str], covered: list[str], target: str) -> bytes:
    special: dict[str, Callable[[], str | None]] = {
        "(request-target)": lambda: f"{request.method.lower()} {target}",
        "(created)": lambda: fields.get("created"),
        "(expires)": lambda: fields.get("expires"),
    }
    lines = []
    for name in covered:
        value = special[name]() if name in special else request.header(name)
        if value is None:
            raise NotProven("a covered field is absent")
        lines.append(f"{name}: {value}")
    return "\n".join(lines).encode("latin-1", "replace")
