"""A reader's own little server: it looks the shop up, follows it, and shows what it received.

A process of its own, with its own keys and its own database; it and the shop know each other by
signed HTTP alone. It stands on the `federation` package and nothing else of this program. Beside
the timeline it shows the mails that the catcher holds.

Run: python -m fediletter.demo.reader --port 8001 --data DIR --mail MAILDIR
"""

import argparse
import json
import secrets
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import nh3
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from federation.delivery import CONTENT_TYPE, Delivered, Parcel, deliver
from federation.errors import FederationError
from federation.fetch import Fetcher
from federation.inbox import InboxRequest, examine, verify
from federation.keys import RsaPrivateKey, Signer, private_key
from federation.network import Network, NetworkPolicy
from federation.webfinger import descriptor, look_up
from fediletter.mail.maildir import caught_mail, read_caught

_SCHEMA = """
CREATE TABLE IF NOT EXISTS own (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS followed (
  actor TEXT PRIMARY KEY, inbox TEXT NOT NULL, name TEXT NOT NULL, accepted INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS received (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, object TEXT NOT NULL, at TEXT NOT NULL,
  document TEXT NOT NULL);
"""
_STYLE = """
body { font: 17px/1.6 Georgia, serif; max-width: 42rem; margin: 0 auto; padding: 1.5rem;
  background: #f2f4f7; color: #20242b }
a { color: #2b4f8a } nav a { margin-right: 1rem } img { max-width: 100%; height: auto }
article { background: #fff; border: 1px solid #d7dce4; border-radius: 6px; padding: 1rem 1.25rem;
  margin: 1rem 0; overflow-wrap: anywhere }
header, footer, .soft { color: #5a6372; font: 14px/1.5 system-ui, sans-serif }
iframe { width: 100%; height: 38rem; border: 1px solid #d7dce4 }
pre { white-space: pre-wrap; background: #fff; padding: 1rem }
button, input, textarea { font: 15px system-ui; padding: .5rem } textarea { width: 100% }
"""
USER = "camille"


class Reader:
    """The server's state and what it does."""

    def __init__(self, base_url: str, data: Path, mail: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.base_url = base_url
        self.actor = f"{base_url}/users/{USER}"
        self.mail = mail
        self._database = data / "reader.db"
        with self.database() as database:
            database.executescript(_SCHEMA)
        key = private_key(self._kept("key", lambda: RsaPrivateKey.generate().to_bytes()))
        self.signer = Signer(f"{self.actor}#main-key", key)
        self.network = Network(
            NetworkPolicy("fediletter-demo-reader", allow=(ip_network("127.0.0.0/8"),))
        )

    def database(self) -> sqlite3.Connection:
        """A connection; as a context it commits."""
        return sqlite3.connect(self._database)

    def _kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        with self.database() as database:
            database.execute("INSERT OR IGNORE INTO own VALUES (?, ?)", (name, make()))
            row = database.execute("SELECT value FROM own WHERE name = ?", (name,)).fetchone()
        return bytes(row[0])

    async def follow(self, handle: str) -> None:
        """Find the actor of a handle and send it a Follow."""
        now = datetime.now(UTC)  # noqa: TID251 (an edge of its own)
        found = await look_up(self.network, handle, scheme="http")
        actor = await Fetcher(self.network, self.signer).actor(found.actor_id, now=now)
        with self.database() as database:
            database.execute(
                "INSERT INTO followed VALUES (?, ?, ?, 0) ON CONFLICT (actor) DO NOTHING",
                (actor.id, actor.inbox, actor.name),
            )
        await self.send(
            actor.inbox,
            {
                "id": f"{self.base_url}/follows/{secrets.token_hex(8)}",
                "type": "Follow",
                "object": actor.id,
            },
        )

    async def reply(self, object_id: str, author: str, text: str) -> None:
        """Answer a letter in public."""
        with self.database() as database:
            row = database.execute(
                "SELECT inbox FROM followed WHERE actor = ?", (author,)
            ).fetchone()
        note = f"{self.base_url}/notes/{secrets.token_hex(8)}"
        public = ["https://www.w3.org/ns/activitystreams#Public"]
        await self.send(
            row[0],
            {
                "id": f"{note}/activity",
                "type": "Create",
                "to": public,
                "cc": [author],
                "object": {
                    "id": note,
                    "type": "Note",
                    "attributedTo": self.actor,
                    "inReplyTo": object_id,
                    "content": f"<p>{escape(text)}</p>",
                    "published": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),  # noqa: TID251
                    "to": public,
                    "cc": [author],
                },
            },
        )

    async def send(self, inbox: str, activity: dict[str, Any]) -> None:
        """Sign and deliver. Raises RuntimeError if it is not taken."""
        document = {
            "@context": "https://www.w3.org/ns/activitystreams",
            "actor": self.actor,
            **activity,
        }
        parcel = Parcel.of(json.dumps(document).encode())
        now = datetime.now(UTC)  # noqa: TID251 (an edge of its own)
        async with self.network.connection() as client:
            outcome = await deliver(client, parcel, inbox, self.signer, scheme=None, now=now)
        if not isinstance(outcome, Delivered):
            raise RuntimeError(f"not delivered: {outcome}")

    async def receive(self, request: InboxRequest) -> None:
        """Verify by the sender's own key, keep, act. Raises FederationError."""
        now = datetime.now(UTC)  # noqa: TID251 (an edge of its own)
        host = self.base_url.partition("//")[2]
        claim = examine(request, hosts=frozenset({host}), schemes=("http",), now=now)
        key, _ = await Fetcher(self.network, self.signer).key(claim.key_id, now=now)
        activity = verify(claim, key)
        with self.database() as database:
            if activity.type == "Accept":
                database.execute(
                    "UPDATE followed SET accepted = 1 WHERE actor = ?", (activity.actor,)
                )
            database.execute(
                "INSERT OR IGNORE INTO received VALUES (?, ?, ?, ?, ?)",
                (
                    activity.activity_id,
                    activity.type,
                    activity.object_id or "",
                    now.isoformat(),
                    json.dumps(activity.document),
                ),
            )

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with self.database() as database:
            return database.execute(query, values).fetchall()

    def letters(self) -> list[dict[str, Any]]:
        """The objects shown: created, not deleted, in their newest text; newest first."""
        shown: dict[str, dict[str, Any]] = {}
        for kind, object_id, document in self.rows(
            "SELECT type, object, document FROM received ORDER BY at"
        ):
            found = json.loads(document).get("object")
            if kind == "Delete":
                shown.pop(object_id, None)
            elif kind in ("Create", "Update") and isinstance(found, dict):
                shown[object_id] = found
        return list(reversed(shown.values()))


def _of(request: Request) -> Reader:
    reader: Reader = request.app.state.reader
    return reader


async def timeline(request: Request) -> Response:
    """What was received, as a reader sees it."""
    reader = _of(request)
    followed = reader.rows("SELECT name, actor, accepted FROM followed")
    who = "".join(
        f"<p class=soft>{'✓' if accepted else '…'} {escape(name)} · {escape(actor)}</p>"
        for name, actor, accepted in followed
    )
    articles = "".join(map(_article, reader.letters()))
    empty = "<p class=soft>Rien encore · Nothing yet</p>"
    return _page("Camille", f"{who}{articles or empty}")


def _article(found: dict[str, Any]) -> str:
    image = found.get("image") or {}
    picture = (
        f'<img src="{escape(image["url"])}" alt="{escape(image.get("name", ""))}">' if image else ""
    )
    tags = " ".join(escape(tag.get("name", "")) for tag in found.get("tag", []))
    return (
        f"<article><h2>{escape(found.get('name', ''))}</h2>{picture}"
        f"<p><em>{escape(found.get('summary', ''))}</em></p>{nh3.clean(found.get('content', ''))}"
        f'<p class=soft>{tags} · <a href="{escape(found.get("url", ""))}">'
        f"{escape(found.get('url', ''))}</a></p>"
        f'<form method=post action="/reply"><input type=hidden name=object value="{found["id"]}">'
        f'<input type=hidden name=author value="{escape(found["attributedTo"])}">'
        '<textarea name=text rows=2 aria-label="Répondre · Reply" required></textarea>'
        "<button>Répondre · Reply</button></form></article>"
    )


async def mailbox(request: Request) -> Response:
    """The caught mails."""
    rows = "".join(
        f"<article><p class=soft>{escape(mail.to)} · {mail.date:%Y-%m-%d %H:%M}</p>"
        f'<h2><a href="/mail/{mail.name}">{escape(mail.subject)}</a></h2></article>'
        for mail in caught_mail(_of(request).mail)
    )
    return _page("Boîte aux lettres · Mailbox", rows or "<p class=soft>Vide · Empty</p>")


async def mail(request: Request) -> Response:
    """One mail: text, and HTML in a frame without any power."""
    found = read_caught(_mail_file(request))
    frame = f'<iframe sandbox="" src="/mail/{found.name}/html" title="HTML"></iframe>'
    headers = "".join(f"<br>{escape(name)}: {escape(value)}" for name, value in found.headers)
    return _page(
        found.subject,
        f"<p class=soft>{headers}</p>{frame if found.html else ''}<pre>{escape(found.text)}</pre>",
    )


async def mail_html(request: Request) -> Response:
    """The HTML part of a mail."""
    policy = "default-src 'none'; img-src * data:; style-src 'unsafe-inline'; sandbox"
    return HTMLResponse(
        read_caught(_mail_file(request)).html, headers={"Content-Security-Policy": policy}
    )


def _mail_file(request: Request) -> Path:
    name = Path(request.path_params["name"]).name
    return _of(request).mail / "new" / name


async def actor(request: Request) -> Response:
    """The reader's actor."""
    reader = _of(request)
    return JSONResponse(
        {
            "@context": [
                "https://www.w3.org/ns/activitystreams",
                "https://w3id.org/security/v1",
            ],
            "id": reader.actor,
            "type": "Person",
            "preferredUsername": USER,
            "name": "Camille",
            "url": reader.base_url,
            "inbox": f"{reader.actor}/inbox",
            "outbox": f"{reader.actor}/outbox",
            "publicKey": {
                "id": reader.signer.key_id,
                "owner": reader.actor,
                "publicKeyPem": reader.signer.key.public.text,
            },
        },
        headers={"Content-Type": CONTENT_TYPE},
    )


async def webfinger(request: Request) -> Response:
    """Finds Camille."""
    reader = _of(request)
    host = reader.base_url.partition("//")[2]
    return JSONResponse(
        descriptor(subject=f"acct:{USER}@{host}", aliases=[], actor_id=reader.actor),
        media_type="application/jrd+json",
    )


async def inbox(request: Request) -> Response:
    """Takes what is signed."""
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in request.headers.raw
    )
    received = InboxRequest("POST", request.url.path, headers, await request.body())
    try:
        await _of(request).receive(received)
    except FederationError as wrong:
        return Response(wrong.words, wrong.status)
    return Response(status_code=202)


async def follow(request: Request) -> Response:
    """Follow a handle."""
    form = await request.form()
    await _of(request).follow(str(form["handle"]))
    return RedirectResponse("/", 303)


async def reply(request: Request) -> Response:
    """Answer a letter."""
    form = await request.form()
    await _of(request).reply(str(form["object"]), str(form["author"]), str(form["text"]))
    return RedirectResponse("/", 303)


async def state(request: Request) -> Response:
    """What is in the database, for `demo --check`."""
    reader = _of(request)
    return JSONResponse(
        {
            "accepted": [
                row[0] for row in reader.rows("SELECT actor FROM followed WHERE accepted")
            ],
            "received": [
                {"type": row[0], "document": json.loads(row[1])}
                for row in reader.rows("SELECT type, document FROM received ORDER BY at")
            ],
        }
    )


def _page(title: str, body: str) -> Response:
    return HTMLResponse(
        f"<!doctype html><html lang=fr><meta charset=utf-8><meta name=viewport "
        f'content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><header><nav><a href=/>Camille</a><a href=/mail>"
        f"Boîte aux lettres · Mailbox</a></nav></header><main><h1>{escape(title)}</h1>{body}</main>"
    )


ROUTES = [
    Route("/", timeline),
    Route("/mail", mailbox),
    Route("/mail/{name}", mail),
    Route("/mail/{name}/html", mail_html),
    Route("/.well-known/webfinger", webfinger),
    Route("/users/camille", actor),
    Route("/users/camille/inbox", inbox, methods=["POST"]),
    Route("/follow", follow, methods=["POST"]),
    Route("/reply", reply, methods=["POST"]),
    Route("/state.json", state),
]


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--mail", type=Path, required=True)
    options = parser.parse_args()
    app = Starlette(routes=ROUTES)
    app.state.reader = Reader(f"http://127.0.0.1:{options.port}", options.data, options.mail)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
