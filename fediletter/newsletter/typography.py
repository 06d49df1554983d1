"""French typography: spaces that must not break, in text between tags.

Sources: Lexique des règles typographiques en usage à l’Imprimerie nationale; email.md HT-16.
"""

import re

NBSP = "\N{NO-BREAK SPACE}"
NARROW = "\N{NARROW NO-BREAK SPACE}"

# A space that a writer typed becomes one that does not break; where none was typed before high
# punctuation, one is added, but not inside addresses, times or emoticons.
_BEFORE_HIGH = re.compile(r"(?<=[^\s\d:;!?/&#.([«])[ \u00a0\u202f]?([;!?]+)(?=[\s»)\]*_<]|$)")
_BEFORE_COLON = re.compile(r"(?<=\S)[ \u00a0\u202f]:(?=\s|$)")
_AFTER_OPENING = re.compile(r"«[ \u00a0\u202f]?(?=\S)")
_BEFORE_CLOSING = re.compile(r"(?<=\S)[ \u00a0\u202f]?»")
_BEFORE_UNIT = re.compile(r"(?<=\d)[ ](?=(?:%|€|°|kg|g|mg|km|m|cm|mm|h|min|s|l|cl|ml)\b|%|€|°)")
_THOUSANDS = re.compile(r"(?<=\d)[ ](?=\d{3}\b)")
_DIGIT_HIGH = re.compile(r"(?<=\d)[ \u00a0\u202f]([;!?])")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])'(?=[^\W\d_]|$)")


def french(text: str, *, narrow: str = NARROW) -> str:
    """The text with its French spaces.

    Args:
        text: Plain text, no markup.
        narrow: The space before ; ! ? : narrow on the web, plain no-break in mail.
    """
    text = _APOSTROPHE.sub("’", text)
    text = _BEFORE_HIGH.sub(rf"{narrow}\1", text)
    text = _DIGIT_HIGH.sub(rf"{narrow}\1", text)
    text = _BEFORE_COLON.sub(f"{NBSP}:", text)
    text = _AFTER_OPENING.sub(f"«{NBSP}", text)
    text = _BEFORE_CLOSING.sub(f"{NBSP}»", text)
    text = _BEFORE_UNIT.sub(NBSP, text)
    return _THOUSANDS.sub(narrow, text)


def typeset(text: str, language: str) -> str:
    """A title or teaser as pages show it, in the typography of its language."""
    return french(text) if language == "fr" else text
