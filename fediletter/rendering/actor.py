"""Our actors as documents.

Sources: federation.md sections 4 and 13.1; FEP-2c59, FEP-5feb, FEP-521a.
"""

import json
from datetime import datetime
from html import escape
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fediletter.keyring import OwnActor
from fediletter.links import Links
from fediletter.newsletter.fields import fields_of
from fediletter.rendering.objects import when
from storage.newsletters import Newsletter
from storage.times import from_ms
from storage.topics import Topic

Document: TypeAlias = dict[str, Any]

_CONTEXT: list[Any] = [
    "https://www.w3.org/ns/activitystreams",
    "https://w3id.org/security/v1",
    {
        "toot": "http://joinmastodon.org/ns#",
        "schema": "http://schema.org#",
        "PropertyValue": "schema:PropertyValue",
        "value": "schema:value",
        "manuallyApprovesFollowers": "as:manuallyApprovesFollowers",
        "discoverable": "toot:discoverable",
        "indexable": "toot:indexable",
        "featured": {"@id": "toot:featured", "@type": "@id"},
        "featuredTags": {"@id": "toot:featuredTags", "@type": "@id"},
        "alsoKnownAs": {"@id": "as:alsoKnownAs", "@type": "@id"},
        "movedTo": {"@id": "as:movedTo", "@type": "@id"},
        "attributionDomains": {"@id": "toot:attributionDomains", "@container": "@set"},
        "webfinger": {"@id": "https://purl.archive.org/socialweb/webfinger#webfinger"},
        "Multikey": "https://w3id.org/security#Multikey",
        "assertionMethod": {
            "@id": "https://w3id.org/security#assertionMethod",
            "@type": "@id",
            "@container": "@set",
        },
        "controller": {"@id": "https://w3id.org/security#controller", "@type": "@id"},
        "publicKeyMultibase": {
            "@id": "https://w3id.org/security#publicKeyMultibase",
            "@type": "https://w3id.org/security#multibase",
        },
    },
]


def actor_document(
    own: OwnActor,
    links: Links,
    newsletter: Newsletter,
    *,
    account_host: str,
    icon: Document | None = None,
    image: Document | None = None,
) -> Document:
    """The newsletter's actor.

    Args:
        own: Row and keys.
        links: Our addresses.
        newsletter: What the founders say of it.
        account_host: Host of the handle: another than the server's in a split domain.
        icon: `{type, mediaType, url, name}`.
        image: The same, wide.
    """
    host = urlsplit(links.base).hostname or ""
    document: Document = {
        "@context": _CONTEXT,
        **_base(own, links, "Person", from_ms(newsletter.created_at)),
        "preferredUsername": own.row.username,
        "webfinger": f"{own.row.username}@{account_host}",
        "name": newsletter.title,
        "summary": f"<p>{escape(newsletter.description)}</p>" if newsletter.description else "",
        "url": links.profile,
        "featured": f"{own.uri}/featured",
        "featuredTags": f"{own.uri}/tags",
        "manuallyApprovesFollowers": False,
        "discoverable": True,
        "indexable": True,
        "attributionDomains": sorted({host, account_host.partition(":")[0]}),
        "attachment": _fields(newsletter),
    }
    if icon is not None:
        document["icon"] = icon
    if image is not None:
        document["image"] = image
    aliases = json.loads(own.row.also_known_as_json)
    if aliases:
        document["alsoKnownAs"] = aliases
    if own.row.moved_to:
        document["movedTo"] = own.row.moved_to
    return document


def topic_document(
    own: OwnActor,
    links: Links,
    newsletter: Newsletter,
    topic: Topic,
    *,
    account_host: str,
    icon: Document | None = None,
) -> Document:
    """The actor of a topic: it announces the letters of its topic and says nothing itself."""
    said = topic.description or f"{newsletter.title}: {topic.name}"
    newsletter_link = escape(links.profile)
    document: Document = {
        "@context": _CONTEXT,
        **_base(own, links, "Service", from_ms(own.row.created_at)),
        "preferredUsername": own.row.username,
        "webfinger": f"{own.row.username}@{account_host}",
        "name": f"{topic.name} · {newsletter.title}",
        "summary": (
            f"<p>{escape(said)}</p>"
            f'<p><a href="{newsletter_link}">{escape(newsletter.title)}</a></p>'
        ),
        "url": links.topic(topic.slug),
        "featured": f"{own.uri}/featured",
        "featuredTags": f"{own.uri}/tags",
        "manuallyApprovesFollowers": False,
        "discoverable": topic.public,
        "indexable": topic.public,
        "attachment": [],
    }
    if icon is not None:
        document["icon"] = icon
    return document


def instance_document(own: OwnActor, links: Links, created_at: datetime) -> Document:
    """The instance actor, which signs our GETs: public, without any signature asked (R10)."""
    return {
        "@context": _CONTEXT,
        **_base(own, links, "Application", created_at),
        "inbox": links.shared_inbox,
        "preferredUsername": urlsplit(links.base).hostname,
        "webfinger": f"{urlsplit(links.base).hostname}@{urlsplit(links.base).netloc}",
        "name": urlsplit(links.base).hostname,
        "url": f"{links.base}/",
        "manuallyApprovesFollowers": True,
    }


def _base(own: OwnActor, links: Links, type: str, created_at: datetime) -> Document:
    return {
        "id": own.uri,
        "type": type,
        "inbox": f"{own.uri}/inbox",
        "outbox": f"{own.uri}/outbox",
        "followers": f"{own.uri}/followers",
        "following": f"{own.uri}/following",
        "endpoints": {"sharedInbox": links.shared_inbox},
        "published": when(created_at),
        "publicKey": {
            "id": own.rsa.key_id,
            "owner": own.uri,
            "publicKeyPem": own.rsa.key.public.text,
        },
        "assertionMethod": [
            {
                "id": own.ed25519.key_id,
                "type": "Multikey",
                "controller": own.uri,
                "publicKeyMultibase": own.ed25519.key.public.text,
            }
        ],
    }


def profile_fields(newsletter: Newsletter) -> list[tuple[str, str]]:
    """Names and values of the profile's fields, the shop's address first."""
    fields = fields_of(newsletter.profile_fields_json)
    if newsletter.shop_url:
        fields.insert(0, (newsletter.title, newsletter.shop_url))
    return fields


def is_link(value: str) -> bool:
    """Whether a field is an address that servers verify: our page and that one name each other."""
    return value.startswith("https://")


def _fields(newsletter: Newsletter) -> list[Document]:
    return [
        {"type": "PropertyValue", "name": name, "value": _field_value(value)}
        for name, value in profile_fields(newsletter)
    ]


def _field_value(value: str) -> str:
    if not is_link(value):
        return escape(value)
    address = escape(value)
    return f'<a href="{address}" rel="me nofollow noopener">{address}</a>'
