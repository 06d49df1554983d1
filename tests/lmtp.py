"""A mail server's side of LMTP: hands a message over and keeps every answer."""

import asyncio
import re
from pathlib import Path

from tests.shop import Shop, free_port

REPORTS = Path(__file__).parent / "fediletter" / "mail" / "reports"


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, address: str) -> "Client":
        if address.startswith("/"):
            streams = await asyncio.open_unix_connection(address)
        else:
            host, _, port = address.rpartition(":")
            streams = await asyncio.open_connection(host, int(port))
        client = cls(*streams)
        assert (await client.reply()).startswith("220 ")
        return client

    async def reply(self) -> str:
        async with asyncio.timeout(20):
            while True:
                line = (await self.reader.readline()).decode()
                if line[3:4] != "-":
                    return line.rstrip("\r\n")

    async def say(self, line: str) -> str:
        self.writer.write(line.encode() + b"\r\n")
        return await self.reply()

    async def hand_over(self, sender: str, recipients: list[str], raw: bytes) -> list[str]:
        """The answer for each recipient: to RCPT if it is refused there, else after the dot."""
        assert (await self.say(f"MAIL FROM:<{sender}>")).startswith("250")
        answers = [await self.say(f"RCPT TO:<{one}>") for one in recipients]
        good = [at for at, answer in enumerate(answers) if answer.startswith("250")]
        if not good:
            await self.say("RSET")
            return answers
        assert (await self.say("DATA")).startswith("354")
        content = re.sub(rb"\r?\n", b"\r\n", raw)
        self.writer.write(re.sub(rb"(?m)^\.", b"..", content) + b"\r\n.\r\n")
        for at in good:
            answers[at] = await self.reply()
        return answers

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def hand_over(shop: Shop, recipient: str, raw: bytes | str, *, sender: str = "") -> str:
    """One message to one recipient, through the shop's door; the answer."""
    client = await Client.open(shop.settings.lmtp or "")
    try:
        assert (await client.say("LHLO relay.test")).startswith("250")
        raw = raw.encode() if isinstance(raw, str) else raw
        return (await client.hand_over(sender, [recipient], raw))[0]
    finally:
        await client.close()


def lmtp_address() -> str:
    return f"127.0.0.1:{free_port()}"


def report(shape: str = "postfix", status: str = "5.1.1", said: str = "550 5.1.1 unknown") -> str:
    text = (REPORTS / "shapes" / f"{shape}.eml").read_text(encoding="utf-8")
    for name, value in (("action", "failed"), ("status", status), ("diagnostic", said)):
        text = text.replace("{" + name + "}", value)
    return text


__all__ = ["Client", "hand_over", "lmtp_address", "report"]
