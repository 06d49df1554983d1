"""What a spam filter thinks of each kind of our mail: its local rules alone, no network."""

import re
from datetime import UTC, datetime

import pytest

from fediletter.checks.sample import spam_score
from fediletter.media.uploads import Upload, store_image
from fediletter.outbound import publish as publishing
from storage.media import get_media
from tests.fediletter.mail.kinds import TEXTS, every_kind
from tests.needs import need
from tests.peers.postfix import running_postfix
from tests.peers.test_postfix import add_active
from tests.shop import running_shop, until
from tests.web.desk_shop import picture


async def score(raw: bytes) -> tuple[float, str]:
    need("SpamAssassin", "spamassassin")
    stamp = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    received = (
        "Received: from shop.example (shop.example [51.15.20.30])\r\n"
        "\tby mx.readers.example (Postfix) with ESMTPS id 4AAAAA0AAA\r\n"
        f"\tfor <ana@readers.example>; {stamp}\r\n"
    )
    found = await spam_score(received.encode() + raw)
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.rule("HD-15")
@pytest.mark.rule("DO-15")
async def test_no_kind_of_mail_looks_like_spam(tmp_path):
    need("SpamAssassin", "spamassassin")
    async with running_shop(
        tmp_path / "shop",
        workers=False,
        mail_from="news@shop.example",
        base_url="https://shop.example",
    ) as shop:
        kinds = await every_kind(shop)

    scores = {}
    for name, raw in kinds.items():
        if name.endswith("-fr") or name in ("letter-en", "digest-en", "confirmation-en"):
            scores[name] = await score(raw)
    print("\n".join(f"{name} {found}" for name, found in scores.items()))  # noqa: T201

    assert {name: found for name, found in scores.items() if found[0] >= 1.0} == {}
    for name in ("letter-fr", "letter-en", "confirmation-fr", "confirmation-en"):
        assert scores[name][0] <= 0.0, (name, scores[name])


@pytest.mark.slow
@pytest.mark.rule("MI-2")
@pytest.mark.rule("HT-17")
@pytest.mark.rule("DO-15")
async def test_images_inside_a_letter_come_through_postfix_whole_and_look_like_no_spam(tmp_path):
    need("SpamAssassin", "spamassassin")
    async with (
        running_postfix() as postfix,
        running_shop(tmp_path / "shop", smtp_url=postfix.url, lmtp="127.0.0.1:1") as shop,
    ):
        store, media = shop.services.store, shop.settings.media
        upload = Upload(picture(800, 420), "sac.jpg")
        now = datetime.now(UTC)
        image = await store_image(store, media, upload, now=now, alt="Un sac en lin")
        files = (await store.read(get_media, image)).renditions
        title, summary, body = TEXTS["fr"]
        await add_active(shop, "ana@readers.test")
        post = await shop.draft(
            title,
            body.replace("IMAGE", f"/media/{files[1].name}"),
            summary=summary,
            cover_media_id=image,
            cover_alt="Un sac en lin écru",
            embeds_images=True,
        )
        await publishing.publish(shop.services, post.id, version=post.version)
        await until(lambda: postfix.count() == 1)
        (raw,), (message,) = postfix.raw(), postfix.mailbox()

    images = [part for part in message.walk() if part.get_content_maintype() == "image"]
    by_name = {part.get_filename(): part.get_content() for part in images}
    assert by_name
    assert by_name == {name: (media / name).read_bytes() for name in by_name}
    assert {f"cid:{part['Content-ID'].strip('<>')}" for part in images} == set(
        re.findall(r'src="([^"]+)"', message.get_body(("html",)).get_content())
    )
    found = await score(raw)
    print(f"letter with images inside {found}")  # noqa: T201
    assert found[0] < 1.0, found
