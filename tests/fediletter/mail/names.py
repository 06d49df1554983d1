"""A server of names by script: over UDP on loopback, answering as told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from fediletter.mail.dns import Dns


class _Names(asyncio.DatagramProtocol):
    def __init__(self, zone: dict[tuple[str, str], list[str]], asked: list[str]) -> None:
        self._zone = zone
        self._asked = asked

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text().rstrip(".").lower(), question.rdtype.name
        self._asked.append(f"{kind} {name}")
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        found = self._zone.get((name, kind))
        if found == ["silence"]:
            return
        if found:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(one == name for one, _ in self._zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), address)


@contextlib.asynccontextmanager
async def names(zone: dict[tuple[str, str], list[str]]) -> AsyncIterator[tuple[Dns, list[str]]]:
    """A resolver of this zone, and what it was asked."""
    asked: list[str] = []
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Names(zone, asked), local_addr=("127.0.0.1", 0)
    )
    try:
        yield Dns(("127.0.0.1", transport.get_extra_info("sockname")[1])), asked
    finally:
        transport.close()
