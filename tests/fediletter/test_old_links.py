"""Letters stay in mailboxes for years: their links outlive a move and a new key."""

import re
import secrets

import pytest

from storage.subscribers import find_subscriber, suppression_of
from tests.fediletter.sent import bounce_address, reader, sent_to
from tests.lmtp import hand_over, lmtp_address, report
from tests.shop import running_shop

ANA, BO = "ana@reader.test", "bo@reader.test"
OLD = "old.shop.test"


def links_of(shop, address):
    mail = next(one for one in shop.mailbox() if one.to == address)
    field = dict(mail.headers)["List-Unsubscribe"]
    return (
        re.search(r"/unsubscribe/[\w-]+", field)[0],
        re.search(r"/preferences/[\w-]+", mail.text)[0],
    )


@pytest.mark.rule("UN-2")
async def test_links_of_letters_sent_under_an_earlier_address_go_on_working_there(tmp_path):
    async with running_shop(tmp_path / "shop") as shop:
        await sent_to(shop, ANA, BO)
        leave, preferences = links_of(shop, ANA)

    async with running_shop(tmp_path / "shop", former_hosts=f"{OLD} older.test") as shop:
        old = {"Host": OLD}
        page = await shop.client.get(leave, headers=old)
        assert page.status_code == 200
        assert "<form" in page.text
        seen = await shop.client.get(preferences, headers=old)
        assert seen.status_code == 200
        strange = {"Host": OLD, "Origin": "https://evil.test"}
        assert (await shop.client.post(preferences, headers=strange)).status_code == 403

        click = await shop.client.post(
            leave, headers=old, data={"List-Unsubscribe": "One-Click"}
        )  # No cookie, no Origin, no redirect.
        assert (click.status_code, click.headers.get("location")) == (200, None)
        assert (await reader(shop, ANA)).state == "left"

        moved = await shop.client.get("/letters/du-lin?lang=en", headers=old)
        assert moved.status_code == 301
        assert moved.headers["location"] == f"{shop.base_url}/letters/du-lin?lang=en"
        assert (await shop.client.get(leave, headers={"Host": "other.test"})).status_code == 421
        assert (await shop.client.post("/subscribe", headers=old)).status_code == 421
        assert (await shop.client.get("/desk", headers=old)).status_code == 301


@pytest.mark.slow
@pytest.mark.rule("UN-2")
@pytest.mark.rule("EM-8")
@pytest.mark.rule("BO-2")
async def test_links_and_tags_signed_by_an_older_key_are_still_read(tmp_path):
    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        ids = await sent_to(shop, ANA, BO)
        leave, preferences = links_of(shop, ANA)
        tag = bounce_address(shop, ids[1])
        secret = shop.settings.secret_file
        old_hash = shop.services.tokens.hash_address(BO)
    secret.write_text(f"{secrets.token_hex(32)}\n{secret.read_text()}")  # The new one first.

    async with running_shop(tmp_path / "shop", lmtp=lmtp_address()) as shop:
        person = await shop.services.store.read(find_subscriber, ANA)
        fresh = shop.services.links.unsubscribe(shop.services.tokens.unsubscribe(person.key))
        assert not fresh.endswith(leave)
        assert (await shop.client.get(preferences)).status_code == 200
        assert (await shop.client.post(leave)).status_code == 200
        assert (await reader(shop, ANA)).state == "left"
        assert (await hand_over(shop, tag, report())).startswith("250")
        assert (await reader(shop, BO)).state == "suppressed"
        assert shop.services.tokens.hash_address(BO) == old_hash
        assert await shop.services.store.read(suppression_of, old_hash) == "gone"
        assert await shop.log_in()
