"""The doctor's look at a letter itself: the newest, as it would leave now to nobody.

Sources: email.md DO-15, SE-3, MI-8; section 5 (links, images).
"""

import asyncio
import re
import shutil
from email.utils import format_datetime

from fediletter.checks.findings import Finding
from fediletter.errors import AppError
from fediletter.mail.compose import (
    PREFERENCES_HERE,
    UNSUBSCRIBE_HERE,
    CannotCompose,
    IssueLetter,
    Sender,
    compose_issue,
    new_message_id,
)
from fediletter.outbound.mailing import compose_letter, filled_for_nobody, images_shown
from fediletter.outbound.preflight import preflight
from fediletter.services import Services
from storage.correspondence import newest_letter
from storage.media import Media
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Post, get_post
from storage.store import Tx

_LOOKED_AT = frozenset(("alt", "images", "link", "size", "weight", "embeds_images", "subject"))
_SPAM = 1.0
_SPAM_SECONDS = 60.0


async def sample_findings(services: Services) -> list[Finding]:
    """DO-15: it can be composed, parses back, and keeps the rules; a filter has nothing against it.

    Before the first letter, only whether one in our name can be composed.
    """
    letter = await services.store.read(get_newsletter)
    found = await services.store.read(_newest)
    if found is None:
        return _by_name(services, letter)
    post, images = found
    try:
        _, raw = await asyncio.to_thread(
            compose_letter, post, letter, services.links, services.settings, post.language, images
        )
    except AppError as wrong:
        return [Finding("letter", False, wrong.words, wrong.hint, wrong.fields)]
    now, mail_from = services.clock.now(), services.settings.mail_from
    message_id = new_message_id(mail_from.rpartition("@")[2])
    filled = filled_for_nobody(services, raw, to=mail_from, message_id=message_id, now=now)
    return [*await _rules(services, post), *await _spam(services, filled)]


def _newest(tx: Tx) -> tuple[Post, dict[str, Media]] | None:
    post_id = newest_letter(tx)
    if post_id is None:
        return None
    post = get_post(tx, post_id)
    return post, images_shown(tx, post)


def _by_name(services: Services, letter: Newsletter) -> list[Finding]:
    settings, host = services.settings, services.settings.host.partition(":")[0]
    sender = Sender(letter.sender_name or letter.title, settings.mail_from, letter.reply_to)
    list_id = f"{letter.list_label}.{host}"
    text = f"{UNSUBSCRIBE_HERE}\n{PREFERENCES_HERE}\n"
    try:
        compose_issue(
            IssueLetter(sender, letter.title, settings.language, text, text, list_id, letter.title)
        )
    except CannotCompose as wrong:
        fact = "A letter in the name of {name} cannot be composed: {reason}."
        remedy = "Change the sender's name under Settings: no control characters, no =?."
        return [Finding("letter", False, fact, remedy, {"name": sender.name, "reason": str(wrong)})]
    return []


async def _rules(services: Services, post: Post) -> list[Finding]:
    remedy = "Mind this in the next letter: the desk says so before it leaves."
    return [
        Finding(
            "letter", one.severity != "stop", one.words, remedy, one.fields,
            is_amber=one.severity == "warning",
        )
        for one in await preflight(services, post)
        if one.name in _LOOKED_AT and one.severity != "note"
    ]  # fmt: skip


async def _spam(services: Services, raw: bytes) -> list[Finding]:
    stamp = format_datetime(services.clock.now())
    domain = services.settings.mail_from.rpartition("@")[2]
    received = f"Received: from {domain} ({domain} [51.15.20.30])\r\n\tby mx.example; {stamp}\r\n"
    scored = await spam_score(received.encode() + raw)
    if scored is None:
        return []
    score, tests = scored
    fields = {"score": f"{score:.1f}", "tests": tests or "–"}
    if score >= _SPAM:
        fact = "SpamAssassin gives the newest letter {score} points: {tests}"
        remedy = "Look these names up, and write the next letter without what they stand for."
        return [Finding("spam", False, fact, remedy, fields)]
    return [
        Finding("spam", True, "SpamAssassin gives the newest letter {score} points.", "", fields)
    ]


async def spam_score(raw: bytes) -> tuple[float, str] | None:
    """Points and names of tests by SpamAssassin's local rules; None without it, or if it fails.

    Args:
        raw: A message as a mailbox keeps it, with a `Received` line on top.
    """
    program = shutil.which("spamassassin")
    if program is None:
        return None
    process = await asyncio.create_subprocess_exec(
        program, "-L", "-t",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_SPAM_SECONDS):
            out, _ = await process.communicate(raw)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    text = out.decode("utf-8", "replace")
    found = re.search(r"score=(-?[\d.]+).*?tests=([\w,\s=.-]*?)autolearn", text, re.DOTALL)
    return None if found is None else (float(found[1]), " ".join(found[2].split()))
