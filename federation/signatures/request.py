"""A received request as signatures see it: raw octets, repeated fields kept apart.

Sources: security.md IN-5 (repeated fields are an error), IN-6 (time), L-6; RFC 9110 §5.6.7.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from federation.errors import BadRequest, NotProven
from federation.limits import SIGNATURE_LIFE, SIGNATURE_WINDOW

# Fields that decide about trust: two of them would be read differently by different layers.
SINGLE = frozenset(
    {"date", "digest", "content-digest", "host", "signature", "signature-input", "content-type"}
    | {"content-length", "authorization", "content-encoding"}
)


@dataclass(frozen=True, slots=True)
class InboxRequest:
    """A request as it stood on the wire.

    `target` is the raw, still percent-encoded path and query of the request line. `headers` has
    names in lower case, in order, repetitions included.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    _values: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values: dict[str, list[str]] = {}
        for name, value in self.headers:
            values.setdefault(name, []).append(value.strip())
        object.__setattr__(self, "_values", values)

    def check_single(self) -> None:
        """Refuse two of any field that decides about trust, whoever reads it (IN-5).

        Raises:
            BadRequest: One stands there twice.
        """
        for name in SINGLE & self._values.keys():
            self.header(name)

    def header(self, name: str) -> str | None:
        """The value of a field, stripped; None if absent.

        Raises:
            BadRequest: It stands there twice though it must not (IN-5).
        """
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1 and name in SINGLE:
            raise BadRequest(f"{name} is repeated")
        return ", ".join(values)


def check_moment(moment: datetime, now: datetime) -> None:
    """Refuse what was signed too long ago, or in the future (L-6).

    Raises:
        NotProven: Outside of the window.
    """
    if abs(now - moment) > SIGNATURE_WINDOW:
        raise NotProven("outside the time window")


def check_life(created: datetime | None, expires: datetime | None, now: datetime) -> None:
    """Refuse what has expired, or claims to live too long.

    Raises:
        NotProven: Expired, or `created` is outside of the window.
    """
    if created is not None:
        check_moment(created, now)
    if expires is None:
        return
    if expires < now:
        raise NotProven("expired")
    if created is not None and expires - created > SIGNATURE_LIFE:
        raise NotProven("lives too long")


def moment_of_date(text: str) -> datetime:
    """The time of a `Date` field; without a zone it is UTC.

    Raises:
        NotProven: It is none.
    """
    try:
        if not text.isascii():
            raise ValueError
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError) as wrong:
        raise NotProven("not a date") from wrong


def moment_of_seconds(text: str) -> datetime:
    """The time of a `created` or `expires` parameter: seconds since 1970, digits only.

    Raises:
        NotProven: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 11):  # To the year 5138.
        raise NotProven("not a time")
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(text))
