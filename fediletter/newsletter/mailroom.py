"""The small mails to one person: confirmations and service mails, in their language.

Texts of our own, plain, short, repeating nothing that the asker typed but the address (EM-6, OP-2).
"""

from dataclasses import dataclass
from datetime import datetime

from fediletter.links import Links
from fediletter.mail.compose import Sender, compose_plain, new_message_id
from fediletter.newsletter.rhythm import promise
from fediletter.words import words
from storage.newsletters import Newsletter

DATA_WORDS = {
    "export": "You asked for a copy of all that {title} keeps about you.",
    "erase": "You asked {title} to erase all that it keeps about you.",
    "change-address": "You asked to receive the letters of {title} at another address.",
    "new-address": "You asked to receive the letters of {title} at this address from now on.",
}


_TOPICS_NAMED = 200  # Characters.
_OFTEN = {
    "every": "Each letter as it comes out",
    "monthly": "One mail a month with all of them",
}


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
        self,
        to: str,
        token: str,
        topics: tuple[str, ...],
        *,
        rhythm: str,
        language: str,
        now: datetime,
    ) -> Note:
        """Asks whether the address's owner wants the letters; `now` is when somebody asked."""
        chosen = ", ".join(topics) if topics else words(language).gettext("every letter")
        if len(chosen) > _TOPICS_NAMED:  # At most 2 kB; all of them stand on the page of the link.
            chosen = chosen[:_TOPICS_NAMED].rpartition(", ")[0] + ", …"
        often = words(language).gettext(_OFTEN[rhythm])
        paragraphs = self._asking(
            language, chosen, often, words(language).moment(now), self.links.confirm(token)
        )
        subject = words(language).gettext(
            "Confirm your address for {title}", title=self.newsletter.title
        )
        return self._note(to, subject, paragraphs, language, now)

    def confirmation_wording(self, language: str) -> str:
        """The text of a confirmation as it is kept for the consent record (OP-5)."""
        return "\n\n".join(self._asking(language, "{topics}", "{rhythm}", "{moment}", "{link}"))

    def _asking(self, language: str, topics: str, rhythm: str, moment: str, link: str) -> list[str]:
        _ = words(language).gettext
        return [
            _(
                "Somebody, probably you, asked for the letters of {title} with this address.",
                title=self.newsletter.title,
            ),
            _("Topics: {topics}", topics=topics) + f"\n{_('How often?')} {rhythm}.",
            _("Asked on {moment}.", moment=moment),
            _("To confirm, open this page and press the button:") + "\n" + link,
            _("The link works for three days. If it was not you, do nothing: no letter will come."),
        ]

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

    def ballot(self, to: str, url: str, *, language: str, now: datetime) -> Note:
        """The link to vote on the subjects to come."""
        _ = words(language).gettext
        paragraphs = [
            _("Vote here on the next subject of {title}:", title=self.newsletter.title)
            + "\n"
            + url,
            _("Your vote counts when you press the button there. If it was not you, do nothing."),
        ]
        subject = _("Your vote on the next subject")
        return self._note(to, subject, paragraphs, language, now)

    def data_link(self, to: str, token: str, what: str, *, language: str, now: datetime) -> Note:
        """The fresh link that showing, changing or erasing one's own data needs (EM-9)."""
        _ = words(language).gettext
        paragraphs = [
            _(DATA_WORDS[what], title=self.newsletter.title),
            _("Open this page and press the button:") + "\n" + self.links.page(f"/data/{token}"),
            _("The link works once, for a day. If it was not you, do nothing: nothing changes."),
        ]
        subject = _("Your data at {title}", title=self.newsletter.title)
        return self._note(to, subject, paragraphs, language, now)

    def may_we_show(
        self, to: str, token: str, letter: str, *, language: str, now: datetime
    ) -> Note:
        """Asks the writer of an answer whether it may stand on the page of its letter."""
        _ = words(language).gettext
        paragraphs = [
            _(
                "You answered “{letter}” of {title} by mail. May your answer be shown under the "
                "letter, where everybody can read it?",
                letter=letter,
                title=self.newsletter.title,
            ),
            _("This page shows what would be seen, and there you can agree:")
            + "\n"
            + self.links.page(f"/showing/{token}"),
            _("If you do nothing, nothing is shown, and nobody asks again."),
        ]
        return self._note(to, _("May we show your answer?"), paragraphs, language, now)

    def moved(self, to: str, *, language: str, now: datetime) -> Note:
        """Tells the old address that the letters go elsewhere now."""
        _ = words(language).gettext
        paragraphs = [
            _(
                "The letters of {title} go to another address from now on, as you asked by the "
                "link that we sent here.",
                title=self.newsletter.title,
            ),
            _("If it was not you, answer this mail."),
        ]
        subject = _("Your address has changed")
        return self._note(to, subject, paragraphs, language, now)

    def stay(self, to: str, token: str, *, language: str, now: datetime) -> Note:
        """Asks, after nearly three years without a sign, whether the letters are still wanted."""
        _ = words(language).gettext
        paragraphs = [
            _(
                "You have received the letters of {title} for a long time, and we do not watch "
                "whether you read them. So we ask: do you still want them?",
                title=self.newsletter.title,
            ),
            _("If so, open this page and press the button:")
            + "\n"
            + self.links.page(f"/stay/{token}"),
            _("If you do nothing, the letters stop in sixty days."),
        ]
        subject = _("Do you still want the letters of {title}?", title=self.newsletter.title)
        return self._note(to, subject, paragraphs, language, now)

    def _note(
        self, to: str, subject: str, paragraphs: list[str], language: str, now: datetime
    ) -> Note:
        sender = self.newsletter.sender_name or self.newsletter.title
        said = promise(words(language), self.newsletter)
        kept = words(language).gettext("What we keep about you:")
        privacy = f"{kept}\n{self.links.page('/privacy')}"
        footer = [sender, self.newsletter.postal_address, said, privacy]
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
