"""Domains that take mail and those that do not, asked of a name server of our own."""

import pytest

from fediletter.clock import SystemClock
from fediletter.mail.dns import NoAnswer
from fediletter.mail.domains import KnownDomains


class _Names:
    """Answers as a resolver does."""

    def __init__(self):
        self.asked = []

    async def mx(self, name):
        self.asked.append(name)
        if name == "silent.example":
            raise NoAnswer(name)
        return {"mx.example": ["mail.mx.example"], "null.example": [""]}.get(name, [])

    async def addresses(self, name):
        return ["192.0.2.1"] if name == "bare.example" else []


@pytest.mark.rule("OP-1")
@pytest.mark.parametrize(
    ("domain", "takes"),
    [
        ("mx.example", True),
        ("bare.example", True),
        ("null.example", False),
        ("nothing.example", False),
        ("silent.example", None),
    ],
)
async def test_a_domain_takes_mail_by_mx_or_address_and_not_by_a_null_mx(domain, takes):
    names = _Names()
    known = KnownDomains(names, SystemClock())

    assert await known.takes_mail(domain) is takes
    assert await known.takes_mail(domain) is takes

    assert len(names.asked) == (2 if takes is None else 1)
