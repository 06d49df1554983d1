"""Codes of a telephone and recovery codes: set up, used once, lost."""

import asyncio
from datetime import timedelta

import pytest

from fediletter.limits import CODES_PER_ATTEMPT, CODES_PER_DAY
from storage.schema import founder, recovery_code
from tests.accounts import (
    Turned,
    browser_of,
    code_of,
    codes_in,
    csrf_in,
    hidden,
    log_in,
    seed_in,
    set_up_codes,
)
from tests.fediletter.dump import dump
from tests.shop import EMAIL, PASSWORD, running_shop

STEP = timedelta(seconds=30)


@pytest.fixture
async def turned(tmp_path):
    """A shop whose clock the test turns."""
    clock = Turned()
    async with running_shop(tmp_path / "shop", workers=False, clock=clock) as shop:
        shop.clock = clock
        yield shop


async def second(client, code, *, attempt=None):
    """Password, then a code; the last answer."""
    if attempt is None:
        page = await log_in(client, EMAIL)
        attempt = hidden(page.text, "attempt")
    return await client.post("/desk/login/code", data={"attempt": attempt, "code": code})


@pytest.mark.rule("WE-5")
async def test_codes_are_on_only_after_one_was_typed(turned):
    csrf = await turned.log_in()
    page = await turned.post("/desk/security/codes", csrf=csrf, action="begin")
    assert "<svg" in page.text
    assert len(seed_in(page.text)) == 32
    attempt = hidden(page.text, "attempt")

    wrong = await turned.post(
        "/desk/security/codes", csrf=csrf, action="confirm", attempt=attempt, code="000000x"
    )

    assert wrong.status_code == 422
    assert 'id="p-code"' in wrong.text
    assert seed_in(wrong.text) == seed_in(page.text), "the same secret may be tried again"
    async with browser_of(turned) as other:
        assert (await log_in(other, EMAIL)).status_code == 303, "nothing is asked yet"


@pytest.mark.rule("WE-4")
@pytest.mark.rule("WE-5")
async def test_a_password_alone_does_not_open_any_more_and_a_code_serves_once(turned):
    phone, _, _ = await set_up_codes(turned, await turned.log_in())

    async with browser_of(turned) as one, browser_of(turned) as two:
        assert (await second(one, code_of(phone, turned))).status_code == 401, "used for set-up"
        turned.clock.forward += STEP
        code = code_of(phone, turned)
        answer = await log_in(one, EMAIL)
        assert answer.status_code == 401
        assert "fl" not in one.cookies
        assert (await one.get("/desk")).status_code == 303, "no session after the password alone"

        assert (await second(one, code, attempt=hidden(answer.text, "attempt"))).status_code == 303
        assert (await one.get("/desk")).status_code == 200

        assert (await second(two, code)).status_code == 401, "a replay"
        assert (await two.get("/desk")).status_code == 303


@pytest.mark.rule("WE-5")
@pytest.mark.parametrize(
    ("steps", "opens"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
)
async def test_a_code_fits_one_step_early_or_late(turned, steps, opens):
    phone, _, _ = await set_up_codes(turned, await turned.log_in())
    turned.clock.forward += 5 * STEP

    async with browser_of(turned) as other:
        answer = await second(other, code_of(phone, turned, steps=steps))

    assert answer.status_code == (303 if opens else 401)


@pytest.mark.slow
@pytest.mark.rule("L-63")
@pytest.mark.rule("WE-5")
async def test_codes_are_tried_five_times_a_log_in_and_twenty_times_a_day(turned):
    phone, recovery, _ = await set_up_codes(turned, await turned.log_in())
    turned.clock.forward += 2 * STEP

    async with browser_of(turned) as other:
        attempt = hidden((await log_in(other, EMAIL)).text, "attempt")
        for _ in range(CODES_PER_ATTEMPT):
            await second(other, "123456", attempt=attempt)
        late = await second(other, code_of(phone, turned), attempt=attempt)
        assert late.status_code == 401, "the sixth try is none, even if it fits"
        assert 'name="password"' in late.text, "back to the password"
        for _ in range(3):
            turned.clock.forward += timedelta(minutes=6)
            attempt = hidden((await log_in(other, EMAIL)).text, "attempt")
            for _ in range(CODES_PER_ATTEMPT):
                await second(other, "123456", attempt=attempt)
        turned.clock.forward += timedelta(minutes=6)
        assert CODES_PER_DAY[0] == 20
        assert (await second(other, code_of(phone, turned))).status_code == 401
        assert (await second(other, recovery[0])).status_code == 401

        turned.clock.forward += timedelta(days=1)
        assert (await second(other, code_of(phone, turned))).status_code == 303


@pytest.mark.rule("WE-5")
async def test_fifty_who_show_the_same_code_at_once_get_one_session(turned):
    phone, _, _ = await set_up_codes(turned, await turned.log_in())
    turned.clock.forward += 2 * STEP
    code = code_of(phone, turned)

    async with browser_of(turned) as other:
        attempt = hidden((await log_in(other, EMAIL)).text, "attempt")
        answers = await asyncio.gather(*(second(other, code, attempt=attempt) for _ in range(50)))

    assert sorted(one.status_code for one in answers) == [303] + [401] * 49


@pytest.mark.slow
@pytest.mark.rule("WE-5")
async def test_each_recovery_code_opens_once_and_new_ones_replace_all(turned):
    _, codes, csrf = await set_up_codes(turned, await turned.log_in())
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 16 for code in codes), "80 bits"

    async with browser_of(turned) as other:
        typed = codes[0].upper().replace("-", " ")
        assert (await second(other, typed)).status_code == 303, "as people type them"
    async with browser_of(turned) as other:
        assert (await second(other, codes[0])).status_code == 401
        file = await turned.post("/desk/security/recovery/file", csrf=csrf, codes=" ".join(codes))
        assert file.text.split()[2:] == codes[1:], "only those that open something"
        assert "attachment" in file.headers["content-disposition"]

        renewed = await turned.post("/desk/security/recovery", csrf=csrf)
        assert (await second(other, codes[1])).status_code == 401
        assert (await second(other, codes_in(renewed.text)[1])).status_code == 303


@pytest.mark.rule("WE-19")
async def test_neither_seed_nor_recovery_codes_stand_in_the_database(turned):
    phone, codes, _ = await set_up_codes(turned, await turned.log_in())

    text = str(await turned.services.store.read(dump))

    assert phone.secret not in text
    assert not [code for code in codes if code in text or code.replace("-", "") in text]
    sealed = await turned.services.store.read(
        lambda tx: tx.scalar(founder.select().with_only_columns(founder.c.totp_sealed))
    )
    assert phone.secret.encode() not in sealed
    hashes = await turned.services.store.read(
        lambda tx: tx.rows(recovery_code.select().with_only_columns(recovery_code.c.code_hash))
    )
    assert {len(row[0]) for row in hashes} == {32}


@pytest.mark.slow
async def test_switching_off_needs_the_password_and_a_code(turned):
    phone, _, csrf = await set_up_codes(turned, await turned.log_in())
    turned.clock.forward += STEP
    code = code_of(phone, turned)

    async def off(current, code):
        return await turned.post(
            "/desk/security/codes", csrf=csrf, action="off", current=current, code=code
        )

    assert 'id="p-off_current"' in (await off("wrong wrong wrong", code)).text
    assert 'id="p-off_code"' in (await off(PASSWORD, "000000")).text
    assert (await off(PASSWORD, code)).status_code == 303
    async with browser_of(turned) as other:
        assert (await log_in(other, EMAIL)).status_code == 303
    left = await turned.services.store.read(lambda tx: tx.rows(recovery_code.select()))
    assert left == [], "recovery codes go with the last thing that can be lost"


@pytest.mark.rule("WE-2")
async def test_a_change_of_factor_ends_every_other_session_and_renews_ones_own(turned):
    csrf = await turned.log_in()
    old = turned.client.cookies["fl"]
    async with browser_of(turned) as other:
        await log_in(other, EMAIL)
        assert (await other.get("/desk")).status_code == 200

        _, _, newer = await set_up_codes(turned, csrf)

        assert (await other.get("/desk")).status_code == 303
        assert turned.client.cookies["fl"] != old
        other.cookies.set("fl", old)
        assert (await other.get("/desk")).status_code == 303
    assert csrf_in((await turned.client.get("/desk")).text) == newer
