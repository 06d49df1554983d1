"""What strangers write is shown as what it is: where links lead, no image, nothing unseen (HT-*).

Each time the database differs by the answer that was kept and by nothing else.
"""

import re

import pytest

from federation.actors import actor_from
from storage import conversations
from tests.hostile.siege import PUBLIC
from tests.hostile.test_object_threats import replies

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def shown(siege, markup: str, **more) -> str:
    """An answer of this content, kept and approved: as it stands below the letter."""
    letter, ana = await siege.letter(), siege.somebody()
    before = await siege.effects()
    note = siege.note(ana, letter, content=markup, **more)
    create = siege.activity(ana, "Create", note)
    assert (await siege.send(ana, create)).status_code == 202
    assert await siege.outcome(create) == ("done", None)
    changed = {line.partition(":")[0] for line in set(await siege.effects()) ^ set(before)}
    assert changed == {"reply"}
    (row,) = [one for one in await replies(siege) if one["uri"] == note["id"]]
    await siege.shop.services.store.write(conversations.decide, row["id"], state="approved")
    page = (await siege.shop.client.get(letter, follow_redirects=True)).text
    found = re.search(r'<div class="said">(.*?)</div>', page, re.DOTALL)
    assert found is not None
    return re.sub(' rel="[^"]*"', "", found[1])


@pytest.mark.rule("HT-7")
@pytest.mark.parametrize(
    ("link", "after"),
    [
        ('<a href="https://evil.example/x">https://good.example</a>', " (evil.example)"),
        ('<a href="https://evil.example/x">good.example@evil.example</a>', " (evil.example)"),
        ('<a href="https://evil.example:8443/">evil.example</a>', " (evil.example:8443)"),
        ('<a href="https://bücher.example/">bücher.example</a>', " (xn--bcher-kva.example)"),
        ('<a class="u-url" href="https://evil.example/x">good.example</a>', " (evil.example)"),
        ('<a href="https://good.example/x">good.example/x</a>', ""),
        ('<a href="https://www.good.example/">https://www.good.example/</a>', ""),
        ('<a href="https://m.example/@ana" class="mention">@<span>ana</span></a>', ""),
        ('<a href="https://m.example/@ana">@ana@m.example</a>', ""),
        ('<a href="https://m.example/t/x" class="mention hashtag">#<span>x</span></a>', ""),
    ],
)
async def test_a_link_shows_the_host_that_it_leads_to(siege, link, after):
    assert await shown(siege, f"<p>{link}.</p>") == f"<p>{link}{after}.</p>"


@pytest.mark.rule("HT-7")
@pytest.mark.parametrize("long", [False, True])
async def test_marks_that_nobody_sees_are_gone_however_they_were_written(siege, long):
    hidden = "\u202e\u200b\u061c\u00ad" + "&#x202e;&#8203;&zwj;&lrm;&shy;&#1564;&#1;"
    padding = "<i>x</i>" * (5000 if long else 1)

    said = await shown(siege, f'<p><a href="https://l.example/">l.ex{hidden}ample</a></p>{padding}')

    assert "l.example" in said
    assert not re.search("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\x01]", said)
    assert ("href" in said) is not long


@pytest.mark.rule("HT-1")
async def test_attributes_that_no_list_names_are_gone(siege):
    said = await shown(siege, '<p lang="fr" title="t" id="x" dir="rtl" onclick="a()">Lin</p>')

    assert said == '<p lang="fr" dir="rtl">Lin</p>'


@pytest.mark.rule("HT-2")
@pytest.mark.rule("HT-4")
@pytest.mark.rule("HT-8")
@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (
            '<img src="https://e.example/a.png?a=1&amp;b=2" alt="un chat &lt;gris&gt;">',
            '<a href="https://e.example/a.png?a=1&amp;b=2">un chat &lt;gris&gt;</a> (e.example)',
        ),
        (
            "<IMG alt='' SRC=https://e.example/a.png>",
            '<a href="https://e.example/a.png">https://e.example/a.png</a>',
        ),
        ('<img src="javascript:alert(1)" alt="chat">', "chat"),
        ('<img src="//e.example/p.gif"><img src="https://u@e.example/p.gif">', ""),
        ('<img src="https://e.example/&quot;onclick=alert(1)" alt="&lt;svg&gt;">', None),
        ("<h2 class=big>Titre</h2>", "<p><strong>Titre</strong></p>"),
        ("<H6>Titre</H6 >", "<p><strong>Titre</strong></p>"),
    ],
)
async def test_images_are_links_and_headings_strong_paragraphs(siege, markup, expected):
    said = await shown(siege, markup)

    assert not re.search("<(img|svg|h[1-6])", said)
    assert expected is None or said == expected


@pytest.mark.rule("HT-5")
@pytest.mark.rule("FE-14")
@pytest.mark.parametrize(
    "piece", ["<h1", "<h1 ", "<img src='", "<img alt ", "<a href=https://a.b>"]
)
async def test_markup_that_never_ends_is_read_in_one_pass(siege, piece):
    await shown(siege, "a" + piece * ((32 << 10) // len(piece) - 1))


@pytest.mark.rule("HT-9")
async def test_words_of_a_template_are_words(siege):
    said = await shown(siege, "<p>{{ 7 * 7 }} {% raw %} ${7*7} {0.__class__} %(x)s</p>")

    assert said == "<p>{{ 7 * 7 }} {% raw %} ${7*7} {0.__class__} %(x)s</p>"


@pytest.mark.rule("HT-7")
@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://m.example/@ana", True),
        ("https://www.m.example/@ana", True),
        ("https://good.example/@ana", False),
        ("https://m.example@good.example/", False),
    ],
)
async def test_a_name_leads_to_no_host_but_its_own(url, kept):
    id = "https://m.example/users/ana"
    document = {"id": id, "type": "Person", "inbox": f"{id}/inbox", "url": url}

    assert actor_from(document).url == (url if kept else None)


@pytest.mark.rule("IN-32")
@pytest.mark.parametrize("to", [[], ["https://m.example/users/bo"], "their followers"])
async def test_what_is_not_public_changes_no_page_and_no_document(siege, to):
    """Not even once a founder approves it; of hidden recipients nothing is kept to show."""
    letter, ana = await siege.letter(), siege.somebody()
    places = ("", "/replies", "/context", "/likes", "/shares")
    wanted = {"Accept": "application/activity+json"}

    async def public() -> list[str]:
        page = await siege.shop.client.get(letter, follow_redirects=True)
        return [
            page.text,
            (await siege.shop.client.get("/feed.atom")).text,
            *[
                (await siege.shop.client.get(letter + place, headers=wanted)).text
                for place in places
            ],
        ]

    seen, before = await public(), await siege.effects()
    hidden = {"bto": [PUBLIC], "bcc": [PUBLIC], "audience": "https://secret.example/a"}
    to = [f"{ana.id}/followers"] if isinstance(to, str) else to
    note = siege.note(ana, letter, content="<p>secret</p>", to=to, **hidden)
    create = siege.activity(ana, "Create", note, **hidden)
    assert (await siege.send(ana, create)).status_code == 202
    assert await siege.outcome(create) == ("done", None)
    changed = set(await siege.effects()) ^ set(before)
    assert {line.partition(":")[0] for line in changed} == {"reply"}
    assert "secret.example" not in "".join(changed)
    (row,) = [one for one in await replies(siege) if one["uri"] == note["id"]]
    await siege.shop.services.store.write(conversations.decide, row["id"], state="approved")
    assert await public() == seen
