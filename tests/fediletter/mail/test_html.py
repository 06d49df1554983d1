"""The HTML of a letter: what survives mail programs, in light and dark, without its style."""

import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import html5lib
import pytest

from fediletter.mail.letter import LetterContent, render_letter
from fediletter.newsletter.html import from_markdown
from fediletter.words import words
from storage.ids import MediaId
from storage.media import Media, Rendition

BASE = "https://shop.example"
MARKDOWN = """Bonjour **lin**, *cuir* et [l'atelier](https://a.example/?x=1&y=2).

## Un titre

> Une citation

- un
- deux

![Un sac](https://shop.example/media/a.jpg "Légende")

| Sac | Prix |
|---|---|
| Lin | 60 € |

```
code & <b>
```

#### Encore

~~60~~ 50 €[^1]

[^1]: Une note.
"""
_ALLOWED = set(
    "html head meta title style body p h1 h2 h3 a img ul ol li blockquote strong em code pre hr br "
    "table thead tbody tr th td div span".split()
)


TEASER = "Douze mètres de lin de Normandie, et ce que nous en ferons."


def letter(language="fr", *, body=None, footer_language="", summary=TEASER) -> str:
    content = LetterContent(
        title="Le lin & le cuir",
        summary=summary,
        body_html=body or from_markdown(MARKDOWN, profile="mail", language=language, base_url=BASE),
        footer_language=footer_language,
        language=language,
        newsletter="Atelier",
        sender="Ana",
        postal_address="3 rue du Port",
        web_url="https://shop.example/letters/lin",
        privacy_url="https://shop.example/privacy",
        cover_url="https://shop.example/media/c.jpg",
        cover_alt="Un rouleau de lin",
    )
    return render_letter(content, words(language).gettext)[0]


class Tags(HTMLParser):
    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.rule("HT-2")
def test_a_strict_parser_has_nothing_to_say():
    html5lib.HTMLParser(strict=True).parse(letter())


@pytest.mark.rule("HT-4")
def test_only_elements_that_survive_are_used():
    found = Tags(letter()).found

    assert {tag for tag, _ in found} <= _ALLOWED
    assert [attrs["scope"] for tag, attrs in found if tag == "th"] == ["col", "col"]
    (struck,) = [attrs for tag, attrs in found if tag == "span"]
    assert "text-decoration: line-through" in struck["style"]


@pytest.mark.rule("HT-1")
@pytest.mark.rule("HT-3")
def test_everything_that_is_seen_is_inline_and_in_pixels():
    for tag, attrs in Tags(letter()).found:
        style = attrs.get("style") or ""
        if tag in ("p", "h1", "h2", "li", "a"):
            assert "color:" in style.replace(" ", ""), (tag, attrs)
        assert not re.search(r"\d(r?em|vw|pt)\b|var\(|rgba?\(|flex|float|position", style)


@pytest.mark.rule("HT-2")
@pytest.mark.rule("HT-19")
def test_layout_tables_say_that_they_are_none_and_data_keeps_its_heads():
    tables = [attrs for tag, attrs in Tags(letter()).found if tag == "table"]
    assert [one.get("role") for one in tables] == ["presentation", "presentation", None]
    assert tables[1]["width"] == "600"
    assert sum(tag == "th" for tag, _ in Tags(letter()).found) == 2


@pytest.mark.rule("HT-9")
def test_dark_refines_in_less_than_eight_kilobytes_and_nothing_is_pure_black_or_white():
    page = letter()
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)

    assert len(style.encode()) < 8192
    assert "@media (prefers-color-scheme: dark)" in style
    assert "[data-ogsc]" in style
    assert style.strip().startswith("@media")
    assert not re.search(r"#(000|fff)(000|fff)?\b", page)
    assert all(" !important" in rule for rule in re.findall(r"color:[^;]+;", style))
    # Outlook on the web knows no media query: all colours once more, for its own marks.
    queried, _, marked = style.partition("\n}\n")
    texts = re.findall(r"(?m)^([^@\n]*) \{ color: (#\w+)", queried)
    for selectors, colour in texts:
        for one in selectors.split(", "):
            assert re.search(
                rf"\[data-ogsc\] {re.escape(one)}[,\w. \[\]-]* \{{ color: {colour}", marked
            )


@pytest.mark.rule("HT-9")
@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("2b2622", "faf7f2"), ("57504a", "faf7f2"), ("6b6158", "faf7f2"), ("8a4b22", "faf7f2"),
        ("ece7e0", "1d1b19"), ("b9b1a6", "1d1b19"), ("e3b48f", "1d1b19"),
    ],
)  # fmt: skip
def test_colours_are_readable_in_light_and_dark(ink, paper):
    assert f"#{ink}" in letter()

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def inverted(colour):  # As the programs do that recolour by themselves.
        return f"{0xFFFFFF - int(colour, 16):06x}"

    for pair in ((ink, paper), (inverted(ink), inverted(paper))):
        high, low = sorted(map(luminance, pair), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.rule("HT-10")
def test_the_teaser_comes_first_and_is_hidden_honestly():
    body = letter().partition("<body")[2]
    first = re.search(r"<div[^>]*>([^<]*)</div>", body)
    assert first[1].startswith("Douze mètres")
    assert body.index("<div") < body.index("<table")
    for part in ("display: none", "max-height: 0", "mso-hide: all"):
        assert part in first[0]


@pytest.mark.rule("HT-10")
@pytest.mark.parametrize(
    ("summary", "shown"),
    [
        (TEASER, TEASER),
        ("Court.", "Court. · Bonjour lin, cuir et l'atelier. "),
        ("", "Bonjour lin, cuir et l'atelier. "),
        ("mot " * 40, "mot " * 31 + "mot…"),
    ],
)
def test_beside_the_subject_stand_forty_to_a_hundred_and_thirty_characters(summary, shown):
    (preheader,) = re.findall(r'<div class="preheader"[^>]*>([^<]*)</div>', letter(summary=summary))

    preheader = unescape(preheader)
    assert preheader.replace("’", "'").startswith(shown)
    assert 40 <= len(preheader) <= 130


@pytest.mark.rule("HT-6")
@pytest.mark.rule("HT-7")
def test_links_are_whole_true_and_underlined():
    links = [attrs for tag, attrs in Tags(letter()).found if tag == "a"]

    assert "https://a.example/?x=1&y=2" in [one["href"] for one in links]
    assert "x=1&amp;y=2" in letter()
    for one in links:
        assert one["href"].startswith("https://")
        assert "text-decoration: underline" in one["style"]


@pytest.mark.rule("HT-6")
@pytest.mark.rule("HT-15")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[le site](http://b.example/?x=1&y=2)", "le site (http://b.example/?x=1&amp;y=2)"),
        ("<http://b.example/>", "http://b.example/"),
        ("[là](https://192.0.2.7/a)", "là (https://192.0.2.7/a)"),
        ("[là](https://[2001:db8::1]/)", "là (https://[2001:db8::1]/)"),
    ],
)
def test_what_filters_distrust_is_a_text_and_no_link(text, shown):
    body = from_markdown(text, profile="mail", language="fr", base_url=BASE)

    page = letter(body=body)

    links = [attrs["href"] for tag, attrs in Tags(page).found if tag == "a"]
    assert shown in page
    assert links
    assert all(one.startswith("https://shop.example/") or "slot" in one for one in links)


@pytest.mark.rule("HT-6")
def test_a_place_in_the_letter_is_looked_up_on_its_page():
    page = f"{BASE}/letters/le-lin"

    def linked(**more):
        text = "[Plus bas](#s-1)\n\n# Le lin"
        return from_markdown(text, profile="mail", language="fr", base_url=BASE, **more)

    assert f'<a href="{page}#s-1">Plus bas</a>' in linked(page_url=page)
    assert "href" not in linked()  # A letter by mail alone.


@pytest.mark.rule("HT-11")
@pytest.mark.rule("HT-13")
@pytest.mark.rule("HT-14")
def test_images_have_words_and_no_address_of_their_own_for_a_reader():
    for tag, attrs in Tags(letter()).found:
        if tag == "img":
            assert attrs["alt"]
            assert "color" in attrs["style"]
            assert "?" not in attrs["src"]
    cover = next(attrs for tag, attrs in Tags(letter()).found if tag == "img")
    assert cover["width"] == "600"
    assert cover["height"]


@pytest.mark.rule("HT-13")
@pytest.mark.parametrize(("stored", "shown"), [(960, "600"), (480, "480")])
def test_an_image_in_the_text_is_never_wider_than_the_mail(stored, shown):
    text = f'![Un sac](/media/{"0a" * 10}-{stored}.jpg "Le premier")'

    html = from_markdown(text, profile="mail", language="fr", base_url="https://shop.example")

    (attrs,) = [attrs for tag, attrs in Tags(html).found if tag == "img"]
    assert attrs["width"] == shown
    assert "<em>Le premier</em>" in html


@pytest.mark.rule("HT-13")
def test_an_image_in_the_text_is_a_light_file_with_both_its_sides():
    name = "0a" * 10
    files = tuple(
        Rendition(f"{name}-{width}.jpg", "image/jpeg", width, width // 2, octets)
        for width, octets in ((1600, 400_000), (1200, 200_001), (960, 190_000), (480, 40_000))
    )
    image = Media(
        MediaId(1), name, "image", "image/jpeg", None, 1, "", "", "", "", datetime.now(UTC), files
    )

    def shown(text):
        body = from_markdown(
            text, profile="mail", language="fr", base_url=BASE, images={name: image}
        )
        (attrs,) = [attrs for tag, attrs in Tags(letter(body=body)).found if tag == "img"][1:]
        assert f"max-width: {attrs['width']}px" in attrs["style"]
        return attrs["src"], attrs["width"], attrs["height"]

    light = f"{BASE}/media/{name}-960.jpg"
    assert shown(f"![Un > sac](/media/{name}-1600.jpg)") == (light, "600", "300")
    assert shown(f"![Un sac](/media/{name}-480.jpg)") == (light, "480", "240")


@pytest.mark.rule("HT-11")
def test_an_image_has_no_query_by_which_its_reader_could_be_told():
    text = f"![Un sac](/media/{'0a' * 10}-960.jpg?r=1)"

    assert "<img" not in from_markdown(text, profile="mail", language="fr", base_url=BASE)


@pytest.mark.rule("HT-4")
@pytest.mark.rule("HT-19")
def test_headings_go_down_by_one_and_no_further_than_the_third():
    text = "### a\n\n###### b\n\n# c\n\n#### d\n"

    body = from_markdown(text, profile="mail", language="fr", base_url=BASE)

    assert re.findall(r"<(h\d)>", body) == ["h2", "h3", "h2", "h3"]
    assert re.findall(r"</(h\d)>", body) == ["h2", "h3", "h2", "h3"]


@pytest.mark.rule("HT-19")
def test_a_footer_in_another_language_says_so_and_its_links_are_as_high_as_a_thumb():
    page = letter("fr", footer_language="en")
    footer = page.partition('class="soft footer"')[2]

    assert re.search(r'<td class="soft footer" lang="en"', page)
    assert 'footer" lang=' not in letter("fr", footer_language="fr")
    for style in re.findall(r'<a [^>]*style="([^"]*)"', footer):
        assert "inline-block" in style
        assert "padding: 6px 0" in style
        assert "line-height: 32px" in style  # 44 pixels together.


@pytest.mark.rule("HT-18")
@pytest.mark.parametrize("language", ["fr", "en"])
def test_each_footer_says_why_who_and_how_to_leave(language):
    page = letter(language)
    _ = words(language).gettext
    footer = page[page.index(_("Read it on the web")) - 400 :]

    for message in ("Choose your topics", "Stop these letters", "What we keep about you"):
        assert _(message) in footer
    assert "3 rue du Port" in footer
    assert "unsubscribe" in footer
    assert "preferences" in footer
