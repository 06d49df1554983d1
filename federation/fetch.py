"""Signed GETs of documents: type, size, id and origin checked.

A document counts only when it comes from its own id. Redirects stay at one origin, at most three,
each checked and signed anew. A key counts only when its actor's own document lists it: the key's
own document proves nothing.

Sources: security.md FE-6 to FE-8, FE-10, FE-12, IN-9 to IN-12, L-40, L-42,
L-43; federation.md 3.4, 7.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx

from federation.actors import RemoteActor, actor_from, key_of
from federation.addresses import check_url
from federation.errors import (
    BadDocument,
    BadUrl,
    DocumentGone,
    FetchFailed,
    ForbiddenAddress,
    NotProven,
    TooManyFetches,
    TryFetchLater,
)
from federation.keys import KnownKey, Signer
from federation.limits import FETCHES, REDIRECTS
from federation.network import Client, Network
from federation.origins import Url, parse_url, same_origin, without_fragment
from federation.reading import id_of, many, parse_json, types_of
from federation.signatures import cavage, rfc9421

ACCEPT = 'application/activity+json, application/ld+json; profile="https://www.w3.org/ns/activitystreams"'
_MOVED = frozenset({301, 302, 303, 307, 308})
_PROFILE = "https://www.w3.org/ns/activitystreams"


@dataclass(slots=True)
class Budget:
    """Requests that one activity may still cause: all that is fetched for it counts (L-43)."""

    left: int = FETCHES

    def spend(self) -> None:
        """One request more. Raises TooManyFetches."""
        if self.left < 1:
            raise TooManyFetches("too many requests for one thing")
        self.left -= 1


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches documents, signing as the instance actor (federation.md 7.6).

    Args:
        network: The one door.
        signer: Of the instance actor.
        budget: Of the activity that needs the documents.
    """

    network: Network
    signer: Signer
    budget: Budget = field(default_factory=Budget)

    async def document(self, url: str, *, now: datetime) -> dict[str, Any]:
        """The document at its own id.

        Raises:
            DocumentGone: 404 or 410, or a Tombstone.
            TryFetchLater: The host does not answer now.
            FetchFailed: It is not what was asked for.
        """
        document = await self._get(url, now=now)
        found = id_of(document)
        if found is None:
            raise FetchFailed("a document without an id")
        if found != url:
            # One more look at the id it gives itself, if that is at the same origin (IN-11).
            if not same_origin(found, url):
                raise FetchFailed("a document of another origin")
            document = await self._get(found, now=now)
            if id_of(document) != found:
                raise FetchFailed("a document that is not at its id")
        if "Tombstone" in types_of(document):
            raise DocumentGone("a tombstone", proven=True)
        return document

    async def actor(self, actor_id: str, *, now: datetime) -> RemoteActor:
        """An actor at its own id.

        Raises:
            FetchFailed: As `document`; or it is not an actor that can be used.
        """
        try:
            return self._usable(await self.document(actor_id, now=now))
        except BadDocument as wrong:
            raise FetchFailed(f"not an actor: {wrong.detail}") from wrong

    def _usable(self, document: dict[str, Any]) -> RemoteActor:
        """An actor whose inboxes may be reached (FE-8). Raises BadDocument, ForbiddenAddress."""
        actor = actor_from(document)
        check_url(parse_url(actor.inbox), self.network.policy)
        try:
            check_url(parse_url(actor.shared_inbox or actor.inbox), self.network.policy)
        except ForbiddenAddress:
            return replace(actor, shared_inbox=None)
        return actor

    async def key(self, key_id: str, *, now: datetime) -> tuple[KnownKey, RemoteActor]:
        """A key together with the actor whose own document lists it.

        Handles the shapes in use: a fragment of the actor; a bare key document, or a partial actor
        at a key's own URL (GoToSocial), of which the owner lists the whole key or the id alone.

        Raises:
            NotProven: The owner's document does not list it.
            FetchFailed: A document could not be had.
        """
        place = without_fragment(key_id)
        document = await self._get(place, now=now)
        owner = _owner_of(document, key_id)
        if owner is None:
            raise NotProven("the key names no owner")
        if not same_origin(owner, key_id):
            raise NotProven("the key is of another host than its owner")
        try:
            # Only at its own id a document speaks for an actor: any other file of this host, an
            # upload perhaps, may claim to be one (IN-11).
            actor = self._usable(document) if id_of(document) == owner == place else None
        except BadDocument:
            actor = None  # A partial actor: ask for the whole.
        if actor is None or not (actor.keys or actor.key_links):
            actor = await self.actor(owner, now=now)
        for key in actor.keys:
            if key.key_id == key_id:
                return key, actor
        linked = key_of(_entry_of(document, key_id), actor.id)
        if linked is None or key_id not in actor.key_links:
            raise NotProven("the owner does not list the key")
        return linked, replace(actor, keys=(*actor.keys, linked))

    async def _get(self, text: str, *, now: datetime) -> dict[str, Any]:
        try:
            url = parse_url(text)
        except BadUrl as wrong:
            raise FetchFailed("not a URL") from wrong
        seen = {str(url)}
        async with self.network.connection() as client:
            for _ in range(REDIRECTS + 1):
                response = await self._knock(client, url, now=now)
                if response.status_code not in _MOVED:
                    return _document_in(response)
                url = _next(url, response, seen)
                self.network.redirects_followed += 1
        raise FetchFailed("too many redirects")

    async def _knock(self, client: Client, url: Url, *, now: datetime) -> httpx.Response:
        response = await self._once(client, url, cavage.sign_get(url, signer=self.signer, now=now))
        if response.status_code not in (400, 401):
            return response
        if "?" in url.target:
            alone = url.target.partition("?")[0]
            headers = cavage.sign_get(url, signer=self.signer, now=now, target=alone)
            response = await self._once(client, url, headers)
            if response.status_code not in (400, 401):
                return response
        return await self._once(client, url, rfc9421.sign_get(url, signer=self.signer, now=now))

    async def _once(self, client: Client, url: Url, headers: dict[str, str]) -> httpx.Response:
        self.budget.spend()
        try:
            return await client.get(url, headers={"Accept": ACCEPT, **headers})
        except ForbiddenAddress:
            raise
        except httpx.TransportError as wrong:
            raise TryFetchLater(str(wrong) or "no answer") from wrong


def _next(url: Url, response: httpx.Response, seen: set[str]) -> Url:
    location = response.headers.get("location", "")
    try:
        target = parse_url(str(httpx.URL(str(url)).join(location)))
    except (BadUrl, httpx.InvalidURL) as wrong:
        raise FetchFailed("a redirect to nowhere") from wrong
    if target.origin != url.origin:
        raise FetchFailed("a redirect to another origin")
    if str(target) in seen:
        raise FetchFailed("redirects in a circle")
    seen.add(str(target))
    return target


def _document_in(response: httpx.Response) -> dict[str, Any]:
    status = response.status_code
    if status in (404, 410):
        raise DocumentGone(f"answered {status}", proven=status == 410)
    if status in (408, 429) or status >= 500:
        raise TryFetchLater(f"answered {status}")
    if status != 200:
        raise FetchFailed(f"answered {status}")
    if not is_activity_type(response.headers.get("content-type", "")):
        raise FetchFailed("not an ActivityStreams document")
    try:
        return parse_json(response.content)
    except BadDocument as wrong:
        raise FetchFailed(f"not JSON: {wrong.detail}") from wrong


def is_activity_type(content_type: str) -> bool:
    """Whether a media type says ActivityStreams (FE-10).

    `application/ld+json` only with the profile that lists its namespace.
    """
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() == "application/activity+json":
        return True
    if kind.strip().lower() != "application/ld+json":
        return False
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "profile" and _PROFILE in value.strip('"').split():
            return True
    return False


def _entry_of(document: dict[str, Any], key_id: str) -> dict[str, Any]:
    """The key in a bare key document or an actor; empty if it is not there."""
    if "publicKey" not in document:
        return document if id_of(document) == key_id else {}
    entries = many(document["publicKey"])
    return next((one for one in entries if isinstance(one, dict) and id_of(one) == key_id), {})


def _owner_of(document: dict[str, Any], key_id: str) -> str | None:
    entry = _entry_of(document, key_id)
    named = id_of(entry.get("owner")) or id_of(entry.get("controller"))
    return named if entry is document else named or id_of(document)
