"""The tree of refusals.

Each knows the status with which an inbox answers it (security.md 2.1) and a fixed text, which never
repeats input.
"""


class FederationError(Exception):
    """The root. `status` is what an inbox answers; `words` a fixed text of at most 200 octets."""

    status = 400
    words = "bad request"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.words)
        self.detail = detail  # For the log and the desk; may name hosts, never secrets.


class BadRequest(FederationError):
    """The request cannot be parsed, or has a part twice or too large."""


class BadUrl(BadRequest):
    """Not a URL that we would ask for or compare."""

    words = "bad url"


class BadDocument(BadRequest):
    """JSON that is none, too deep, ambiguous, or lacks what its type needs."""

    words = "bad document"


class NotProven(FederationError):
    """The sender did not prove who they are."""

    status = 401
    words = "signature missing or not valid"


class BadDigest(NotProven):
    """The body is not the one that was signed."""

    words = "digest missing or not valid"


class BadKey(NotProven):
    """A key that is too weak, malformed, or not its actor's."""

    words = "key not acceptable"


class NotTheActor(FederationError):
    """Properly signed, but by somebody else than the activity's actor: no effect (IN-13)."""

    status = 202
    words = "accepted"


class FetchFailed(FederationError):
    """A document could not be had. Some reasons pass: those are `TryFetchLater`."""

    status = 401
    words = "a document could not be fetched"


class TooManyFetches(FetchFailed):
    """What one activity may make us ask for is used up (L-43)."""


class TryFetchLater(FetchFailed):
    """For a reason that may pass: the sender shall come again."""

    status = 503


class DocumentGone(FetchFailed):
    """Its own host says that it is gone (410), or does not know it (404).

    Args:
        proven: True for 410 or a Tombstone: 404 alone proves nothing (IN-24).
    """

    def __init__(self, detail: str = "", *, proven: bool) -> None:
        super().__init__(detail)
        self.proven = proven


class ForbiddenAddress(FetchFailed):
    """The host, address or port is one that we never connect to (FE-1 to FE-5, FE-9)."""

    words = "address not allowed"
