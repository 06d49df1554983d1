"""A person with a browser and a mailbox, as the demo needs one: ordinary forms over HTTP."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

from fediletter.demo.texts import DemoLetter
from fediletter.mail.maildir import Caught, caught_mail

T = TypeVar("T")


class Failed(Exception):
    """A step of the round did not come out as promised."""


class Person:
    """One browser session at the shop.

    Args:
        shop: Base URL of the shop.
        mail: The catcher's Maildir.
        pause: Waits a moment.
    """

    def __init__(self, shop: str, mail: Path, pause: Callable[[float], None]) -> None:
        self.shop = shop
        self._mail = mail
        self._pause = pause
        self._browser = httpx.Client(
            base_url=shop, trust_env=False, timeout=20, headers={"Accept-Language": "fr"}
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page that must be there."""
        answer = self._browser.get(path, headers=headers)
        if answer.status_code != 200:
            raise Failed(f"{path} answered {answer.status_code}")
        return answer

    def send(
        self,
        path: str,
        form: dict[str, object],
        files: dict[str, tuple[str, bytes, str]] | None = None,
    ) -> httpx.Response:
        """A form, as a browser sends it."""
        answer = self._browser.post(path, data=form, files=files, headers={"Origin": self.shop})
        if answer.status_code >= 400:
            raise Failed(f"{path} answered {answer.status_code}")
        return answer

    def waits_for(self, what: str, look: Callable[[], T | None], seconds: float = 20) -> T:
        """Look again and again until there is something."""
        for _ in range(int(seconds * 10)):
            found = look()
            if found:
                return found
            self._pause(0.1)
        raise Failed(f"waited {seconds:.0f} s for {what}")

    # The reader ---------------------------------------------------------------------------------
    def subscribe(self, address: str, topics: tuple[str, ...] = ()) -> None:
        """Fill in the subscribe form."""
        self.get("/subscribe")
        self.send(
            "/subscribe",
            {"email": address, "topics": list(topics), "rhythm": "every", "language": "fr"},
        )

    def mails_to(self, address: str) -> list[Caught]:
        """What the mailbox holds, the newest first."""
        return [mail for mail in caught_mail(self._mail) if mail.to == address]

    def confirm(self, address: str) -> None:
        """Open the link in the mail, press the button."""
        mail = self.waits_for("the confirmation", lambda: self.mails_to(address))[0]
        path = _path_in(mail.text, "confirm")
        if 'method="post"' not in self.get(path).text:
            raise Failed("the confirmation page has no button")
        self.send(path, {})

    # The founder --------------------------------------------------------------------------------
    def log_in(self, email: str, password: str) -> None:
        """Enter the desk."""
        self.get("/desk/login")
        self.send("/desk/login", {"email": email, "password": password})
        self.get("/desk")

    def _csrf(self, path: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)
        if found is None:
            raise Failed(f"{path} has no form")
        return found[1]

    def make_topics(self, names: tuple[str, ...]) -> None:
        """Add topics at the desk."""
        for name in names:
            self.send("/desk/topics", {"csrf": self._csrf("/desk/topics"), "name": name})

    def introduce(self, title: str, description: str) -> None:
        """Fill in the settings of the newsletter."""
        self.send(
            "/desk/settings",
            {
                "csrf": self._csrf("/desk/settings"),
                "title": title,
                "description": description,
                "sender_name": title,
                "postal_address": "3 quai des Tanneurs, 69005 Lyon",
                "language": "fr",
            },
        )

    def write(self, letter: DemoLetter, cover: bytes | None = None) -> str:
        """Write a letter in the form; its path at the desk."""
        page = self.get("/desk/letters/new").text
        chosen = [
            found[1]
            for name in letter.topics
            if (found := re.search(rf'name="topics" value="(\d+)"[^>]*> {re.escape(name)}<', page))
        ]
        form: dict[str, object] = {
            "csrf": self._csrf("/desk/letters/new"),
            "version": "0",
            "title": letter.title,
            "summary": letter.summary,
            "body": letter.body,
            "language": letter.language,
            "cover_alt": letter.cover_alt,
            "topics": chosen,
            "action": "publish",
        }
        files = {"cover": ("cover.jpg", cover or b"", "image/jpeg")} if cover else None
        answer = self.send("/desk/letters", form, files)
        path = str(answer.headers.get("location", ""))
        if not path.endswith("/publish"):
            raise Failed("the letter was not saved")
        return path.removesuffix("/publish")

    def publish(self, path: str) -> str:
        """Look at the sheet, press publish; the letter's address."""
        sheet = self.get(f"{path}/publish").text
        version = re.search(r'name="version" value="(\d+)"', sheet)
        if version is None:
            raise Failed("the sheet has no form")
        form: dict[str, object] = {
            "csrf": self._csrf(f"{path}/publish"),
            "version": version[1],
            "when": "now",
        }
        self.send(f"{path}/publish", form)
        shown = re.search(
            rf"{re.escape(self.shop)}/letters/[\w-]+", self.get(f"{path}/delivery").text
        )
        if shown is None:
            raise Failed("the delivery view does not name the letter")
        return shown[0]

    def approve_answer(self, text: str) -> None:
        """Find an answer at the desk and show it."""
        page = self.waits_for("the answer at the desk", lambda: self._answer(text))
        found = re.search(r'action="(/desk/answers/\d+)"', page[page.index(text) :])
        if found is None:
            raise Failed("the answer has no button")
        self.send(found[1], {"csrf": self._csrf("/desk/answers"), "action": "approve"})

    def _answer(self, text: str) -> str | None:
        page = self.get("/desk/answers").text
        return page if text in page else None

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()


def _path_in(text: str, name: str) -> str:
    found = re.search(rf"/{name}/[\w-]+", text)
    if found is None:
        raise Failed(f"no link to /{name} in the mail")
    return found[0]
