"""Signed activities, made beforehand, and wrk to bring them to an inbox as fast as it answers.

All hosts' keys are kept already, as they are once a host has written before; the hosts are many,
since each may write only so often (L-15).
"""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from federation.keys import RsaPrivateKey
from fediletter.installation import open_store
from fediletter.settings import Settings
from storage.peers import ActorSnapshot, keep_actor
from tests.bench.measure import Side
from tests.federation.peer import Peer
from tests.needs import need

SENDERS = 200  # Each of a host of its own.
_AT_ONCE = 64  # As many as one commit takes.
_KEY = RsaPrivateKey.generate()
_LUA = """
local all, at = {}, 0
for line in io.lines(os.getenv("REQUESTS")) do all[#all + 1] = line:gsub("\\\\r\\\\n", "\\r\\n") end
request = function() at = at % #all + 1; return all[at] end
"""


def keep_hosts(settings: Settings) -> None:
    """An actor with a key on each host, as after their first visit."""
    store = open_store(settings)

    def work(tx) -> None:
        for peer in _peers():
            snapshot = ActorSnapshot(
                peer.id, peer.id.split("/")[2], "Person", f"{peer.id}/inbox", None, "ana", "Ana",
                None, None, None, keys=((peer.signer.key_id, peer.key.public.text),),
            )  # fmt: skip
            keep_actor(tx, snapshot, now=datetime.now(UTC))

    store.submit(work).result()
    store.close()


def write_requests(path: Path, base: str, count: int, run: str) -> None:
    """Requests of `count` different Likes, one a line."""
    peers, url = _peers(), f"{base}/ap/inbox"
    with path.open("w") as out:
        for number in range(count):
            peer = peers[number % len(peers)]
            like = {
                "@context": "https://www.w3.org/ns/activitystreams",
                "id": f"{peer.id}/likes/{run}-{number}",
                "type": "Like",
                "actor": peer.id,
                "object": f"{base}/ap/shop/issues/none",
            }
            body = json.dumps(like).encode()
            fields = peer.headers(url, body, now=datetime.now(UTC))
            fields |= {"Host": url.split("/")[2], "Content-Length": str(len(body))}
            head = "".join(f"{name}: {value}\\r\\n" for name, value in fields.items())
            out.write(f"POST /ap/inbox HTTP/1.1\\r\\n{head}\\r\\n{body.decode()}\n")


def load(base: str, requests: Path, seconds: int) -> Side:
    """Bring them, again from the first when all were brought."""
    script = requests.with_suffix(".lua")
    script.write_text(_LUA)
    command = [
        need("wrk"),
        "-t1",
        f"-c{_AT_ONCE}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        base,
    ]
    text = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"REQUESTS": str(requests)}
    ).stdout
    rate = float(text.partition("Requests/sec:")[2].split()[0])
    number, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s)", text)[0]
    p99 = float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    return Side(rate, errors=int("Non-2xx" in text), extra={"p99 ms": round(p99, 1)})


def _peers() -> list[Peer]:
    return [Peer(f"http://h{number}.example.test/users/ana", _KEY) for number in range(SENDERS)]


async def _bare(scope, receive, send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def serve_bare(port: int) -> None:
    """The same server with nothing behind it."""
    uvicorn.run(_bare, port=port, log_config=None, access_log=False, lifespan="off")
