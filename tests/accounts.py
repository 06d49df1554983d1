"""What tests of the desk's accounts do: a clock to turn, codes of a telephone, other people."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import pyotp

from fediletter.clock import SystemClock
from fediletter.founders.passwords import hash_password
from storage import founders
from tests.shop import PASSWORD, Shop

EDITOR = "editor@shop.test"
_HASH = hash_password(PASSWORD)


class Turned(SystemClock):
    """The machine's clock, turned forward by a test."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.forward


def browser_of(shop: Shop) -> httpx.AsyncClient:
    """One more browser at the same shop; close it."""
    return httpx.AsyncClient(
        base_url=shop.base_url, trust_env=False, timeout=60, headers={"Origin": shop.base_url}
    )


def csrf_in(text: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found is not None, text
    return found[1]


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found is not None, text
    return found[1]


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/desk/login", data={"email": email, "password": password})


async def add_person(shop: Shop, email: str = EDITOR, role: str = "editor") -> int:
    return await shop.services.store.write(
        founders.add_founder,
        email=email,
        role=role,
        password_hash=_HASH,
        now=shop.services.clock.now(),
    )


async def set_up_codes(shop: Shop, csrf: str) -> tuple[pyotp.TOTP, list[str], str]:
    """Switch codes on; the telephone, the recovery codes, the new token for forms."""
    phone, done = await _confirmed(shop, csrf)
    assert done.status_code == 200, done.text
    return phone, codes_in(done.text), csrf_in(done.text)


async def codes_beside(shop: Shop, csrf: str) -> pyotp.TOTP:
    """Switch codes on beside a passkey: there are recovery codes already."""
    phone, done = await _confirmed(shop, csrf)
    assert done.status_code == 303, done.text
    return phone


async def _confirmed(shop: Shop, csrf: str) -> tuple[pyotp.TOTP, httpx.Response]:
    page = await shop.post("/desk/security/codes", csrf=csrf, action="begin")
    assert page.status_code == 200, page.text
    phone = pyotp.TOTP(seed_in(page.text))
    done = await shop.post(
        "/desk/security/codes",
        csrf=csrf,
        action="confirm",
        attempt=hidden(page.text, "attempt"),
        code=code_of(phone, shop),
    )
    return phone, done


def seed_in(text: str) -> str:
    found = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', text)
    assert found is not None, text
    return found[1].replace(" ", "")


def codes_in(text: str) -> list[str]:
    return re.findall(r"<li><code>([a-z2-7-]+)</code></li>", text)


def code_of(phone: pyotp.TOTP, shop: Shop, *, steps: int = 0) -> str:
    """What the telephone shows now, or so many steps from now."""
    return phone.at(shop.services.clock.now() + timedelta(seconds=30 * steps))
