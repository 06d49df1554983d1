"""The desk's delivery view: what waits, why, and the two buttons."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from fediletter.outbound import publish as publishing
from storage import progress
from storage.schema import delivery
from storage.times import to_ms
from tests.shop import running_shop, until


async def published_to_readers(shop):
    for name in ("ana@one.example", "bo@two.example"):
        await shop.subscribe(name)
    post = await shop.draft("Du lin", "Bonjour.")
    await publishing.publish(shop.services, post.id, version=post.version)

    async def recorded():  # The mail is there a moment before its answer is.
        found = await shop.services.store.read(progress.progress_of, post.id)
        return found.finished and found.mail.delivered == 2

    await until(recorded)
    return post


async def hold_back(shop, state: str) -> None:
    later = to_ms(datetime.now(UTC) + timedelta(hours=4))

    def work(tx):
        tx.execute(
            sa.update(delivery)
            .where(delivery.c.mailing_id.is_not(None))
            .values(state=state, not_before=later, attempts=1, answer="451 come back later")
        )

    await shop.services.store.write(work)


@pytest.mark.rule("RE-4")
async def test_a_domain_that_waits_is_shown_with_its_reason_and_can_be_given_up(tmp_path):
    async with running_shop(tmp_path / "shop") as shop:
        post = await published_to_readers(shop)
        csrf = await shop.log_in()
        await hold_back(shop, "waiting")
        path = f"/desk/letters/{post.id}"

        view = (await shop.client.get(f"{path}/delivery")).text

        assert "Lecteurs chez one.example" in view
        assert "451 come back later" in view
        assert re.search(r'<noscript><meta http-equiv="refresh"', view), "moves without a script"
        answer = await shop.post(f"{path}/lane", csrf=csrf, domain="one.example", action="give-up")
        assert answer.status_code == 303
        state = (await shop.client.get(f"{path}/delivery.json")).json()
        assert (state["mail"]["failed"], state["mail"]["waiting"]) == (1, 1)
        before = len(shop.mailbox())
        await shop.post(f"{path}/lane", csrf=csrf, domain="two.example", action="now")
        await until(lambda: len(shop.mailbox()) == before + 1)
        final = await shop.client.get(f"{path}/delivery")
        assert "abandonné depuis le bureau" in final.text


@pytest.mark.rule("RE-6")
async def test_letters_in_doubt_are_listed_for_the_founder(shop):
    post = await published_to_readers(shop)
    await shop.log_in()
    await hold_back(shop, "uncertain")

    view = (await shop.client.get(f"/desk/letters/{post.id}/delivery")).text

    assert "ana@one.example" in view
    assert "ana@one.example" in view
