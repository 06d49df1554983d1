"""The profile's fields: typed at the desk, seen by people, told to servers."""

import re

import pytest

from storage.newsletters import get_newsletter
from tests.federation.peer import TYPE
from tests.fediletter.test_inbox import follow_shop, send, world
from tests.shop import until

__all__ = ["world"]

JSON = {"Accept": TYPE}
SAME = {"title": "Atelier", "language": "fr"}
TOOT = "https://craft.example/@ana?a=1&b=2"
ANCHOR = "https://craft.example/@ana?a=1&amp;b=2"


def _form(*pairs):
    return {
        f"field_{number}_{part}": text
        for number, pair in enumerate(pairs, 1)
        for part, text in zip(("name", "value"), pair, strict=True)
    }


async def test_fields_are_shown_and_told_to_the_followers(shop, world):
    ana = world.peer("ana")
    await send(shop, ana, follow_shop(shop, ana))
    await until(lambda: world.received)
    csrf = await shop.log_in()
    pairs = [("Mon compte", TOOT), ("", ""), ("Horaires", "mardi <10 h & samedi>")]
    saved = await shop.post("/desk/settings", csrf=csrf, **SAME, **_form(*pairs))
    assert saved.status_code == 303
    await until(lambda: len(world.received) == 2)

    told = [
        {
            "type": "PropertyValue",
            "name": "Mon compte",
            "value": f'<a href="{ANCHOR}" rel="me nofollow noopener">{ANCHOR}</a>',
        },
        {
            "type": "PropertyValue",
            "name": "Horaires",
            "value": "mardi &lt;10 h &amp; samedi&gt;",
        },
    ]
    actor = (await shop.client.get("/ap/shop", headers=JSON)).json()
    update = world.received[1]
    assert (update["type"], update["object"]["id"]) == ("Update", actor["id"])
    assert update["object"]["attachment"] == actor["attachment"] == told

    page = (await shop.client.get("/@shop", follow_redirects=True)).text
    assert f'<link rel="me" href="{ANCHOR}">' in page
    assert f'<a href="{ANCHOR}" rel="me nofollow noopener">{ANCHOR}</a>' in page
    assert "mardi &lt;10 h &amp; samedi&gt;" in page

    form = (await shop.client.get("/desk/settings")).text
    values = re.findall(r'name="field_\d_(?:name|value)" maxlength="255" value="([^"]*)"', form)
    assert values == ["Mon compte", ANCHOR, "Horaires", told[1]["value"], "", "", "", ""]

    await shop.post("/desk/settings", csrf=csrf, **SAME, **_form())
    await until(lambda: len(world.received) == 3)
    assert world.received[2]["object"]["attachment"] == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("", "mardi", "Un champ a besoin d’un nom et d’un texte."),
        ("Horaires", " ", "Un champ a besoin d’un nom et d’un texte."),
        ("x" * 256, "mardi", "Un champ contient 255 caractères au plus."),
        ("Horaires", "x" * 256, "Un champ contient 255 caractères au plus."),
        ("Site", "http://shop.example/", "Commencez l’adresse par https://."),
        ("Site", "https://ana:secret@shop.example/", "Ce n’est pas l’adresse d’une page."),
        ("Site", "https://", "Ce n’est pas l’adresse d’une page."),
        ("Site", "https://shop.example/ et ailleurs", "Ce n’est pas l’adresse d’une page."),
        ("Site", "https://rivière.example/", "Écrivez cette adresse en lettres simples"),
    ],
)
async def test_what_is_wrong_stands_beside_the_field_and_changes_nothing(shop, name, value, said):
    csrf = await shop.log_in()
    before = await shop.services.store.read(get_newsletter)

    pairs = _form(("Mon compte", TOOT), (name, value))
    answer = await shop.post("/desk/settings", csrf=csrf, **SAME, **pairs)

    assert answer.status_code == 422
    problem = re.search(r'<span class="problem" id="p-field_2">([^<]*)</span>', answer.text)
    assert problem is not None
    assert problem[1].startswith(said)
    assert answer.text.count('aria-describedby="p-field_2"') == 2
    assert f'value="{ANCHOR}"' in answer.text, "what was typed stays"
    assert await shop.services.store.read(get_newsletter) == before
