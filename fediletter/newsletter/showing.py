"""A reader's mail on the page of its letter: only if its writer says so.

A founder asks, once; the writer answers by a link that only their mailbox has, sees before what
would be shown, chooses the name that stands over it, and can take it back by the same link for
ever. Whether it is shown then stays the founders' decision.

Sources: issue 4 point 6; email.md 9.2.7, OP-5, UN-9; security.md EM-9, EM-14, L-75.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from fediletter.errors import AppError, FormError
from fediletter.limits import SHOW_LINK
from fediletter.newsletter import joining
from fediletter.newsletter.html import plain_name
from fediletter.newsletter.mailroom import Mailroom
from fediletter.newsletter.tokens import Tokens
from fediletter.words import words
from storage import audit, conversations, showing, subscribers
from storage.correspondence import Correspondent, correspondent
from storage.ids import FounderId, ReplyId
from storage.newsletters import get_newsletter
from storage.notices import send_notice
from storage.showing import Ask
from storage.store import Tx

QUESTION = "May {title} show these words under “{letter}”, where everybody can read them?"
TERMS = (
    "Nothing else is shown: not your address, nor anything that you quoted. You can take it back "
    "by this link at any time."
)
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Opened:
    """What a link of this kind stands for."""

    ask: Ask
    letter: Correspondent
    name: str  # As proposed, or as chosen before; empty if none is known but the address.


def ask_writer(
    tx: Tx,
    reply_id: ReplyId,
    mailroom: Mailroom,
    tokens: Tokens,
    *,
    founder_id: FounderId | None,
    now: datetime,
) -> None:
    """Mail the question to the writer.

    Raises:
        AppError: 404: it is no mail of a person; 409: it has no place on a page, its writer was
            asked before, wants no mail from us, or had enough of it today (L-75).
    """
    letter = correspondent(tx, reply_id)
    if letter is None or letter.address is None:
        raise AppError(404, "There is no such answer.")
    if conversations.get_reply(tx, reply_id).mention:
        raise AppError(409, "It answers none of your letters: no page of yours shows it.")
    reason = subscribers.suppression_of(tx, tokens.hash_address(letter.address))
    if reason == joining.NEVER_AGAIN:
        raise AppError(409, "This person wants no mail from you.")
    key = secrets.token_bytes(10)
    if not showing.ask_writer(tx, reply_id, key, expires_at=now + SHOW_LINK, now=now):
        raise AppError(409, "The writer was asked already. Nobody is asked twice.")
    if not joining.may_write_to_address(tx, letter.address, tokens, now=now):
        raise AppError(409, "This person had enough mail today. Ask tomorrow.")
    note = mailroom.may_we_show(
        letter.address, tokens.showing(key), letter.post_title, language=letter.language, now=now
    )
    send_notice(
        tx,
        kind="service",
        recipient=letter.address,
        message_id=note.message_id,
        body=note.body,
        subscriber_id=letter.subscriber_id,
        now=now,
    )
    audit.write(tx, "ask to show", subject=str(reply_id), founder_id=founder_id, now=now)


def check_may_show(tx: Tx, reply_id: ReplyId) -> None:
    """Raises AppError (409) for a mail whose writer has not agreed."""
    letter = correspondent(tx, reply_id)
    if letter is not None and not letter.publish_consent:
        raise AppError(409, "The writer has not agreed that this mail is shown.")


def look_up(tx: Tx, token: str, tokens: Tokens) -> Opened:
    """What a link stands for; changes nothing.

    Raises:
        AppError: It is none of ours, or the mail is gone: all alike (404).
    """
    key = tokens.read_showing(token)
    ask = None if key is None else showing.ask_by_key(tx, key)
    letter = None if ask is None else correspondent(tx, ask.reply_id)
    if ask is None or letter is None:
        raise AppError(404, "This link does not work.")
    local = (letter.address or "").partition("@")[0]
    known = letter.author_name
    return Opened(ask, letter, "" if not ask.agreed_at and known == local else known)


def agree(tx: Tx, token: str, name: str, tokens: Tokens, *, language: str, now: datetime) -> None:
    """The writer says yes, under the name that they chose.

    Args:
        tx: The transaction.
        token: From the mailed link.
        name: As typed.
        tokens: Read it.
        language: Of the page on which they said so: its wording is kept.
        now: The time.

    Raises:
        AppError: The link does not work (404), or is too old to agree by (410).
        FormError: The name cannot be shown.
    """
    opened = look_up(tx, token, tokens)
    if now > opened.ask.expires_at:
        raise AppError(410, "This link is too old to agree by.", "Answer the mail if you wish to.")
    chosen = plain_name(name, _LONGEST_NAME + 1)
    if not chosen:
        raise FormError({"name": "Write the name that shall stand over your words."})
    if "@" in chosen:
        raise FormError({"name": "A name, not an address: everybody could read it."})
    if len(chosen) > _LONGEST_NAME:
        raise FormError({"name": "A name has at most 80 characters."})
    _ = words(language).gettext
    title = get_newsletter(tx).title
    wording = "\n".join(
        (_(QUESTION, title=title, letter=opened.letter.post_title), _(TERMS), f"« {chosen} »")
    )
    version = joining.keep_text(tx, language, wording, now=now)
    showing.agree(tx, opened.ask.reply_id, name=chosen, text_version=version, now=now)
    subject = str(opened.ask.reply_id)
    audit.write(tx, "writer agrees", subject=subject, channel="link", now=now)


def withdraw(tx: Tx, token: str, tokens: Tokens, *, now: datetime) -> None:
    """The writer takes it back; nothing if there is nothing to take back. Raises AppError (404)."""
    ask = look_up(tx, token, tokens).ask
    if ask.agrees:
        showing.withdraw(tx, ask.reply_id, now=now)
        audit.write(tx, "writer withdraws", subject=str(ask.reply_id), channel="link", now=now)
