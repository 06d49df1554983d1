"""JSON in one canonical form, so that two parties hash the same octets.

Names sorted by UTF-16 code units, no white space, strings with the fewest escapes, numbers as
ECMAScript writes them. What JSON cannot say (NaN, half a surrogate pair) is refused.

Pure: values in, octets out.

Source: RFC 8785; ECMA-262 §6.1.6.1.20 (Number::toString).
"""

import json
from collections.abc import Iterator
from math import isfinite

from federation.errors import BadDocument

_EXACT = 2**53


def canonical(value: object) -> bytes:
    """The canonical octets of a JSON value.

    Raises:
        BadDocument: It holds what has no canonical form.
    """
    try:
        return "".join(_parts(value)).encode("utf-8")
    except (UnicodeEncodeError, RecursionError, OverflowError) as wrong:
        raise BadDocument("no canonical form") from wrong


def _parts(value: object) -> Iterator[str]:
    match value:
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case str():
            yield _string(value)
        case int() | float():
            yield number(value)
        case dict():
            yield "{"
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            for place, name in enumerate(names):
                yield f"{',' if place else ''}{_string(name)}:"
                yield from _parts(value[name])
            yield "}"
        case list() | tuple():
            yield "["
            for place, one in enumerate(value):
                if place:
                    yield ","
                yield from _parts(one)
            yield "]"
        case _:
            raise BadDocument("not a JSON value")


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    """A number as ECMAScript writes it: the shortest digits that give it back.

    Integers beyond 2^53 are read as the double that they become elsewhere.
    """
    if isinstance(value, int) and abs(value) <= _EXACT:
        return str(value)
    value = float(value)
    if not isfinite(value):
        raise BadDocument("not a number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.digits times ten to the power of `point`.
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return sign + _written(digits, point)


def _written(digits: str, point: int) -> str:
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    power = point - 1
    mantissa = digits[0] + (f".{digits[1:]}" if count > 1 else "")
    return f"{mantissa}e{'+' if power >= 0 else '-'}{abs(power)}"
