"""Leaving: each row of the table in email.md section 7, by a plain HTTP client."""

import http.client
import re
from datetime import UTC, datetime, timedelta

import pytest

from fediletter.newsletter.subscribers import undo_leave
from storage import subscribers
from storage.farewells import forget_subscriber
from tests.fediletter.dump import dump, settled
from tests.fediletter.readers import consents, person, preference_link, unsubscribe_link
from tests.fediletter.test_digest import Calendar
from tests.shop import running_shop

ONE_CLICK = b"List-Unsubscribe=One-Click"
MULTIPART = (
    b'--b0undary\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\n'
    b"One-Click\r\n--b0undary--\r\n"
)


@pytest.fixture
async def link(shop):
    await shop.subscribe("ana@example.org")
    await settled(shop)
    return await unsubscribe_link(shop, "ana@example.org")


@pytest.mark.rule("EM-8")
@pytest.mark.rule("UN-3")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_no_look_at_the_page_changes_anything(shop, link, method):
    before = await shop.services.store.read(dump)

    for headers in ({}, {"Purpose": "prefetch"}, {"User-Agent": "scanner", "Range": "bytes=0-9"}):
        answer = await shop.client.request(method, link, headers=headers)
        assert answer.status_code == 200

    assert await shop.services.store.read(dump) == before
    page = (await shop.client.get(link)).text
    assert "<script" not in page
    assert page.count("<form") == 1
    assert "/preferences/" in page
    assert "ana@example.org" not in page


@pytest.mark.rule("UN-1")
@pytest.mark.rule("UN-2")
@pytest.mark.parametrize(
    ("body", "kind", "chunked"),
    [
        (ONE_CLICK, "application/x-www-form-urlencoded", False),
        (ONE_CLICK, "application/x-www-form-urlencoded", True),
        (MULTIPART, "multipart/form-data; boundary=b0undary", False),
        (MULTIPART, "multipart/form-data; boundary=b0undary", True),
        (b"", "", False),
        (b"{}", "application/json", False),
        (b"nonsense", "multipart/form-data; boundary=other", False),
        (b"x=1&x=2&leave=&leave=", "application/x-www-form-urlencoded", False),
    ],
)
async def test_every_post_of_a_provider_leaves_without_cookie_origin_or_redirect(
    shop, link, body, kind, chunked
):
    host = shop.base_url.removeprefix("http://")

    def post() -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(host, timeout=10)
        headers = {"Content-Type": kind} if kind else {}
        connection.request(
            "POST", link, iter([body]) if chunked else body, headers, encode_chunked=chunked
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    import asyncio

    for _ in range(2):
        answer = await asyncio.to_thread(post)
        assert answer.status == 200
        assert answer.headers["Set-Cookie"] is None
        assert answer.headers["Location"] is None
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await person(shop, "ana@example.org")).state == "left"
    assert [kind for kind, _ in await consents(shop, "ana@example.org")].count("left") == 1


@pytest.mark.rule("UN-4")
@pytest.mark.rule("RE-1")
async def test_leaving_is_durable_before_the_answer_and_no_farewell_follows(shop, link):
    before = len(shop.mailbox())

    await shop.client.post(link, content=ONE_CLICK)

    one = await person(shop, "ana@example.org")
    hashed = shop.services.tokens.hash_address(one.identity)
    assert await shop.services.store.read(subscribers.suppression_of, hashed) == "left"
    await shop.publish()
    await shop.subscribe("bo@example.org")
    await settled(shop)
    assert [mail.to for mail in shop.mailbox()].count("ana@example.org") == before


@pytest.mark.rule("UN-4")
@pytest.mark.rule("UN-9")
async def test_the_page_says_the_same_of_who_is_there_who_has_left_and_who_is_erased(shop, link):
    here = await shop.client.get(link)
    first = await shop.post(link, leave="yes")
    left = await shop.client.get(link)
    before = await shop.services.store.read(dump)
    second = await shop.post(link, leave="yes")
    assert await shop.services.store.read(dump) == before
    one = await person(shop, "ana@example.org")
    await shop.services.store.write(forget_subscriber, one.id)
    erased = await shop.client.get(link, headers={"Accept-Language": "fr"})

    assert (here.status_code, here.text) == (left.status_code, left.text)
    assert (first.status_code, first.text) == (second.status_code, second.text)
    assert erased.status_code == 200
    assert (
        re.sub(r'<p><a href="[^"]*/preferences/[^>]*>[^<]*</a></p>', "", here.text) == erased.text
    )


async def test_the_button_leaves_and_its_page_offers_to_undo(shop, link):
    page = await shop.post(link, leave="yes")

    assert page.status_code == 200
    assert 'name="undo"' in page.text
    assert (await person(shop, "ana@example.org")).state == "left"


@pytest.mark.rule("BO-9")
@pytest.mark.rule("UN-7")
async def test_undo_does_not_lift_a_complaint(shop, link):
    await shop.post(link, leave="yes")
    hashed = shop.services.tokens.hash_address("ana@example.org")
    now = shop.services.clock.now()
    await shop.services.store.write(subscribers.suppress, hashed, "complaint", now=now)

    await shop.post(link, undo="yes")

    assert (await person(shop, "ana@example.org")).state == "left"
    assert await shop.services.store.read(subscribers.suppression_of, hashed) == "complaint"


@pytest.mark.rule("UN-7")
async def test_undo_restores_the_topics_for_a_day_and_not_for_longer(shop):
    await shop.publish("Sujets", "x", topics=["Lin", "Cuir"], to_email=False)
    await shop.subscribe("ana@example.org", topics=["cuir"])
    link = await unsubscribe_link(shop, "ana@example.org")
    await shop.client.post(link, content=ONE_CLICK)

    await shop.post(link, undo="yes")

    one = await person(shop, "ana@example.org")
    assert one.state == "active"
    assert await shop.services.store.read(subscribers.topics_of, one.id) == ("cuir",)
    hashed = shop.services.tokens.hash_address(one.identity)
    assert await shop.services.store.read(subscribers.suppression_of, hashed) is None

    await shop.client.post(link, content=ONE_CLICK)
    for hours, undone in ((25, False), (23, True)):
        late = datetime.now(UTC) + timedelta(hours=hours)
        tokens = shop.services.tokens
        work = shop.services.store.write(undo_leave, one.key, tokens, channel="page", now=late)
        assert await work is undone


@pytest.mark.rule("EM-9")
@pytest.mark.rule("UN-8")
@pytest.mark.rule("UN-10")
async def test_only_an_authentic_token_is_answered_and_punctuation_is_forgiven(shop, link):
    before = await shop.services.store.read(dump)
    forged = link[:-1] + ("A" if link[-1] != "A" else "B")
    other = (await preference_link(shop, "ana@example.org")).replace("preferences", "unsubscribe")
    for wrong in (
        forged,
        other,
        "/unsubscribe/x",
        f"{link}/x",
        "/unsubscribe/%00",
        "/unsubscribe/",
    ):
        for answer in (await shop.client.get(wrong), await shop.client.post(wrong, content=b"")):
            assert answer.status_code == 404, wrong
    assert await shop.services.store.read(dump) == before

    for copied in (f"{link}.", f"{link}),", f"{link}>", f"{link}/", f"{link}="):
        answer = await shop.client.get(copied)
        assert (answer.status_code, len(answer.history)) == (200, 0), copied


async def test_a_token_of_somebody_who_is_gone_gets_the_same_texts(shop, link):
    from storage.farewells import forget_subscriber

    one = await person(shop, "ana@example.org")
    first = await shop.client.post(link, content=ONE_CLICK)
    await shop.services.store.write(forget_subscriber, one.id)
    before = await shop.services.store.read(dump)

    again = await shop.client.post(link, content=ONE_CLICK)

    assert (again.status_code, again.text) == (first.status_code, first.text)
    assert (await shop.client.get(link)).status_code == 200
    assert await shop.services.store.read(dump) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused_with_those_that_are_not(shop, link, method):
    before = await shop.services.store.read(dump)

    answer = await shop.client.request(method, link)

    assert answer.status_code == 405
    assert {"GET", "HEAD", "OPTIONS", "POST"} <= set(re.split(r", *", answer.headers["allow"]))
    assert await shop.services.store.read(dump) == before


@pytest.mark.rule("EM-9")
@pytest.mark.rule("UN-1")
async def test_who_guesses_at_links_is_told_the_same_each_time_and_then_to_wait(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("fediletter.web.serving.guard.PAGES_PER_CALLER", (3, timedelta(minutes=5)))
    async with running_shop(tmp_path / "shop", trusted_proxies="127.0.0.1") as shop:
        await shop.subscribe("ana@example.org")
        link = await unsubscribe_link(shop, "ana@example.org")

        async def guess(path, number, caller, **form):
            headers = {"X-Forwarded-For": caller, "Origin": shop.base_url}
            token = f"{number:0>36}"
            return await shop.client.post(f"{path}/{token}", data=form, headers=headers)

        for at, path in enumerate(("/preferences", "/data", "/confirm", "/stay", "/showing"), 1):
            answers = [await guess(path, number, f"198.51.100.{at}") for number in range(4)]
            assert [one.status_code for one in answers] == [404, 404, 404, 429], path
            assert len({one.text for one in answers[:3]}) == 1
        providers = [await guess("/unsubscribe", number, "198.51.100.9") for number in range(5)]
        assert {one.status_code for one in providers} == {404}
        for _ in range(5):
            answer = await shop.client.post(
                link, content=ONE_CLICK, headers={"X-Forwarded-For": "198.51.100.9"}
            )
            assert answer.status_code == 200


@pytest.mark.rule("UN-5")
@pytest.mark.rule("UN-7")
async def test_who_left_everything_keeps_some_subjects_by_one_press_on_the_page(tmp_path):
    clock = Calendar()
    async with running_shop(tmp_path / "shop", clock=clock) as shop:
        await shop.publish("Sujets", "x", topics=["Lin", "Cuir"], to_email=False)
        await shop.subscribe("ana@example.org", topics=["cuir", "lin"])
        link = await unsubscribe_link(shop, "ana@example.org")
        left = await shop.post(link, leave="yes")
        choices = re.search(r'href="[^"]*(/preferences/[\w-]+)"', left.text)[1]

        page = (await shop.client.get(choices)).text
        assert page.count(" checked") == 5  # Both subjects; rhythm, language, no pause.
        assert "Pendant un jour" in page
        saved = await shop.post(choices, topics="lin", rhythm="every", language="fr")

        assert saved.status_code == 200
        one = await person(shop, "ana@example.org")
        assert one.state == "active"
        assert await shop.services.store.read(subscribers.topics_of, one.id) == ("lin",)
        kinds = [kind for kind, _ in await consents(shop, "ana@example.org")]
        assert kinds[-3:] == ["left", "undone", "topics changed"]
        await shop.publish("Cuir", "x", topics=["Cuir"])
        await shop.publish("Lin", "x", topics=["Lin"])
        subjects = {mail.subject for mail in await shop.mail_to("ana@example.org", count=2)}
        assert "Lin" in subjects
        assert "Cuir" not in subjects

        await shop.post(link, leave="yes")
        undone = await shop.post(link, undo="yes")
        assert choices in undone.text
        await shop.post(link, leave="yes")
        clock.ahead = timedelta(hours=25)
        assert "/subscribe" in (await shop.client.get(choices)).text
        late = await shop.post(choices, topics="lin")
        assert late.status_code == 410
        assert (await person(shop, "ana@example.org")).state == "left"


@pytest.mark.rule("PR-9")
async def test_token_pages_are_kept_by_nobody_and_point_nowhere_else(shop, link):
    for path in (link, await preference_link(shop, "ana@example.org")):
        answer = await shop.client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-robots-tag"] == "noindex"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers
        linked = re.findall(r'(?:href|src|action)="(https?://[^"]+)"', answer.text)
        assert all(url.startswith(shop.base_url) for url in linked)


@pytest.mark.slow
@pytest.mark.rule("UN-3")
@pytest.mark.rule("EM-7")
async def test_a_scanner_with_a_browser_that_runs_scripts_changes_nothing(shop, link):
    from playwright.async_api import async_playwright

    from tests.needs import need_chromium

    form = {"email": "bo@example.org", "language": "en"}
    await shop.client.post("/subscribe", data=form)
    mail = (await shop.mail_to("bo@example.org"))[0]
    confirm = re.search(r"/confirm/\S+", mail.text)[0]
    await settled(shop)
    before = await shop.services.store.read(dump)
    arguments = ["--no-sandbox", "--disable-gpu"]

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=need_chromium(), args=arguments)
        page = await browser.new_page()
        for path in (link, confirm, await preference_link(shop, "ana@example.org")):
            await page.goto(shop.base_url + path, wait_until="networkidle")
            for other in await page.eval_on_selector_all("a", "all => all.map(a => a.href)"):
                await page.goto(other, wait_until="load")
        await browser.close()

    assert await shop.services.store.read(dump) == before
