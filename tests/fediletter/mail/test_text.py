"""The text part, and the letter around it."""

import re
import unicodedata

import pytest

from fediletter.mail.compose import PREFERENCES_HERE, UNSUBSCRIBE_HERE
from fediletter.mail.letter import LetterContent, render_letter
from fediletter.mail.text import text_of
from fediletter.newsletter.html import SafeHtml

MARKUP = """<h2>Le lin</h2>
<p>Du <strong>lin</strong> de <a href="https://lin.example/a">Normandie</a>&nbsp;: beau &amp;
fort.</p>
<ul><li>un</li><li>deux<ol><li>a</li><li>b</li></ol></li></ul>
<blockquote><p>Cité</p></blockquote>
<pre><code>x = 1
  y</code></pre><hr>
<p><img src="https://s.example/i.jpg" alt="Un sac"></p>"""


@pytest.mark.rule("TX-2")
@pytest.mark.rule("TX-3")
def test_each_kind_of_block_has_its_shape_in_text():
    text = text_of(MARKUP)

    assert text.startswith("Le lin\n------\n")
    assert "Du *lin* de Normandie [1]\u00a0: beau & fort.\n" in text
    assert "\n[1] https://lin.example/a\n" in text
    assert "- un\n- deux\n  1. a\n  2. b\n" in text
    assert "\n> Cité\n" in text
    assert "\n    x = 1\n      y\n" in text
    assert "\n" + "-" * 20 + "\n" in text
    assert "[Un sac]" in text


@pytest.mark.rule("TX-2")
@pytest.mark.rule("TX-5")
def test_lines_have_at_most_seventy_two_columns_and_links_are_never_cut():
    link = "https://lin.example/" + "a" * 90
    markup = (
        f"<p>{'mot&nbsp;: ' * 40}<a href='{link}'>ici</a></p>"
        f"<blockquote><p>{'long ' * 60}</p></blockquote>"
    )

    lines = text_of(markup).splitlines()

    assert f"[1] {link}" in lines
    assert all(len(line) <= 72 for line in lines if link not in line)
    assert not any(line.lstrip("> ").startswith(":") for line in lines)


@pytest.mark.rule("TX-2")
def test_no_sign_stands_behind_an_address():
    bare = '<a href="https://lin.example/a">https://lin.example/a</a>'

    assert text_of(f"<p>Voir {bare}, puis {bare}</p><p>{bare}</p>") == (
        "Voir [1], puis [2]\n\nhttps://lin.example/a\n\n"
        "[1] https://lin.example/a\n[2] https://lin.example/a\n"
    )
    assert text_of(f"<p><strong>{bare}</strong>.</p>") == "*[1]*.\n\n[1] https://lin.example/a\n"
    assert text_of(f"<p>{bare} <em>ici</em></p>").startswith("[1] _ici_\n")
    assert text_of(f"<p>Voir :<br>{bare}<br>Voilà</p>") == "Voir :\nhttps://lin.example/a\nVoilà\n"


@pytest.mark.rule("TX-1")
def test_where_to_write_to_and_what_is_struck_out_are_said_in_the_text_too():
    write = '<a href="mailto:ana@lin.example?subject=Lin">écrivez-nous</a>'
    shown = '<a href="mailto:bo@lin.example">bo@lin.example</a>'

    assert text_of(f'<p>Non, <span class="struck">60</span> 50 € : {write} ou {shown}.</p>') == (
        "Non, ~~60~~ 50 € : écrivez-nous [1] ou bo@lin.example.\n\n[1] ana@lin.example\n"
    )


@pytest.mark.rule("TX-3")
def test_a_table_is_lines_of_name_and_value():
    markup = (
        "<table><thead><tr><th>Sac</th><th>Prix</th></tr></thead><tbody>"
        "<tr><td>Lin</td><td>40 €</td></tr><tr><td>Cuir</td><td>90 €</td></tr></tbody></table>"
    )

    assert text_of(markup).split("\n\n") == ["Sac: Lin\nPrix: 40 €", "Sac: Cuir\nPrix: 90 €\n"]


def content(**changes) -> LetterContent:
    fields = {
        "title": "Été & lin",
        "summary": "Une lettre courte de l’atelier, sur le lin et sur ce qui vient.",
        "body_html": SafeHtml(MARKUP),
        "language": "fr",
        "newsletter": "Atelier <Rivière>",
        "sender": "Marie",
        "postal_address": "1 rue du Lin, 76000 Rouen",
        "web_url": "https://shop.example/letters/ete",
        "privacy_url": "https://shop.example/privacy",
        "cover_url": "https://shop.example/media/c.jpg",
        "cover_alt": "Un sac",
    }
    return LetterContent(**fields | changes)


@pytest.mark.rule("HT-18")
@pytest.mark.rule("TX-4")
def test_both_parts_say_who_writes_and_end_with_the_ways_out():
    html, text = render_letter(content(), str)

    title, web = text.split("\n\n")[:2]
    assert title == "Été & lin\n========="
    assert web.splitlines()[-1] == "https://shop.example/letters/ete"
    body, _, footer = text.partition("\n-- \n")
    assert UNSUBSCRIBE_HERE not in body
    for part in (html, footer):
        assert PREFERENCES_HERE in part
        assert UNSUBSCRIBE_HERE in part
        assert "1 rue du Lin, 76000 Rouen" in part
        assert "https://shop.example/privacy" in part


@pytest.mark.rule("HT-2")
@pytest.mark.rule("HT-4")
@pytest.mark.rule("HT-9")
@pytest.mark.rule("HT-11")
def test_the_page_is_a_table_of_six_hundred_with_everything_inline_and_nothing_remote():
    html, _ = render_letter(content(), str)

    assert html.lower().startswith("<!doctype html>")
    assert '<html lang="fr" dir="ltr">' in html
    assert 'width="600"' in html
    assert "max-width: 600px" in html
    assert "Atelier &lt;Rivière&gt;" in html
    assert not re.search(r"<(script|form|iframe|svg|video|link)\b|url\(|@import|position:", html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert "prefers-color-scheme: dark" in style
    assert len(style) < 8192
    assert "<style" not in html.partition("</head>")[2]
    assert set(re.findall(r'<img[^>]+src="([^"]+)"', html)) == {
        "https://shop.example/media/c.jpg",
        "https://s.example/i.jpg",
    }


@pytest.mark.rule("TX-5")
def test_the_text_holds_no_entities_and_no_invisible_characters():
    body = SafeHtml(MARKUP.replace("fort", "fo\u00adrt\u200b"))
    _, text = render_letter(content(body_html=body), str)

    assert "&amp;" not in text
    assert "&nbsp;" not in text
    assert not any(unicodedata.category(one) == "Cf" for one in text)
