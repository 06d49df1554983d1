"""Who we are, told to the followers: a new profile, other names, a move to another account.

Sources: federation.md 9.8; FEP-7628; issue 3.1.
"""

import json
import secrets
from datetime import datetime

from federation.actors import RemoteActor
from federation.errors import BadUrl, FederationError
from federation.fetch import Fetcher
from federation.origins import parse_url
from federation.webfinger import look_up
from fediletter.errors import AppError
from fediletter.keyring import OwnActor
from fediletter.newsletter.actors import document_now
from fediletter.outbound.say import say
from fediletter.rendering.activities import move, update_actor
from fediletter.services import Services
from storage import audit
from storage.ids import FounderId
from storage.newsletters import local_actor, set_aliases, set_moved_to
from storage.store import Tx


async def tell_profile(services: Services) -> None:
    """Let the followers' servers have the profile as it is now."""
    own = await services.keyring.newsletter()
    await services.store.write(_tell, services, own, now=services.clock.now())


async def add_alias(
    services: Services, account: str, *, founder_id: FounderId | None = None
) -> str:
    """Say that another account is ours too, so that its followers can be moved here.

    Args:
        services: The toolbox.
        account: A handle or an actor id.
        founder_id: Who says it; None for the command line.

    Returns:
        The id of that account.

    Raises:
        AppError: There is no such account.
    """
    other = await find(services, account)
    own = await services.keyring.newsletter()
    now = services.clock.now()

    def work(tx: Tx) -> None:
        aliases = json.loads(local_actor(tx, own.id).also_known_as_json)
        if other.id not in aliases:
            set_aliases(tx, own.id, [*aliases, other.id])
            _tell(tx, services, own, now=now)
            audit.write(tx, "alias", subject=other.id, founder_id=founder_id, now=now)

    await services.store.write(work)
    return other.id


async def move_to(services: Services, account: str, *, founder_id: FounderId | None = None) -> str:
    """Ask the followers to follow another account of ours instead.

    That account must name this one among its `alsoKnownAs` first, or no server would believe us.
    Nothing is deleted: this account goes on answering, and refuses new follows.

    Returns:
        The id of the other account.

    Raises:
        AppError: There is no such account, or it does not name this one.
    """
    other = await find(services, account)
    own = await services.keyring.newsletter()
    if own.uri not in other.also_known_as:
        raise AppError(
            409,
            "{account} does not say that it is this newsletter too.",
            "Add {own} as an alias there first, then repeat this.",
            {"account": other.handle, "own": own.uri},
        )
    now = services.clock.now()

    def work(tx: Tx) -> None:
        set_moved_to(tx, own.id, other.id)
        _tell(tx, services, own, now=now)
        token = secrets.token_urlsafe(16)
        outgoing = move(own.uri, other.id, services.links, token=token)
        say(tx, outgoing, own, None, audience="followers", start_at=now, now=now)
        audit.write(tx, "move", subject=other.id, founder_id=founder_id, now=now)

    await services.store.write(work)
    return other.id


async def find(services: Services, account: str) -> RemoteActor:
    """The actor behind a handle or an id. Raises AppError."""
    instance = await services.keyring.instance()
    fetcher = Fetcher(services.network, instance.rsa)
    schemes = ("https", "http") if services.settings.is_laboratory else ("https",)
    last: Exception | None = None
    for scheme in schemes:
        try:
            if account.startswith(("https://", "http://")):
                actor_id = str(parse_url(account))
            else:
                actor_id = (await look_up(services.network, account, scheme=scheme)).actor_id
            return await fetcher.actor(actor_id, now=services.clock.now())
        except (FederationError, BadUrl) as wrong:
            last = wrong
    raise AppError(
        404,
        "{account} was not found on the fediverse.",
        "Write it as name@server, or give the address of its profile document.",
        {"account": account},
    ) from last


def _tell(tx: Tx, services: Services, own: OwnActor, *, now: datetime) -> None:
    host = services.settings.account_host
    document = document_now(tx, own, services.links, account_host=host)
    outgoing = update_actor(document, services.links, token=secrets.token_urlsafe(16))
    say(tx, outgoing, own, None, audience="followers", start_at=now, now=now)
