"""Passkeys: made, shown alone or after the password, and every way to cheat with them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fediletter.founders.passkeys import House, Unfit, new_challenge, show
from fediletter.sealing import Vault
from storage.schema import audit, passkey, session
from tests.accounts import (
    add_person,
    browser_of,
    code_of,
    codes_beside,
    codes_in,
    csrf_in,
    hidden,
    log_in,
)
from tests.authenticator import Device
from tests.fediletter.dump import dump
from tests.shop import EMAIL, running_shop

RP = "localhost"


@pytest.fixture
async def named(tmp_path):
    """A shop that browsers reach by a name."""
    async with running_shop(tmp_path / "shop", workers=False, host=RP) as shop:
        yield shop


async def options(shop, client, path="/desk/login/passkey/options", **fields) -> dict:
    answer = await client.post(path, data=fields, headers={"Origin": shop.base_url})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def add(shop, csrf, device, label="Mon téléphone"):
    asked = await options(shop, shop.client, "/desk/security/passkeys/options", csrf=csrf)
    return await shop.post(
        "/desk/security/passkeys",
        csrf=csrf,
        action="add",
        label=label,
        attempt=asked["attempt"],
        credential=device.create(asked["options"]),
    )


async def enter(shop, client, device, *, attempt="", change=lambda asked: asked, **lies):
    asked = change(await options(shop, client, attempt=attempt))
    form = {"attempt": asked["attempt"], "credential": device.get(asked["options"], **lies)}
    return await client.post("/desk/login/passkey", data=form)


async def with_passkey(shop) -> tuple[Device, str, list[str]]:
    device = Device(RP, shop.base_url)
    done = await add(shop, await shop.log_in(), device)
    assert done.status_code == 200, done.text
    return device, csrf_in(done.text), codes_in(done.text)


@pytest.mark.rule("WE-5")
async def test_a_passkey_alone_opens_the_desk_and_recovery_codes_come_with_the_first(named):
    device, csrf, codes = await with_passkey(named)
    assert len(codes) == 10
    page = (await named.client.get("/desk/security")).text
    assert "Mon téléphone" in page

    async with browser_of(named) as other:
        assert (await enter(named, other, device)).status_code == 303
        assert (await other.get("/desk")).status_code == 200

    second = await add(named, csrf, Device(RP, named.base_url), "La clé USB")
    assert second.status_code == 303, "no new recovery codes with the second"


@pytest.mark.rule("WE-4")
async def test_after_a_passkey_was_added_the_password_needs_it_or_a_recovery_code(named):
    device, _, codes = await with_passkey(named)

    async with browser_of(named) as other:
        page = await log_in(other, EMAIL)
        assert page.status_code == 401
        attempt = hidden(page.text, "attempt")
        asked = await options(named, other, attempt=attempt)
        assert len(asked["options"]["allowCredentials"]) == 1
        assert (await enter(named, other, device, attempt=attempt)).status_code == 303
    async with browser_of(named) as other:
        attempt = hidden((await log_in(other, EMAIL)).text, "attempt")
        form = {"attempt": attempt, "code": codes[0]}
        assert (await other.post("/desk/login/code", data=form)).status_code == 303


def _other_challenge(asked):
    asked["options"]["challenge"] = "AAAA" + asked["options"]["challenge"][4:]
    return asked


LIES = {
    "another origin": lambda device: setattr(device, "origin", "https://evil.example"),
    "another site": lambda device: setattr(device, "rp_id", "evil.example"),
    "owner not seen": lambda device: setattr(device, "verified", False),
    "count goes back": lambda device: setattr(device, "count", 0),
    "unknown key": lambda device: setattr(device, "credential_id", b"x" * 16),
    "no person": lambda device: setattr(device, "user", b""),
    "another person": lambda device: setattr(device, "user", b"y" * 32),
}


@pytest.mark.rule("WE-5")
@pytest.mark.parametrize("lie", LIES)
async def test_a_passkey_that_lies_opens_nothing(named, lie):
    device, _, _ = await with_passkey(named)
    async with browser_of(named) as other:
        device.count = 7
        assert (await enter(named, other, device)).status_code == 303
    before = await named.services.store.read(lambda tx: tx.rows(session.select()))
    LIES[lie](device)

    async with browser_of(named) as other:
        answer = await enter(named, other, device)
        assert answer.status_code == 401
        assert "fl" not in other.cookies
    after = await named.services.store.read(lambda tx: tx.rows(session.select()))
    assert [row[0] for row in after] == [row[0] for row in before]
    last = await named.services.store.read(
        lambda tx: tx.row(audit.select().order_by(audit.c.id.desc()))
    )
    assert "login refused" in last


@pytest.mark.rule("WE-5")
@pytest.mark.parametrize("lie", ["another origin", "another site", "owner not seen"])
async def test_a_passkey_is_not_taken_from_a_device_that_lies(named, lie):
    csrf = await named.log_in()
    device = Device(RP, named.base_url)
    LIES[lie](device)

    answer = await add(named, csrf, device)

    assert answer.status_code == 422
    assert 'id="p-label"' in answer.text
    assert 'value="Mon téléphone"' in answer.text, "what was typed is kept"
    assert await named.services.store.read(lambda tx: tx.rows(passkey.select())) == []


@pytest.mark.rule("WE-5")
async def test_a_challenge_serves_once_and_only_the_one_that_was_given(named):
    device, _, _ = await with_passkey(named)
    device.counts = False  # Nothing but the challenge tells a replay.
    async with browser_of(named) as other:
        assert (await enter(named, other, device, change=_other_challenge)).status_code == 401

        asked = await options(named, other)
        form = {"attempt": asked["attempt"], "credential": device.get(asked["options"])}
        assert (await other.post("/desk/login/passkey", data=form)).status_code == 303
        other.cookies.clear()
        assert (await other.post("/desk/login/passkey", data=form)).status_code == 401, "a replay"

        first, second = await options(named, other), await options(named, other)
        swapped = {"attempt": second["attempt"], "credential": device.get(first["options"])}
        assert (await other.post("/desk/login/passkey", data=swapped)).status_code == 401


@pytest.mark.rule("WE-5")
async def test_after_one_persons_password_anothers_passkey_does_not_do(named):
    await add_person(named, "other@shop.test", "founder")
    device, _, _ = await with_passkey(named)
    async with browser_of(named) as theirs:
        await log_in(theirs, "other@shop.test")
        csrf = csrf_in((await theirs.get("/desk")).text)
        own = Device(RP, named.base_url)
        asked = await options(named, theirs, "/desk/security/passkeys/options", csrf=csrf)
        form = {"csrf": csrf, "action": "add", "label": "x", "attempt": asked["attempt"]}
        form["credential"] = own.create(asked["options"])
        assert (await theirs.post("/desk/security/passkeys", data=form)).status_code == 200

    async with browser_of(named) as other:
        attempt = hidden((await log_in(other, EMAIL)).text, "attempt")
        assert (await enter(named, other, own, attempt=attempt)).status_code == 401
        assert (await enter(named, other, device, attempt=attempt)).status_code == 303


@pytest.mark.rule("WE-5")
async def test_a_passkey_is_added_only_in_the_session_that_asked_and_only_once(named):
    csrf = await named.log_in()
    asked = await options(named, named.client, "/desk/security/passkeys/options", csrf=csrf)
    device = Device(RP, named.base_url)
    form = {"action": "add", "label": "x", "attempt": asked["attempt"]}
    form["credential"] = device.create(asked["options"])
    async with browser_of(named) as other:
        await log_in(other, EMAIL)
        theirs = csrf_in((await other.get("/desk")).text)
        answer = await other.post("/desk/security/passkeys", data=form | {"csrf": theirs})
        assert answer.status_code == 422
        assert 'id="p-label"' in answer.text

    again = await named.post("/desk/security/passkeys", csrf=csrf, **form)

    assert again.status_code == 422, "the challenge is used up"
    assert await named.services.store.read(lambda tx: tx.rows(passkey.select())) == []


@pytest.mark.rule("WE-11")
async def test_one_renames_and_removes_only_ones_own(named):
    _, csrf, _ = await with_passkey(named)
    number = (await named.services.store.read(lambda tx: tx.row(passkey.select())))[0]
    await add_person(named, "other@shop.test", "founder")
    async with browser_of(named) as other:
        await log_in(other, "other@shop.test")
        theirs = csrf_in((await other.get("/desk")).text)
        before = await named.services.store.read(dump)
        for action in ("rename", "remove"):
            form = {"csrf": theirs, "action": action, "label": "x", "passkey": str(number)}
            assert (await other.post("/desk/security/passkeys", data=form)).status_code == 404
        assert await named.services.store.read(dump) == before

    bare = await named.post(
        "/desk/security/passkeys", csrf=csrf, action="rename", label=" ", passkey=str(number)
    )
    assert f'id="p-label-{number}"' in bare.text
    await named.post(
        "/desk/security/passkeys", csrf=csrf, action="rename", label="Le vieux", passkey=str(number)
    )
    assert "Le vieux" in (await named.client.get("/desk/security")).text
    gone = await named.post(
        "/desk/security/passkeys", csrf=csrf, action="remove", passkey=str(number)
    )
    assert gone.status_code == 303
    async with browser_of(named) as other:
        assert (await log_in(other, EMAIL)).status_code == 303, "the password alone again"


@pytest.mark.rule("WE-4")
async def test_without_a_script_a_person_with_passkeys_comes_in_by_password_and_code(named):
    _, csrf, _ = await with_passkey(named)
    phone = await codes_beside(named, csrf)
    async with browser_of(named) as other:
        attempt = hidden((await log_in(other, EMAIL)).text, "attempt")
        form = {"attempt": attempt, "code": code_of(phone, named, steps=1)}
        assert (await other.post("/desk/login/code", data=form)).status_code == 303


@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=100).map(repr)))
def test_no_answer_of_a_browser_is_a_fault(answer):
    house = House("http://localhost:1", Vault(bytes(range(32))))

    class Nobody:
        def row(self, _query):
            return None

    with pytest.raises(Unfit):
        show(Nobody(), house, answer, new_challenge(), of=None, now=None)


async def test_an_address_by_number_says_that_passkeys_cannot_work(shop):
    await shop.log_in()

    page = (await shop.client.get("/desk/security")).text

    assert "numéro" in page
    assert "passkeys.js" not in page
