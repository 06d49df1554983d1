"""An actor of ours as its document is now: an alias or a move may come from another process."""

from dataclasses import replace

from fediletter.keyring import OwnActor
from fediletter.links import Links
from fediletter.rendering.actor import actor_document, instance_document, topic_document
from fediletter.rendering.objects import Document
from storage.ids import MediaId
from storage.media import get_media
from storage.newsletters import get_newsletter, local_actor
from storage.store import Tx
from storage.times import from_ms
from storage.topics import get_topic


def document_now(tx: Tx, own: OwnActor, links: Links, *, account_host: str) -> Document:
    """The document of one of our actors.

    Args:
        tx: The transaction.
        own: Which, with its keys.
        links: Our addresses.
        account_host: Host of the handle: another than the server's in a split domain.
    """
    letter = get_newsletter(tx)
    own = replace(own, row=local_actor(tx, own.id))
    if own.row.kind == "instance":
        return instance_document(own, links, from_ms(letter.created_at))
    icon = _picture(tx, letter.icon_media_id, links)
    if own.row.topic_id is not None:
        topic = get_topic(tx, own.row.topic_id)
        return topic_document(own, links, letter, topic, account_host=account_host, icon=icon)
    image = _picture(tx, letter.image_media_id, links)
    return actor_document(own, links, letter, account_host=account_host, icon=icon, image=image)


def _picture(tx: Tx, media_id: MediaId | None, links: Links) -> Document | None:
    if media_id is None:
        return None
    found = get_media(tx, media_id)
    first = found.renditions[0]
    return {
        "type": "Image",
        "mediaType": first.mime,
        "url": links.media(first.name),
        "name": found.alt,
    }
