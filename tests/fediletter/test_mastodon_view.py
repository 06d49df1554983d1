"""The preview follows Mastodon's conversion: title, teaser, link, hashtags, card."""

from dataclasses import replace

import pytest

from fediletter.rendering.mastodon import mastodon_view, shown_link

_ARTICLE = {
    "name": "Du lin",
    "summary": "Une accroche.",
    "url": "https://shop.example/letters/du-lin",
    "tag": [],
}
_PAGE = {"headline": "Du lin", "description": "Une accroche.", "publisher": {"name": "Atelier"}}
_LINK = (
    '<a href="https://shop.example/letters/du-lin" translate="no" rel="nofollow noopener">'
    '<span class="invisible">https://</span><span>shop.example/letters/du-lin</span>'
    '<span class="invisible"></span></a>'
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "<p><strong>Du lin</strong></p>\n\nUne accroche.\n\n"),
        ({"summary": ""}, "<p><strong>Du lin</strong></p>\n\n"),
        ({"name": "L’été <b>&</b> après"}, "<p><strong>L’été <b>&amp;</b> après</strong></p>\n\n"),
        ({"name": "Prix < 20 €"}, "<p><strong>Prix &lt; 20 €</strong></p>\n\n"),
        ({"name": "Cousu 🧵 main"}, "<p><strong>Cousu 🧵 main</strong></p>\n\n"),
        ({"name": "x" * 150}, f"<p><strong>{'x' * 150}</strong></p>\n\n"),
        ({"summary": "« Déjà » l’été"}, "<p><strong>Du lin</strong></p>\n\n« Déjà » l’été\n\n"),
        ({"content": "<p>jamais montré</p>"}, "<p><strong>Du lin</strong></p>\n\n"),
    ],
)
def test_title_summary_and_link_are_the_text(changes, said):
    view = mastodon_view(_ARTICLE | changes, _PAGE, credit=None)

    assert view.html.startswith(said)
    assert view.html.endswith(_LINK)
    assert "jamais" not in view.html


def test_a_long_link_loses_its_scheme_and_its_end():
    url = "https://www.shop.example/letters/une-lettre-tres-longue"

    assert shown_link(url) == "shop.example/letters/une-lettr…"
    assert (
        '<span class="ellipsis">shop.example/letters/une-lettr</span>'
        in mastodon_view(_ARTICLE | {"url": url}, _PAGE, credit=None).html
    )


def test_hashtags_stand_in_the_bar_unless_the_text_has_them():
    tags = [{"type": "Hashtag", "name": name} for name in ("#lin", "#Cuir", "#lin")]
    article = _ARTICLE | {"tag": tags, "summary": "Du #cuir aussi"}

    assert mastodon_view(article, _PAGE, credit=None).hashtags == ("#lin",)


def test_the_card_is_made_of_the_page():
    image = {"image": {"url": "https://shop.example/media/a.jpg", "name": "Un champ"}}
    page = _PAGE | {"image": "https://shop.example/media/a.jpg", "headline": "Tom &amp; Lin"}

    view = mastodon_view(_ARTICLE | image, page, credit="@shop@shop.example")

    assert replace(view.card, description="") == replace(
        view.card,
        title="Tom & Lin",
        description="",
        provider="Atelier",
        image="https://shop.example/media/a.jpg",
        image_alt="Un champ",
        credit="@shop@shop.example",
    )
