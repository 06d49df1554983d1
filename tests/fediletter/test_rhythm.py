"""The promise of a rhythm holds at every door, and is told wherever readers look."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fediletter.clock import SystemClock
from fediletter.installation import open_store
from fediletter.newsletter.rhythm import PromiseBroken
from fediletter.outbound import publish as publishing
from fediletter.settings import load
from storage import posts
from storage.newsletters import update_newsletter
from tests.fediletter.test_cli import run
from tests.postgres import new_database
from tests.shop import running_shop

ENGLISH = {"Accept-Language": "en"}
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Calendar(SystemClock):
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.day = NOON

    def now(self) -> datetime:
        return self.day


@pytest.fixture
def calendar():
    return Calendar()


@pytest.fixture
async def shop(tmp_path, calendar):
    """A shop that promised at most one letter every fourteen days."""
    async with running_shop(tmp_path / "shop", workers=False, clock=calendar) as running:
        await running.services.store.write(update_newsletter, rhythm_days=14)
        yield running


async def scheduled(shop, at, *, reason="", title="Plus tard"):
    post = await shop.draft(title)
    await publishing.schedule(shop.services, post.id, at=at, version=post.version, reason=reason)
    return post


async def state(shop, post):
    return (await shop.services.store.read(posts.get_post, post.id)).state


async def test_a_second_letter_waits_for_its_day(shop, calendar):
    await shop.publish("Une")
    early = await shop.draft("Deux")
    calendar.day += timedelta(days=13, hours=11)
    with pytest.raises(PromiseBroken):
        await publishing.publish(shop.services, early.id, version=early.version)
    assert await state(shop, early) == "draft"

    calendar.day = NOON + timedelta(days=13, hours=12, seconds=1)
    await publishing.publish(shop.services, early.id, version=early.version)

    assert await state(shop, early) == "published"


async def test_with_a_reason_it_leaves_and_the_reason_stands_with_it(shop):
    await shop.publish("Une")
    post = await shop.draft("Deux")
    reason = "Le lin est en retard."
    done = await publishing.publish(shop.services, post.id, version=post.version, reason=reason)

    front = (await shop.client.get("/", headers=ENGLISH)).text
    letter = (await shop.client.get(done.url, headers=ENGLISH)).text
    for page in (front, letter):
        assert f"Sooner than promised: {reason}" in page
        assert "At most one letter every 14 days. Last broken on" in page


async def test_a_reason_that_is_not_needed_is_not_kept(shop):
    post = await shop.draft("Une")
    await publishing.publish(shop.services, post.id, version=post.version, reason="Parce que")

    kept = await shop.services.store.read(posts.get_post, post.id)
    assert kept.rhythm_reason == ""
    for path in ("/", "/privacy", "/subscribe", "/letters/une", "/agenda", "/topics/x"):
        page = (await shop.client.get(path, headers=ENGLISH)).text
        assert ("We have kept to it so far." in page) is (path != "/topics/x"), path


async def test_planned_letters_count_both_ways(shop, calendar):
    planned = await scheduled(shop, NOON + timedelta(days=20))
    now = await shop.draft("Maintenant")
    for at in (NOON + timedelta(days=10), NOON + timedelta(days=33)):
        with pytest.raises(PromiseBroken):
            await scheduled(shop, at, title=f"Trop près {at.day}")
    await scheduled(shop, NOON + timedelta(days=34), title="Assez loin")
    await publishing.publish(shop.services, now.id, version=now.version)
    calendar.day += timedelta(days=20)

    await publishing.publish_due(shop.services)

    assert await state(shop, planned) == "published"


async def test_a_planned_letter_with_its_reason_stands_in_the_way_of_later_ones_alone(
    shop, calendar
):
    first = await scheduled(shop, NOON + timedelta(days=10))
    fair = await scheduled(shop, NOON + timedelta(days=13), reason="La foire.")
    await shop.services.store.write(posts.unschedule, first.id)
    with pytest.raises(PromiseBroken):
        await scheduled(shop, NOON + timedelta(days=26), title="Trop près")
    await publishing.schedule(
        shop.services, first.id, at=NOON + timedelta(days=10), version=first.version
    )
    calendar.day += timedelta(days=13)

    await publishing.publish_due(shop.services)

    kept = await shop.services.store.read(posts.get_post, fair.id)
    assert (kept.state, kept.rhythm_reason) == ("published", "La foire.")


async def settings_form(shop, csrf, days):
    form = {"csrf": csrf, "title": "Atelier Rivière", "language": "fr", "rhythm_days": str(days)}
    return await shop.post("/desk/settings", **form)


@pytest.mark.parametrize("weaker", [13, 0])
async def test_a_promise_is_made_weaker_only_after_the_last_letter_kept_it(shop, calendar, weaker):
    csrf = await shop.log_in()
    assert (await settings_form(shop, csrf, 13)).status_code == 303, "no letter made it yet"
    assert (await settings_form(shop, csrf, 14)).status_code == 303
    await shop.publish("Une")
    early = await shop.draft("Deux")
    calendar.day += timedelta(days=13, hours=11)
    csrf = await shop.log_in()

    refused = await settings_form(shop, csrf, weaker)
    with pytest.raises(PromiseBroken):
        await publishing.publish(shop.services, early.id, version=early.version)
    assert refused.status_code == 422
    assert "elle vaut jusqu’au 8 décembre 2026" in refused.text
    assert f'value="{weaker}" aria-invalid="true" aria-describedby="p-rhythm_days"' in refused.text
    assert (await settings_form(shop, csrf, 20)).status_code == 303, "stricter is always free"
    calendar.day = NOON + timedelta(days=20)
    csrf = await shop.log_in()
    assert (await settings_form(shop, csrf, weaker)).status_code == 303


async def test_the_desk_shows_planned_letters_that_a_newer_promise_holds_back(shop, calendar):
    await shop.services.store.write(update_newsletter, rhythm_days=0)
    await shop.publish("Une")
    planned = await scheduled(shop, NOON + timedelta(days=3))
    csrf = await shop.log_in()
    assert "Plus tôt que promis" not in (await shop.client.get("/desk")).text

    saved = await settings_form(shop, csrf, 14)
    assert (
        "Une lettre prévue vient plus tôt"
        in (await shop.client.get(saved.headers["location"])).text
    )
    assert "Plus tôt que promis" in (await shop.client.get("/desk")).text
    sheet = (await shop.client.get(f"/desk/letters/{planned.id}/publish")).text
    assert 'value="later" checked' in sheet
    assert 'value="2026-11-27T12:00"' in sheet
    form = {"csrf": csrf, "version": str(planned.version), "when": "later"}
    form |= {"at": "2026-11-27T12:00", "rhythm_reason": "La foire de Lille."}
    assert (await shop.post(f"/desk/letters/{planned.id}/publish", **form)).status_code == 303
    assert "Plus tôt que promis" not in (await shop.client.get("/desk")).text
    calendar.day += timedelta(days=3)
    await publishing.publish_due(shop.services)

    assert await state(shop, planned) == "published"


async def test_a_planned_letter_that_breaks_a_promise_made_since_is_a_draft_again(shop, calendar):
    await shop.services.store.write(update_newsletter, rhythm_days=0)
    await shop.publish("Une")
    planned = await scheduled(shop, NOON + timedelta(days=3))
    await shop.services.store.write(update_newsletter, rhythm_days=14)
    calendar.day += timedelta(days=3)

    await publishing.publish_due(shop.services)

    assert await state(shop, planned) == "draft"


async def test_edits_and_notes_do_not_count_and_a_withdrawn_letter_does(shop):
    post = await shop.draft("Une")
    await publishing.publish(shop.services, post.id, version=post.version)
    draft = posts.Draft("Une, corrigée", "", "Mieux.", "fr")
    await publishing.revise(shop.services, post.id, draft, [], version=post.version)
    await publishing.withdraw(shop.services, post.id)

    with pytest.raises(PromiseBroken):
        await shop.publish("Deux")


async def test_the_sheet_asks_for_the_reason_and_keeps_what_was_chosen(shop):
    csrf = await shop.log_in()
    await shop.publish("Une")
    post = await shop.draft("Deux")
    path = f"/desk/letters/{post.id}/publish"
    assert "Promesse aux lecteurs" in (await shop.client.get(path)).text
    form = {"csrf": csrf, "version": str(post.version), "when": "now", "rhythm_reason": "  "}

    refused = await shop.post(path, **form)
    assert refused.status_code == 422
    assert 'id="p-rhythm_reason"' in refused.text
    assert await state(shop, post) == "draft"

    at = f"{NOON + timedelta(days=5):%Y-%m-%dT%H:%M}"
    refused = await shop.post(path, **(form | {"when": "later", "at": at}))
    assert refused.status_code == 422
    assert f'value="{at}"' in refused.text

    done = await shop.post(path, **(form | {"rhythm_reason": "La foire de Lille."}))
    assert done.status_code == 303
    assert await state(shop, post) == "published"


async def test_the_mail_says_the_promise_in_both_its_parts(tmp_path, calendar):
    async with running_shop(tmp_path / "shop", clock=calendar) as shop:
        await shop.services.store.write(update_newsletter, rhythm_days=14)
        await shop.subscribe("ana@example.org", language="en")
        await shop.publish("Une", "Bonjour")
        post = await shop.draft("Deux")
        await publishing.publish(
            shop.services, post.id, version=post.version, reason="La foire de Lille."
        )
        mails = {mail.subject: mail for mail in await shop.mail_to("ana@example.org", count=3)}

    first, second = mails.pop("Une"), mails.pop("Deux")
    (asked,) = mails.values()
    flat = [" ".join(part.split()) for part in (first.text, first.html, second.text, second.html)]
    assert all("At most one letter every 14 days." in part for part in flat)
    assert all("We have kept to it so far." in part for part in flat[:2])
    assert all("This one comes sooner: La foire de Lille." in part for part in flat[2:])
    assert "We have kept to it so far." in " ".join(asked.text.split())


@pytest.mark.slow
def test_the_command_line_is_held_to_it_too(tmp_path):
    data = ("--data", str(tmp_path / "data"))
    assert run(*data, "init").returncode == 0
    store = open_store(load({}, data=tmp_path / "data"))
    asyncio.run(store.write(update_newsletter, rhythm_days=14))
    store.close()
    for name in ("une", "deux"):
        text = f"---\ntitle: {name}\nsummary: S\n---\nBonjour"
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    first = run(*data, "publish", str(tmp_path / "une.md"))
    assert first.returncode == 0, first.stderr

    refused = run(*data, "publish", str(tmp_path / "deux.md"))

    assert refused.returncode == 1
    assert "break the promise" in refused.stderr
    done = run(*data, "publish", str(tmp_path / "deux.md"), "--reason", "La foire.")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/letters/deux"), "the refused one left no draft"


@pytest.mark.slow
async def test_the_promise_holds_on_postgresql_too(tmp_path, calendar, postgres_url):
    url = new_database(postgres_url)
    async with running_shop(
        tmp_path / "shop", workers=False, clock=calendar, database_url=url
    ) as shop:
        await shop.services.store.write(update_newsletter, rhythm_days=14)
        drafts = [await shop.draft(f"Lettre {at}") for at in range(4)]

        done = await asyncio.gather(
            *(publishing.publish(shop.services, one.id, version=one.version) for one in drafts),
            return_exceptions=True,
        )

        assert sum(isinstance(one, publishing.Published) for one in done) == 1, done
        assert sum(isinstance(one, PromiseBroken) for one in done) == 3, done
        front = (await shop.client.get("/", headers=ENGLISH)).text
        assert front.count("We have kept to it so far.") == 2
