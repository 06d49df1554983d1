"""Sessions: on the server, listed, ended, idle, old, stale; what is sensitive asks again."""

from datetime import timedelta

import pytest

from fediletter.founders.passwords import hash_password
from fediletter.limits import LOGINS_PER_ACCOUNT, LOGINS_PER_PREFIX, SESSION_FRESH, SESSION_IDLE
from fediletter.web.desk.login import device_of, safe_path
from storage import founders
from storage.schema import founder, session
from tests.accounts import EDITOR, Turned, add_person, browser_of, csrf_in, hidden, log_in
from tests.fediletter.dump import dump
from tests.shop import EMAIL, PASSWORD, running_shop

NEARLY = timedelta(seconds=20)  # The machine's own clock goes on meanwhile.
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
async def turned(tmp_path):
    clock = Turned()
    async with running_shop(tmp_path / "shop", workers=False, clock=clock) as shop:
        shop.clock = clock
        yield shop


@pytest.mark.rule("L-60")
async def test_a_session_ends_after_eight_idle_hours_and_after_seven_days(turned):
    await turned.log_in()
    turned.clock.forward = SESSION_IDLE - NEARLY
    assert (await turned.client.get("/desk")).status_code == 200, "at the limit"
    turned.clock.forward += SESSION_IDLE + NEARLY
    assert (await turned.client.get("/desk")).status_code == 303

    await turned.log_in()
    for _ in range(23):
        turned.clock.forward += timedelta(hours=7)
        assert (await turned.client.get("/desk")).status_code == 200
    turned.clock.forward += timedelta(hours=6, minutes=50)
    assert (await turned.client.get("/desk")).status_code == 200, "seven days, nearly"
    turned.clock.forward += timedelta(minutes=10)
    assert (await turned.client.get("/desk")).status_code == 303


@pytest.mark.rule("L-60")
async def test_what_is_sensitive_asks_again_after_a_quarter_of_an_hour(turned):
    csrf = await turned.log_in()
    old = turned.client.cookies["fl"]
    turned.clock.forward = SESSION_FRESH - NEARLY
    assert (await turned.client.get("/desk/security")).status_code == 200
    turned.clock.forward += NEARLY

    asked = await turned.client.get("/desk/security")
    assert asked.headers["location"] == "/desk/login?next=/desk/security"
    page = (await turned.client.get(asked.headers["location"])).text
    assert f'value="{EMAIL}"' in page, "whom it asks"
    before = await turned.services.store.read(dump)
    form = await turned.post("/desk/people", csrf=csrf, email="a@shop.test", role="editor")
    assert form.status_code == 401
    assert "a@shop.test" not in hidden(form.text, "next")
    assert 'name="kept:role"' in form.text, "what was typed travels along"
    assert 'name="kept:password"' not in form.text
    assert await turned.services.store.read(dump) == before

    again = await turned.post("/desk/login", email=EMAIL, password=PASSWORD, next="/desk/security")
    assert again.headers["location"] == "/desk/security"
    assert (await turned.client.get("/desk/security")).status_code == 200
    async with browser_of(turned) as other:
        other.cookies.set("fl", old)
        assert (await other.get("/desk")).status_code == 303, "the former one is dead (WE-1)"


@pytest.mark.rule("WE-1")
async def test_a_cookie_from_before_the_log_in_is_not_taken_over_and_none_is_stored_plain(shop):
    shop.client.cookies.set("fl", "chosen-by-somebody-else")
    await shop.log_in()

    values = [cookie.value for cookie in shop.client.cookies.jar]

    assert "chosen-by-somebody-else" not in values[-1]
    assert len(values[-1]) >= 43, "256 bits"
    text = str(await shop.services.store.read(lambda tx: tx.rows(session.select())))
    assert values[-1] not in text


@pytest.mark.rule("WE-1")
async def test_one_sees_where_one_is_logged_in_and_ends_one_or_all_others(shop):
    csrf = await shop.log_in()
    async with browser_of(shop) as one, browser_of(shop) as two, browser_of(shop) as three:
        one.headers["User-Agent"] = FIREFOX
        for client in (one, two, three):
            await log_in(client, EMAIL)
        page = (await shop.client.get("/desk/account")).text
        assert "Firefox, Linux" in page
        assert page.count('name="session"') == 4, "three others, and all of them"

        key = await shop.services.store.read(
            lambda tx: tx.scalar(
                session.select()
                .with_only_columns(session.c.token_hash)
                .where(session.c.label == "Firefox, Linux")
            )
        )
        await shop.post("/desk/account/sessions", csrf=csrf, session=key.hex())
        assert (await one.get("/desk")).status_code == 303
        assert (await two.get("/desk")).status_code == 200
        await shop.post("/desk/account/sessions", csrf=csrf, session="others")
        assert (await two.get("/desk")).status_code == 303
        assert (await three.get("/desk")).status_code == 303
    assert (await shop.client.get("/desk")).status_code == 200


@pytest.mark.rule("WE-11")
async def test_nobody_ends_a_session_of_somebody_else(shop):
    await shop.log_in()
    theirs = (await shop.services.store.read(lambda tx: tx.row(session.select())))[0]
    await add_person(shop)
    async with browser_of(shop) as editor:
        await log_in(editor, EDITOR)
        csrf = csrf_in((await editor.get("/desk")).text)
        for name in (theirs.hex(), "00" * 32, "nonsense"):
            form = {"csrf": csrf, "session": name}
            assert (await editor.post("/desk/account/sessions", data=form)).status_code == 404

    assert (await shop.client.get("/desk")).status_code == 200


@pytest.mark.rule("WE-2")
async def test_a_new_password_ends_every_other_session(shop):
    csrf = await shop.log_in()
    newer = "a second bag of linen"
    async with browser_of(shop) as other:
        await log_in(other, EMAIL)
        wrong = await shop.post(
            "/desk/security/password", csrf=csrf, current="x" * 12, password=newer, again="other"
        )
        assert wrong.status_code == 422
        assert 'id="p-current"' in wrong.text
        assert 'id="p-again"' in wrong.text
        assert (await other.get("/desk")).status_code == 200

        done = await shop.post(
            "/desk/security/password", csrf=csrf, current=PASSWORD, password=newer, again=newer
        )

        assert done.status_code == 303
        assert (await other.get("/desk")).status_code == 303
        assert (await shop.client.get("/desk")).status_code == 200
        assert (await log_in(other, EMAIL)).status_code == 401
        assert (await log_in(other, EMAIL, newer)).status_code == 303


@pytest.mark.rule("WE-3")
async def test_a_disabled_person_is_out_with_the_next_request(shop):
    await shop.log_in()

    await shop.services.store.write(lambda tx: tx.execute(founder.update().values(disabled_at=1)))

    assert (await shop.client.get("/desk")).status_code == 303
    answer = await shop.post("/desk/login", email=EMAIL, password=PASSWORD)
    assert answer.status_code == 401


@pytest.mark.rule("L-61")
async def test_a_password_of_older_parameters_is_hashed_anew_at_the_next_log_in(shop):
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=2, memory_cost=19 << 10, parallelism=1).hash(PASSWORD)
    await shop.services.store.write(
        lambda tx: tx.execute(founder.update().values(password_hash=weak))
    )

    await shop.log_in()

    person = await shop.services.store.read(founders.founder_by_email, EMAIL)
    assert "$m=65536,t=3,p=1$" in person.password_hash
    assert hash_password("x").startswith("$argon2id$")


@pytest.mark.slow
@pytest.mark.rule("L-62")
async def test_log_ins_are_counted_by_network_and_by_account(turned):
    assert (LOGINS_PER_PREFIX[0], LOGINS_PER_ACCOUNT[0]) == (10, 20)

    async def attempt(typed="wrong wrong wrong"):
        return (await turned.post("/desk/login", email=EMAIL, password=typed)).status_code

    assert [await attempt() for _ in range(11)] == [401] * 10 + [429]
    turned.clock.forward += timedelta(minutes=5, seconds=1)
    assert [await attempt() for _ in range(9)] == [401] * 9, "11 count for the account: 20 in all"
    assert await attempt(PASSWORD) == 429
    turned.clock.forward += timedelta(minutes=56)
    assert await attempt(PASSWORD) == 303


@pytest.mark.rule("WE-12")
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/desk/security", "/desk/security"),
        ("/desk/answers?state=all", "/desk/answers?state=all"),
        ("/deskevil.example", "/desk"),
        ("/desk/\\evil.example", "/desk"),
        ("/desk//evil.example", "/desk"),
        ("//evil.example/desk", "/desk"),
        ("https://evil.example/desk", "/desk"),
        ("/desk/\r\nX: y", "/desk"),
        ("javascript:alert(1)", "/desk"),
        ("", "/desk"),
    ],
)
def test_after_the_log_in_one_stays_at_the_desk(asked, given):
    assert safe_path(asked) == given


def test_a_device_is_two_words_at_most():
    assert device_of(FIREFOX) == "Firefox, Linux"
    assert device_of("curl/8.0") == ""
