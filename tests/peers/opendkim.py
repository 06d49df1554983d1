"""Asks `opendkim-testmsg` about messages, in a world of its own where our DNS is the only one.

Run as `unshare --mount --net python -m tests.peers.opendkim FOLDER`: the folder holds `*.eml` and
`records.json`; a line `name status words` is printed for each message.
"""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


def main(folder: Path) -> None:
    """Answer and ask."""
    records = json.loads((folder / "records.json").read_text())
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"],
    ):
        subprocess.run(command, check=True)
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind(("127.0.0.1", 53))
    threading.Thread(target=_answer, args=(door, records), daemon=True).start()
    for file in sorted(folder.glob("*.eml")):
        done = subprocess.run(
            ["opendkim-testmsg"], input=file.read_bytes(), capture_output=True, timeout=60
        )
        words = (done.stdout + done.stderr).decode().strip()
        print(file.stem, done.returncode, words, flush=True)  # noqa: T201


def _answer(door: socket.socket, records: dict[str, str]) -> None:
    while True:
        data, address = door.recvfrom(4096)
        query = dns.message.from_wire(data)
        (question,) = query.question
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        text = records.get(question.name.to_text())
        if text is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype.name == "TXT":
            parts = " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", parts))
        door.sendto(answer.to_wire(), address)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
