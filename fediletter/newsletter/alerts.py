"""Mails to the founders when something waits for them (kind A of email.md section 2).

About one thing once a day, at most so many in all; also written to the audit list, which forgets
nothing.

Sources: email.md HD table, 9.4; security.md L-75.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from fediletter.limits import ALERTS_PER_DAY
from fediletter.links import Links
from fediletter.mail.compose import CannotCompose, Sender, compose_plain, new_message_id
from fediletter.newsletter.tokens import Tokens
from fediletter.words import words
from storage import audit
from storage.founders import all_founders
from storage.newsletters import get_newsletter
from storage.notices import send_notice
from storage.store import Tx
from storage.throttles import hit


@dataclass(frozen=True, slots=True)
class House:
    """What the rules of mail need of this installation."""

    tokens: Tokens
    links: Links
    mail_from: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a founder should know.

    `subject` and `text` are message ids with slots for `fields`.
    """

    about: str  # `mailing paused:12`: once a day for each.
    subject: str
    text: str
    fields: dict[str, object]
    path: str = "/desk/mail"  # Where it is found.


def tell_founders(tx: Tx, alert: Alert, house: House, *, now: datetime) -> None:
    """Write it down, and mail it to each founder within L-75."""
    if not hit(tx, f"alert:{alert.about}", most=1, span=timedelta(days=1), now=now):
        return
    audit.write(tx, "alert", subject=alert.about, channel="clock", now=now)
    newsletter = get_newsletter(tx)
    most, span = ALERTS_PER_DAY
    for founder in all_founders(tx):
        person = house.tokens.hash_address(founder.email.lower()).hex()
        if not hit(tx, f"alerts:{person}", most=most, span=span, now=now):
            continue
        language = founder.language or newsletter.language
        _ = words(language).gettext
        text = "\n\n".join(
            (
                _(alert.text, **alert.fields),
                _("You find it at the desk:") + "\n" + house.links.page(alert.path),
            )
        )
        message_id = new_message_id(house.mail_from.rpartition("@")[2])
        try:
            body = compose_plain(
                sender=Sender(newsletter.sender_name or newsletter.title, house.mail_from),
                to=founder.email,
                subject=_(alert.subject, **alert.fields),
                text=text,
                language=language,
                message_id=message_id,
                now=now,
            )
        except CannotCompose:
            continue  # An address that mail cannot carry; the desk shows it all the same.
        send_notice(
            tx, kind="alert", recipient=founder.email, message_id=message_id, body=body, now=now
        )
