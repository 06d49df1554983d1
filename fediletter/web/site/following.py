"""From a reader's account on the fediverse to the page of their own server where they follow us.

The server is asked by WebFinger, through the one door for outgoing requests. What it answers is
shown as a link with its host in words and never followed for the reader: so nobody makes of this
form a redirect to anywhere (WE-12).

Sources: issue 6.4; federation.md 3.1; FEP-3b86; security.md FE-1 to FE-17, WE-12.
"""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from federation.errors import FetchFailed, ForbiddenAddress, TryFetchLater
from federation.origins import host_of
from federation.webfinger import Found, follow_url, look_up, resource_of
from fediletter.errors import FormError
from fediletter.limits import LOOK_UPS_PER_HOST, LOOK_UPS_PER_PREFIX
from fediletter.services import Services
from fediletter.web.context import page, services_of
from storage.newsletters import Newsletter, get_newsletter
from storage.store import Tx
from storage.throttles import hit
from storage.topics import all_topics, topic_names

_PATIENCE_SECONDS = 15  # Of somebody who waits for a page.


@dataclass(frozen=True, slots=True)
class _Account:
    """One of ours that can be followed: the newsletter, or a topic."""

    name: str
    handle: str
    url: str | None  # On the reader's own server; None: it told no such page.


async def way_to_follow(request: Request, typed: str, slugs: tuple[str, ...]) -> Response:
    """The page with the link to the reader's server.

    Args:
        request: For its services and language.
        typed: `@ana@social.example`, the first @ may be missing.
        slugs: Topics that they chose; none: the newsletter itself.

    Raises:
        FormError: Beside the field `email`: no account, an unknown one, or asked too often.
    """
    services = services_of(request)
    resource = resource_of(typed.strip()) or ""
    if not resource.startswith("acct:"):
        raise _problem("Write your account with its server, such as @ana@example.social.")
    host = resource.rpartition("@")[2]
    await services.store.write(_count, services, request.state.client_prefix, host)
    found = await _ask(services, resource, host)
    newsletter, ours = await services.store.read(_ours, services, slugs)
    accounts = [
        _Account(name, f"@{user}@{services.settings.account_host}", follow_url(found, actor_id))
        for name, user, actor_id in ours
    ]
    return page(
        request,
        "site/follow.html",
        newsletter=newsletter,
        accounts=accounts,
        account=f"@{resource.removeprefix('acct:')}",
        host=host_of(accounts[0].url) if accounts[0].url else host,
    )


def _count(tx: Tx, services: Services, prefix: str, host: str) -> None:
    """Neither one reader nor many together make us ask anybody without end (FE-15)."""
    now = services.clock.now()
    limits = ((f"look-up:{prefix}", LOOK_UPS_PER_PREFIX), (f"look-up:{host}", LOOK_UPS_PER_HOST))
    if services.settings.is_laboratory:
        return
    for key, (most, span) in limits:
        if not hit(tx, key, most=most, span=span, now=now):
            raise _problem("That was too often. Search for our account on your server instead.")


async def _ask(services: Services, resource: str, host: str) -> Found:
    if host in (services.settings.host, services.settings.account_host):
        raise _problem("That is an account of ours. Write your own.")
    scheme = "http" if services.settings.is_laboratory else "https"
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await look_up(services.network, resource, scheme=scheme)
    except ForbiddenAddress as wrong:
        raise _problem("There is no server of that name. Is it written right?") from wrong
    except (TryFetchLater, TimeoutError) as wrong:
        raise _problem(
            "That server does not answer. Is it written right? If so, try again later."
        ) from wrong
    except FetchFailed as wrong:
        raise _problem("That server knows no such account. Is it written right?") from wrong


def _problem(words: str) -> FormError:
    return FormError({"email": words})


def _ours(
    tx: Tx, services: Services, slugs: tuple[str, ...]
) -> tuple[Newsletter, list[tuple[str, str, str]]]:
    """Name, user name and id of the accounts that belong to a choice of topics."""
    newsletter, links = get_newsletter(tx), services.links
    names = topic_names(tx)
    chosen = [
        (topic.name, names[topic.id], links.actor(names[topic.id]))
        for topic in all_topics(tx, public_only=True)
        if topic.slug in slugs and topic.id in names
    ]
    return newsletter, chosen or [(newsletter.title, links.user, links.actor())]
