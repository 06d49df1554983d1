"""One constant per limit of the security contract that this library keeps (security.md section 10).

Seconds where a name ends in `_SECONDS`, octets where it ends in `_BYTES`. An operator sets another
value by `FEDILETTER_LIMIT_NAME` in the environment, read once, when the program starts.
"""

import contextlib
import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from typing import Any

ENVIRONMENT = "FEDILETTER_LIMIT_"
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

SIGNATURE_WINDOW = timedelta(minutes=65)  # L-6
SIGNATURE_LIFE = timedelta(hours=12)  # L-6: of `expires` after `created`
PROOF_LIFE = timedelta(days=30)  # L-7: while a second copy is known as one
JSON_DEPTH, JSON_NODES, JSON_STRING_BYTES = 32, 10_000, 512 << 10  # L-8
URL_LENGTH = 2048  # L-9
RSA_BITS_ACCEPTED = (2048, 8192)  # L-12
PEM_LENGTH, KEYS_PER_ACTOR = 8 << 10, 10  # L-13
NAME_LENGTH, HANDLE_LENGTH = 2048, 256  # L-21
ALIASES = 256  # L-22
REDIRECTS = 3  # L-40
STEP_SECONDS = 5.0  # L-41: for each of the name, the connection and TLS
GAP_SECONDS = 10.0  # L-41: between two reads
TOTAL_SECONDS = 20.0  # L-41
ANSWER_HEAD_BYTES, ANSWER_BYTES = 16 << 10, 1 << 20  # L-42
FETCHES = 10  # L-43: that one activity may cause
REQUESTS_AT_ONCE = 256  # L-44
REQUESTS_PER_HOST = 2  # L-44: one lane, one fetch


def settle(module: MutableMapping[str, Any], environ: Mapping[str, str] = os.environ) -> None:
    """Let the operator's values win over a module's constants; what cannot be read does not."""
    for name, value in list(module.items()):
        if name.isupper() and environ.get(ENVIRONMENT + name):
            with contextlib.suppress(ValueError):
                module[name] = read_limit(environ[ENVIRONMENT + name], value)


def read_limit(text: str, default: Any) -> Any:
    """A value of the same kind as the default: `300`, `0.5`, `90s` (or m, h, d), `300/5m`.

    Raises:
        ValueError: It is none.
    """
    if isinstance(default, tuple):
        parts = text.split("/")
        if len(parts) != len(default):
            raise ValueError("so many values as the default, with / between them")
        return tuple(map(read_limit, parts, default))
    if isinstance(default, timedelta):
        span = _SPAN.fullmatch(text)
        if span is None:
            raise ValueError("not a time")
        return timedelta(**{_UNITS[span[2]]: int(span[1])})
    if not isinstance(default, int | float):
        raise ValueError("not a limit")
    number = type(default)(text)
    if not number > 0:
        raise ValueError("no more than 0")
    return number


settle(globals())
