"""What is wrong with a form stands beside its field; what was typed stays (issue 6)."""

import re
from dataclasses import replace

import pytest

from fediletter.outbound import publish as publishing
from fediletter.web.desk.drafts import typed_from
from storage import posts
from storage.media import get_media
from tests.fediletter.dump import dump
from tests.shop import EMAIL
from tests.web.desk_shop import furnished

TOO_LONG = "Un paragraphe de lin.\n\n" * 2500


async def test_a_correction_that_cannot_be_sent_stays_in_its_field(tmp_path):
    async with furnished(tmp_path / "shop", answers=3) as (shop, _):
        csrf = await shop.log_in()
        await shop.post("/desk/answers/1/answer?state=all", csrf=csrf, text="Merci.")
        page = (await shop.client.get("/desk/answers?state=all")).text
        path = re.search(r"/desk/own-answers/(\d+)", page)
        version = re.search(r'name="version" value="(\d+)"', page)[1]
        before = await shop.services.store.read(dump)

        long = await shop.post(
            f"{path[0]}?state=all", csrf=csrf, text="y" * 5001, action="save", version=version
        )
        stale = await shop.post(
            f"{path[0]}?state=all", csrf=csrf, text="Bientôt.", action="save", version="99"
        )

        assert (long.status_code, stale.status_code) == (422, 409)
        for answer, text in ((long, "y" * 5001), (stale, "Bientôt.")):
            assert f'aria-describedby="p-own-{path[1]}"' in answer.text
            assert f'id="p-own-{path[1]}"' in answer.text
            assert text in answer.text, "what was typed"
        assert await shop.services.store.read(dump) == before


async def test_a_file_that_a_letter_shows_says_so_where_it_should_be_deleted(tmp_path):
    async with furnished(tmp_path / "shop", answers=0) as (shop, _):
        csrf = await shop.log_in()

        answer = await shop.post("/desk/media/1", csrf=csrf, action="delete")

        assert answer.status_code == 409
        assert 'aria-describedby="p-file-1"' in answer.text
        assert "Une lettre montre ce fichier." in answer.text
        assert await shop.services.store.read(get_media, 1)


async def test_a_decision_about_nobody_says_so_on_the_list(shop):
    csrf = await shop.log_in()

    answer = await shop.post("/desk/readers/waiting", csrf=csrf, action="accept")

    assert answer.status_code == 422
    assert re.search(r'role="alert">[^<]{10,}', answer.text)
    assert "<h1>" in answer.text


def beside(name: str, text: str) -> str:
    """What stands beside the button that names it."""
    assert f'aria-describedby="{name}"' in text
    return re.search(rf'id="{name}" role="alert">([^<]+)', text)[1]


async def test_a_test_mail_that_cannot_be_sent_says_why_beside_its_button(shop):
    csrf = await shop.log_in()
    post = await shop.draft("Du lin", TOO_LONG, topics=["Lin"])
    form = {
        "csrf": csrf, "version": post.version, "channels": "chosen", "to_email": "yes",
        "window": "30", "when": "later", "at": "2030-01-01T09:00", "action": "test",
    }  # fmt: skip

    answer = await shop.post(f"/desk/letters/{post.id}/publish", **form)

    assert answer.status_code == 422
    assert re.search(r"trop longue .*\d{3}\sko", beside("p-test", answer.text))
    kept = await shop.services.store.read(posts.get_post, post.id)
    assert (kept.to_web, kept.to_email, kept.second_thoughts_ms) == (False, True, 1_800_000)
    for typed in ('name="at" value="2030-01-01T09:00"', 'value="later" checked', '"30" selected'):
        assert typed in answer.text, "what was typed"
    assert f'name="version" value="{kept.version}"' in answer.text
    assert [mail for mail in shop.mailbox() if mail.to == EMAIL] == []


@pytest.mark.rule("MI-8")
@pytest.mark.parametrize("when", ["now", "later"])
async def test_a_letter_that_cannot_be_mailed_says_why_beside_the_button(shop, when):
    csrf = await shop.log_in()
    post = await shop.draft("Du lin", TOO_LONG, topics=["Lin"])
    form = {
        "csrf": csrf, "version": post.version, "channels": "chosen", "to_email": "yes",
        "window": "30", "when": when, "at": "2099-01-01T09:00", "action": "publish",
    }  # fmt: skip

    answer = await shop.post(f"/desk/letters/{post.id}/publish", **form)

    assert answer.status_code == 422
    assert re.search(r"trop longue .*\d{3}\sko", beside("p-publish", answer.text))
    assert f'value="{when}" checked' in answer.text
    assert 'name="at" value="2099-01-01T09:00"' in answer.text
    assert 'name="to_web" value="yes" checked' not in answer.text
    kept = await shop.services.store.read(posts.get_post, post.id)
    assert (kept.state, kept.to_web, kept.to_email) == ("draft", False, True)
    assert f'name="version" value="{kept.version}"' in answer.text


async def test_a_sheet_that_comes_late_keeps_what_was_chosen_on_it(shop):
    csrf = await shop.log_in()
    post = await shop.draft("Du lin", "Bonjour.", topics=["Lin"])
    form = {"csrf": csrf, "version": post.version - 1, "channels": "chosen", "to_email": "yes"}

    for action in ("test", "publish"):
        answer = await shop.post(f"/desk/letters/{post.id}/publish", action=action, **form)

        assert answer.status_code == 409
        assert 'id="sheet"' in answer.text
        assert 'name="to_email" value="yes" checked' in answer.text
        assert 'name="to_web" value="yes" checked' not in answer.text
        assert 'name="topics" value="1" checked' not in answer.text
    form |= {"channels": "", "action": "publish"}
    answer = await shop.post(f"/desk/letters/{post.id}/publish", **form)
    assert answer.status_code == 409
    assert "a changé entre-temps" in beside("p-publish", answer.text)
    assert await shop.services.store.read(posts.get_post, post.id) == post


async def test_a_correction_by_mail_that_cannot_be_sent_says_why_beside_its_button(shop):
    csrf = await shop.log_in()
    await shop.publish("Du lin", "Bonjour.")
    post = await shop.services.store.read(posts.post_by_slug, "du-lin")
    where = f"/desk/letters/{post.id}/correction"

    same = await shop.post(where, csrf=csrf)
    longer = replace(typed_from(post).draft, body_markdown=TOO_LONG)
    await publishing.revise(shop.services, post.id, longer, [], version=post.version)
    long = await shop.post(where, csrf=csrf)

    assert (same.status_code, long.status_code) == (409, 422)
    assert "pas changé depuis" in beside("p-correction", same.text)
    assert "trop longue" in beside("p-correction", long.text)
    assert "data-progress" in long.text, "the delivery view that it came from"
