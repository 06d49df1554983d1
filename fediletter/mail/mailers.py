"""What takes our mail, by its URL: a relay, or the built-in catcher.

Sources: interface.md section 3 (`FEDILETTER_SMTP_URL`); email.md TR-1, TR-19.
"""

from pathlib import Path

from fediletter.mail.courier import Mailer
from fediletter.mail.maildir import MaildirMailer
from fediletter.mail.relay import relays_from_urls
from fediletter.mail.smtp import SmtpMailer


def open_mailer(url: str, ehlo_name: str | None = None) -> Mailer:
    """What takes our mail; of two relays the second only helps out (TR-19). Raises ValueError."""
    if url.startswith("maildir:"):
        return MaildirMailer(Path(url.removeprefix("maildir:")).absolute())
    first, second = relays_from_urls(url, ehlo_name)
    return SmtpMailer(first, second)
