"""What readers do on the site, from their first look to their last click."""

import html
import json
import re

import pytest
import sqlalchemy as sa

from storage.schema import consent_text
from tests.federation.test_network import Scripted, answer
from tests.shop import running_shop

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
