"""One activity to one inbox: build, sign, knock, judge.

A peer being down is not exceptional, so the result is a value: `Delivered`, `TryLater`, `Refused`
or `Gone`. What the statuses mean is a table (federation.md section 6).

The knock is a generator that yields requests and is sent answers, without any I/O: first by the
scheme that this host took last, draft-cavage for a stranger, and on 400 or 401 once by the other.
It signs each attempt freshly.

Sources: ActivityPub §7.1; federation.md 6, 7.1, 7.5, 11; FE-6 (no redirect is followed).
"""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

import httpx

from federation.digests import content_digest_header, digest_header, sha256_base64
from federation.errors import BadUrl, ForbiddenAddress
from federation.keys import Signer
from federation.network import Client
from federation.origins import Url, parse_url
from federation.signatures import cavage, rfc9421

Scheme: TypeAlias = Literal["cavage", "rfc9421"]

CONTENT_TYPE = "application/activity+json"
_LONGEST_WAIT = timedelta(hours=24)
_OTHER: dict[Scheme, Scheme] = {"cavage": "rfc9421", "rfc9421": "cavage"}
_MOVED = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({401, 408, 429, *range(500, 600)} - {501})


@dataclass(frozen=True, slots=True)
class Parcel:
    """An activity as it is sent: made once, for all inboxes."""

    body: bytes
    digest: str  # base64 of the SHA-256 of the body

    @classmethod
    def of(cls, body: bytes) -> "Parcel":
        return cls(body, sha256_base64(body))


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has taken it; which says nothing of what it does with it."""

    status: int
    scheme: Scheme


@dataclass(frozen=True, slots=True)
class TryLater:
    """For a reason that may pass."""

    reason: str  # One line for the desk; no secrets.
    answered: bool  # Whether there was any answer: if not, the host as a whole should rest.
    after: timedelta | None = None  # From Retry-After (RFC 9110 §10.2.3), if sent.
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer will not take this activity."""

    reason: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The inbox is not there any more, or has moved: look the actors up again."""

    reason: str
    status: int


Outcome: TypeAlias = Delivered | TryLater | Refused | Gone


async def deliver(
    client: Client,
    parcel: Parcel,
    inbox_url: str,
    signer: Signer,
    *,
    scheme: Scheme | None,
    now: datetime,
) -> Outcome:
    """Bring a parcel to an inbox.

    Args:
        client: From `Network.connection`; kept while the lane has work.
        parcel: Body and digest.
        inbox_url: As stored; checked again here (FE-8).
        signer: Key of the activity's actor.
        scheme: What this host took last, if that is known.
        now: The time of this attempt.
    """
    try:
        url = parse_url(inbox_url)
    except BadUrl as wrong:
        return Refused(f"not an inbox address: {wrong}")
    steps = knock(parcel, url, signer, scheme=scheme, now=now)
    headers = next(steps)
    while True:
        try:
            response = await client.post(url, content=parcel.body, headers=headers)
        except ForbiddenAddress as wrong:
            return Refused(f"not an address to send to: {wrong.detail}")
        except httpx.TimeoutException:
            return TryLater("no answer in time", answered=False)
        except httpx.TransportError as wrong:
            return TryLater(str(wrong) or "no connection", answered=False)
        try:
            headers = steps.send(response)
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome


def knock(
    parcel: Parcel, url: Url, signer: Signer, *, scheme: Scheme | None, now: datetime
) -> Generator[dict[str, str], httpx.Response, Outcome]:
    """Yields the header fields of each attempt, is sent its response, returns the outcome."""
    first: Scheme = scheme or "cavage"
    response = yield _signed(parcel, url, signer, first, now)
    if response.status_code not in (400, 401):
        return judge(response, first, now=now)
    again = yield _signed(parcel, url, signer, _OTHER[first], now)
    if again.status_code in (400, 401):
        return judge(response, first, now=now)  # The scheme was not the reason.
    return judge(again, _OTHER[first], now=now)


def judge(response: httpx.Response, scheme: Scheme, *, now: datetime) -> Outcome:
    """What an answer means for the delivery (federation.md section 6)."""
    status = response.status_code
    if 200 <= status < 300:
        return Delivered(status, scheme)
    if status in (404, 410) or status in _MOVED:
        return Gone(f"answered {status}", status)
    if status in _LATER:
        after = _retry_after(response.headers.get("retry-after"), now)
        return TryLater(f"answered {status}", answered=True, after=after, status=status)
    return Refused(f"answered {status}", status)


def _signed(
    parcel: Parcel, url: Url, signer: Signer, scheme: Scheme, now: datetime
) -> dict[str, str]:
    if scheme == "cavage":
        return cavage.sign_post(
            url,
            digest=digest_header(parcel.digest),
            content_type=CONTENT_TYPE,
            signer=signer,
            now=now,
        )
    return rfc9421.sign_post(
        url,
        content_digest=content_digest_header(parcel.digest),
        content_type=CONTENT_TYPE,
        signer=signer,
        now=now,
    )


def _retry_after(text: str | None, now: datetime) -> timedelta | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max(moment - now, timedelta()), _LONGEST_WAIT)
