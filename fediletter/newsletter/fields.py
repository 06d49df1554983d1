"""The fields of the profile: a name and a text or address each, as servers show them.

Sources: federation.md 4 (attachment): a link is verified if it is https, without credentials and
in ASCII. Number and length are ours, well below what Mastodon keeps (50 fields, 2047 characters).
"""

import json
from collections.abc import Sequence

from federation.errors import BadUrl
from federation.origins import parse_url

FIELDS = 4
NAME_LENGTH = VALUE_LENGTH = 255


def problem_of(name: str, value: str) -> str | None:
    """What is wrong with a field, as a message id; None if nothing is."""
    if not name or not value:
        return "A field needs a name and a text."
    if len(name) > NAME_LENGTH or len(value) > VALUE_LENGTH:
        return "A field holds at most 255 characters."
    if value.startswith("http://"):
        return "Begin the address with https://."
    if value.startswith("https://"):
        try:
            parse_url(value)
        except BadUrl:
            return "This is no address of a page."
        if not value.isascii():
            return "Write this address in plain letters: other servers verify no other."
    return None


def fields_json(fields: Sequence[tuple[str, str]]) -> str:
    """The fields as they are kept."""
    return json.dumps([{"name": name, "value": value} for name, value in fields])


def fields_of(text: str) -> list[tuple[str, str]]:
    """The fields out of what is kept."""
    return [(field["name"], field["value"]) for field in json.loads(text)]
