"""WebFinger: from `user@host` to an actor, both ways.

Sources: RFC 7033; RFC 6415 (host-meta); federation.md 3.1, 3.2; FEP-d556; FEP-3b86; security.md
2.3.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import quoteattr

import httpx

from federation.errors import BadDocument, BadUrl, FetchFailed, ForbiddenAddress, TryFetchLater
from federation.network import Client, Network
from federation.origins import host_of, origin_of, parse_url
from federation.reading import many, parse_json

CONTENT_TYPE = "application/jrd+json"
_SELF_TYPES = (
    "application/activity+json",
    'application/ld+json; profile="https://www.w3.org/ns/activitystreams"',
)
_LONGEST_RESOURCE = 320
# Where a reader follows from their own server: the newer way first.
_FOLLOW = ("https://w3id.org/fep/3b86/follow", "http://ostatus.org/schema/1.0/subscribe")
_SLOT = re.compile(r"\{([A-Za-z-]{1,30})\}")
_BEGINNING = re.compile(r"https?://[^/?#]*|acct:", re.IGNORECASE)
_ACCOUNT = re.compile(
    r"@?([A-Za-z0-9_.-]+)@([A-Za-z0-9.\-]+(?::\d{1,5})?|\[[0-9a-fA-F:]+\](?::\d+)?)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up found."""

    subject: str
    actor_id: str
    follow_template: str | None = None  # Where its owner follows others; checked, for `follow_url`.


def resource_of(text: str) -> str | None:
    """A `resource` parameter in one form: `acct:user@host` in lower case, or a URL as it is.

    Accepts percent encoding, a leading @ and upper case, also in scheme and host of a URL; None if
    it is neither.
    """
    if len(text) > _LONGEST_RESOURCE:
        return None
    plain = _lower_beginning(unquote(text).strip())
    if plain.startswith(("https://", "http://")):
        return plain
    found = _ACCOUNT.fullmatch(plain.removeprefix("acct:"))
    return f"acct:{found[1]}@{found[2]}".lower() if found else None


def _lower_beginning(text: str) -> str:
    found = _BEGINNING.match(text)
    return text if found is None else found[0].lower() + text[found.end() :]


def descriptor(
    *,
    subject: str,
    aliases: list[str],
    actor_id: str,
    profile: str | None = None,
    extra: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """The JSON Resource Descriptor of an actor of ours.

    Args:
        subject: `acct:user@host`, canonical.
        aliases: Other addresses of the same.
        actor_id: Byte for byte as in the actor document.
        profile: A page for people.
        extra: More links; none of a type `application/*` (Lemmy would try it as an actor).
    """
    links: list[dict[str, str]] = [
        {"rel": "self", "type": "application/activity+json", "href": actor_id}
    ]
    if profile is not None:
        links.append(
            {
                "rel": "http://webfinger.net/rel/profile-page",
                "type": "text/html",
                "href": profile,
            }
        )
    return {"subject": subject, "aliases": aliases, "links": links + (extra or [])}


def host_meta(base_url: str) -> str:
    """The XRD that leads from a host to its WebFinger (RFC 6415)."""
    template = quoteattr(f"{base_url}/.well-known/webfinger?resource={{uri}}")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0">'
        f'<Link rel="lrdd" type="application/jrd+json" template={template}/></XRD>\n'
    )


async def look_up(network: Network, handle: str, *, scheme: str = "https") -> Found:
    """Find the actor behind `user@host`.

    Args:
        network: The one door.
        handle: With or without a leading @ or `acct:`.
        scheme: `http` in laboratories alone.

    Raises:
        FetchFailed: It is no handle, or its host does not know it.
    """
    resource = resource_of(handle if handle.startswith("acct:") else f"acct:{handle.strip('@ ')}")
    if resource is None:
        raise FetchFailed("not a handle")
    host = resource.rpartition("@")[2]
    url = f"{scheme}://{host}/.well-known/webfinger?resource={quote(resource, safe='')}"
    async with network.connection() as client:
        answered, document = await _get(network, client, url)
    return _read(document, resource, [url, answered])


def follow_url(found: Found, actor_id: str) -> str | None:
    """The page on which the owner of an account may follow an actor; None if there is none.

    All values are percent-encoded, parameters that we do not know are empty (FEP-3b86 3.2, 3.3).
    """
    if found.follow_template is None:
        return None
    known = {"object": quote(actor_id, safe=""), "uri": quote(actor_id, safe="")}
    url = _SLOT.sub(lambda slot: known.get(slot[1], ""), found.follow_template)
    try:
        same = origin_of(url) == origin_of(_SLOT.sub("", found.follow_template))
    except BadUrl:
        return None
    return url if same else None


async def _get(network: Network, client: Client, url: str) -> tuple[str, dict[str, Any]]:
    """The document, and the address that answered with it."""
    seen = {url}
    for _ in range(4):  # WebFinger alone may cross hosts (FE-6), three times (L-40).
        try:
            response = await client.get(
                url, headers={"Accept": f"{CONTENT_TYPE}, application/json"}
            )
        except ForbiddenAddress:
            raise
        except httpx.TransportError as wrong:
            raise TryFetchLater(str(wrong) or "no answer") from wrong
        if response.status_code in (301, 302, 303, 307, 308):
            target = _joined(url, response.headers.get("location", ""))
            if url.startswith("https:") and not target.startswith("https:"):
                raise FetchFailed("a redirect away from https")
            if target in seen:
                raise FetchFailed("redirects in a circle")
            seen.add(target)
            url = target
            network.redirects_followed += 1
            continue
        if response.status_code != 200:
            raise FetchFailed(f"answered {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (CONTENT_TYPE, "application/json"):
            raise FetchFailed("not a JSON resource descriptor")
        try:
            return url, parse_json(response.content)
        except BadDocument as wrong:
            raise FetchFailed("not JSON") from wrong
    raise FetchFailed("too many redirects")


def _joined(url: str, location: str) -> str:
    try:
        target = str(httpx.URL(url).join(location))
        return str(parse_url(target))
    except (BadUrl, httpx.InvalidURL) as wrong:
        raise FetchFailed("a redirect to nowhere") from wrong


def _read(document: dict[str, Any], resource: str, urls: list[str]) -> Found:
    actor_id = None
    templates: dict[str, str] = {}
    for link in many(document.get("links")):
        if not isinstance(link, dict):
            continue
        rel = str(link.get("rel")).lower()
        if rel == "self" and link.get("type") in _SELF_TYPES:
            actor_id = link.get("href")
        elif rel in _FOLLOW:
            # The text says `href`, most servers write `template`, as OStatus did.
            templates.setdefault(rel, str(link.get("template") or link.get("href")))
    try:
        parse_url(str(actor_id))
    except BadUrl as wrong:
        raise FetchFailed("no actor behind this handle") from wrong
    subject = document.get("subject")
    usable = [
        templates[rel]
        for rel in _FOLLOW
        if rel in templates and _is_template(templates[rel], [*urls, str(actor_id)])
    ]
    return Found(
        subject if isinstance(subject, str) else resource,
        str(actor_id),
        usable[0] if usable else None,
    )


def _is_template(text: str, urls: list[str]) -> bool:
    """Whether it leads to a host that the account itself has named, as safely as we asked it."""
    if not {"object", "uri"} & set(_SLOT.findall(text)):
        return False
    bare = _SLOT.sub("", text)
    try:
        hosts = {host_of(url) for url in urls}
        return bare.startswith(urls[0].partition("//")[0]) and host_of(bare) in hosts
    except BadUrl:
        return False
