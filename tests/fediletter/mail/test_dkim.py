"""Our own signatures, judged by dkimpy: every kind of mail, every field altered once."""

import re
import sys
import types
from datetime import UTC, datetime

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from federation.keys import Ed25519PrivateKey, RsaPrivateKey
from fediletter.mail.compose import compose_issue, slot_values
from fediletter.mail.dkim import Canonical, DkimKey, dns_record
from tests.fediletter.mail.test_compose import letter, plain, reader

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
RSA, ED = RsaPrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = (DkimKey("fl-2026a", RSA), DkimKey("fl-2026b", ED))
RECORDS = {
    f"{one.selector}._domainkey.shop.example.".encode(): dns_record(one.key).encode()
    for one in KEYS
}


@pytest.fixture(autouse=True)
def ed25519_for_dkimpy(monkeypatch):
    """Dkimpy borrows this one primitive from PyNaCl, which is not installed here."""

    class VerifyKey:
        def __init__(self, text, encoder):
            self._key = Ed25519PublicKey.from_public_bytes(encoder.decode(text))

        def verify(self, message, signature):
            try:
                self._key.verify(signature, message)
            except InvalidSignature as wrong:
                raise ValueError from wrong

    import base64

    encoder = types.SimpleNamespace(decode=base64.b64decode)
    nacl = types.SimpleNamespace(
        signing=types.SimpleNamespace(VerifyKey=VerifyKey),
        encoding=types.SimpleNamespace(Base64Encoder=encoder),
        exceptions=types.SimpleNamespace(BadSignatureError=ValueError),
    )
    monkeypatch.setitem(sys.modules, "nacl", nacl)
    monkeypatch.setattr(dkim, "nacl", nacl, raising=False)


def verified(message: bytes, *, signature: int = 0) -> bool:
    try:
        return dkim.DKIM(message).verify(
            idx=signature, dnsfunc=lambda name, timeout=5: RECORDS.get(name)
        )
    except dkim.DKIMException:
        return False


def signed_issue(**changes) -> bytes:
    template = compose_issue(letter(leave_by_mail=True, **changes))
    values = slot_values(reader())
    canonical = Canonical(template.to_bytes())
    fields = canonical.signatures(values, domain="shop.example", keys=KEYS, now=NOW)
    return fields + template.join(values)


def signed_plain(**changes) -> bytes:
    message = plain(**changes)
    return Canonical(message).signatures({}, domain="shop.example", keys=KEYS, now=NOW) + message


KINDS = {
    "issue": signed_issue,
    "digest": lambda: signed_issue(automatic=True, archived_at=""),
    "test": lambda: signed_issue(subject="[Test] Été"),
    "odd body": lambda: signed_issue(
        text="a  b\t c \n\n\n . \nFrom x\n\n\n\n", html="<p> é </p>\n\n"
    ),
    "confirmation": signed_plain,
    "alert": lambda: signed_plain(subject="Attention : " + "très " * 25, text="x\n\n\n"),
}


@pytest.mark.rule("DK-2")
@pytest.mark.rule("DK-4")
@pytest.mark.rule("DK-6")
@pytest.mark.rule("HD-20")
@pytest.mark.parametrize("kind", KINDS)
def test_both_signatures_of_every_kind_of_mail_are_good(kind):
    message = KINDS[kind]()

    assert message.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;")
    assert verified(message, signature=0)
    assert verified(message, signature=1)
    assert b" l=" not in message.partition(b"\r\n\r\n")[0]


@pytest.mark.rule("DK-3")
@pytest.mark.rule("DK-6")
@pytest.mark.parametrize("kind", ["issue", "confirmation"])
def test_a_change_of_any_field_or_of_the_body_spoils_both(kind):
    message = KINDS[kind]()
    head, _, body = message.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    names = {field.partition(b":")[0] for field in fields[2:]}
    assert {b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Content-Type"} < names

    for at, field in enumerate(fields[2:], start=2):
        name, _, value = field.partition(b":")
        for changed in (name + b":" + value + b"x", None):
            others = [*fields[:at], *([changed] if changed else []), *fields[at + 1 :]]
            altered = b"\r\n".join(others) + b"\r\n\r\n" + body
            assert not verified(altered), name
            assert not verified(altered, signature=1), name
    assert not verified(head + b"\r\n\r\n" + body.replace(b"Bonjour", b"Bonsoir"))
    assert not verified(message + b"more\r\n")


@pytest.mark.rule("DK-3")
@pytest.mark.parametrize(
    "added",
    [
        b"From: eve@evil.test",
        b"Subject: other",
        b"Reply-To: eve@evil.test",
        b"List-Unsubscribe: <https://evil.test/>",
        b"To: eve@evil.test",
        b"Date: Tue, 24 Nov 2026 09:30:00 +0000",
        b"List-Unsubscribe-Post: x",
    ],
)
def test_no_second_field_can_be_added(added):
    assert not verified(added + b"\r\n" + signed_issue())
    head, _, body = signed_issue().partition(b"\r\n\r\n")
    assert not verified(head + b"\r\n" + added + b"\r\n\r\n" + body)


@pytest.mark.rule("DK-1")
def test_both_list_fields_that_one_click_needs_are_signed():
    head = signed_issue().partition(b"\r\n\r\n")[0]

    (names,) = set(re.findall(rb";h=([^;]+);", head.replace(b"\r\n ", b"")))
    assert {b"list-unsubscribe", b"list-unsubscribe-post"} <= set(names.split(b":"))


@pytest.mark.rule("DK-4")
def test_what_a_relay_may_do_to_white_space_changes_nothing():
    head, _, body = signed_issue().partition(b"\r\n\r\n")
    loosened = head.replace(b"\r\nTo: ", b"\r\nTO:   ").replace(
        b"Precedence: bulk", b"precedence: bulk "
    )

    assert loosened != head
    assert verified(loosened + b"\r\n\r\n" + body + b"\r\n\r\n")


@pytest.mark.rule("SE-6")
def test_signature_lines_are_short_and_ascii():
    head = signed_issue().partition(b"\r\n\r\n")[0]
    own = head[: head.index(b"\r\nDate:")]

    assert max(map(len, own.split(b"\r\n"))) <= 78
    assert all(octet < 128 for octet in own)
