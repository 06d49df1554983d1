"""NodeInfo: what software runs here, for those who count and those who check that we live.

Sources: nodeinfo.diaspora.software, schemas 2.0 and 2.1; FEP-f1d5, FEP-0151, FEP-2677;
federation.md 3.3.
"""

from dataclasses import dataclass
from typing import Any

_SCHEMA = "http://nodeinfo.diaspora.software/ns/schema/"
_HOME = "https://github.com/fediletter/fediletter"


@dataclass(frozen=True, slots=True)
class Usage:
    """What is counted."""

    posts: int
    comments: int


def well_known(base_url: str, instance_actor: str) -> dict[str, Any]:
    """The document that leads to the others, and to the instance actor."""
    links = [
        {"rel": f"{_SCHEMA}{version}", "href": f"{base_url}/nodeinfo/{version}"}
        for version in ("2.1", "2.0")
    ]
    service = "https://www.w3.org/ns/activitystreams#Application"
    return {"links": [*links, {"rel": service, "href": instance_actor}]}


def document(version: str, software_version: str, usage: Usage) -> dict[str, Any]:
    """The document of schema `2.0` or `2.1`."""
    software = {"name": "fediletter", "version": software_version}
    if version == "2.1":
        software["repository"] = software["homepage"] = _HOME
    return {
        "version": version,
        "software": software,
        "protocols": ["activitypub"],
        "services": {"inbound": [], "outbound": ["atom1.0", "smtp"]},
        "openRegistrations": False,
        "usage": {
            "users": {"total": 1, "activeMonth": 1, "activeHalfyear": 1},
            "localPosts": usage.posts,
            "localComments": usage.comments,
        },
        "metadata": {},
    }


def content_type(version: str) -> str:
    """The media type of a document, with its schema as profile."""
    return f'application/json; profile="{_SCHEMA}{version}#"'
