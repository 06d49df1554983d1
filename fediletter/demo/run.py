"""Starts the demo's processes, fills them the first time, walks the round for `--check`.

Sources: interface.md sections 1 and 2.
"""

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from fediletter.demo import texts
from fediletter.demo.person import Failed, Person
from fediletter.errors import AppError
from fediletter.founders.passwords import hash_password
from fediletter.installation import install, open_store
from fediletter.settings import Settings, load
from storage import founders
from storage.store import Tx

_START_SECONDS = 30


class Demo:
    """The shop and the reader's server, each in a process of its own."""

    def __init__(self, data: Path, port: int, reader_port: int) -> None:
        self.data = data
        self.shop = f"http://127.0.0.1:{port}"
        self.reader = f"http://127.0.0.1:{reader_port}"
        self.handle = f"shop@127.0.0.1:{port}"
        self.mail = data / "mail"
        self._ports = (port, reader_port)
        self._children: list[subprocess.Popen[bytes]] = []
        self._environ = {
            "FEDILETTER_BASE_URL": self.shop,
            "FEDILETTER_MAIL_FROM": "lettres@riviere.example",
            "FEDILETTER_SECOND_THOUGHTS": "0",
            "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
            "FEDILETTER_LOG": "error",
        }

    def settings(self) -> Settings:
        """The shop's settings."""
        return load(self._environ, data=self.data)

    def start(self) -> bool:
        """Install if needed, start both. True if everything is new.

        Raises:
            AppError: A port is taken, or a process does not start.
        """
        for port in self._ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as taken:
                    raise AppError(
                        500,
                        "Port {port} is in use by another program.",
                        "Choose another one with --port.",
                        {"port": port},
                    ) from taken
        is_new = self._install()
        inherited = {
            name: value
            for name, value in os.environ.items()  # noqa: TID251 (for the children)
            if not name.startswith("FEDILETTER_")
        }
        environ = inherited | self._environ
        self._spawn(
            environ,
            "-m",
            "fediletter",
            "--data",
            str(self.data),
            "serve",
            "--port",
            str(self._ports[0]),
        )
        self._spawn(
            environ,
            "-m",
            "fediletter.demo.reader",
            "--port",
            str(self._ports[1]),
            "--data",
            str(self.data / "reader"),
            "--mail",
            str(self.mail),
        )
        self._wait_for(f"{self.shop}/healthz")
        self._wait_for(f"{self.reader}/state.json")
        return is_new

    def _install(self) -> bool:
        settings = self.settings()
        now = datetime.now(UTC)  # noqa: TID251 (an edge of its own)
        is_new = not (self.data / "fediletter.db").exists()
        install(settings, now=now, title=texts.TITLE)
        store = open_store(settings)

        def first_founder(tx: Tx) -> None:
            if founders.count_founders(tx) == 0:
                founders.add_founder(
                    tx,
                    email=texts.FOUNDER,
                    role="founder",
                    password_hash=hash_password(texts.PASSWORD),
                    now=now,
                )

        try:
            store.submit(first_founder).result()
        finally:
            store.close()
        return is_new

    def _spawn(self, environ: dict[str, str], *arguments: str) -> None:
        # A group of their own: Ctrl-C reaches this process, which ends them in good order.
        self._children.append(
            subprocess.Popen(  # noqa: S603 (our own interpreter and modules)
                [sys.executable, *arguments], env=environ, start_new_session=True
            )
        )

    def _wait_for(self, url: str) -> None:
        for _ in range(_START_SECONDS * 10):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url, trust_env=False).status_code == 200:
                    return
            if any(child.poll() is not None for child in self._children):
                break
            time.sleep(0.1)
        raise AppError(500, "A part of the demo did not start.", "Its message stands above.")

    def stop(self) -> None:
        """End both processes in good order."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
        for child in self._children:
            try:
                child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def person(self) -> Person:
        """Somebody with a browser."""
        return Person(self.shop, self.mail, time.sleep)

    def follow(self) -> None:
        """The reader's server follows the shop."""
        httpx.post(
            f"{self.reader}/follow", data={"handle": self.handle}, trust_env=False, timeout=30
        )

    def reader_state(self) -> dict[str, Any]:
        """What the reader's server holds."""
        found: dict[str, Any] = httpx.get(f"{self.reader}/state.json", trust_env=False).json()
        return found

    def received(self, kind: str, title: str | None = None) -> dict[str, Any] | None:
        """A received activity of a type, about an object of a title."""
        for one in self.reader_state()["received"]:
            about = one["document"].get("object")
            name = about.get("name") if isinstance(about, dict) else None
            if one["type"] == kind and (title is None or name == title):
                document: dict[str, Any] = one["document"]
                return document
        return None

    def fill(self) -> None:
        """The first time: topics, a subscriber, a follower, two letters."""
        person = self.person()
        try:
            person.log_in(texts.FOUNDER, texts.PASSWORD)
            person.introduce(texts.TITLE, texts.DESCRIPTION)
            person.make_topics(texts.TOPICS)
            person.subscribe(texts.SUBSCRIBER)
            person.confirm(texts.SUBSCRIBER)
            self.follow()
            person.waits_for("the Accept", lambda: self.reader_state()["accepted"])
            for letter, cover in ((texts.ENGLISH, None), (texts.FRENCH, texts.cover())):
                person.publish(person.write(letter, cover))
        finally:
            person.close()


@contextlib.contextmanager
def running(demo: Demo) -> Iterator[bool]:
    """The demo until the block ends; whether everything is new."""
    try:
        yield demo.start()
    finally:
        demo.stop()


def walk_the_round(demo: Demo, say: Callable[[str], None]) -> None:
    """Every step of the promise, each read off at its far side. Raises Failed."""
    person = demo.person()
    address = f"ines.{secrets.token_hex(3)}@lectrices.example"
    letter = texts.FRENCH
    try:
        _join(demo, person, address, say)
        url = _publish(demo, person, letter, say)
        _arrived(demo, person, address, letter, url, say)
        _answer(demo, person, url, say)
        _leave(demo, person, address, say)
    finally:
        person.close()


def _join(demo: Demo, person: Person, address: str, say: Callable[[str], None]) -> None:
    person.subscribe(address)
    person.waits_for("the confirmation mail", lambda: person.mails_to(address))
    say("subscribe: the form was sent, the confirmation lies in the mailbox")
    person.confirm(address)
    say("confirm: the page asked, the button confirmed")
    demo.follow()
    person.waits_for("the Accept", lambda: demo.reader_state()["accepted"])
    say("follow: the reader's server found the shop, followed, and verified the Accept")


def _publish(
    demo: Demo, person: Person, letter: texts.DemoLetter, say: Callable[[str], None]
) -> str:
    person.log_in(texts.FOUNDER, texts.PASSWORD)
    say("login: the founder is at the desk")
    person.make_topics(("Lin", "Atelier"))
    path = person.write(letter, texts.cover())
    say("write: the letter and its cover are saved from the form")
    url = person.publish(path)
    say(f"publish: {url}")
    return url


def _arrived(
    demo: Demo,
    person: Person,
    address: str,
    letter: texts.DemoLetter,
    url: str,
    say: Callable[[str], None],
) -> None:
    article = person.waits_for("the Article", lambda: demo.received("Create", letter.title))[
        "object"
    ]
    _require(article["type"] == "Article", "the reader did not receive an Article")
    _require(article["url"] == url, "the Article has another address")
    _require("Trois couleurs" in article["content"], "the Article has another text")
    _require(bool(article["image"]["name"]), "the Article's image has no description")
    say("article: the reader's server verified and keeps the Article")
    mail = person.waits_for(
        "the letter by mail",
        lambda: [one for one in person.mails_to(address) if one.subject == letter.title],
    )[0]
    names = {name.lower() for name, _ in mail.headers}
    _require({"list-unsubscribe", "list-unsubscribe-post"} <= names, "no way to leave in the mail")
    _require("Trois couleurs" in mail.text and "Trois couleurs" in mail.html, "a part is missing")
    _require("alt=" in mail.html and "lettres@" in mail.sender, "the mail is incomplete")
    say("email: text and HTML arrived, with a way to leave")
    page = person.get(url).text
    _require("Trois couleurs" in page, "the page has another text")
    _require(letter.title in person.get("/").text, "the front page does not list the letter")
    say("web: the letter's page and the archive show it")
    atom = person.get("/feed.atom").text
    items = person.get("/feed.json").json()["items"]
    _require(url in atom and any(item["url"] == url for item in items), "a feed lacks the letter")
    say("feeds: Atom and JSON Feed carry it")


def _answer(demo: Demo, person: Person, url: str, say: Callable[[str], None]) -> None:
    words = f"Quelle belle nuance ! {secrets.token_hex(3)}"
    article = demo.received("Create", texts.FRENCH.title)
    _require(article is not None, "the Article is gone")
    assert article is not None  # noqa: S101 (just required)
    httpx.post(
        f"{demo.reader}/reply",
        data={
            "object": article["object"]["id"],
            "author": article["object"]["attributedTo"],
            "text": words,
        },
        trust_env=False,
        timeout=30,
    )
    person.approve_answer(words)
    person.waits_for("the answer on the page", lambda: words in person.get(url).text)
    say("answer: the reader replied, the founder approved, the page shows it")


def _leave(demo: Demo, person: Person, address: str, say: Callable[[str], None]) -> None:
    mail = next(one for one in person.mails_to(address) if one.html)
    header = next(value for name, value in mail.headers if name.lower() == "list-unsubscribe")
    link = re.search(r"<(https?://[^>]+)>", header)
    _require(link is not None, "the mail has no link to leave")
    assert link is not None  # noqa: S101 (just required)
    answer = httpx.post(link[1], data={"List-Unsubscribe": "One-Click"}, trust_env=False)
    _require(answer.status_code == 200 and not answer.cookies, "one click does not leave")
    before = len(person.mails_to(address))
    second = texts.ENGLISH
    person.publish(person.write(second))
    person.waits_for("the second Article", lambda: demo.received("Create", second.title))
    _require(len(person.mails_to(address)) == before, "a letter came after leaving")
    say("unsubscribe: one click, and the next letter did not come")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)
