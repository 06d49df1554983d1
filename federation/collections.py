"""Collections: counted, paged, or whole.

Sources: ActivityPub §5; federation.md section 10.
"""

from collections.abc import Sequence
from typing import Any

_CONTEXT = "https://www.w3.org/ns/activitystreams"


def counted(collection_id: str, total: int, *, ordered: bool = True) -> dict[str, Any]:
    """A collection that says how many, and not who."""
    return {
        "@context": _CONTEXT,
        "id": collection_id,
        "type": "OrderedCollection" if ordered else "Collection",
        "totalItems": total,
    }


def paged(collection_id: str, total: int, first: str, *, ordered: bool = True) -> dict[str, Any]:
    """A collection whose items stand on pages."""
    return {**counted(collection_id, total, ordered=ordered), "first": first}


def page(
    page_id: str,
    collection_id: str,
    items: Sequence[Any],
    next_page: str | None,
    *,
    ordered: bool = True,
) -> dict[str, Any]:
    """A page of a collection."""
    found = {
        "@context": _CONTEXT,
        "id": page_id,
        "type": "OrderedCollectionPage" if ordered else "CollectionPage",
        "partOf": collection_id,
        ("orderedItems" if ordered else "items"): list(items),
    }
    return found if next_page is None else {**found, "next": next_page}


def whole(collection_id: str, items: Sequence[Any], *, ordered: bool = True) -> dict[str, Any]:
    """A small collection with its items."""
    name = "orderedItems" if ordered else "items"
    return {**counted(collection_id, len(items), ordered=ordered), name: list(items)}
