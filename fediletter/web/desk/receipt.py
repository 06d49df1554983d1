"""The receipt of a letter: what went where, what was refused, what it weighed, whom it asked.

Sources: issue 6.2; email.md MI-8.
"""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fediletter.web.context import services_of
from fediletter.web.desk.drafts import post_id_of
from fediletter.web.desk.login import at_desk
from fediletter.web.desk.page import desk_page
from storage import mailings, posts, progress
from storage.newsletters import get_newsletter
from storage.store import Tx

# Words of the letter may look like markup: what is fetched stands in a tag or in the style.
_MARKUP = re.compile(r"""<style.*?</style>|<[a-z](?:[^>"]|"[^"]*")*>""", re.DOTALL)
# What makes a mail program fetch something when the letter is opened.
_FETCHED = re.compile(
    r"""(?:\b(?:src|srcset|background|poster)\s*=\s*["']?|url\(\s*["']?)([^"'\s)>]+)"""
)


@dataclass(frozen=True, slots=True)
class Weight:
    """The mail as it was composed, before it is filled for one reader."""

    octets: int
    ours: int  # Files that it fetches from our own server.
    embedded: int  # Images that travel inside it.
    elsewhere: int  # Requests to anybody else that opening it causes.


@at_desk
async def receipt(request: Request) -> Response:
    """What became of a letter; while it is on its way there is none."""
    services = services_of(request)

    def look(tx: Tx) -> dict[str, Any]:
        post = posts.get_post(tx, post_id_of(request))
        return {
            "newsletter": get_newsletter(tx),
            "post": post,
            "progress": progress.progress_of(tx, post.id),
            "reached": progress.reached(tx, post.id),
            "template": mailings.widest_template(tx, post.id),
        }

    found = await services.store.read(look)
    post, template = found["post"], found.pop("template")
    if post.state != "published" or not found["progress"].finished:
        return RedirectResponse(f"/desk/letters/{post.id}/delivery", 303)
    weight = None if template is None else weight_of(template, services.settings.host)
    return desk_page(request, "receipt.html", weight=weight, **found)


def weight_of(template: bytes, host: str) -> Weight:
    """What a composed letter weighs and what opening it asks for.

    Args:
        template: The composed letter, its slots unfilled.
        host: Our own, with its port if it has one.
    """
    message = message_from_bytes(template.replace(b"\0", b""), policy=policy.default)
    part = message.get_body(("html",))
    markup = part.get_content() if part is not None else ""
    tags = "\n".join(_MARKUP.findall(markup))
    shown = [urlsplit(address) for address in _FETCHED.findall(tags)]
    embedded = sum(one.scheme == "cid" for one in shown)
    ours = sum(one.netloc == host for one in shown)
    return Weight(len(template), ours, embedded, len(shown) - ours - embedded)
