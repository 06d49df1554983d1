"""Answers from memory: the same as the first, for everybody alike, and never of yesterday."""

import asyncio
import os
import re
import subprocess
import sys
from time import monotonic

import httpx
import pytest
from starlette.responses import PlainTextResponse

from fediletter.outbound.publish import withdraw
from fediletter.web.serving.kept import Shelf
from storage.newsletters import update_newsletter
from storage.posts import post_by_slug
from tests.postgres import new_database
from tests.shop import free_port, running_shop

JSON = {"Accept": "application/activity+json"}
HTML = {"Accept": "text/html"}


def plain(answer: httpx.Response) -> tuple:
    fields = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status_code, fields, answer.content


async def test_the_second_answer_is_the_first_in_each_form_and_language(shop):
    letter = await shop.publish("Du lin", "Bonjour.")
    asked = [
        (letter.url, HTML | {"Accept-Language": "fr"}),
        (letter.url, HTML | {"Accept-Language": "en"}),
        (f"{letter.url}?lang=fr", HTML | {"Accept-Language": "en"}),
        (letter.url, JSON),
        (letter.object_id, JSON),
        (letter.object_id, HTML),
        (f"{letter.object_id}/activity", JSON),
        (shop.services.links.actor(), JSON),
        ("/feed.atom", {}),
    ]

    first = [plain(await shop.client.get(url, headers=headers)) for url, headers in asked]
    second = [plain(await shop.client.get(url, headers=headers)) for url, headers in asked]

    assert first == second
    assert [status for status, _, _ in first] == [200, 200, 200, 302, 200, 302, 200, 200, 200]
    languages = [fields.get("content-language") for _, fields, _ in first[:3]]
    assert languages == ["fr", "en", "fr"]
    assert all("content-security-policy" in fields for _, fields, _ in first)
    assert "Accept" in first[0][1]["vary"]
    assert "Accept" in first[4][1]["vary"]


async def test_head_and_304_carry_the_fields_and_no_body(shop):
    letter = await shop.publish("Du lin", "Bonjour.")
    for url, headers in ((letter.url, HTML), (letter.object_id, JSON)):
        whole = await shop.client.get(url, headers=headers)
        tag = whole.headers["etag"]
        head = await shop.client.head(url, headers=headers)
        assert head.headers["content-length"] == str(len(whole.content))
        assert (head.status_code, head.headers["etag"], head.content) == (200, tag, b"")
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = await shop.client.get(url, headers=headers | {"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
            assert answer.headers["vary"] == whole.headers["vary"]
        other = await shop.client.get(url, headers=headers | {"If-None-Match": '"other"'})
        assert other.status_code == 200


async def test_answers_in_one_pipeline_keep_their_order(shop):
    await shop.client.get("/privacy", headers=HTML)
    host = shop.base_url.partition("//")[2]
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n{more}\r\n".encode()
        for path, more in (
            ("/privacy", ""),
            ("/robots.txt", ""),
            ("/privacy", ""),
            ("/nowhere", ""),
            ("/privacy", "Connection: close\r\n"),
        )
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))

    writer.write(b"".join(requests))
    text = (await asyncio.wait_for(reader.read(-1), 10)).decode()

    writer.close()
    assert re.findall(r"HTTP/1.1 (\d+) ", text) == ["200", "200", "200", "404", "200"]
    seen = re.findall(r"</html>|Disallow: /desk|HTTP/1.1 404", text)
    assert seen[:4] == ["</html>", "Disallow: /desk", "</html>", "HTTP/1.1 404"]


async def test_what_is_kept_is_refused_like_anything_else(tmp_path):
    async with running_shop(tmp_path / "shop", trusted_proxies="127.0.0.1/32") as shop:
        for _ in range(2):
            assert (await shop.client.get("/privacy", headers=HTML)).status_code == 200

        elsewhere = HTML | {"Host": "elsewhere.test"}
        assert (await shop.client.get("/privacy", headers=elsewhere)).status_code == 421
        large = HTML | {"X-Large": "x" * 16_400}
        assert (await shop.client.get("/privacy", headers=large)).status_code == 431
        somebody = HTML | {"X-Forwarded-For": "192.0.2.9"}
        statuses = [
            (await shop.client.get("/privacy", headers=somebody)).status_code for _ in range(302)
        ]
        assert statuses == [200] * 300 + [429] * 2


async def test_an_answer_made_while_something_changed_is_not_kept(shop):
    shelf = Shelf(shop.services.store, "fr", lambda _path: [])
    key = shelf.key(b"/privacy", {b"accept": b"text/html"})
    await shelf.look()
    turn = shelf.turns
    shelf.keep(key, "/privacy", PlainTextResponse("of now"), turn=turn)
    assert shelf.at_hand(key) is not None

    await shop.services.store.write(update_newsletter, title="Un autre titre")

    assert shelf.at_hand(key) is None, "the change is heard before its writer is answered"
    shelf.keep(key, "/privacy", PlainTextResponse("of before"), turn=turn)
    assert shelf.find(key) is None


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_nothing_outdated_is_answered_by_either_of_two_processes(
    tmp_path, postgres_url, database
):
    more = {"database_url": new_database(postgres_url)} if database == "postgresql" else {}
    async with running_shop(tmp_path / "shop", **more) as shop:
        letter = await shop.publish("Du lin", "Bonjour.")
        post = await shop.services.store.read(post_by_slug, letter.url.rpartition("/")[2])
        with _another_process(shop, more) as base:
            host = {"Host": shop.base_url.partition("//")[2]}
            there = [
                (letter.url.replace(shop.base_url, base), HTML | host),
                (letter.object_id.replace(shop.base_url, base), JSON | host),
            ]
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                await _until_healthy(client, base)
                for url, headers in there * 2:
                    assert (await client.get(url, headers=headers)).status_code == 200
                assert (await shop.client.get(letter.url, headers=HTML)).status_code == 200
                assert (await shop.client.get(letter.object_id, headers=JSON)).status_code == 200

                await withdraw(shop.services, post.id)

                began = monotonic()
                assert (await shop.client.get(letter.url, headers=HTML)).status_code == 410
                assert (await shop.client.get(letter.object_id, headers=JSON)).status_code == 410
                assert "Du lin" not in (await shop.client.get("/", headers=HTML)).text
                last_seen = began
                while monotonic() - began < 1.5:
                    for url, headers in there:
                        asked = monotonic()
                        if (await client.get(url, headers=headers)).status_code == 200:
                            last_seen = asked
                assert last_seen - began < 1.0


class _another_process:  # noqa: N801 (reads as a function)
    """`fediletter serve --no-workers` beside the shop, on its database."""

    def __init__(self, shop, more):
        self._port = free_port()
        environ = {
            "FEDILETTER_BASE_URL": shop.base_url,
            "FEDILETTER_MAIL_FROM": "news@shop.test",
            "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
        } | {f"FEDILETTER_{name.upper()}": value for name, value in more.items()}
        command = [sys.executable, "-m", "fediletter", "--data", str(shop.settings.data)]
        self._process = subprocess.Popen(
            [*command, "serve", "--no-workers", "--port", str(self._port)],
            env={**os.environ, **environ},
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __exit__(self, *_trouble: object) -> None:
        self._process.terminate()
        self._process.wait(20)


async def _until_healthy(client: httpx.AsyncClient, base: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                (await client.get(f"{base}/healthz")).raise_for_status()
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
