"""HTTP Message Signatures, RFC 9421, in the profile that ActivityPub servers use.

One signature, RSASSA-PKCS1-v1_5 with SHA-256 or Ed25519, over `@method`, `@target-uri` and, with a
body, `content-digest`. The target URI that we verify is built from our configured hosts and the
raw request line, never from what a proxy says about itself.

Sources: RFC 9421 §2, §3; RFC 8941; federation.md 7.3, 7.4; security.md IN-1 to IN-6.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from federation.digests import check_content_digest
from federation.errors import BadRequest, NotProven
from federation.keys import PublicKey, Signer
from federation.origins import Url
from federation.signatures.request import InboxRequest, check_life, moment_of_seconds

_LABEL = "sig1"
_MEMBER = re.compile(
    r'\s*([a-z*][a-z0-9_.*-]*)=(\((?:\s*"[^"\\]*"(?:;[a-z]+)*)*\s*\)'
    r'(?:;[a-z]+=(?:"[^"\\]*"|-?\d{1,15}))*)\s*(?:,|$)'
)
_SIGNATURE = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*(?:,|$)")
_COMPONENT = re.compile(r'"([^"\\]*)"((?:;[a-z]+)*)')
_PARAMETER = re.compile(r';([a-z]+)=(?:"([^"\\]*)"|(-?\d+))')
_ALGORITHMS = frozenset({"rsa-v1_5-sha256", "ed25519"})


@dataclass(frozen=True, slots=True)
class MessageClaim:
    """A signature that is complete and fresh, not yet checked against a key."""

    key_id: str
    signature: bytes
    texts: tuple[bytes, ...]

    def is_by(self, key: PublicKey) -> bool:
        """Whether this key made the signature."""
        return any(key.verify(self.signature, text) for text in self.texts)


def sign_post(
    url: Url, *, content_digest: str, content_type: str, signer: Signer, now: datetime
) -> dict[str, str]:
    """Header fields of a signed POST.

    Args:
        url: Of the inbox.
        content_digest: The whole `Content-Digest` value.
        content_type: As it will be sent.
        signer: Key and its id.
        now: The time of this attempt.
    """
    covered = ("@method", "@target-uri", "content-digest")
    values = ("POST", str(url), content_digest)
    return {
        "Host": url.authority,
        "Content-Type": content_type,
        "Content-Digest": content_digest,
        **_sign(covered, values, signer, now),
    }


def sign_get(url: Url, *, signer: Signer, now: datetime) -> dict[str, str]:
    """Header fields of a signed GET."""
    return {
        "Host": url.authority,
        **_sign(("@method", "@target-uri"), ("GET", str(url)), signer, now),
    }


def _sign(
    covered: tuple[str, ...], values: tuple[str, ...], signer: Signer, now: datetime
) -> dict[str, str]:
    names = " ".join(f'"{name}"' for name in covered)
    parameters = (
        f'({names});created={int(now.timestamp())};keyid="{signer.key_id}";alg="rsa-v1_5-sha256"'
    )
    lines = [f'"{name}": {value}' for name, value in zip(covered, values, strict=True)]
    text = "\n".join([*lines, f'"@signature-params": {parameters}'])
    signature = base64.b64encode(signer.key.sign(text.encode("ascii"))).decode("ascii")
    return {
        "Signature-Input": f"{_LABEL}={parameters}",
        "Signature": f"{_LABEL}=:{signature}:",
    }


def examine(
    request: InboxRequest, *, hosts: frozenset[str], schemes: tuple[str, ...], now: datetime
) -> MessageClaim:
    """Check everything about a signature that needs no key.

    Args:
        request: As received.
        hosts: Hosts under which we are reached, as in the Host header.
        schemes: URL schemes under which we are reached: `https`, in laboratories also `http`.
        now: The time.

    Raises:
        BadRequest: The header fields cannot be parsed.
        NotProven: Nothing signed, too little covered, stale, for another host, or the body differs.
    """
    member, signature = _the_signature(request)
    components, parameters = _parse_member(member)
    if "created" not in parameters or "keyid" not in parameters:
        raise NotProven("created and keyid are needed")
    if parameters.get("alg", "rsa-v1_5-sha256") not in _ALGORITHMS:
        raise NotProven("an algorithm that is not accepted")
    expires = parameters.get("expires")
    check_life(
        moment_of_seconds(parameters["created"]),
        moment_of_seconds(expires) if expires is not None else None,
        now,
    )
    _check_cover(request, components, hosts)
    texts = [_text(request, components, member, scheme) for scheme in schemes]
    return MessageClaim(parameters["keyid"], signature, tuple(dict.fromkeys(texts)))


def _the_signature(request: InboxRequest) -> tuple[str, bytes]:
    inputs = _dictionary(_MEMBER, request.header("signature-input") or "")
    signatures = _dictionary(_SIGNATURE, request.header("signature") or "")
    if len(inputs) != 1 or inputs.keys() - signatures.keys():
        raise BadRequest("exactly one signature is expected")
    ((label, member),) = inputs.items()
    try:
        return member, base64.b64decode(signatures[label], validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise BadRequest("signature is not base64") from wrong


def _dictionary(pattern: re.Pattern[str], text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        member = pattern.match(text, place)
        if not member or member[1] in found:
            raise BadRequest("malformed signature fields")
        found[member[1]] = member[2]
        place = member.end()
    return found


def _parse_member(member: str) -> tuple[list[str], dict[str, str]]:
    inside, _, rest = member[1:].partition(")")
    components = []
    for found in _COMPONENT.finditer(inside):
        if found[2]:
            raise NotProven("component parameters are not accepted")
        components.append(found[1])
    if len(set(components)) != len(components):
        raise BadRequest("a component is covered twice")
    parameters: dict[str, str] = {}
    for found in _PARAMETER.finditer(rest):
        if found[1] in parameters:
            raise BadRequest("a parameter is repeated")
        parameters[found[1]] = found[2] if found[2] is not None else found[3]
    return components, parameters


def _check_cover(request: InboxRequest, components: list[str], hosts: frozenset[str]) -> None:
    covered = set(components)
    whole = "@target-uri" in covered or {"@path", "@authority"} <= covered
    if "@method" not in covered or not whole:
        raise NotProven("method and target must be covered")
    host = request.header("host")
    if host is None or host.lower() not in hosts:
        raise NotProven("made for another host")
    if request.method == "POST":
        digest = request.header("content-digest")
        if "content-digest" not in covered or digest is None:
            raise NotProven("content-digest must be present and covered")
        check_content_digest(digest, request.body)


def _text(request: InboxRequest, components: list[str], member: str, scheme: str) -> bytes:
    host = (request.header("host") or "").lower()
    path, mark, query = request.target.partition("?")
    derived: dict[str, Callable[[], str]] = {
        "@method": lambda: request.method,
        "@target-uri": lambda: f"{scheme}://{host}{request.target}",
        "@authority": lambda: host,
        "@scheme": lambda: scheme,
        "@path": lambda: path,
        "@query": lambda: mark + query or "?",
        "@request-target": lambda: request.target,
    }
    lines = []
    for name in components:
        value = derived[name]() if name in derived else request.header(name)
        if value is None:
            raise NotProven("a covered field is absent")
        lines.append(f'"{name}": {value}')
    lines.append(f'"@signature-params": {member}')
    return "\n".join(lines).encode("latin-1", "replace")
