"""Letters through a real mail server: Postfix takes them over SMTP, the mailbox holds them."""

import re
import secrets
from pathlib import Path

import pytest

from storage import progress
from storage.posts import post_by_slug
from tests.peers.postfix import running_postfix
from tests.shop import running_shop, until


async def test_a_letter_goes_through_postfix_into_the_mailbox(tmp_path: Path):
    async with (
        running_postfix() as postfix,
        running_shop(tmp_path / "shop", smtp_url=postfix.url) as shop,
    ):
        await shop.client.post("/subscribe", data={"email": "ana@readers.test"})
        await until(lambda: len(postfix.mailbox()) == 1)
        confirmation = postfix.mailbox()[0]
        link = re.search(r"/confirm/[\w-]+", confirmation.get_content())[0]
        await shop.client.post(link, headers={"Origin": shop.base_url})

        await shop.publish("Été : l’atelier « déménage »", "Bonjour **lin**.\n\n.\n\nFrom ici")
        await until(lambda: len(postfix.mailbox()) == 2)

        letter = postfix.mailbox()[1]
        assert letter["Subject"] == "Été : l’atelier « déménage »"
        assert letter["To"] == "ana@readers.test"
        assert re.fullmatch(r"<bounce\+[a-z2-7]{29}@shop\.test>", letter["Return-Path"])
        assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        text = letter.get_body(("plain",)).get_content()
        assert "Bonjour *lin*." in text
        assert "\n.\n" in text
        assert "From ici" in text
        assert "<strong>lin</strong>" in letter.get_body(("html",)).get_content()
        one_click = re.search(r"<(http[^>]+)>", letter["List-Unsubscribe"])[1]
        answer = await shop.client.post(one_click, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200


@pytest.mark.slow
@pytest.mark.rule("RE-4")
async def test_what_the_relay_refuses_is_told_apart_and_holds_nobody_up(tmp_path: Path):
    async with (
        running_postfix() as postfix,
        running_shop(tmp_path / "shop", smtp_url=postfix.url) as shop,
    ):
        await add_active(shop, "unknown@readers.test", "slow@readers.test")
        await add_active(shop, *(f"reader{n}@readers.test" for n in range(40)))
        await shop.publish("Du lin", "Bonjour")
        await until(lambda: len(postfix.mailbox()) == 40)
        post = await shop.services.store.read(post_by_slug, "du-lin")

        async def settled():
            found = await shop.services.store.read(progress.progress_of, post.id)
            return (found.mail.delivered, found.mail.failed, found.mail.waiting) == (40, 1, 1)

        await until(settled)
        found = await shop.services.store.read(progress.progress_of, post.id)
        assert "no such reader" in found.refusals[0].answer


async def add_active(shop, *addresses):
    from datetime import UTC, datetime

    from storage.subscribers import add_subscriber

    def work(tx):
        for address in addresses:
            add_subscriber(
                tx,
                key=secrets.token_bytes(10),
                email=address,
                identity=address,
                state="active",
                language="fr",
                source="import",
                now=datetime.now(UTC),
            )

    await shop.services.store.write(work)
