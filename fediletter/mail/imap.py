"""A hosted mailbox from which mail is picked up by IMAP, where no server can hand it over.

What was taken in is moved to one folder of ours, what was not understood to another: nothing is
ever deleted, and people find the latter beside their inbox. No number of a message is remembered
beyond a session, so a mailbox that numbers anew (UIDVALIDITY) cannot deceive us; whoever is cut off
between the commit and the move takes the same message again, which changes nothing.

Blocking, by the standard library: to be called in a thread.

Sources: RFC 3501; 6851 (MOVE), 4315 (UIDPLUS), 2342 (NAMESPACE); email.md 9.1; EM-5.
"""

import contextlib
import imaplib
import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from fediletter.mail.relay import is_loopback

TAKEN, OTHER = "Fediletter", "Fediletter-Other"
_SECONDS = 60.0
_FOLDER = re.compile(r"[ !#-\[\]-~]{1,100}")  # Goes between quotes.


class NoMailbox(Exception):
    """The mailbox cannot be read; one line that says why, without secrets."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where mail for us lies."""

    host: str
    port: int
    tls: Literal["implicit", "starttls", "none"]
    user: str
    password: str = field(repr=False)
    folder: str


def mailbox_from_url(url: str) -> Mailbox:
    """A mailbox from `imaps://user:pass@host/Folder`; `imap://` means STARTTLS, or this machine.

    Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("imap", "imaps") or not parts.hostname or not parts.username:
        raise ValueError("must be like imaps://user:password@host/INBOX")
    folder = unquote(parts.path.strip("/")) or "INBOX"
    if not _FOLDER.fullmatch(folder):
        raise ValueError("names a folder that cannot be asked for")
    implicit = parts.scheme == "imaps"
    secured: Literal["implicit", "starttls", "none"] = "implicit" if implicit else "starttls"
    return Mailbox(
        parts.hostname,
        parts.port or (993 if implicit else 143),
        "none" if not implicit and is_loopback(parts.hostname) else secured,
        unquote(parts.username),
        unquote(parts.password or ""),
        folder,
    )


class ImapSession:
    """One visit to a mailbox. Everything raises NoMailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._client = _connected(mailbox)
        try:
            self._begin(mailbox)
        except BaseException:
            self.close()
            raise

    def _begin(self, mailbox: Mailbox) -> None:
        with _said():
            self._client.login(mailbox.user, mailbox.password)
        # Many servers offer more to whom they know; the library asks only before.
        self._offered = _bytes(self._ask("capability")).decode("ascii", "replace").upper().split()
        prefix = self._prefix()
        self._folders = {name: f'"{prefix}{name}"' for name in (TAKEN, OTHER)}
        for folder in self._folders.values():
            with _said():
                self._client.create(folder)  # NO where it is there already.
        self._ask("select", f'"{mailbox.folder}"')

    def _prefix(self) -> str:
        """What stands before our own folders where a server wants that, such as `INBOX.`."""
        if "NAMESPACE" not in self._offered:
            return ""
        found = re.match(rb'\(\("([ !#-\[\]-~]*)"', _bytes(self._ask("namespace")))
        return found[1].decode("ascii") if found else ""

    def waiting(self, *, most: int) -> list[str]:
        """Messages by their UID, the oldest first."""
        return _bytes(self._ask("uid", "SEARCH", "UNDELETED")).decode("ascii").split()[:most]

    def read(self, uid: str, *, most_bytes: int) -> bytes | None:
        """A message as it lies there; None if it is larger than that, or gone."""
        told = re.search(
            rb"RFC822\.SIZE (\d+)", _bytes(self._ask("uid", "FETCH", uid, "RFC822.SIZE"))
        )
        if told is None or int(told[1]) > most_bytes:
            return None
        for part in self._ask("uid", "FETCH", uid, "(BODY.PEEK[])"):
            if isinstance(part, tuple):
                return bytes(part[1])
        return None

    def put_away(self, uid: str, name: str) -> None:
        """Move a message to one of our folders; what was taken in is marked as read."""
        if name == TAKEN:
            self._ask("uid", "STORE", uid, "+FLAGS.SILENT", r"(\Seen)")
        if "MOVE" in self._offered:
            self._ask("uid", "MOVE", uid, self._folders[name])
            return
        self._ask("uid", "COPY", uid, self._folders[name])
        self._ask("uid", "STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
        if "UIDPLUS" in self._offered:  # Else it stays, marked: others are not ours.
            self._ask("uid", "EXPUNGE", uid)

    def close(self) -> None:
        """Say goodbye."""
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            self._client.logout()

    def _ask(self, method: str, *arguments: str) -> list[Any]:
        with _said():
            status, data = getattr(self._client, method)(*arguments)
            if status != "OK":
                raise NoMailbox(_words(data))
            return list(data)


def _connected(mailbox: Mailbox) -> imaplib.IMAP4:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with _said():
        if mailbox.tls == "implicit":
            return imaplib.IMAP4_SSL(
                mailbox.host, mailbox.port, ssl_context=context, timeout=_SECONDS
            )
        client = imaplib.IMAP4(mailbox.host, mailbox.port, timeout=_SECONDS)
        if mailbox.tls == "starttls":
            try:
                client.starttls(context)
            except BaseException:
                with contextlib.suppress(OSError):  # A failed handshake took the socket along.
                    client.shutdown()
                raise
        return client


@contextlib.contextmanager
def _said() -> Any:
    """Whatever goes wrong there, in one line."""
    try:
        yield
    except (imaplib.IMAP4.error, OSError, EOFError) as wrong:
        raise NoMailbox(_words(wrong.args)) from wrong


def _words(said: Any) -> str:
    texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in said]
    return " ".join(" ".join(texts).split())[:200] or "no answer"


def _bytes(data: list[Any]) -> bytes:
    return data[0] if data and isinstance(data[0], bytes) else b""
