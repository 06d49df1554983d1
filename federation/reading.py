"""Tolerant readers for what others send, and a strict one for the octets it comes in.

JSON is read as plain compacted JSON: there is no JSON-LD processor, no remote context is fetched.
The octets are judged before objects are built from them; the values are read in all the shapes
that real servers use.

Sources: security.md IN-14 to IN-16, IN-18, L-8, L-9; federation.md section 12.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal, NoReturn, TypeAlias

from federation.errors import BadDocument
from federation.limits import JSON_DEPTH, JSON_NODES, JSON_STRING_BYTES, URL_LENGTH

Document: TypeAlias = dict[str, Any]
Visibility: TypeAlias = Literal["public", "unlisted", "followers", "direct"]

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
_PUBLIC_FORMS = frozenset({PUBLIC, "as:Public", "Public"})
_PREFIXES = re.compile(r"^(as:|https://www\.w3\.org/ns/activitystreams#|litepub:|toot:)")
_PAGE = re.compile(r'https?://[^\s\\"<>\x00-\x20\x7f]+')  # HT-4: nothing that hides a host.
_GRAPH = frozenset({"@graph", "@included", "@reverse"})
# What stands between quotes counts for nothing in the depth. Possessive, and content with a string
# that never ends: one pass over the octets, whatever they are.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)


def parse_json(body: bytes) -> Document:
    """A JSON object, its structure bounded before it is built.

    Raises:
        BadDocument: Not UTF-8, not an object, deeper or larger than L-8, a name twice, NaN or an
            integer beyond 64 bits, half a surrogate pair, or a graph of JSON-LD.
    """
    _scan(body)
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except UnicodeDecodeError as wrong:
        raise BadDocument("not UTF-8") from wrong
    except (ValueError, RecursionError) as wrong:
        raise BadDocument("not JSON") from wrong
    if not isinstance(document, dict):
        raise BadDocument("not an object")
    return document


def _scan(body: bytes) -> None:
    depth = nodes = 0
    for found in _STRUCTURE.finditer(body):
        mark = found[0]
        if mark in (b"[", b"{"):
            depth += 1
            nodes += 1
            if depth > JSON_DEPTH:
                raise BadDocument("too deep")
        elif mark in (b"]", b"}"):
            depth -= 1
        elif mark == b",":
            nodes += 1
        elif len(mark) - 2 > JSON_STRING_BYTES:  # Without its quotes.
            raise BadDocument("a string is too long")
        if nodes > JSON_NODES:
            raise BadDocument("too many parts")


def _object(pairs: list[tuple[str, Any]]) -> Document:
    found: Document = {}
    for raw, value in pairs:
        name = _text(raw)
        if name in found:
            raise BadDocument("a name stands twice")
        if name in _GRAPH:
            raise BadDocument("a graph")
        found[name] = _checked(value)
    return found


def _checked(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):  # Objects below were checked when they were built.
        return [_checked(one) for one in value]
    return value


def _text(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as wrong:
        raise BadDocument("half a surrogate pair") from wrong
    return value.replace("\0", "")


def _no_constant(_name: str) -> NoReturn:
    raise BadDocument("not a number")


def _float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise BadDocument("a number beyond 64 bits")
    return number


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise BadDocument("an integer beyond 64 bits")
    return int(digits)


# --- values ----------------------------------------------------------------------------------


def many(value: object) -> list[Any]:
    """One or many, as a list; null is absent."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def first(value: object) -> Any:
    """The one, or the first of many; None if there is none."""
    found = many(value)
    return found[0] if found else None


def only(value: object) -> Any:
    """The one, alone or in a list; None if there are none or several (IN-16)."""
    found = many(value)
    return found[0] if len(found) == 1 else None


def types_of(document: object) -> tuple[str, ...]:
    """The types of a document, without their prefixes."""
    if not isinstance(document, dict):
        return ()
    return tuple(
        _PREFIXES.sub("", one) for one in many(document.get("type")) if isinstance(one, str)
    )


def id_of(value: object) -> str | None:
    """The id that a value is or has: a string, an object with one, a Link, or a list of one."""
    if isinstance(value, list):
        return id_of(value[0]) if len(value) == 1 else None
    if isinstance(value, dict):
        value = value.get("id") or (value.get("href") if "Link" in types_of(value) else None)
    if isinstance(value, str):
        text = value.strip()
        return text if 0 < len(text) <= URL_LENGTH else None
    return None


def ids_of(value: object) -> list[str]:
    """The ids of one or many."""
    return [found for one in many(value) if (found := id_of(one)) is not None]


def embedded(value: object) -> Document | None:
    """The object that stands in a document, if it is more than a reference."""
    one = first(value)
    return one if isinstance(one, dict) and len(one.keys() - {"id", "type"}) > 0 else None


def text_of(document: Document, name: str, *, longest: int) -> str:
    """A text property: the value, else the first of its language map; cut, never refused."""
    value = first(document.get(name))
    if isinstance(value, dict):
        value = value.get("@value")
    if not isinstance(value, str):
        by_language = document.get(f"{name}Map")
        value = next(iter(by_language.values()), None) if isinstance(by_language, dict) else None
    return value[:longest] if isinstance(value, str) else ""


def url_of(value: object) -> str | None:
    """An address for people: a Link to HTML, else the first with http or https."""
    candidates = list(_addresses(value))
    html = next((address for address, kind in candidates if kind == "text/html"), None)
    return html or next((address for address, _ in candidates), None)


def _addresses(value: object) -> Iterator[tuple[str, str | None]]:
    for one in many(value):
        address = one.get("href") or one.get("url") if isinstance(one, dict) else one
        kind = one.get("mediaType") if isinstance(one, dict) else None
        if isinstance(address, str) and _PAGE.fullmatch(address) and len(address) <= URL_LENGTH:
            yield address, kind if isinstance(kind, str) else None


def date_of(value: object) -> datetime | None:
    """A date in any of the forms seen; without a zone it is UTC; None if it is none."""
    text = first(value)
    if not isinstance(text, str) or len(text) > 40 or not text.isascii():
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # The latter: in UTC it lies beyond the years 1 to 9999.
        return None


def is_public(uri: str) -> bool:
    """Whether this addresses everybody, in any of its spellings."""
    return uri in _PUBLIC_FORMS


def recipients_of(document: Document) -> tuple[set[str], set[str]]:
    """`to` and `cc` of a document."""
    return set(ids_of(document.get("to"))), set(ids_of(document.get("cc")))


def visibility_of(document: Document, followers: str | None) -> Visibility:
    """Whom a document is for (federation.md 9.5).

    Args:
        document: With `to` and `cc`.
        followers: The followers collection of its author.
    """
    to, cc = recipients_of(document)
    if any(map(is_public, to)):
        return "public"
    if any(map(is_public, cc)):
        return "unlisted"
    if followers is not None and followers in to | cc:
        return "followers"
    return "direct"
