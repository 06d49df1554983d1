"""A letter through Debian's Postfix into Dovecot's mailbox, read by IMAP as a reader does."""

import asyncio
import contextlib
import imaplib
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from tests.needs import need, need_root
from tests.peers.postfix import running_postfix
from tests.shop import free_port, running_shop, until

_CONFIGURATION = """
base_dir = {folder}/run
log_path = {folder}/log
protocols = imap lmtp
listen = 127.0.0.1
{tls}
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%n
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n
}}
"""


_IN_CLEAR = "ssl = no\ndisable_plaintext_auth = no"
_SECURED = "ssl = required\nssl_cert = <{own}\nssl_key = <{key}"


@contextlib.asynccontextmanager
async def running_dovecot(
    certificates: tuple[Path, Path, Path] | None = None, *, imaps: int = 0
) -> AsyncIterator[tuple[int, int]]:
    """A Dovecot until the block ends: its ports for LMTP and IMAP; everybody has a mailbox.

    Args:
        certificates: Of `make_certificates`: nobody logs in in clear then.
        imaps: The port for TLS from the first octet, with certificates.
    """
    need_root()
    dovecot = need("Dovecot", "dovecot")
    folder = Path(tempfile.mkdtemp(prefix="fediletter-dovecot-"))
    folder.chmod(0o755)
    owner = pwd.getpwnam("postfix")
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
    lmtp, imap = free_port(), free_port()
    configuration = folder / "dovecot.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            folder=folder,
            lmtp=lmtp,
            imap=imap,
            imaps=imaps,
            tls=_IN_CLEAR
            if certificates is None
            else _SECURED.format(own=certificates[1], key=certificates[2]),
            uid=owner.pw_uid,
            gid=owner.pw_gid,
        )
    )
    server = await asyncio.create_subprocess_exec(
        dovecot, "-F", "-c", str(configuration), stdout=subprocess.DEVNULL
    )
    try:

        async def answers() -> bool:
            for port in (lmtp, imap):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    return False
                writer.close()
                await writer.wait_closed()
            return True

        await until(answers)
        yield lmtp, imap
    finally:
        server.terminate()
        await server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _inbox(port: int, user: str) -> list[bytes]:
    with imaplib.IMAP4("127.0.0.1", port) as client:
        client.login(user, "x")
        client.select("INBOX", readonly=True)
        _, numbers = client.search(None, "ALL")
        found = [client.fetch(number, "(RFC822)")[1][0] for number in numbers[0].decode().split()]
    return [one[1] for one in found if isinstance(one, tuple)]


@pytest.mark.slow
async def test_a_letter_lies_in_the_mailbox_as_it_was_sent(tmp_path):
    async with (
        running_dovecot() as (lmtp, imap),
        running_postfix(mailboxes=lmtp) as postfix,
        running_shop(tmp_path / "shop", smtp_url=postfix.url) as shop,
    ):
        await shop.client.post("/subscribe", data={"email": "ana@readers.test", "language": "fr"})

        async def inbox(count: int) -> list:
            found: list[bytes] = []

            async def there() -> bool:
                found[:] = await asyncio.to_thread(_inbox, imap, "ana@readers.test")
                return len(found) == count

            await until(there, seconds=30)
            return [message_from_bytes(one, policy=policy.default) for one in found]

        (asked,) = await inbox(1)
        text = asked.get_body(("plain",)).get_content()
        link = next(word for word in text.split() if "/confirm/" in word)
        answer = await shop.client.post(link, headers={"Origin": shop.base_url})
        assert answer.status_code in (200, 303)
        await shop.publish("Été : le lin est là", "Bonjour **lin**.\n\n.\n\nFrom ici")
        letters = [one for one in await inbox(2) if one["List-Unsubscribe"]]

    (letter,) = letters
    assert letter["Subject"] == "Été : le lin est là"
    assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
    assert "\n.\n" in letter.get_body(("plain",)).get_content().replace("\r", "")
    assert "<strong" in letter.get_body(("html",)).get_content()
