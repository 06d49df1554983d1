"""The built-in catcher: each message becomes one file of a Maildir.

Sources: the maildir format (tmp, new, cur); interface.md section 3.
"""

import asyncio
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from fediletter.mail.courier import Accepted, Courier, Halt, Later


class MaildirMailer:
    """Catches everything; nothing leaves the machine.

    Args:
        path: The Maildir; made at the first message.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(self, courier: Courier) -> Halt | None:
        """Catch until the courier has nothing more."""
        ended = None
        while True:
            envelope = await courier.following()
            may = await courier.advance(ended, envelope)
            ended = None
            if envelope is None:
                return None
            if not may:
                continue
            try:
                await asyncio.to_thread(self._catch, envelope.content)
            except OSError as trouble:
                reason = f"the mail directory cannot be written: {trouble.strerror}"
                # It was taken back: no letter is in doubt.
                await courier.advance((envelope, Later(reason)), None)
                return Halt(reason)
            ended = (envelope, Accepted("caught"))

    def _catch(self, content: bytes) -> None:
        for name in ("tmp", "new", "cur"):
            (self._path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{secrets.token_hex(12)}.fediletter"
        written, shown = self._path / "tmp" / name, self._path / "new" / name
        try:
            with written.open("wb") as file:
                file.write(content.replace(b"\r\n", b"\n"))
                file.flush()
                os.fsync(file.fileno())
            written.rename(shown)
            directory = os.open(shown.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError:
            written.unlink(missing_ok=True)
            shown.unlink(missing_ok=True)
            raise


@dataclass(frozen=True, slots=True)
class Caught:
    """A caught message as a mail program shows it."""

    name: str
    to: str
    sender: str
    subject: str
    date: datetime | None
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]


def caught_mail(path: Path, *, limit: int = 100) -> list[Caught]:
    """What was caught, the newest first."""
    files = [file for name in ("new", "cur") for file in (path / name).glob("*")]
    files.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
    return [read_caught(file) for file in files[:limit]]


def read_caught(file: Path) -> Caught:
    """One caught message."""
    message = message_from_bytes(file.read_bytes(), policy=policy.default)
    date = message["Date"].datetime if message["Date"] is not None else None
    return Caught(
        file.name,
        str(message["To"]),
        str(message["From"]),
        str(message["Subject"]),
        date,
        _part(message, "plain"),
        _with_images(_part(message, "html"), message),
        tuple((name, str(value)) for name, value in message.items()),
    )


def _with_images(html: str, message: EmailMessage) -> str:
    """The HTML with the images that travelled with it in their places."""
    for part in message.walk():
        if part["Content-ID"] is not None:
            encoded = "".join(str(part.get_payload()).split())  # We write base64 (MI-2).
            address = f"data:{part.get_content_type()};base64,{encoded}"
            html = html.replace(f"cid:{part['Content-ID'].strip('<>')}", address)
    return html


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body(preferencelist=(kind,))
    return "" if body is None else str(body.get_content())
