"""Images inside the mail: only where a founder wants it, and then nothing is fetched."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from fediletter.errors import AppError
from fediletter.mail.embedding import MOST_BYTES
from fediletter.media.uploads import Upload, store_image
from fediletter.outbound import publish as publishing
from fediletter.outbound.mailing import send_correction
from fediletter.web.desk.drafts import typed_from
from fediletter.web.desk.receipt import weight_of
from storage import mailings, posts
from storage.media import get_media
from tests.fediletter.test_receipt import published_from_the_sheet
from tests.peers.test_postfix import add_active
from tests.shop import EMAIL, until
from tests.web.desk_shop import picture

ANA = "ana@readers.test"
CHANNELS = {"to_web": "yes", "to_fediverse": "yes", "to_email": "yes"}


async def illustrated(shop, **fields):
    """A draft with a cover and, twice, an image in its text; and the files that its mail shows."""

    async def stored(size):
        upload = Upload(picture(*size), "sac.jpg")
        directory = shop.settings.media
        return await store_image(
            shop.services.store, directory, upload, now=datetime.now(UTC), alt="Un sac"
        )

    cover, other = await stored((800, 420)), await stored((480, 300))
    inside = (await shop.services.store.read(get_media, other)).renditions[0].name
    shown = (await shop.services.store.read(get_media, cover)).renditions[0].name
    image = f'![Un > "sac"](/media/{inside})'
    code = f'```\n<img src="{shop.base_url}/media/{inside}">\n```'
    body = f"Bonjour.\n\n{image}\n\nEncore :\n\n{image}\n\n{code}"
    post = await shop.draft("Du lin", body, cover_media_id=cover, cover_alt="Un sac", **fields)
    return post, {shown, inside}


def messages(shop, subject="Du lin"):
    directory = Path(shop.settings.smtp_url.removeprefix("maildir:"))
    found = [
        message_from_bytes(file.read_bytes(), policy=policy.default)
        for file in directory.glob("new/*")
    ]
    return [one for one in found if one["Subject"] == subject]


async def arrived(shop, subject="Du lin"):
    await until(lambda: messages(shop, subject))
    return messages(shop, subject)[0]


def sources(markup):
    return re.findall(r'<img [^>]*?src="([^"]*)"', re.sub(r'alt="[^"]*"', "", markup))


@pytest.mark.rule("MI-2")
@pytest.mark.rule("HT-17")
async def test_with_embedded_images_the_mail_carries_each_once_and_fetches_nothing(shop):
    await add_active(shop, ANA)
    csrf = await shop.log_in()
    post, files = await illustrated(shop)

    answer = await published_from_the_sheet(shop, csrf, post, embeds_images="yes", **CHANNELS)
    message = await arrived(shop)

    assert answer.status_code == 303, answer.text
    assert message.get_content_type() == "multipart/alternative"
    text, related = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert related.get_content_type() == "multipart/related"
    assert related["Content-Type"].params["type"] == "text/html"
    page, *images = related.iter_parts()
    assert page.get_content_type() == "text/html"
    assert {one.get_filename() for one in images} == files
    assert len(images) == len(files)
    for one in images:
        assert one.get_content_type() == "image/jpeg"
        assert one["Content-Disposition"].content_disposition == "inline"
        assert one["Content-Transfer-Encoding"] == "base64"
        assert one.get_content() == (shop.settings.media / one.get_filename()).read_bytes()
        rows = one.get_payload().rstrip("\n").split("\n")
        assert {len(row) for row in rows[:-1]} == {76}
    markup = page.get_content()
    named = sources(markup)
    by_id = {f"cid:{one['Content-ID'].strip('<>')}": one.get_filename() for one in images}
    assert all(re.fullmatch(r"cid:[0-9a-f]{32}@shop\.test", one) for one in by_id)
    assert len(named) == 3
    assert {by_id[one] for one in named} == files
    assert named[1] == named[2]
    # Words of the letter are left alone, and the reader's own links are filled.
    assert f'src="{shop.base_url}/media/' in html.unescape(markup)
    assert "slot.invalid" not in markup
    assert f"{shop.base_url}/unsubscribe/" in markup
    assert not any(part.defects for part in message.walk())
    (caught,) = [one for one in shop.mailbox() if one.subject == "Du lin"]
    assert all(one.startswith("data:image/jpeg;base64,") for one in sources(caught.html))


@pytest.mark.rule("HT-17")
async def test_a_correction_is_another_mailing_and_carries_no_images(shop):
    await add_active(shop, ANA)
    post, files = await illustrated(shop, embeds_images=True)
    await publishing.publish(shop.services, post.id, version=post.version)
    assert [*(await arrived(shop)).iter_parts()][1].get_content_type() == "multipart/related"
    published = await shop.services.store.read(posts.get_post, post.id)
    draft = replace(typed_from(published).draft, body_markdown=f"Pardon. {post.body_markdown}")
    await publishing.revise(shop.services, post.id, draft, [], version=published.version)

    await send_correction(shop.services, post.id)

    correction = await arrived(shop, "Correction\u00a0: Du lin")
    named = sources(correction.get_body(("html",)).get_content())
    assert set(named) == {f"{shop.base_url}/media/{name}" for name in files}


@pytest.mark.rule("HT-17")
async def test_without_a_tick_images_stay_on_our_site(shop):
    await add_active(shop, ANA)
    csrf = await shop.log_in()
    post, files = await illustrated(shop)
    sheet = (await shop.client.get(f"/desk/letters/{post.id}/publish")).text

    await published_from_the_sheet(shop, csrf, post, **CHANNELS)
    message = await arrived(shop)

    (box,) = re.findall(r'<input[^>]*name="embeds_images"[^>]*>', sheet)
    assert "checked" not in box
    assert "sans pistage" in sheet
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    named = sources(message.get_body(("html",)).get_content())
    assert set(named) == {f"{shop.base_url}/media/{name}" for name in files}


@pytest.mark.rule("HT-17")
async def test_the_choice_is_kept_the_test_shows_it_and_the_receipt_counts_it(shop):
    await add_active(shop, ANA)
    csrf = await shop.log_in()
    post, _ = await illustrated(shop)
    path = f"/desk/letters/{post.id}"
    form = {"csrf": csrf, "version": str(post.version), "channels": "chosen", **CHANNELS}

    await shop.post(f"{path}/publish", **form, action="look", window="0", embeds_images="yes")
    sheet = (await shop.client.get(f"{path}/publish")).text
    await shop.post(f"{path}/publish", csrf=csrf, version=str(post.version), action="test")
    tried = await arrived(shop, "[Test] Du lin")

    assert re.search(r'name="embeds_images" value="yes" checked', sheet)
    assert "Les images voyagent dans le courriel" in sheet
    assert tried["To"] == EMAIL
    assert [*tried.iter_parts()][1].get_content_type() == "multipart/related"
    kept = await shop.services.store.read(posts.get_post, post.id)
    await publishing.publish(shop.services, post.id, version=kept.version)
    await arrived(shop)
    template = await shop.services.store.read(mailings.widest_template, post.id)
    weight = weight_of(template, shop.settings.host)
    assert (weight.ours, weight.embedded, weight.elsewhere) == (0, 3, 0)

    async def finished():
        return (await shop.client.get(f"{path}/delivery.json")).json()["finished"]

    await until(finished)
    receipt = (await shop.client.get(f"{path}/receipt")).text
    assert "Fichiers demandés chez vous à l’ouverture</dt><dd>0<" in receipt
    assert "avec ses images" in receipt


@pytest.mark.rule("HT-17")
async def test_images_that_are_too_large_are_not_offered_and_refused_beside_the_box(shop):
    csrf = await shop.log_in()
    post, files = await illustrated(shop)
    large = shop.settings.media / sorted(files)[0]
    large.write_bytes(large.read_bytes().ljust(MOST_BYTES + 1, b"\0"))
    sheet = f"/desk/letters/{post.id}/publish"

    page = (await shop.client.get(sheet)).text
    answer = await published_from_the_sheet(shop, csrf, post, embeds_images="yes", **CHANNELS)

    assert 'name="embeds_images"' not in page
    assert "trop lourdes pour voyager dans le courriel" in page
    assert answer.status_code == 422
    assert '<fieldset aria-invalid="true" aria-describedby="p-embeds_images">' in answer.text
    assert re.search(r'name="embeds_images" value="yes" checked', answer.text)
    again = await shop.services.store.read(posts.get_post, post.id)
    assert (again.state, again.version) == ("draft", post.version)


@pytest.mark.rule("HT-17")
@pytest.mark.parametrize("harm", ["large", "gone"])
async def test_a_letter_whose_images_cannot_be_embedded_does_not_leave(shop, harm):
    await shop.log_in()
    post, files = await illustrated(shop, embeds_images=True)
    file = shop.settings.media / sorted(files)[0]
    if harm == "large":
        file.write_bytes(b"\0" * (MOST_BYTES + 1))
    else:
        file.unlink()

    page = (await shop.client.get(f"/desk/letters/{post.id}/publish")).text
    with pytest.raises(AppError, match="travel inside the mail"):
        await publishing.publish(shop.services, post.id, version=post.version)

    assert "<strong>Pas ainsi :</strong>" in page.replace("\xa0", " ").replace("\u202f", " ")
    assert (await shop.services.store.read(posts.get_post, post.id)).state == "draft"
    assert messages(shop) == []


@pytest.mark.rule("HT-17")
async def test_a_letter_without_images_is_asked_nothing(shop):
    await shop.log_in()
    post = await shop.draft()

    page = (await shop.client.get(f"/desk/letters/{post.id}/publish")).text

    assert "embeds_images" not in page
