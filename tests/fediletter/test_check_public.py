"""The doctor from outside: one-click, certificate, security.txt; and a letter that came."""

from dataclasses import replace
from datetime import datetime, timedelta
from email import message_from_bytes, policy

import httpx
import pytest

from federation.network import Network, NetworkPolicy
from fediletter.checks.public import public_findings
from fediletter.checks.way import noting_server, way_findings
from fediletter.words import words
from storage.newsletters import update_newsletter
from tests.fediletter.mail.test_dkim import signed_issue
from tests.fediletter.test_check_mail import colour
from tests.peers.certificates import make_certificates
from tests.shop import running_shop

PASSED = "Authentication-Results: mx.readers.test; spf=pass; dkim=pass; dmarc=pass\n"


@pytest.mark.rule("DO-7")
@pytest.mark.rule("DO-13")
@pytest.mark.rule("DO-16")
async def test_one_click_is_tried_through_the_public_address(shop):
    found = {one.name: one for one in await public_findings(shop.services)}

    assert colour(found["one-click"]) == "green"
    assert colour(found["security.txt"]) == "green"
    assert "https" not in found


@pytest.mark.rule("DO-7")
@pytest.mark.rule("DO-13")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(301, headers={"Location": "https://www.shop.test/"}), "redirect 301"),
        (httpx.Response(403, text="Are you human?"), "403"),
        (httpx.Response(200, text="ok", headers={"Set-Cookie": "a=b"}), "cookie"),
        ("a cookie at the page", "cookie"),
        (httpx.Response(200, html="<p>Are you human?</p>"), "HTML"),
    ],
)
async def test_a_proxy_that_asks_questions_breaks_one_click_and_is_named(shop, answer, reason):
    def proxy(request):
        if answer == "a cookie at the page":
            headers = {} if request.method == "POST" else {"Set-Cookie": "a=b"}
            return httpx.Response(200, text="ok", headers=headers)
        return answer if request.method == "POST" else httpx.Response(200)

    network = Network(NetworkPolicy("fediletter/tests"), transport=httpx.MockTransport(proxy))
    found = await public_findings(replace(shop.services, network=network))

    assert colour(found[0]) == "red"
    assert found[0].fields["reason"] == reason


@pytest.mark.rule("DO-7")
async def test_a_certificate_that_ends_soon_is_red(tmp_path, monkeypatch):
    certificates = make_certificates(tmp_path)  # Good for two days.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[0]))
    async with running_shop(tmp_path / "shop", workers=False, certificates=certificates) as shop:
        found = {one.name: one for one in await public_findings(shop.services)}
        assert colour(found["https"]) == "red"
        assert found["https"].fields["days"] in (1, 2)
        monkeypatch.setattr("fediletter.checks.public._CERTIFICATE_DAYS", 1)
        found = {one.name: one for one in await public_findings(shop.services)}
        assert colour(found["https"]) == "green"
        monkeypatch.delenv("SSL_CERT_FILE")
        found = {one.name: one for one in await public_findings(shop.services)}
        assert colour(found["https"]) == "red"  # Nobody vouches for it.


@pytest.mark.rule("DO-16")
@pytest.mark.parametrize("reply_to", ["", "ana+%shop@answers.test"])
async def test_security_txt_names_where_the_founders_read_and_does_not_expire(shop, reply_to):
    await shop.services.store.write(update_newsletter, reply_to=reply_to)
    now = shop.services.clock.now()

    answer = await shop.client.get("/.well-known/security.txt")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    contact, expires, languages, canonical = answer.text.splitlines()
    address = reply_to.replace("%", "%25").replace("+", "%2B")
    assert contact == f"Contact: mailto:{address or shop.settings.mail_from}"
    ahead = datetime.fromisoformat(expires.removeprefix("Expires: ")) - now
    assert timedelta(days=179) < ahead < timedelta(days=365)
    assert languages == "Preferred-Languages: en, fr"
    assert canonical == f"Canonical: {shop.base_url}/.well-known/security.txt"


@pytest.mark.rule("DO-16")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Contact: mailto:a@shop.test\nExpires: 2999-01-01T00:00:00Z\n", "green"),
        ("Contact: mailto:a@shop.test\nExpires: 2020-01-01T00:00:00Z\n", "amber"),
        ("Contact: mailto:a@shop.test\n", "amber"),
        ("Expires: 2999-01-01T00:00:00Z\n", "amber"),
    ],
)
async def test_security_txt_is_there_and_in_date(shop, text, expected):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=text))
    network = Network(NetworkPolicy("fediletter/tests"), transport=transport)
    found = await public_findings(replace(shop.services, network=network))

    assert colour(found[-1]) == expected


@pytest.mark.rule("DO-8")
@pytest.mark.rule("DO-11")
@pytest.mark.rule("DO-12")
@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(
    ("top", "said"),
    [
        (PASSED, {"fr": "", "en": ""}),
        ("", {"fr": "rien noté de SPF, DKIM, DMARC", "en": "noted nothing of SPF, DKIM, DMARC"}),
        (
            PASSED + "Return-Path: <x@mailer.example>\n",
            {"fr": "mailer.example", "en": "mailer.example"},
        ),
        (
            "Authentication-Results: mx.readers.test; spf=fail; dkim=pass; dmarc=pass\n",
            {"fr": "dit de SPF", "en": "says of SPF: fail"},
        ),
        (
            PASSED + "Received: from a by b; Tue, 24 Nov 2026 09:45:00 +0000\n",
            {"fr": "15 minutes", "en": "15 minutes away"},
        ),
        (
            PASSED + "Received: from a by b; Tue, 24 Nov 2026 09:29:10 +0000\n",
            {"fr": "50 secondes", "en": "50 seconds away"},
        ),
    ],
)
def test_a_received_letter_tells_what_its_way_did_to_it(top, said, language):
    message = message_from_bytes(top.encode() + signed_issue(), policy=policy.default)

    found = [
        words(language).gettext(one.fact, **one.fields)
        for one in way_findings(message, "shop.example", server=noting_server(message))
    ]

    assert len(found) == bool(said[language])
    assert said[language] in "".join(found)
