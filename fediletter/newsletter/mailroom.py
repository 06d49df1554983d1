"""The small mails to one person: confirmations and service mails, in their language.

Texts of our own, plain, short, repeating nothing that the asker typed but the address (EM-6, OP-2).
"""

from dataclasses import dataclass
from datetime import datetime

from fediletter.links import Links
from fediletter.mail.compose import Sender, compose_plain, new_message_id
from fediletter.words import words
from storage.newsletters import Newsletter


@dataclass(frozen=True, slots=True)
class Note:
    """A composed mail."""

    message_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Mailroom:
    """Composes in the newsletter's name.

    Args:
        newsletter: Whose name stands below.
        links: Our addresses.
        mail_from: The sender's address.
    """

    newsletter: Newsletter
    links: Links
    mail_from: str

    def confirmation(
        self, to: str, token: str, topics: tuple[str, ...], *, language: str, now: datetime
    ) -> Note:
        """Asks whether the address's owner wants the letters."""
        _ = words(language).gettext
        chosen = ", ".join(topics) if topics else _("every letter")
        paragraphs = [
            _(
                "Somebody, probably you, asked for the letters of {title} with this address.",
                title=self.newsletter.title,
            ),
            _("Topics: {topics}", topics=chosen),
            _("Asked on {moment}.", moment=words(language).moment(now)),
            _("To confirm, open this page and press the button:")
            + "\n"
            + self.links.confirm(token),
            _("The link works for three days. If it was not you, do nothing: no letter will come."),
        ]
        subject = _("Confirm your address for {title}", title=self.newsletter.title)
        return self._note(to, subject, paragraphs, language, now)

    def already_subscribed(
        self, to: str, preferences_token: str, *, language: str, now: datetime
    ) -> Note:
        """Somebody asked again for who gets the letters already."""
        _ = words(language).gettext
        paragraphs = [
            _(
                "You already receive the letters of {title} at this address.",
                title=self.newsletter.title,
            ),
            _("Here you can change your topics and your language, pause, or leave:")
            + "\n"
            + self.links.preferences(preferences_token),
        ]
        subject = _("Your subscription to {title}", title=self.newsletter.title)
        return self._note(to, subject, paragraphs, language, now)

    def _note(
        self, to: str, subject: str, paragraphs: list[str], language: str, now: datetime
    ) -> Note:
        sender = self.newsletter.sender_name or self.newsletter.title
        footer = [sender, self.newsletter.postal_address, self.links.page("/privacy")]
        signature = "-- \n" + "\n".join(line for line in footer if line)
        message_id = new_message_id(self.mail_from.rpartition("@")[2])
        body = compose_plain(
            sender=Sender(sender, self.mail_from),
            to=to,
            subject=subject,
            text="\n\n".join([*paragraphs, signature]) + "\n",
            language=language,
            message_id=message_id,
            now=now,
        )
        return Note(message_id, body)
