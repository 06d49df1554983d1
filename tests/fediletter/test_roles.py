"""Founders and editors: every route of the desk, for each of them; who comes and who goes."""

import contextlib
import re
from datetime import UTC, datetime, timedelta

import pytest

from fediletter.founders import people
from fediletter.limits import INVITATION
from fediletter.outbound import publish as publishing
from fediletter.web.routes import ROUTES
from storage import audit as deeds
from storage import founders
from storage.posts import get_post
from storage.schema import founder, post, session
from tests.accounts import EDITOR, Turned, add_person, browser_of, csrf_in, log_in
from tests.fediletter.dump import dump
from tests.shop import EMAIL, PASSWORD, running_shop

OPEN = {
    ("GET", "/desk/login"),
    ("POST", "/desk/login"),
    ("POST", "/desk/login/code"),
    ("POST", "/desk/login/passkey"),
    ("POST", "/desk/login/passkey/options"),
    ("GET", "/desk/setup/{token}"),
    ("POST", "/desk/setup/{token}"),
}
EDITORS = {
    ("GET", "/desk"),
    ("GET", "/desk/token"),
    ("POST", "/desk/logout"),
    ("GET", "/desk/account"),
    ("POST", "/desk/account"),
    ("POST", "/desk/account/sessions"),
    ("GET", "/desk/security"),
    ("POST", "/desk/security/password"),
    ("POST", "/desk/security/codes"),
    ("POST", "/desk/security/recovery"),
    ("POST", "/desk/security/recovery/file"),
    ("POST", "/desk/security/passkeys"),
    ("POST", "/desk/security/passkeys/options"),
    ("GET", "/desk/letters/new"),
    ("POST", "/desk/letters"),
    ("POST", "/desk/letters/autosave"),
    ("GET", "/desk/letters/{post_id:int}"),
    ("POST", "/desk/letters/{post_id:int}"),
    ("POST", "/desk/letters/{post_id:int}/autosave"),
    ("GET", "/desk/letters/{post_id:int}/versions"),
    ("POST", "/desk/letters/{post_id:int}/delete"),
    ("GET", "/desk/frames/{post_id:int}/{kind}"),
    ("GET", "/desk/media"),
    ("POST", "/desk/media"),
    ("POST", "/desk/media/{media_id:int}"),
    ("GET", "/desk/answers"),
    ("POST", "/desk/answers/{reply_id:int}"),
    ("POST", "/desk/answers/{reply_id:int}/ask"),
    ("POST", "/desk/answers/{reply_id:int}/answer"),
    ("POST", "/desk/own-answers/{post_id:int}"),
}


def _desk_routes():
    return [
        (method, route.path)
        for route in ROUTES
        if route.path == "/desk" or route.path.startswith("/desk/")
        for method in sorted(route.methods - {"HEAD"})
    ]


def _path(pattern: str, post_id: int) -> str:
    pattern = pattern.replace("{post_id:int}", str(post_id)).replace("{kind}", "web")
    return re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+\}", "none", pattern))


@pytest.mark.rule("WE-10")
@pytest.mark.slow
async def test_every_route_of_the_desk_lets_in_whom_the_table_names(tmp_path):
    async with running_shop(tmp_path / "shop", workers=False) as shop:
        draft = await shop.draft("Secret")
        await add_person(shop)
        before = await shop.services.store.read(dump)
        async with browser_of(shop) as stranger:
            for method, pattern in _desk_routes():
                if (method, pattern) in OPEN:
                    continue
                answer = await stranger.request(method, _path(pattern, draft.id))
                assert answer.status_code in (303, 401), (method, pattern, answer.status_code)
                assert "Secret" not in answer.text
        assert await shop.services.store.read(dump) == before

        found: dict[str, set[tuple[str, str]]] = {}
        for email in (EDITOR, EMAIL):
            async with browser_of(shop) as client:
                refused = found[email] = set()
                token = ""
                for method, pattern in _desk_routes():
                    if (method, pattern) in OPEN:
                        continue
                    if not token or (await client.get("/desk/token")).status_code != 200:
                        assert (await log_in(client, email)).status_code == 303
                        token = (await client.get("/desk/token")).json()["csrf"]
                    form = {"csrf": token} if method == "POST" else None
                    answer = await client.request(method, _path(pattern, draft.id), data=form)
                    assert answer.status_code < 500, (email, method, pattern)
                    if answer.status_code == 403:
                        refused.add((method, pattern))
                    if pattern == "/desk/logout":
                        token = ""

    assert found[EMAIL] == set(), "a founder does everything"
    assert found[EDITOR] == set(_desk_routes()) - OPEN - EDITORS


@contextlib.asynccontextmanager
async def editor_at(shop):
    """A browser in which an editor is logged in, and the token for forms."""
    await add_person(shop)
    async with browser_of(shop) as client:
        assert (await log_in(client, EDITOR)).status_code == 303
        yield client, csrf_in((await client.get("/desk")).text)


async def test_an_editor_writes_drafts_and_changes_nothing_that_has_left_them(shop):
    async with editor_at(shop) as (client, csrf):
        form = {"csrf": csrf, "version": "0", "title": "Du lin", "body": "x", "language": "fr"}
        saved = await client.post("/desk/letters", data=form | {"action": "save"})
        assert saved.status_code == 303
        page = await client.get(saved.headers["location"])
        assert 'value="publish"' not in page.text
        assert "/desk/readers" not in page.text

        answers = (await client.get("/desk/answers")).text
        for path in ("quotes", "reports", "blocks", "received"):
            assert (await client.get(f"/desk/{path}")).status_code == 403
            assert f"/desk/{path}" not in answers, "no way leads to what is the founders'"

        out = await shop.draft("Parue")
        await publishing.publish(shop.services, out.id, version=out.version)
        before = await shop.services.store.read(get_post, out.id)
        form |= {"title": "Autre", "version": str(before.version)}
        for path in (f"/desk/letters/{out.id}", f"/desk/letters/{out.id}/autosave"):
            assert (await client.post(path, data=form)).status_code == 403
        assert (await shop.services.store.read(get_post, out.id)).title == "Parue"
        blocked = await client.post("/desk/answers/1", data={"csrf": csrf, "action": "block"})
        assert blocked.status_code == 403


@pytest.mark.rule("WE-22")
async def test_an_invited_person_chooses_a_password_once_and_the_second_time_is_told_so(tmp_path):
    clock = Turned()
    async with running_shop(tmp_path / "shop", workers=False, clock=clock) as shop:
        csrf = await shop.log_in()
        bad = await shop.post("/desk/people", csrf=csrf, email="no address", name="Ana", role="x")
        assert bad.status_code == 422
        assert 'id="p-email"' in bad.text
        assert 'value="Ana"' in bad.text, "what was typed is kept"
        page = await shop.post("/desk/people", csrf=csrf, email=EDITOR, name="Ana", role="editor")
        link = re.search(r"/desk/setup/[\w-]+", page.text)[0]
        assert link not in (await shop.client.get("/desk/people")).text, "shown once"

        async with browser_of(shop) as ana:
            assert EDITOR in (await ana.get(link)).text
            form = {"password": PASSWORD, "again": PASSWORD, "email": "evil@shop.test"}
            assert (await ana.post(link, data=form)).headers["location"] == "/desk"
            assert (await ana.get("/desk")).status_code == 200
            again = await ana.get(link, headers={"Accept-Language": "fr"})
            assert again.status_code == 404
            assert "a déjà servi" in again.text
            assert (await ana.post(link, data=form)).status_code == 404
        taken = await shop.post("/desk/people", csrf=csrf, email=EDITOR, name="", role="editor")
        assert 'id="p-email"' in taken.text

        other = await shop.post("/desk/people", csrf=csrf, email="b@shop.test", role="founder")
        late = re.search(r"/desk/setup/[\w-]+", other.text)[0]
        clock.forward += INVITATION
        assert (await shop.client.get(late)).status_code == 404
        emails = [one.email for one in await shop.services.store.read(founders.all_founders)]
        assert emails == [EMAIL, EDITOR, "b@shop.test"]


@pytest.mark.rule("WE-2")
@pytest.mark.rule("WE-3")
@pytest.mark.parametrize("action", ["remove", "role"])
async def test_who_is_removed_or_gets_another_role_is_logged_out_at_once(shop, action):
    csrf = await shop.log_in()
    async with editor_at(shop) as (client, _):
        number = (await shop.services.store.read(founders.founder_by_email, EDITOR)).id
        draft = await shop.draft("De l’éditrice")
        await shop.services.store.write(
            lambda tx: tx.execute(post.update().values(founder_id=number))
        )
        answer = await shop.post(f"/desk/people/{number}", csrf=csrf, action=action, role="founder")
        assert answer.status_code == 303

        assert (await client.get("/desk")).status_code == 303
        assert (await log_in(client, EDITOR)).status_code == (401 if action == "remove" else 303)
    assert (await shop.services.store.read(get_post, draft.id)).title == "De l’éditrice"


@pytest.mark.parametrize("action", ["remove", "role"])
async def test_the_last_founder_stays_one(shop, action):
    csrf = await shop.log_in()
    await add_person(shop)
    await shop.post("/desk/people", csrf=csrf, email="new@shop.test", role="founder")
    number = (await shop.services.store.read(founders.founder_by_email, EMAIL)).id

    answer = await shop.post(f"/desk/people/{number}", csrf=csrf, action=action, role="editor")

    assert answer.status_code == 409, "somebody who never came in does not count"
    assert f'id="p-person-{number}"' in answer.text
    assert (await shop.services.store.read(founders.founder_by_email, EMAIL)).role == "founder"
    assert (await shop.client.get("/desk/people")).status_code == 200


@pytest.mark.rule("WE-4")
@pytest.mark.rule("L-65")
async def test_a_reset_takes_everything_off_and_leads_to_the_login_page(tmp_path):
    clock = Turned()
    async with running_shop(tmp_path / "shop", workers=False, clock=clock) as shop:
        await shop.log_in()
        token = await shop.services.store.write(people.reset, EMAIL, now=clock.now())
        link = f"/desk/setup/{token}"
        weak = await shop.post(link, password="short", again="short")
        assert 'id="e2"' in weak.text

        async with browser_of(shop) as other:
            form = {"password": "another bag of linen", "again": "another bag of linen"}
            done = await other.post(link, data=form)
            assert (done.status_code, done.headers["location"]) == (303, "/desk/login")
            assert "fl" not in other.cookies, "no session after a reset alone"
            assert (await shop.client.get("/desk")).status_code == 303, "old sessions are dead"
            assert (await log_in(other, EMAIL)).status_code == 401
            assert (await log_in(other, EMAIL, "another bag of linen")).status_code == 303
        assert (await shop.client.get(link)).status_code == 404
        late = await shop.services.store.write(people.reset, EMAIL, now=clock.now())
        clock.forward += people.RESET_LINK
        assert (await shop.client.get(f"/desk/setup/{late}")).status_code == 404


@pytest.mark.rule("CL-5")
async def test_what_is_done_stands_in_the_list_page_by_page_for_founders(shop):
    csrf = await shop.log_in()
    await shop.post("/desk/login", email="nobody@evil.example", password="x" * 12)
    await shop.post("/desk/people", csrf=csrf, email=EDITOR, role="editor")
    await shop.publish("Parue")
    csrf = csrf_in((await shop.client.get("/desk")).text)
    await shop.post("/desk/blocks", csrf=csrf, value="spam.example")
    for number in range(51):
        await shop.services.store.write(
            deeds.write,
            "export",
            subject=f"n{number}",
            channel="cli",
            now=shop.services.clock.now(),
        )

    first = (await shop.client.get("/desk/audit")).text
    older = re.search(r"\?before=\d+", first)
    assert older is not None
    second = (await shop.client.get(f"/desk/audit{older[0]}")).text

    assert "n49" in first
    assert "n0<" not in first
    for words in ("s’est connecté", "n’est pas entré", "a invité une personne", "a publié"):
        assert words in second, words
    assert "a bloqué" in second
    for secret in ("evil.example", "nobody@", "127.0.0.1", "spam.example"):
        assert secret not in second, "no addresses"
    rows = await shop.services.store.read(
        lambda tx: tx.rows(founder.select().with_only_columns(founder.c.id))
    )
    assert len(rows) == 2
    assert await shop.services.store.read(lambda tx: tx.rows(session.select()))


@pytest.mark.rule("CL-5")
async def test_the_list_calls_letters_by_their_titles_also_those_thrown_away(shop):
    csrf = await shop.log_in()
    kept, gone = await shop.draft("La bleue de Lille"), await shop.draft("Jamais finie")
    await publishing.publish(shop.services, kept.id, version=kept.version)
    await shop.post(f"/desk/letters/{gone.id}/delete", csrf=csrf)
    later = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    planned = await shop.draft("Pour plus tard")
    path = f"/desk/letters/{planned.id}"
    form = {"csrf": csrf, "version": str(planned.version), "when": "later", "at": later}
    assert (await shop.post(f"{path}/publish", **form)).status_code == 303
    assert (await shop.post(f"{path}/unschedule", csrf=csrf)).status_code == 303

    said = re.sub(r"<[^>]+>|\s+", " ", (await shop.client.get("/desk/audit")).text)

    for line in (
        "a publié La bleue de Lille",
        "a jeté un brouillon Jamais finie",
        "a programmé une lettre Pour plus tard",
        "a remis en brouillon une lettre prévue Pour plus tard",
    ):
        assert line in re.sub(" +", " ", said), said
