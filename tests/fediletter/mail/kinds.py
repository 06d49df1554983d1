"""Every kind of mail that we send, in both languages, as octets on the wire."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy as sa

from fediletter.mail.compose import ReaderSlots, Template, new_message_id
from fediletter.media.uploads import Upload, store_image
from fediletter.newsletter.alerts import Alert, tell_founders
from fediletter.newsletter.mailroom import DATA_WORDS, Mailroom
from fediletter.outbound.digest import compose_digest
from fediletter.outbound.mailing import compose_letter, images_shown
from fediletter.services import house_of
from storage.media import get_media
from storage.newsletters import get_newsletter
from storage.schema import founder, notice
from tests.web.desk_shop import picture

TEXTS = {
    "fr": (
        "Le lin est arrivé à l’atelier : douze mètres, et ce que nous en ferons",
        "Douze mètres de lin de Normandie, teints à l’indigo, et le prochain sac.",
        """Bonjour à toutes et à tous,

Ce mois-ci nous avons reçu **douze mètres de lin** de Normandie, teints à
[l’atelier Rousseau](https://rousseau.example/). C’est *le* moment d’en parler.[^1]

## Ce que nous cousons

![Un sac en lin écru posé sur un établi](IMAGE "Le premier sac © Ana Rivière")

> Il garde la fraîcheur en été ; il vieillit avec grâce.
>
> > Une citation dans la citation.

- un sac à dos, sur commande
- deux trousses, déjà prêtes
  1. la petite
  2. la grande

| Sac | Lin | Prix |
| --- | --- | ---: |
| petit | 40 cm | 45 € |
| grand | 90 cm | 80 € |

### Le patron

```
couper(largeur=40, hauteur=55, marge=1.5); coudre("point droit", longueur=2.8, fil="lin 60/2")
```

Une `marge` d’un centimètre suffit.

---

À bientôt à l’atelier, entre deux marées. Donaudampfschifffahrtselektrizitätenhauptbetriebswerk.

[^1]: Tissés à Halluin, à la main.""",
    ),
    "en": (
        "The linen has come: twelve metres, and what becomes of them",
        "Twelve metres of linen from Normandy, dyed with indigo, and the next bag.",
        """Hello everybody,

This month **twelve metres of linen** came from Normandy, dyed at
[the Rousseau workshop](https://rousseau.example/). It is *the* moment to talk of it.[^1]

## What we sew

![A bag of raw linen on a bench](IMAGE "The first bag © Ana Rivière")

> It stays cool in summer; it ages with grace.

- a backpack, to order
- two pouches, ready

| Bag | Linen | Price |
| --- | --- | ---: |
| small | 40 cm | 45 € |
| large | 90 cm | 80 € |

```
cut(width=40, height=55, seam=1.5)
```

See you at the workshop, between two tides.

[^1]: Woven by hand at Halluin.""",
    ),
}
ALERT = Alert(
    "x",
    "A letter is refused for what it is",
    "A server refused “{title}” because of its size or its form: {answer}",
    {"title": "Le lin est arrivé à l’atelier", "answer": "554 5.7.1 refused by policy"},
)


async def every_kind(shop, *, now=None) -> dict[str, bytes]:
    """Letters with everything that they can hold, digests, and each small mail; by a name."""
    now = now or datetime.now(UTC)
    services, store = shop.services, shop.services.store
    image = Upload(picture(), "sac.jpg")
    cover = await store_image(store, shop.settings.media, image, now=now, alt="Un sac en lin")
    name = (await store.read(get_media, cover)).renditions[1].name
    letter = await store.read(get_newsletter)
    letter = replace(letter, postal_address="3 rue du Port, 76000 Rouen", rhythm_days=30)
    room = Mailroom(letter, services.links, services.settings.mail_from)
    found: dict[str, bytes] = {}
    for language, (title, summary, body) in TEXTS.items():
        post = await shop.draft(
            title,
            body.replace("IMAGE", f"/media/{name}"),
            summary=summary,
            cover_media_id=cover,
            cover_alt="Un sac en lin écru",
        )
        shown = replace(post, language=language, published_at=now, state="published")
        world = (letter, services.links, services.settings, language)
        images = await store.read(images_shown, shown)
        _, raw = await asyncio.to_thread(compose_letter, shown, *world, images)
        found[f"letter-{language}"] = _filled(services, raw, now)
        test = await asyncio.to_thread(
            compose_letter, shown, *world, images, subject=f"[Test] {title}"
        )
        found[f"test-{language}"] = _filled(services, test[1], now)
        other = replace(shown, title="Du cuir végétal", slug="cuir", language="fr")
        _, raw = await asyncio.to_thread(compose_digest, [shown, other], *world)
        found[f"digest-{language}"] = _filled(services, raw, now)
        notes = _notes(room, language, now)
        found |= {f"{kind}-{language}": note.body for kind, note in notes.items()}
        found[f"alert-{language}"] = await _alert(shop, language, now)
    return found


def _filled(services, raw, now) -> bytes:
    tokens, links = services.tokens, services.links
    domain = services.settings.mail_from.rpartition("@")[2]
    key = b"0123456789"
    return Template(raw).fill(
        ReaderSlots(
            to="ana@readers.example",
            message_id=new_message_id(domain),
            date=now,
            unsubscribe_url=links.unsubscribe(tokens.unsubscribe(key)),
            preferences_url=links.preferences(tokens.preferences(key, 1)),
            leave_address=f"leave+{tokens.leave(1)}@{domain}",
        )
    )


def _notes(room, language, now):
    to, token = "ana@readers.example", "AbCdEfGhIjKlMnOpQrStUv"
    how = {"language": language, "now": now}
    return {
        "confirmation": room.confirmation(to, token, ("Lin", "Cuir"), rhythm="monthly", **how),
        "already": room.already_subscribed(to, f"AQ{token * 2}", **how),
        "ballot": room.ballot(to, room.links.page(f"/agenda/{token}"), **how),
        "show": room.may_we_show(to, token, "Le lin est arrivé", **how),
        "moved": room.moved(to, **how),
        "stay": room.stay(to, token, **how),
    } | {what: room.data_link(to, token, what, **how) for what in DATA_WORDS}


async def _alert(shop, language, now) -> bytes:
    def work(tx):
        tx.execute(sa.update(founder).values(language=language))
        about = replace(ALERT, about=language)
        tell_founders(tx, about, house_of(shop.services), now=now)
        newest = sa.select(notice.c.body).order_by(notice.c.id.desc()).limit(1)
        return bytes(tx.scalar(newest))

    return await shop.services.store.write(work)
