"""What founders and readers type, tried as other headers: by real HTTP in, by real SMTP out."""

import email
from email import policy

import pytest

from tests.fediletter.dump import dump
from tests.fediletter.mail.sink import Sink
from tests.fediletter.test_cli import run
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until

ENCODED = "=?utf-8?q?x=0D=0ABcc:_eve=40evil.test?="  # CPython 3.11.7 makes a Bcc line of it.
LINES = ("Du lin\r\nBcc: eve@evil.test", "Du lin\nBcc: eve@evil.test", "Du\u2028lin")
SIGNS = (ENCODED, "Du =? lin", "Du\x00lin", "Du\x9blin", "\u202enil uD", "Du\u2066lin")


@pytest.mark.rule("EM-1")
@pytest.mark.rule("EM-2")
@pytest.mark.parametrize("title", [*LINES, *SIGNS])
async def test_a_title_that_could_become_a_header_is_refused_at_its_field(shop, title):
    csrf = await shop.log_in()
    before = await shop.services.store.read(dump)
    letter = {"title": title, "body": "Bonjour.", "summary": "x", "language": "fr"}

    for action in ("save", "publish"):
        answer = await shop.post("/desk/letters", csrf=csrf, version="0", action=action, **letter)
        assert answer.status_code == 422
        assert "un courriel ne peut pas porter" in answer.text

    assert await shop.services.store.read(dump) == before


@pytest.mark.rule("EM-1")
@pytest.mark.rule("EM-2")
@pytest.mark.parametrize("field", ["title", "sender_name"])
@pytest.mark.parametrize("name", SIGNS)
async def test_a_name_that_could_become_a_header_is_refused_at_its_field(shop, field, name):
    csrf = await shop.log_in()
    before = await shop.services.store.read(dump)

    form = {"title": "Atelier", "sender_name": "Ana", "language": "fr", field: name}
    answer = await shop.post("/desk/settings", csrf=csrf, **form)

    assert answer.status_code == 422
    assert f'id="p-{field}"' in answer.text
    assert await shop.services.store.read(dump) == before


@pytest.mark.rule("EM-1")
def test_a_newsletter_is_not_installed_under_such_a_name(tmp_path):
    found = run("--data", str(tmp_path / "x"), "init", "--title", ENCODED)

    assert found.returncode == 2
    assert "a mail cannot carry" in found.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.rule("EM-1")
@pytest.mark.rule("EM-17")
async def test_what_only_looks_like_a_header_is_a_title_and_a_name_on_the_wire(tmp_path):
    sink = Sink()
    async with (
        sink.running(),
        running_shop(tmp_path / "shop", smtp_url=f"smtp://127.0.0.1:{sink.port}") as shop,
    ):
        csrf = await shop.log_in()
        name = 'Ana, "la" Rivière; Bcc: <eve>'
        form = {"title": "Atelier: Bcc: eve", "sender_name": name, "language": "fr"}
        assert (await shop.post("/desk/settings", csrf=csrf, **form)).status_code == 303
        await add_active(shop, "ana@readers.test")
        await shop.client.post("/subscribe", data={"email": "bo@readers.test", "language": "en"})
        title = "Bcc: eve@evil.test, \u00ab\u00a0lin\u00a0\u00bb 🧵 (été) %0d%0aBcc: eve"
        await shop.publish(title)
        await until(lambda: len(sink.messages) == 2)

    assert sorted(sink.recipients) == ["ana@readers.test", "bo@readers.test"]
    parsed = [email.message_from_bytes(raw, policy=policy.default) for _, raw in sink.messages]
    assert {str(one["Subject"]) for one in parsed} == {
        title,
        "Confirm your address for Atelier: Bcc: eve",
    }
    for one in parsed:
        assert one["Bcc"] is None
        assert one["Cc"] is None
        assert [(box.display_name, box.addr_spec) for box in one["From"].addresses] == [
            (name, "news@shop.test")
        ]
        assert len(one["To"].addresses) == 1
        assert not any(part.defects for part in one.walk())
