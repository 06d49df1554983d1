"""Actor documents: where an actor takes deliveries, and which keys are theirs.

Sources: federation.md section 4; security.md IN-10, IN-18, IN-30, IN-35, L-13, L-20 to L-22;
FEP-521a.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from federation.errors import BadDocument, BadKey, BadUrl
from federation.keys import KnownKey, public_key
from federation.limits import ALIASES, HANDLE_LENGTH, KEYS_PER_ACTOR, NAME_LENGTH
from federation.origins import is_related_host, parse_url, same_origin
from federation.reading import id_of, ids_of, many, text_of, types_of, url_of

Document: TypeAlias = dict[str, Any]

ACTOR_TYPES = frozenset({"Person", "Service", "Organization", "Application", "Group"})


@dataclass(frozen=True, slots=True)
class RemoteActor:
    """An actor elsewhere, as its own document shows it; texts are plain and not yet escaped."""

    id: str
    type: str
    inbox: str
    shared_inbox: str | None
    username: str
    name: str
    url: str | None
    icon: str | None
    followers: str | None
    keys: tuple[KnownKey, ...]
    key_links: tuple[str, ...]  # Ids of keys that it lists without the keys themselves.
    also_known_as: tuple[str, ...]
    moved_to: str | None

    @property
    def host(self) -> str:
        """Host of its id, with its port where that is not the default."""
        return parse_url(self.id).authority

    @property
    def handle(self) -> str:
        """`user@host` of its id; what WebFinger says may be another host."""
        return f"{self.username}@{self.host}"


def actor_from(document: Document) -> RemoteActor:
    """Read an actor document that was fetched from its own id.

    A shared inbox at a foreign host is dropped; a foreign inbox makes the actor unusable (IN-30).

    Raises:
        BadDocument: It is no actor, or lacks an id or an acceptable inbox.
    """
    actor_id = id_of(document)
    kinds = [kind for kind in types_of(document) if kind in ACTOR_TYPES]
    if actor_id is None or not kinds:
        raise BadDocument("not an actor")
    inbox = id_of(document.get("inbox"))
    if inbox is None or not _belongs(inbox, actor_id):
        raise BadDocument("no inbox at the actor's own host")
    endpoints = document.get("endpoints")
    shared = id_of(endpoints.get("sharedInbox")) if isinstance(endpoints, dict) else None
    shared = shared or id_of(document.get("sharedInbox"))
    listed = (many(document.get("publicKey")) + many(document.get("assertionMethod")))[
        :KEYS_PER_ACTOR
    ]
    return RemoteActor(
        id=actor_id,
        type=kinds[0],
        inbox=inbox,
        shared_inbox=shared if shared is not None and _belongs(shared, actor_id) else None,
        username=text_of(document, "preferredUsername", longest=HANDLE_LENGTH),
        name=text_of(document, "name", longest=NAME_LENGTH),
        url=_page(document, actor_id),
        icon=_image(document.get("icon")),
        followers=id_of(document.get("followers")),
        keys=tuple(key for entry in listed if (key := key_of(entry, actor_id)) is not None),
        key_links=tuple(entry for entry in listed if isinstance(entry, str)),
        also_known_as=tuple(ids_of(document.get("alsoKnownAs"))[:ALIASES]),
        moved_to=id_of(document.get("movedTo")),
    )


def _belongs(inbox: str, actor_id: str) -> bool:
    try:
        mine, theirs = parse_url(inbox), parse_url(actor_id)
    except BadUrl:
        return False
    if mine.scheme == "http" and theirs.scheme == "https":
        return False
    if mine.host == theirs.host:
        return True
    return mine.scheme == "https" and is_related_host(mine.host, theirs.host)


def _page(document: Document, actor_id: str) -> str | None:
    """Its page for people: a name here leads to no host but its own (HT-7)."""
    url = url_of(document.get("url"))
    try:
        near = url is not None and is_related_host(parse_url(url).host, parse_url(actor_id).host)
    except BadUrl:
        return None
    return url if near else None


def _image(value: object) -> str | None:
    for one in many(value):
        found = url_of(one.get("url")) if isinstance(one, dict) else url_of(one)
        if found is not None:
            return found
    return None


def key_of(entry: object, actor_id: str) -> KnownKey | None:
    """A key as a document shows it; None if it is none that is accepted, or another's."""
    if not isinstance(entry, dict):
        return None
    key_id = id_of(entry)
    owner = id_of(entry.get("owner")) or id_of(entry.get("controller"))
    text = entry.get("publicKeyPem") or entry.get("publicKeyMultibase")
    if key_id is None or not isinstance(text, str):
        return None
    if owner not in (None, actor_id) or not same_origin(key_id, actor_id):
        return None
    try:
        return KnownKey(key_id, actor_id, public_key(text))
    except BadKey:
        return None
