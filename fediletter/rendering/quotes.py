"""Quotes agreed to, as documents.

Sources: FEP-044f; federation.md 9.9, 13.9.
"""

from datetime import datetime
from typing import Any

from fediletter.links import Links
from fediletter.rendering.activities import Outgoing, outgoing_of
from fediletter.rendering.objects import AS, Document, when
from storage.quotes import Quote

REQUEST_CONTEXT: list[Any] = [AS, {"QuoteRequest": "https://w3id.org/fep/044f#QuoteRequest"}]
STAMP_CONTEXT: list[Any] = [
    AS,
    {
        "gts": "https://gotosocial.org/ns#",
        "QuoteAuthorization": "https://w3id.org/fep/044f#QuoteAuthorization",
        "interactingObject": {"@id": "gts:interactingObject", "@type": "@id"},
        "interactionTarget": {"@id": "gts:interactionTarget", "@type": "@id"},
    },
]


def stamp_of(quote: Quote, links: Links) -> Document:
    """The stamp that a quoting post carries."""
    return {
        "id": links.quote(quote.public_id),
        "type": "QuoteAuthorization",
        "attributedTo": links.actor(),
        "interactingObject": quote.quote_uri,
        "interactionTarget": links.post_object(quote.post_kind, quote.post_public_id),
    }


def revocation(quote: Quote, links: Links, *, token: str, now: datetime) -> Outgoing:
    """The Delete of a stamp."""
    uri, stamp = links.activity(token), links.quote(quote.public_id)
    document = {
        "@context": STAMP_CONTEXT,
        "id": uri,
        "type": "Delete",
        "actor": links.actor(),
        "to": [quote.actor_uri],
        "cc": [f"{links.actor()}/followers"],
        "object": {
            "id": stamp,
            "type": "Tombstone",
            "formerType": "QuoteAuthorization",
            "deleted": when(now),
        },
    }
    return outgoing_of(uri, "Delete", stamp, document)
