"""What is wrong with a form stands beside its field; what was typed stays (issue 6)."""

import re

from storage.media import get_media
from tests.fediletter.dump import dump
from tests.web.desk_shop import furnished


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
