"""What the forms of joining say: shown by the templates, and kept with each consent (OP-5).

Who chooses no subject gets every letter (the interface page, section 4): that is said where it is
chosen, in the box that is not ticked for them, and in the mail that asks for their yes (OP-4).
"""

from fediletter.words import Words
from storage.newsletters import Newsletter
from storage.topics import Topic

FIELD = "Your email address, or your account on the fediverse"
HINT = "An account such as @ana@example.social leads to your own server, to follow us there."
CONSENT = (
    "I want to receive these letters by email. I can stop at any time with one click; "
    "nothing is tracked."
)
LEGEND = "Which subjects? Choose none, and you get every letter."


def of_form(words: Words, newsletter: Newsletter, topics: list[Topic]) -> str:
    """The whole form, line by line."""
    _ = words.gettext
    lines = [newsletter.title, _("Receive the letters"), _(FIELD), _(HINT)]
    if topics:
        lines.append(_(LEGEND))
        lines += [f"[ ] {topic.name} {topic.description}".rstrip() for topic in topics]
    lines += [
        _("How often?"),
        f"( ) {_('Each letter as it comes out')}",
        f"( ) {_('One mail a month with all of them')}",
    ]
    return "\n".join([*lines, *_last_lines(words)])


def of_box(
    words: Words, newsletter: Newsletter, topics: list[Topic], chosen: tuple[str, ...]
) -> str:
    """The short form on the front page, below a letter, or on the page of a topic (a slug)."""
    _ = words.gettext
    names = [topic.name for topic in topics if topic.slug in chosen]
    title = _("Receive the letters on: {topic}", topic=names[0]) if names else None
    lines = [newsletter.title, title or _("Receive the letters"), _(FIELD), _(HINT)]
    return "\n".join([*lines, *_last_lines(words)])


def _last_lines(words: Words) -> list[str]:
    _ = words.gettext
    return [
        f"{_(CONSENT)} {_('What we keep about you')}",
        f"[{_('Send me a confirmation')}] [{_('Follow from my server')}]",
    ]
