"""What tests of readers look up behind the pages."""

import re

from storage import subscribers


async def person(shop, address):
    return await shop.services.store.read(subscribers.find_subscriber, address)


async def consents(shop, address):
    """Kind and wording version of each entry of the consent record."""
    one = await person(shop, address)
    found = await shop.services.store.read(subscribers.consent_of, one.id)
    return [(event.kind, event.text_version) for event in found]


async def unsubscribe_link(shop, address):
    one = await person(shop, address)
    return f"/unsubscribe/{shop.services.tokens.unsubscribe(one.key)}"


async def preference_link(shop, address, *, epochs=0):
    one = await person(shop, address)
    return f"/preferences/{shop.services.tokens.preferences(one.key, one.epoch + epochs)}"


def link_in(text: str, name: str) -> str:
    found = re.search(rf"/{name}/[\w-]+", text)
    assert found is not None, text
    return found[0]
