"""What readers do on the site, from their first look to their last click."""

import html
import io
import json
import re
from datetime import UTC, datetime

import pytest
import segno
import sqlalchemy as sa

from fediletter.media.uploads import Upload, store_sound
from storage.schema import consent_text, metadata
from tests.federation.test_network import Scripted, answer
from tests.fediletter.readers import unsubscribe_link
from tests.shop import running_shop
from tests.web.desk_shop import sound

ENGLISH = {"Accept-Language": "en"}
INTENT = "https://w3id.org/fep/3b86/Follow"
OSTATUS = "http://ostatus.org/schema/1.0/subscribe"


def jrd(base: str, *links: dict, actor: str = "/users/ana") -> bytes:
    document = {
        "subject": "acct:ana@" + base.partition("//")[2],
        "links": [
            {"rel": "self", "type": "application/activity+json", "href": base + actor},
            *links,
        ],
    }
    body = json.dumps(document).encode()
    return answer(200, "Content-Type: application/jrd+json", "Connection: close", body=body)


async def follow(shop, *links, typed="@ana@{host}", by="email", topics=()):
    """The page that answers an account, whose server says what `links` makes of its address."""
    async with Scripted() as server:
        base = server.url.removesuffix("/inbox")
        server.answers.append(jrd(base, *(one(base) for one in links)))
        form = {"email": typed.format(host=base.partition("//")[2]), "by": by, "topics": topics}
        page = await shop.client.post("/subscribe", data=form, headers=ENGLISH)
    return page, base, server


def links_elsewhere(page, shop) -> list[str]:
    found = re.findall(r'<a [^>]*href="(https?://[^"]+)"', page.text)
    return [html.unescape(url) for url in found if not url.startswith(shop.base_url)]


@pytest.mark.parametrize(
    ("templates", "leads_to"),
    [
        ({INTENT: "/intents/follow?who={object}&then={on-success}&x={unknown}"},
         "/intents/follow?who={us}&then=&x="),
        ({OSTATUS: "/authorize_interaction?uri={uri}"}, "/authorize_interaction?uri={us}"),
        ({OSTATUS: "/old?uri={uri}", INTENT: "/new?uri={object}"}, "/new?uri={us}"),
    ],
    ids=["intent", "older", "both"],
)  # fmt: skip
async def test_an_account_leads_to_the_page_of_its_own_server(shop, templates, leads_to):
    page, base, _ = await follow(
        shop,
        *(lambda base, rel=rel, path=path: {"rel": rel, "template": base + path}
          for rel, path in templates.items()),
    )  # fmt: skip

    us = f"{shop.base_url}/ap/{shop.handle.partition('@')[0]}"
    quoted = us.replace(":", "%3A").replace("/", "%2F")
    assert page.status_code == 200
    assert links_elsewhere(page, shop) == [base + leads_to.format(us=quoted)]
    assert f"@{shop.handle}" in page.text


async def test_the_text_of_the_proposal_writes_href_and_the_button_makes_an_address_an_account(
    shop,
):
    page, base, _ = await follow(
        shop,
        lambda base: {"rel": INTENT, "href": base + "/f?o={object}"},
        typed="ana@{host}",
        by="fediverse",
    )

    assert links_elsewhere(page, shop)[0].startswith(base + "/f?o=http")
    assert shop.mailbox() == []


async def test_chosen_topics_are_followed_and_nothing_else(shop):
    await shop.publish(topics=["Lin"])
    page, _, _ = await follow(
        shop, lambda base: {"rel": OSTATUS, "template": base + "/f?u={uri}"}, topics=["lin"]
    )

    assert [url.rpartition("%2F")[2] for url in links_elsewhere(page, shop)] == ["lin"]
    assert "@lin@" in page.text


@pytest.mark.rule("WE-12")
@pytest.mark.parametrize(
    "template",
    [
        "https://evil.example/?u={uri}",
        "http://evil.example/?u={uri}",
        "javascript:alert('{uri}')",
        "//evil.example/{uri}",
        "{uri}",
        "https://{uri}.evil.example/",
        "{base}.evil.example/?u={uri}",
        "{base}@evil.example/?u={uri}",
        "{base}{uri}",
        "{base}/without-a-place",
        7,
    ],
)
async def test_a_server_cannot_send_its_people_anywhere_else(shop, template):
    written = template if isinstance(template, int) else template.replace("{uri}", "{{uri}}")

    def link(base):
        return {
            "rel": OSTATUS,
            "template": written if isinstance(written, int) else written.format(base=base),
        } if isinstance(template, int) or "{base}" in template else {
            "rel": OSTATUS, "template": template}  # fmt: skip

    page, _, _ = await follow(shop, link)

    assert page.status_code == 200, "a page with our handle to copy, no redirect"
    assert links_elsewhere(page, shop) == []
    assert "evil" not in page.text
    assert f"@{shop.handle}" in page.text
    assert "does not say" in page.text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(404, "Connection: close"), "knows no such account"),
        (answer(200, "Content-Type: text/html", "Connection: close", body=b"hi"), "knows no such"),
        (b"hang up", "does not answer"),
    ],
)
async def test_a_server_that_does_not_help_is_named_beside_the_field(shop, said, words):
    async with Scripted(said) as server:
        account = "@ana@" + server.url.split("/")[2]
        page = await shop.client.post("/subscribe", data={"email": account}, headers=ENGLISH)

    assert page.status_code == 422
    assert re.search(rf'id="email-problem">[^<]*{words}', page.text)
    assert f'value="{account}"' in page.text, "what was typed is kept"
    assert 'aria-invalid="true"' in page.text


@pytest.mark.rule("FE-1")
@pytest.mark.rule("FE-15")
async def test_nobody_makes_us_ask_inside_or_without_end(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False, allow_addresses="") as shop:
        async with Scripted() as server:
            inside = ["127.0.0.1:" + server.url.split(":")[2].partition("/")[0], "localhost"]
            pages = [
                await shop.client.post(
                    "/subscribe", data={"email": f"@ana@{inside[at % 2]}"}, headers=ENGLISH
                )
                for at in range(11)
            ]
        ours = await shop.client.post(
            "/subscribe", data={"email": f"@x@{shop.settings.account_host}"}, headers=ENGLISH
        )

    assert server.connections == 0
    assert [page.status_code for page in pages] == [422] * 11
    assert all("no server of that name" in page.text for page in pages[:10])
    assert "too often" in pages[10].text
    assert "too often" in ours.text


@pytest.mark.parametrize("typed", ["@ana", "@@", "@ana@", "@ana@b c", "@" + "a" * 400 + "@b.c"])
async def test_what_is_no_account_is_said_so(shop, typed):
    page = await shop.client.post("/subscribe", data={"email": typed}, headers=ENGLISH)

    assert page.status_code == 422
    assert "Write your account with its server" in page.text


@pytest.mark.rule("OP-5")
@pytest.mark.parametrize("path", ["/", "/topics/lin"])
async def test_the_box_takes_an_address_and_keeps_the_words_that_stood_in_it(shop, path):
    await shop.publish(topics=["Lin"])
    page = (await shop.client.get(path, headers=ENGLISH)).text
    box = page[page.index('<section class="join"') :].partition("</section>")[0]
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', box))

    form |= {"email": "ana@example.org", "by": "email"}
    await shop.client.post("/subscribe", data=form, headers=ENGLISH)
    await shop.mail_to("ana@example.org")

    shown = " ".join(html.unescape(re.sub(r"<[^>]+>|\s+", " ", box)).split())
    texts = await shop.services.store.read(kept_texts)
    form_text = next(text for text in texts if "your account on the fediverse" in text)
    for line in form_text.splitlines()[1:]:
        for part in re.findall(r"\[([^\]]+)\]", line) or [line]:
            assert part in shown
    assert ("on: Lin" in form_text) is (path == "/topics/lin")


def kept_texts(tx) -> list[str]:
    return [row[0] for row in tx.rows(sa.select(consent_text.c.text))]


@pytest.mark.parametrize(
    ("path", "leads_to", "handle"),
    [("", "/subscribe", "shop"), ("/topics/cuir-vegetal", "/topics/cuir-vegetal", "cuir_vegetal")],
)
async def test_the_sheet_for_the_counter_has_the_handle_and_a_code_that_leads_there(
    shop, path, leads_to, handle
):
    await shop.publish(topics=["Cuir végétal"])
    page = await shop.client.get(f"{path}/counter", headers=ENGLISH)
    code = await shop.client.get(f"{path}/qr.svg")

    assert page.text.count(f'src="{path}/qr.svg"') == 9
    assert f"@{handle}@{shop.settings.account_host}" in page.text
    assert code.headers["content-type"] == "image/svg+xml"
    expected = io.BytesIO()
    segno.make(shop.base_url + leads_to, error="m", micro=False).save(
        expected, kind="svg", border=4, dark="#000", light="#fff", xmldecl=False, omitsize=True
    )
    assert code.content == expected.getvalue()


async def test_a_letter_with_sound_can_be_listened_to_on_its_page(shop):
    sound_id = await store_sound(
        shop.services.store,
        shop.settings.media,
        Upload(sound(), "episode.mp3"),
        now=datetime.now(UTC),
    )
    letter = await shop.publish("Écoutez", audio_media_id=sound_id)

    page = await shop.client.get(letter.url, headers=ENGLISH)

    source = re.search(r'<audio controls preload="none" src="([^"]+)">', page.text)[1]
    policy = page.headers["content-security-policy"]
    assert "media-src 'self'" in policy
    assert (await shop.client.get(source)).headers["content-type"] == "audio/mpeg"
    assert 'type="application/rss+xml"' in page.text
    assert "3 seconds" in page.text


async def test_every_page_tells_feed_readers_where_the_feeds_are(shop):
    letter = await shop.publish("Du lin", topics=["Lin"])
    await shop.subscribe("ana@example.org")
    leave = await unsubscribe_link(shop, "ana@example.org")
    paths = ["/", letter.url, "/topics/lin", "/privacy", "/agenda", "/counter", "/nothing", leave]
    for path in paths:
        page = (await shop.client.get(path)).text
        for kind, feed in (("atom", "/feed.atom"), ("feed", "/feed.json")):
            mark = "xml" if kind == "atom" else "json"
            assert re.search(
                rf'<link rel="alternate" type="application/{kind}\+{mark}"[^>]*'
                rf'href="{shop.base_url}{feed}"',
                page,
            ), path


# What the privacy page says of each table that holds something about people.
TOLD = {
    "subscriber": "your address, your language, the subjects, the rhythm and the pause",
    "subscription": "the subjects",
    "confirmation": "never confirms is forgotten after a week",
    "ask": "never confirms is forgotten after a week",
    "consent": "the words that you agreed to",
    "suppression": "a fingerprint of the address remains",
    "bounce": "what your mailbox’s server answered",
    "delivery": "that it was sent to you",
    "notice": "that it was sent to you",
    "one_time_link": "a copy of all we keep, move to another address, or erase everything",
    "throttle": "the first three of the four numbers",
    "publish_ask": "shown here only if you agree",
    "reply": "your answer, your name as you wrote it, and your address",
    "remote_actor": "the public address, name and key of your account",
    "remote_key": "name and key of your account",
    "follower": "as long as you follow",
    "received": "If you answer, like, boost, quote, report or vote",
    "tombstone": "If you answer, like, boost, quote, report or vote",
    "reaction": "like, boost",
    "quote": "quote",
    "report": "report",
    "vote": "Of a vote we keep whose it is",
    "subject": "A proposal is kept without any name",
    "inbox": "where its server takes messages",
}
# Of the shop and its founders, of servers, or no more than sums and wordings.
NOT_OF_READERS = set(
    "newsletter actor actor_key dkim_key topic media founder passkey recovery_code session audit "
    "post post_version post_topic old_slug poll poll_option activity mailing mailing_template "
    "fan_out worker lane tally consent_text peer block attempt intake probe"
    "".split()
)


@pytest.mark.rule("PR-1")
async def test_the_privacy_page_tells_of_every_table_that_holds_something_about_readers(shop):
    page = html.unescape((await shop.client.get("/privacy", headers=ENGLISH)).text)

    assert {name for name in metadata.tables if name not in TOLD} == NOT_OF_READERS
    assert {name: words for name, words in TOLD.items() if words not in page} == {}
