"""A private Postfix: everything in a temporary directory, on a loopback port, nothing leaves it."""

import asyncio
import contextlib
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from tests.needs import need, need_root
from tests.shop import free_port, until

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.readers.test
mydestination =
mynetworks = 127.0.0.0/8
relayhost =
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_recipient_restrictions =
  check_recipient_access texthash:{folder}/etc/refused, permit_mynetworks, reject
smtpd_relay_restrictions = permit_mynetworks, reject
alias_maps =
local_recipient_maps =
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
"""
_READERS = """
virtual_mailbox_domains = readers.test
virtual_mailbox_maps = static:all/
"""
_MAILBOXES = """
virtual_transport = lmtp:inet:127.0.0.1:{mailboxes}
"""
_DOOR = """
recipient_delimiter = +
virtual_mailbox_domains = shop.test
virtual_mailbox_maps = texthash:{folder}/etc/fediletter
virtual_transport = lmtp:inet:{lmtp}
transport_maps = inline:{{ {{ far.test = smtp:[127.0.0.1]:{far} }} }}
"""
_OURS = """
news@shop.test    x
bounce@shop.test  x
leave@shop.test   x
"""
_REFUSED = """
unknown@readers.test 550 5.1.1 no such reader
slow@readers.test 451 4.2.1 come again later
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A running Postfix and the mailboxes behind it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"smtp://127.0.0.1:{port}"
        self.port = port
        self._folder = folder

    @property
    def _new(self) -> Path:
        return self._folder / "mail" / "all" / "new"

    def count(self) -> int:
        """How many messages were delivered."""
        return len(list(self._new.iterdir())) if self._new.exists() else 0

    def raw(self) -> list[bytes]:
        """All delivered messages of readers.test as they lie there, the oldest first."""
        files = sorted(self._new.glob("*"), key=lambda file: file.stat().st_mtime_ns)
        return [file.read_bytes() for file in files]

    def mailbox(self) -> list[EmailMessage]:
        """The same, parsed."""
        return [message_from_bytes(raw, policy=policy.default) for raw in self.raw()]


@contextlib.asynccontextmanager
async def running_postfix(
    lmtp: str = "", far: int = 0, mailboxes: int = 0
) -> AsyncIterator[Postfix]:
    """A Postfix until the block ends: `unknown@readers.test` is 550, `slow@readers.test` 451.

    What comes for readers.test lies in one folder, or behind the LMTP port `mailboxes`.

    With `lmtp` it is the MX of shop.test, as deploy/README.md sets it up, and hands what comes for
    it to that door; mail to far.test goes to port `far`, whatever that answers.
    """
    need_root()
    postfix = need("Postfix", "postfix")
    daemons = Path("/usr/lib/postfix/sbin")
    folder = Path(tempfile.mkdtemp(prefix="fediletter-postfix-"))
    port = free_port()
    owner = pwd.getpwnam("postfix")
    folder.chmod(0o755)
    for name in ("queue", "data", "mail", "etc"):
        (folder / name).mkdir()
    for name in ("data", "mail"):
        shutil.chown(folder / name, owner.pw_uid, owner.pw_gid)
    values = {
        "folder": folder,
        "daemons": daemons,
        "uid": owner.pw_uid,
        "gid": owner.pw_gid,
        "port": port,
        "lmtp": lmtp,
        "far": far,
        "mailboxes": mailboxes,
    }
    main = _MAIN + (_DOOR if lmtp else _READERS) + (_MAILBOXES if mailboxes else "")
    (folder / "etc" / "refused").write_text(_REFUSED)
    (folder / "etc" / "main.cf").write_text(main.format(**values))
    (folder / "etc" / "fediletter").write_text(_OURS)
    (folder / "etc" / "master.cf").write_text(_MASTER.format(**values))

    async def control(*words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            postfix, "-c", str(folder / "etc"), *words,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await process.wait()

    running = Postfix(folder, port)
    try:
        await control("start")
        await until(lambda: _answers(port))
        yield running
    finally:
        await control("stop")
        shutil.rmtree(folder, ignore_errors=True)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
