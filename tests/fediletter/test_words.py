"""Markdown, typography, sanitising, tokens: small doors with hard walls."""

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from hypothesis import given, settings
from hypothesis import strategies as st

from fediletter.newsletter.html import from_markdown, from_remote, plain_text
from fediletter.newsletter.slugs import slug_of
from fediletter.newsletter.tokens import Tokens
from fediletter.newsletter.typography import french
from fediletter.sealing import Vault
from fediletter.settings import LANGUAGES
from fediletter.words import choose_language, words

BASE = "https://shop.example"
VAULT = Vault(bytes(range(32)))


def web(text: str, profile="web") -> str:
    return from_markdown(text, profile=profile, language="fr", base_url=BASE)


@pytest.mark.rule("HT-1")
@pytest.mark.rule("HT-4")
@pytest.mark.rule("HT-10")
@pytest.mark.parametrize("profile", ["web", "mail", "article"])
@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,x)",
        "![x](https://evil.example/pixel.gif)",
        '[x](https://a.example "onclick=alert(1)")',
        "<svg><style><img src=x onerror=alert(1)></style></svg>",
    ],
)
def test_no_markdown_becomes_active(profile, text):
    rendered = web(text, profile)

    assert "<script" not in rendered
    assert "<img" not in rendered
    assert "<svg" not in rendered
    assert 'href="javascript' not in rendered
    assert 'href="data' not in rendered


@pytest.mark.rule("HT-1")
@pytest.mark.rule("HT-8")
@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert(1)</script>",
        "<p onclick=x>a</p>",
        "<a href='java&#10;script:alert(1)'>x</a>",
        "<a href='//evil.example'>x</a>",
        "<a href='https:\\\\evil.example'>x</a>",
        "<math><mtext><style><img src onerror=alert(1)></style></mtext></math>",
        "<p style='position:fixed'>x</p>",
        "<iframe src=//x></iframe><form><input></form>",
    ],
)
def test_nothing_of_a_stranger_becomes_active_or_loads_anything(markup):
    cleaned = from_remote(markup)

    for forbidden in ("<script", "<img", "onclick", "onerror", "javascript", "style", "<iframe"):
        assert forbidden not in cleaned
    assert "evil.example" not in cleaned or "href" not in cleaned


@pytest.mark.rule("HT-5")
def test_what_is_too_long_is_plain_text():
    cleaned = from_remote("<b x='" + "y" * 40_000 + "'>a</b>")

    assert "<b" not in cleaned


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(max_size=300))
def test_no_text_makes_the_doors_fail(text):
    for profile in ("web", "mail", "article"):
        assert "<script" not in web(text, profile)
    assert "<script" not in from_remote(text)
    assert "\x00" not in plain_text(from_remote(html.escape(text)))


def test_notes_tables_and_figures_come_out_in_each_channel():
    text = (
        'Une phrase.[^1]\n\n![Un sac](/media/a.jpg "Notre sac")\n\n'
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n[^1]: La note."
    )

    assert "<figure>" in web(text)
    assert "<figcaption>Notre sac</figcaption>" in web(text)
    assert 'id="fn1"' in web(text)
    assert "<table>" in web(text, "mail")
    assert "<table>" not in web(text, "article")
    assert f"{BASE}/media/a.jpg" in web(text, "article")
    assert "#fn1" not in web(text, "mail")


@pytest.mark.parametrize(
    ("typed", "set"),
    [
        ("Quoi ?", "Quoi\u202f?"),
        ("Oui : non", "Oui\u00a0: non"),
        ("« mot »", "«\u00a0mot\u00a0»"),
        ("l'été", "l’été"),
        ("50 %", "50\u00a0%"),
        ("12 000 m", "12\u202f000\u00a0m"),
        ("à 10:30", "à 10:30"),
        ("https://a.example/?x=1", "https://a.example/?x=1"),
        (":-)", ":-)"),
    ],
)
def test_french_spaces_are_set(typed, set):
    assert french(typed) == set


def test_french_signs_stay_with_their_words():
    wrong = []
    for path in Path("fediletter/locale/fr/LC_MESSAGES").glob("*.po"):
        with path.open("rb") as file:
            for message in read_po(file):
                said = message.string if isinstance(message.string, tuple) else (message.string,)
                wrong += [one for one in said if re.search(r" [:;!?»](?!\S{3})|« ", one)]

    assert wrong == []


def test_code_is_left_alone():
    assert "a : b !" in html.unescape(web("`a : b !`"))


def test_slugs_are_ascii_and_never_empty():
    assert slug_of("L’été, déjà : du lin & du cœur") == "l-ete-deja-du-lin-du-coeur"
    assert slug_of("💼") == "letter"
    assert len(slug_of("mot " * 50)) <= 60


@pytest.mark.rule("EM-9")
def test_tokens_serve_one_purpose_and_survive_a_sentence():
    tokens = Tokens(VAULT)
    key = bytes(range(10))
    leave, choose = tokens.unsubscribe(key), tokens.preferences(key, 3)
    assert len(leave) == 36
    assert tokens.read_unsubscribe(leave + ").") == key
    assert tokens.read_preferences(choose) == (key, 3)
    assert tokens.read_unsubscribe(choose) is None
    assert tokens.read_preferences(leave) is None
    assert Tokens(Vault(bytes(range(1, 33)))).read_unsubscribe(leave) is None
    assert tokens.read_bounce(tokens.bounce(7).upper()) == 7
    assert tokens.read_bounce("b" + tokens.bounce(7)[1:]) is None


@pytest.mark.rule("EM-6")
def test_a_stamp_tells_its_age():
    tokens, now = Tokens(VAULT), datetime(2026, 11, 24, tzinfo=UTC)
    stamp = tokens.stamp("subscribe", now)
    assert tokens.age_of_stamp("subscribe", stamp, now + timedelta(minutes=1)).seconds == 60
    assert tokens.age_of_stamp("other", stamp, now) is None


@pytest.mark.rule("WE-19")
def test_what_is_sealed_opens_for_its_purpose_alone():
    from fediletter.errors import AppError

    sealed = VAULT.seal(b"secret", "actor-key")
    assert VAULT.open(sealed, "actor-key") == b"secret"
    assert b"secret" not in sealed
    for vault, purpose in ((VAULT, "totp"), (Vault(bytes(range(1, 33))), "actor-key")):
        with pytest.raises(AppError):
            vault.open(sealed, purpose)


def test_the_language_is_the_best_that_is_offered():
    assert choose_language("de, en;q=0.4, fr;q=0.8", "en") == "fr"
    assert choose_language("de", "fr") == "fr"
    assert choose_language("en-US,en;q=0.5", "fr") == "en"
    assert choose_language("nonsense;q=x", "fr") == "fr"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_numbers_of_the_question_for_people_have_words(language):
    spelled = [words(language).spelled(value) for value in range(1, 21)]

    assert len(set(spelled)) == 20
    assert not any(character.isdigit() for character in "".join(spelled))
    assert language == "en" or spelled[-1] != words("en").spelled(20)
