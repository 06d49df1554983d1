"""The web application by rule: headers to the letter, cookies, forged requests, faults."""

import ast
import asyncio
import csv
import io
import re
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

import fediletter
from fediletter.app import build_services, create_app
from fediletter.cli import cli
from fediletter.errors import AppError
from fediletter.installation import install
from fediletter.sealing import load_vault
from fediletter.settings import load
from fediletter.web.routes import ROUTES
from storage import founders
from storage.schema import subscriber, throttle
from tests.accounts import EDITOR, add_person, browser_of, csrf_in, log_in
from tests.fediletter.dump import dump
from tests.shop import _HASH, EMAIL, PASSWORD, running_shop

CODE = Path(fediletter.__file__).parents[1]
PUBLIC = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; script-src 'none'; "
    "frame-ancestors 'none'"
)
DESK = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
FRAME = (
    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline' 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox"
)
DOCUMENT = "default-src 'none'; frame-ancestors 'none'; sandbox"
EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
}
PRIVATE = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-robots-tag": "noindex",
}


@pytest.mark.rule("WE-8")
async def test_every_kind_of_page_has_exactly_the_headers_of_the_contract(shop):
    letter = await shop.publish("Du lin")
    page = letter.url.removeprefix(shop.base_url)
    draft = await shop.draft()
    await shop.log_in()
    own = f"/ap/{shop.settings.account_user}"
    cases = {
        "/": PUBLIC,
        page: PUBLIC,
        "/subscribe": PUBLIC,
        "/nothing-here": PUBLIC,
        "/confirm/none": PUBLIC,
        "/preferences/none": PUBLIC,
        "/unsubscribe/none": PUBLIC,
        "/data/none": PUBLIC,
        "/desk": DESK,
        "/desk/login": DESK,
        "/desk/security": DESK,
        "/desk/audit": DESK,
        "/desk/nothing-here": DESK,
        "/desk/setup/none": DESK,
        f"/desk/frames/{draft.id}/web": FRAME,
        own: DOCUMENT,
        "/ap/nobody": DOCUMENT,
        "/.well-known/webfinger": DOCUMENT,
        "/media/none.jpg": DOCUMENT,
    }
    for path, policy in cases.items():
        headers = (await shop.client.get(path)).headers
        assert headers["content-security-policy"] == policy, path
        for name, value in EVERYWHERE.items():
            assert headers[name] == value, (path, name)
        if policy == DOCUMENT:  # security.md 2.3, 5.3
            kept = {"cross-origin-resource-policy": "cross-origin", "content-disposition": "inline"}
            found = {name: headers.get(name) for name in kept}
            assert path.startswith("/media/") or found == kept, path
        framed = path.startswith("/desk/frames/")
        assert headers.get("x-frame-options") == (None if framed else "DENY"), path
        if path.startswith(("/desk", "/confirm", "/preferences/", "/unsubscribe", "/data")):
            for name, value in PRIVATE.items():
                assert headers[name] == value, (path, name)
        assert not {"server", "x-powered-by"} & set(headers), path
        assert "strict-transport-security" not in headers, "only by https"

    refused = await shop.client.post("/desk/letters", headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert refused.headers["content-security-policy"] == DESK
    assert refused.headers["x-frame-options"] == "DENY"


@pytest.mark.rule("WE-8")
async def test_no_page_of_ours_needs_what_its_policy_forbids(shop):
    await shop.publish("Du lin")
    await shop.log_in()
    for path in ("/", "/letters/du-lin", "/subscribe", "/desk", "/desk/security", "/desk/people"):
        text = (await shop.client.get(path)).text
        assert not re.findall(r"<script(?![^>]* src=\"/static/)[^>]*>(?!\{)", text.replace(
            '<script type="application/ld+json">', "")), path  # fmt: skip
        assert not re.search(r"<[^>]+ (style|on[a-z]+)=", text), path
        assert "<style" not in text


@pytest.fixture
async def secure(tmp_path):
    """A client of a shop that is reached by https: no socket, the app itself."""
    settings = load({"FEDILETTER_BASE_URL": "https://letters.example"}, data=tmp_path / "shop")
    services = None
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    await asyncio.to_thread(install, settings, now=now)
    services = build_services(settings)
    await services.store.write(
        founders.add_founder, email=EMAIL, role="founder", password_hash=_HASH, now=now
    )
    transport = httpx.ASGITransport(create_app(services, workers=False))
    async with httpx.AsyncClient(
        transport=transport,
        base_url=settings.base_url,
        headers={"Origin": settings.base_url},
    ) as client:
        yield client
    services.store.close()


@pytest.mark.rule("WE-1")
async def test_by_https_the_cookie_is_bound_to_the_host_and_the_host_to_https(secure):
    answer = await secure.post("/desk/login", data={"email": EMAIL, "password": PASSWORD})

    name, *flags = answer.headers["set-cookie"].split("; ")
    assert re.fullmatch(r"__Host-fl=[\w-]{43,}", name)
    assert {flag.lower() for flag in flags} >= {"secure", "httponly", "samesite=lax", "path=/"}
    assert not [flag for flag in flags if flag.lower().startswith("domain")]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def _posts():
    return [
        re.sub(r"\{\w+(:\w+)?\}", "1", route.path)
        for route in ROUTES
        if "POST" in (route.methods or ())
    ]


@pytest.mark.rule("WE-7")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "https://evil.example/desk"},
    ],
)
async def test_no_form_of_another_site_changes_anything(shop, headers):
    csrf = await shop.log_in()
    before = await shop.services.store.read(dump)
    exempt = ("/ap/", "/unsubscribe/", "/subscribe")
    for path in _posts():
        if path.startswith(exempt):
            continue
        answer = await shop.client.post(path, data={"csrf": csrf}, headers=headers)
        assert answer.status_code == 403, path
    assert await shop.services.store.read(dump) == before


@pytest.mark.rule("WE-7")
async def test_no_form_of_the_desk_works_without_the_sessions_own_token(shop):
    await shop.log_in()
    before = await shop.services.store.read(dump)
    for path in _posts():
        if not path.startswith("/desk") or path.startswith(("/desk/login", "/desk/setup")):
            continue
        for token in ("", "wrong"):
            answer = await shop.post(path, csrf=token)
            assert answer.status_code == 403, path
    assert await shop.services.store.read(dump) == before


@pytest.mark.rule("WE-9")
async def test_links_are_built_from_the_setting_whatever_a_request_says(shop):
    headers = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    await shop.client.post("/subscribe", data={"email": "ana@example.org"}, headers=headers)

    mail = (await shop.mail_to("ana@example.org"))[0]

    assert "evil.example" not in mail.text
    assert f"{shop.base_url}/confirm/" in mail.text
    form = {"email": "b@example.org"}
    answer = await shop.client.post("/subscribe", data=form, headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert "b@example.org" not in str(await shop.services.store.read(dump))


async def raw(shop, octets: bytes) -> bytes:
    """What the server says to these octets until it closes or falls silent."""
    port = int(shop.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    try:
        async with asyncio.timeout(3):
            return await reader.read()
    except TimeoutError:
        return b"(open)"
    finally:
        writer.close()


@pytest.mark.rule("WE-9")
@pytest.mark.rule("WE-14")
@pytest.mark.parametrize(
    "lines",
    [
        "GET desk HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "POST /subscribe HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
        "GET /desk HTTP/1.1\r\n\r\n",
        "POST /subscribe HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n"
        "Connection: close\r\n\r\nhello!",
        "POST /subscribe HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n"
        "Connection: close\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Long: "
        + "x" * 17_000
        + "\r\n\r\n",
    ],
    ids=["path", "absolute", "both lengths", "two lengths", "coding", "long"],
)
async def test_requests_that_two_servers_could_read_differently_are_refused(shop, lines):
    before = await shop.services.store.read(dump)
    answer = await raw(shop, lines.replace("{host}", shop.base_url[7:]).encode())

    status = answer.split(b" ", 2)[1:2]
    assert answer == b"" or (status and status[0] in (b"400", b"421", b"431")), answer[:200]
    assert answer.count(b"HTTP/1.1 ") <= 1, "never a second answer to what was smuggled"
    assert await shop.services.store.read(dump) == before


async def _wrong_log_in(shop, forwarded: str) -> int:
    form = {"email": "x@shop.test", "password": "wrong wrong wrong"}
    headers = {"Origin": shop.base_url, "X-Forwarded-For": forwarded}
    return (await shop.client.post("/desk/login", data=form, headers=headers)).status_code


async def _prefixes(shop) -> set[str]:
    rows = await shop.services.store.read(
        lambda tx: tx.rows(throttle.select().with_only_columns(throttle.c.key))
    )
    return {key for (key,) in rows if re.match(r"login:[0-9.:]+/", key)}


@pytest.mark.rule("WE-13")
@pytest.mark.rule("PR-2")
@pytest.mark.parametrize(
    ("trusted", "counted"),
    [
        ("", {"login:127.0.0.0/24"}),
        ("127.0.0.0/8", {"login:203.0.113.0/24"}),
        ("127.0.0.0/8,203.0.113.9/32", {"login:198.51.100.0/24"}),
    ],
)
async def test_a_forwarded_address_counts_only_if_a_trusted_proxy_says_it(
    tmp_path, trusted, counted
):
    async with running_shop(tmp_path / "shop", workers=False, trusted_proxies=trusted) as shop:
        await _wrong_log_in(shop, "192.0.2.1, 198.51.100.77, 203.0.113.9")

        assert await _prefixes(shop) == counted, "the rightmost that is no proxy, cut to its net"


@pytest.mark.rule("WE-16")
async def test_what_a_form_has_too_much_or_twice_changes_nothing(shop):
    await add_person(shop)
    async with browser_of(shop) as editor:
        await log_in(editor, EDITOR)
        csrf = csrf_in((await editor.get("/desk")).text)
        before = await shop.services.store.read(founders.founder_by_email, EDITOR)
        form = {"csrf": csrf, "name": "Ana", "language": "fr"}
        extra = {"role": "founder", "id": "1", "email": "x@shop.test", "password_hash": "x"}
        assert (await editor.post("/desk/account", data=form | extra)).status_code == 303
        after = await shop.services.store.read(founders.founder_by_email, EDITOR)
        assert (after.role, after.id, after.password_hash) == (
            "editor",
            before.id,
            before.password_hash,
        )
        dumped = await shop.services.store.read(dump)
        for name in ("name", "language", "csrf"):
            twice = {**form, name: [form[name], form[name]]}
            assert (await editor.post("/desk/account", data=twice)).status_code == 400
        assert await shop.services.store.read(dump) == dumped


@pytest.mark.rule("WE-18")
async def test_no_cell_of_an_export_is_a_formula(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False) as shop:

        def add(tx):
            for number, start in enumerate("=+-@"):
                tx.execute(
                    subscriber.insert().values(
                        key=bytes([number]) * 10,
                        email=f"{start}cmd|calc@example.org",
                        identity=f"{start}cmd|calc@example.org",
                        state="active",
                        language="fr",
                        source="=1+1",
                        requested_at=1,
                    )
                )

        await shop.services.store.write(add)
        runner = CliRunner()
        done = await asyncio.to_thread(
            runner.invoke, cli, ["--data", str(tmp_path / "shop"), "subscribers", "export"]
        )

    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert len(rows) == 5, done.output
    assert [cell for row in rows for cell in row if cell[:1] in "=+-@\t\r" and cell] == []


@pytest.mark.rule("WE-19")
@pytest.mark.parametrize("text", ["", "00" * 32, "abcd", "x" * 64, "01" * 31])
def test_a_missing_short_or_sample_key_is_refused(tmp_path, text):
    file = tmp_path / "secret"
    if text:
        file.write_text(text)

    with pytest.raises(AppError):
        load_vault(file)


def _modules():
    for package in ("fediletter", "federation", "storage"):
        for path in (CODE / package).rglob("*.py"):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.rule("WE-20")
def test_chance_comes_from_the_system_and_tokens_are_compared_in_constant_time():
    weak, short = [], []
    for path, tree in _modules():
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="random"), attr=name):
                    if name != "SystemRandom":
                        weak.append(f"{path.name}:{node.lineno}")
                case ast.ImportFrom(module="random" | "uuid"):
                    weak.append(f"{path.name}:{node.lineno}")
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="secrets"), attr=name),
                    args=[ast.Constant(value=int(octets))],
                ) if name.startswith("token_") and octets < 10:
                    short.append(str(path.relative_to(CODE / "fediletter")))
    assert weak == []
    # The number of a fault, the seed of a riddle, a list's place at the desk, the demo: no keys.
    no_keys = {"web/errors.py", "web/site/joining.py", "importing/lists.py", "demo/reader.py"}
    assert set(short) <= no_keys | {"demo/run.py"}, short
    for name in ("web/desk/login.py", "founders/codes.py", "founders/passkeys.py"):
        assert "hmac.compare_digest" in (CODE / "fediletter" / name).read_text(), name


@pytest.mark.rule("WE-21")
async def test_a_fault_of_ours_shows_a_number_and_nothing_of_the_inside(shop, monkeypatch):
    await shop.log_in()
    secret = "SELECT /srv/secret.db SQLite 3.99"

    async def broken(*_args, **_named):
        raise RuntimeError(secret)

    monkeypatch.setattr("fediletter.web.desk.people._people", broken)
    answer = await shop.client.get("/desk/people")

    assert answer.status_code == 500
    assert re.search(r"\b[0-9a-f]{8}\b", answer.text), "a number to tell us"
    for inside in ("SELECT", "secret.db", "Traceback", "RuntimeError", ".py", "starlette"):
        assert inside not in answer.text


@pytest.mark.rule("WE-23")
def test_what_takes_posts_without_a_session_is_this_list_and_holds_no_hook():
    open_to_all = {
        route.path
        for route in ROUTES
        if "POST" in (route.methods or ()) and not hasattr(route.endpoint, "__wrapped__")
    }

    desk = {path for path in open_to_all if path.startswith("/desk")}
    assert desk == {
        "/desk/login",
        "/desk/login/code",
        "/desk/login/passkey",
        "/desk/login/passkey/options",
        "/desk/setup/{token}",
    }
    assert not [path for path in open_to_all if "hook" in path]
    for path in open_to_all - desk:
        assert path.startswith("/ap/") or "{token" in path or path in (
            "/subscribe", "/preferences", "/agenda", "/agenda/propose", "/agenda/vote",
        ), path  # fmt: skip
