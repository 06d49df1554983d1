"""A letter as HTML and as text, with places for the reader's own links.

Our own template around sanitised content; the style sheet is inlined once per mailing, with all
loading off. The letter reads well without any `<style>` (HT-1).

Sources: email.md sections 5 and 6 (HT and TX rules).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fediletter.mail.compose import PREFERENCES_HERE, UNSUBSCRIBE_HERE
from fediletter.mail.text import text_of, wrapped
from fediletter.newsletter.html import SafeHtml, is_trusted_in_mail, plain_text

_TEMPLATES = Path(__file__).parent / "templates"
# `>` may stand in a quoted value; a quote in one is always written as an entity.
_LINK = re.compile(r'<a (?:[^>"]|"[^"]*")*?href="([^"]*)"(?:[^>"]|"[^"]*")*>(.*?)</a>', re.DOTALL)
_IMAGE = re.compile(r'<img\b(?:[^>"]|"[^"]*")*>')
_PREHEADER = 40, 130  # Characters.
_html = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
_text = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=False,  # noqa: S701 (plain text)
    undefined=StrictUndefined,
    trim_blocks=True,
)


@dataclass(frozen=True, slots=True)
class LetterContent:
    """What a letter says. `body_html` is HTML; all else is plain text or an address."""

    title: str
    summary: str
    body_html: SafeHtml | Markup  # A plain text would be shown with its tags.
    language: str
    newsletter: str
    sender: str
    postal_address: str
    web_url: str  # Empty: it stands on no page of its own.
    privacy_url: str
    promise: str = ""  # How often letters come, and whether that was kept.
    note: str = ""  # Before the title: why a second mail comes.
    web_words: str = ""  # Of the link to `web_url`; empty: the letter on the web.
    why: str = ""  # Why the reader gets this; empty: because they asked for letters.
    cover_url: str = ""
    cover_alt: str = ""
    cover_width: int = 600
    cover_height: int = 400
    subject: str = ""  # Of the mail; empty: the title.
    footer_language: str = ""  # Where it is another than the letter's.


def render_letter(content: LetterContent, translate: Callable[[str], str]) -> tuple[str, str]:
    """HTML and text of a letter.

    Args:
        content: What it says.
        translate: Words of the footer, in the reader's language.
    """
    import css_inline  # noqa: PLC0415 (start-up time and memory)

    places = {"preferences": PREFERENCES_HERE, "unsubscribe": UNSUBSCRIBE_HERE}
    style = (_TEMPLATES / "letter.css").read_text(encoding="utf-8")
    plain = urlsplit(content.privacy_url).scheme != "https"  # In a laboratory nothing is secure.
    body = content.body_html if plain else Markup(_LINK.sub(_as_text, content.body_html))  # noqa: S704 (of what was sanitised)
    page = _html.get_template("letter.html").render(
        content=replace(content, body_html=body),
        preheader=_preheader(content),
        style=style,
        _=translate,
        **places,
    )
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False)
    # What only refines stays in the head; the letter reads well without it (HT-1, HT-9).
    dark = (_TEMPLATES / "dark.css").read_text(encoding="utf-8")
    html = _IMAGE.sub(_as_wide_as_it_is, inliner.inline(page))
    html = html.replace("</head>", f"<style>\n{dark}</style>\n</head>", 1)
    title = wrapped(content.title)
    text = _text.get_template("letter.txt").render(
        content=content,
        title=title,
        rule="=" * max(map(len, title.splitlines())),
        wrapped=wrapped,
        body=text_of(content.body_html),
        _=translate,
        **places,
    )
    return html, text


def _preheader(content: LetterContent) -> str:
    """What mailboxes show beside the subject: 40 to 130 characters of what is said (HT-10)."""
    shown = content.summary
    for more in (plain_text(content.body_html), content.why):
        if len(shown) < _PREHEADER[0]:
            shown = " · ".join(part for part in (shown, re.sub(r"[ \n]+", " ", more)) if part)
    if len(shown) <= _PREHEADER[1]:
        return shown
    cut = shown[: _PREHEADER[1] - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


def _as_text(link: re.Match[str]) -> str:
    """What filters distrust is no link: its words, and the address to copy (HT-6, HT-15)."""
    if is_trusted_in_mail(unescape(link[1])):
        return link[0]
    return link[2] if link[2] == link[1] else f"{link[2]} ({link[1]})"


def _as_wide_as_it_is(image: re.Match[str]) -> str:
    """No image is stretched beyond the width that its attribute says (HT-13)."""
    width = re.search(r'\swidth="(\d+)"', image[0])
    if width is None:
        return image[0]
    return re.sub(r'(style="[^"]*max-width: )\d+px', rf"\g<1>{width[1]}px", image[0])
