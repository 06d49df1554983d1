"""Whoever plans a letter does so in the hours of their own place."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from fediletter.founders import people
from fediletter.words import time_zones, words
from storage import founders, posts
from tests.accounts import add_person
from tests.shop import EMAIL, PASSWORD, running_shop
from tests.web.browser import browser

SUMMER, WINTER = datetime(2031, 7, 8, 7, 30, tzinfo=UTC), datetime(2031, 1, 14, 8, 30, tzinfo=UTC)


async def account(shop, csrf, **fields):
    form = {"csrf": csrf, "name": "Ana", "language": "fr", "time_zone": "Europe/Paris"} | fields
    return await shop.post("/desk/account", **form)


async def plan(shop, csrf, post, at):
    return await shop.post(
        f"/desk/letters/{post.id}/publish",
        csrf=csrf,
        version=str(post.version),
        when="later",
        at=at,
    )


@pytest.mark.parametrize(
    ("typed", "leaves"), [("2031-01-14T09:30", WINTER), ("2031-07-08T09:30", SUMMER)]
)
async def test_an_hour_on_the_sheet_is_one_of_the_founders_place(shop, typed, leaves):
    csrf = await shop.log_in()
    post = await shop.draft("Plus tard")
    before = (await shop.client.get(f"/desk/letters/{post.id}/publish")).text
    assert "Heures de UTC." in before

    assert (await account(shop, csrf)).status_code == 303
    assert (await plan(shop, csrf, post, typed)).status_code == 303

    assert (await shop.services.store.read(posts.get_post, post.id)).scheduled_at == leaves
    sheet = (await shop.client.get(f"/desk/letters/{post.id}/publish")).text
    assert f'name="at" value="{typed}"' in sheet
    assert "Heures de Europe/Paris." in sheet
    home = (await shop.client.get("/desk")).text
    assert re.search(r"2031, 09:30</span>|2031, 09:30\b(?! TU)", home)


async def test_who_never_chose_plans_in_utc_and_is_told_so(shop):
    csrf = await shop.log_in()
    post = await shop.draft("Plus tard")

    assert (await plan(shop, csrf, post, "2031-01-14T08:30")).status_code == 303

    assert (await shop.services.store.read(posts.get_post, post.id)).scheduled_at == WINTER
    assert "08:30 TU" in (await shop.client.get("/desk")).text


async def test_each_person_has_hours_of_their_own(shop):
    other = await add_person(shop)
    csrf = await shop.log_in()

    await account(shop, csrf, time_zone="America/Montreal")

    everybody = await shop.services.store.read(founders.all_founders)
    assert {one.id: one.time_zone for one in everybody}[other] == ""
    assert 'value="America/Montreal"' in (await shop.client.get("/desk/account")).text


async def test_a_place_that_does_not_exist_is_refused_beside_its_field(shop):
    csrf = await shop.log_in()

    answer = await account(shop, csrf, time_zone="../etc/passwd")

    assert answer.status_code == 422
    assert 'id="p-time_zone"' in answer.text
    assert 'value="Ana"' in answer.text, "what was typed is kept"
    assert (await shop.services.store.read(founders.all_founders))[0].time_zone == ""


def test_every_place_offered_has_hours_in_both_languages():
    now = datetime.now(UTC)
    for place in time_zones():
        for language in ("fr", "en"):
            assert words(language).at(place).moment(now)
    assert words("en").at("America/New_York").moment(WINTER) == "January 14, 2031, 3:30\u202fAM"
    assert words("fr").at("Nowhere/Land").moment(WINTER) == "14 janvier 2031, 08:30 TU"


@pytest.mark.slow
async def test_the_browser_tells_its_place_when_the_password_is_chosen(tmp_path):
    async with running_shop(tmp_path / "shop", founder=False) as shop, browser() as chromium:
        now = datetime.now(UTC)
        token = await shop.services.store.write(
            people.create_setup_link, now=now - timedelta(minutes=1)
        )
        context = await chromium.new_context(base_url=shop.base_url, timezone_id="Europe/Lisbon")
        page = await context.new_page()
        await page.goto(f"/desk/setup/{token}")
        await page.fill("#email", EMAIL)
        for field in ("#password", "#again"):
            await page.fill(field, PASSWORD)
        await page.click("form button")
        await page.wait_for_url("**/desk")

        assert (await shop.services.store.read(founders.all_founders))[0].time_zone == (
            "Europe/Lisbon"
        )
        await context.close()
