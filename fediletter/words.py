"""Words for people in their language: gettext catalogues, dates, numbers, plural forms.

Message ids are the English sentences; `locale/<language>/LC_MESSAGES/*.po` holds the others. A
third language is one more folder. Catalogues are read once, at start.

Source: the gettext manual; Babel.
"""

import gettext as gnu
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale, dates, numbers
from babel.core import get_global
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from fediletter.settings import LANGUAGES

_LOCALE = Path(__file__).parent / "locale"
_UTC = ZoneInfo("UTC")
_PLACE = re.compile("(Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific)/")
_NUMBERS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen", "twenty"),
)


@dataclass(frozen=True, slots=True)
class Words:
    """One language."""

    language: str
    catalogue: gnu.NullTranslations  # As it stands: slots stay open.
    _locale: Locale
    zone: ZoneInfo = _UTC

    def gettext(self, message: str, **fields: object) -> str:
        """The message in this language, with its `{slots}` filled."""
        found = self.catalogue.gettext(message) if message else ""
        return found.format(**fields) if fields else found

    def ngettext(self, one: str, many: str, count: int, **fields: object) -> str:
        """The plural form for `count`, which is also the slot `{count}`."""
        found = self.catalogue.ngettext(one, many, count)
        return found.format(count=self.number(count), **fields)

    def day(self, moment: date | datetime) -> str:
        """Such as `24 novembre 2026`."""
        return dates.format_date(moment, "long", locale=self._locale)

    def month(self, moment: date | datetime) -> str:
        """Such as `novembre 2026`."""
        return dates.format_date(moment, "MMMM y", locale=self._locale)

    def moment(self, moment: datetime) -> str:
        """Such as `24 novembre 2026, 09:30` in the zone of these words; UTC says so."""
        local = moment.astimezone(self.zone)
        hour = dates.format_time(local, "short", tzinfo=self.zone, locale=self._locale)
        if self.zone.key == "UTC":
            hour += f" {dates.get_timezone_name(local, width='short', locale=self._locale)}"
        form = dates.get_datetime_format("long", locale=self._locale)
        return str(form).format(hour, self.day(local))

    def at(self, time_zone: str) -> "Words":
        """These words with the hours of a place; of none of IANA's names: UTC."""
        return replace(self, zone=ZoneInfo(time_zone)) if time_zone in time_zones() else self

    def span(self, seconds: int) -> str:
        """Such as `12 minutes`."""
        return dates.format_timedelta(seconds, threshold=2, locale=self._locale)

    def spelled(self, value: int) -> str:
        """A number from 1 to 20 in words."""
        return self.gettext(_NUMBERS[value - 1])

    @property
    def locale(self) -> str:
        """Such as `fr_FR`: the language with the country where most speak it."""
        found = get_global("likely_subtags").get(self.language, self.language)
        return f"{self.language}_{found.rpartition('_')[2]}"

    @property
    def name(self) -> str:
        """What its speakers call the language, such as `français`."""
        return self._locale.get_display_name(self.language) or self.language

    def number(self, value: float) -> str:
        """With the thousands separator of the language."""
        return numbers.format_decimal(value, locale=self._locale)


@cache
def words(language: str) -> Words:
    """The words of one of the languages that exist."""
    catalogue: gnu.NullTranslations = gnu.NullTranslations()
    for path in sorted((_LOCALE / language / "LC_MESSAGES").glob("*.po")):
        compiled = io.BytesIO()
        write_mo(compiled, read_po(io.BytesIO(path.read_bytes()), locale=language))
        compiled.seek(0)
        found = gnu.GNUTranslations(compiled)
        found.add_fallback(catalogue)
        catalogue = found
    return Words(language, catalogue, Locale.parse(language))


@cache
def time_zones() -> tuple[str, ...]:
    """What a person can choose as the place whose hours they live by, in order."""
    return ("UTC", *sorted(one for one in available_timezones() if _PLACE.match(one)))


@lru_cache(maxsize=256)
def choose_language(accept: str, otherwise: str, offered: tuple[str, ...] = LANGUAGES) -> str:
    """The best offered language for an `Accept-Language` header (RFC 9110 §12.5.4).

    Args:
        accept: The header as received, at most the head's size; empty if absent.
        otherwise: The site's language, when the header names none of ours.
        offered: What there is.
    """
    weights: Mapping[str, float] = dict(map(_weighed, accept.split(",")))
    ours = set(offered)
    wanted = sorted((tag for tag in weights if weights[tag] > 0), key=lambda tag: -weights[tag])
    for tag in wanted:
        if tag.split("-")[0] in ours:
            return tag.split("-")[0]
    return otherwise


def _weighed(part: str) -> tuple[str, float]:
    tag, _, parameter = part.partition(";")
    try:
        weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
    except ValueError:
        weight = 0.0
    return tag.strip().lower(), weight
