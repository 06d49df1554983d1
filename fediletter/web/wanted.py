"""Which of its forms somebody wants: JSON for servers, a page for people.

Source: federation.md 3.4.
"""

from functools import lru_cache

from starlette.requests import Request

ACTIVITY_JSON = "application/activity+json"


def wants_activity(request: Request) -> bool:
    """Whether a request prefers ActivityStreams to HTML."""
    return prefers_activity(request.headers.get("accept", ""))


@lru_cache(maxsize=256)
def prefers_activity(accept: str) -> bool:
    """Whether an Accept header prefers ActivityStreams to HTML."""
    weights = {"activity": 0.0, "html": 0.0}
    for part in accept.split(","):
        kind, *parameters = [one.strip().lower() for one in part.split(";")]
        quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        try:
            weight = float(quality)
        except ValueError:
            weight = 0.0
        if kind in (ACTIVITY_JSON, "application/ld+json"):
            weights["activity"] = max(weights["activity"], weight)
        elif kind in ("text/html", "application/xhtml+xml"):
            weights["html"] = max(weights["html"], weight)
    return weights["activity"] > 0 and weights["activity"] >= weights["html"]
