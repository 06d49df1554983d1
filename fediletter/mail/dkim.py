"""DKIM signatures of our own: for who runs without a relay that signs.

A template is canonicalised once for each mailing, not once for each reader; per message its pieces
are joined, hashed and signed. Slot values hold no white space that relaxed canonicalisation would
change.

Pure: octets and keys in, header fields out; `now` is a parameter.

Sources: RFC 6376, 8301, 8463; email.md section 10 (DK-1 to DK-6), HD-20.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from federation.keys import PrivateKey, from_base58

_SLOT = re.compile(rb"\x00([a-z-]+)\x00")
# Named once more than they are there, so that nobody can add one (DK-3).
_OVERSIGNED = (
    b"from",
    b"to",
    b"subject",
    b"date",
    b"reply-to",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
)
_NAMES_IN_ROW, _ROW = 4, 72


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A private key and the name under which its record stands in DNS."""

    selector: str
    key: PrivateKey

    @property
    def algorithm(self) -> str:
        return "ed25519-sha256" if self.key.public.kind == "ed25519" else "rsa-sha256"


class Canonical:
    """A message, perhaps with slots, in the form that is signed (relaxed/relaxed).

    Args:
        raw: Header and body with CRLF line ends, not dot-stuffed.
    """

    def __init__(self, raw: bytes) -> None:
        head, _, body = raw.partition(b"\r\n\r\n")
        fields = [_relaxed_field(one) for one in re.split(rb"\r\n(?![ \t])", head)]
        self._head = _Pieces(b"\r\n".join(fields) + b"\r\n")
        self._body = _Pieces(_relaxed_body(body))
        names = [one.partition(b":")[0] for one in fields]
        self._names = [*names, *_OVERSIGNED]

    def signatures(
        self,
        values: Mapping[str, bytes],
        *,
        domain: str,
        keys: Sequence[DkimKey],
        now: datetime,
    ) -> bytes:
        """One DKIM-Signature field for each key, to stand before the message.

        Args:
            values: What fills the slots, as it stands in the message.
            domain: From's own domain, or a parent of it.
            keys: Signing keys; none makes no field.
            now: The time of signing.
        """
        if not keys:
            return b""
        head = self._head.join(values)
        hashed = base64.b64encode(sha256(self._body.join(values)).digest())
        return b"".join(self._signature(one, head, hashed, domain, now) for one in keys)

    def _signature(
        self, key: DkimKey, head: bytes, hashed: bytes, domain: str, now: datetime
    ) -> bytes:
        rows = [
            b":".join(self._names[at : at + _NAMES_IN_ROW])
            for at in range(0, len(self._names), _NAMES_IN_ROW)
        ]
        start = (
            f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={domain};\r\n"
            f" s={key.selector}; t={int(now.timestamp())};\r\n h="
        ).encode("ascii")
        unsigned = start + b":\r\n ".join(rows) + b";\r\n bh=" + hashed + b";\r\n b="
        data = head + _relaxed_field(b"DKIM-Signature: " + unsigned)
        signed = key.key.sign(
            sha256(data).digest() if key.algorithm == "ed25519-sha256" else data  # RFC 8463 §3
        )
        text = base64.b64encode(signed)
        value = b"\r\n ".join(text[at : at + _ROW] for at in range(0, len(text), _ROW))
        return b"DKIM-Signature: " + unsigned + value + b"\r\n"


def dns_record(key: PrivateKey) -> str:
    """What stands at `SELECTOR._domainkey.DOMAIN`, as one text."""
    public = key.public
    if public.kind == "ed25519":
        raw = from_base58(public.text[1:])[2:]  # Multibase letter and multicodec (RFC 8463 §4).
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode('ascii')}"
    lines = [line for line in public.text.splitlines() if not line.startswith("-")]
    return f"v=DKIM1; k=rsa; p={''.join(lines)}"


class _Pieces:
    """Constant octets with slots between."""

    def __init__(self, raw: bytes) -> None:
        parts = _SLOT.split(raw)
        self._pieces = parts[0::2]
        self._slots = [name.decode("ascii") for name in parts[1::2]]

    def join(self, values: Mapping[str, bytes]) -> bytes:
        parts = [self._pieces[0]]
        for name, piece in zip(self._slots, self._pieces[1:], strict=True):
            parts += (values[name], piece)
        return b"".join(parts)


def _relaxed_field(field: bytes) -> bytes:
    """Name in lower case, one line, no spare white space (RFC 6376 §3.4.2)."""
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t\r\n]+", b" ", value).strip(b" ")


def _relaxed_body(body: bytes) -> bytes:
    """No white space before a line's end, no empty lines at the end (RFC 6376 §3.4.4)."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)
