"""A shop with something on every page of the desk: long words, many answers, readers of a year."""

import contextlib
import io
import wave
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from PIL import Image, ImageDraw

from fediletter.media.uploads import Upload, store_image
from fediletter.newsletter import posts as rules
from fediletter.outbound import publish as publishing
from storage import agenda, posts
from storage.conversations import NewReply, keep_reply, keep_report
from storage.media import get_media
from storage.posts import Draft
from storage.schema import block, follower, inbox, lane, remote_actor, subscriber
from storage.times import to_ms
from tests.shop import Shop, running_shop

LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
BODY = """Bonjour ! Voici « le lin » : douze rouleaux, 140 cm de large.[^1]

## Ce que nous cousons

![Un sac en lin écru posé sur un établi](/media/none.jpg "Le premier sac © Ana Rivière")

| Sac | Lin | Prix |
| --- | --- | ---: |
| petit | 40 cm | 45 € |
| grand | 90 cm | 80 € |

[^1]: Tissés à Halluin."""


def picture(width: int = 1600, height: int = 840, kind: str = "JPEG") -> bytes:
    """A bag on a bench, more or less."""
    image = Image.new("RGB", (width, height), "#e9dcc6")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, int(height * 0.72), width, height), fill="#8a6a4a")
    left, right = int(width * 0.33), int(width * 0.67)
    top, low = int(height * 0.3), int(height * 0.78)
    draw.rounded_rectangle((left, top, right, low), 40, fill="#c9b48e", outline="#7c5f3e", width=8)
    draw.arc((left + 80, top - 160, right - 80, top + 160), 180, 360, fill="#7c5f3e", width=18)
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def sound(seconds: int = 3) -> bytes:
    """An MP3 of silence: frames of MPEG-1 layer III, 128 kbit/s, 44.1 kHz."""
    frame = b"\xff\xfb\x90\x00" + b"\x00" * 413
    return frame * (seconds * 39)


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * 8000)
    return out.getvalue()


def add_followers(tx, actor_id: int, count: int, *, now: datetime) -> None:
    """Followers with different names, a day apart in the past, in a few statements."""
    lane_id = tx.execute(
        sa.insert(lane).values(key="ap:many.example", kind="activities").returning(lane.c.id)
    ).scalar_one()
    inbox_id = tx.execute(
        sa.insert(inbox)
        .values(url="https://many.example/inbox", lane_id=lane_id, shared=True)
        .returning(inbox.c.id)
    ).scalar_one()
    first = tx.scalar(sa.select(sa.func.coalesce(sa.func.max(remote_actor.c.id), 0))) + 1
    for start in range(0, count, 5000):
        part = range(start, min(count, start + 5000))
        tx.execute(
            sa.insert(remote_actor),
            [
                {
                    "id": first + at,
                    "uri": f"https://many.example/users/{at}",
                    "host": "many.example",
                    "type": "Person",
                    "inbox_url": "https://many.example/inbox",
                    "username": f"reader{at}",
                    "name": f"Lecteur {at}",
                    "fetched_at": to_ms(now),
                }
                for at in part
            ],
        )
        tx.execute(
            sa.insert(follower),
            [
                {
                    "actor_id": actor_id,
                    "remote_actor_id": first + at,
                    "inbox_id": inbox_id,
                    "follow_uri": f"https://many.example/follows/{at}",
                    "state": "accepted",
                    "at": to_ms(now - timedelta(days=(count - at) % 400)),
                }
                for at in part
            ],
        )


def add_subscribers(tx, count: int, *, now: datetime) -> None:
    """Subscribers of every state, over a year, in a few statements."""
    states = ("active",) * 7 + ("pending", "left", "suppressed")
    for start in range(0, count, 5000):
        tx.execute(
            sa.insert(subscriber),
            [
                {
                    "key": at.to_bytes(10, "big"),
                    "email": f"reader{at}@example.org",
                    "identity": f"reader{at}@example.org",
                    "state": states[at % 10],
                    "language": "fr" if at % 3 else "en",
                    "source": "form",
                    "requested_at": to_ms(now - timedelta(days=(count - at) % 400)),
                    "confirmed_at": None
                    if states[at % 10] == "pending"
                    else to_ms(now - timedelta(days=(count - at) % 400)),
                    "left_at": to_ms(now) if states[at % 10] == "left" else None,
                }
                for at in range(start, min(count, start + 5000))
            ],
        )


@contextlib.asynccontextmanager
async def furnished(
    directory: Path, *, language: str = "fr", answers: int = 12, showcase: bool = False
) -> AsyncIterator[tuple[Shop, dict[str, str]]]:
    """A shop with something to see, and the desk's pages by name.

    Args:
        directory: For its data.
        language: Of the desk.
        answers: How many readers answered.
        showcase: Titles as a shop would write them, without the words that try the layout.
    """
    async with running_shop(directory, workers=False, language=language) as shop:
        now = datetime.now(UTC)
        store, media_folder = shop.services.store, shop.settings.media
        cover = await store_image(
            store, media_folder, Upload(picture(), "sac.jpg"), now=now, alt="Un sac en lin"
        )
        own = await shop.services.keyring.newsletter()
        image = (await store.read(get_media, cover)).renditions[1].name
        body = BODY.replace("none.jpg", image)

        second = "Trois sacs pour l’automne" if showcase else f"Brouillon : {LONG}"

        def furnish(tx) -> tuple[posts.Post, posts.Post]:
            lin = rules.topic_named(tx, "Le lin", now=now).id
            rules.topic_named(tx, "Teinture" if showcase else LONG, now=now)
            rules.topic_named(tx, "Cuir végétal", now=now)
            add_subscribers(tx, 60, now=now)
            add_followers(tx, own.id, 30, now=now)
            ids = []
            for title in ("Le lin de Normandie, du champ au sac", second):
                draft = Draft(
                    title,
                    "Douze rouleaux sont arrivés de Normandie, et avec eux l’automne.",
                    body,
                    "fr",
                    cover_media_id=cover,
                    cover_alt="Un sac en lin",
                )
                post_id = rules.create(
                    tx, draft, [lin], public_id=publishing.new_public_id(), now=now
                )
                rules.save(tx, post_id, draft, [lin], version=1, now=now)
                ids.append(post_id)
            for at, title in enumerate(("Teindre à la garance", second[:100], "Les boutons")):
                state = "proposed" if at else "open"
                agenda.add_subject(tx, title, "", state=state, public_id=f"s{at}", now=now)
            for value in ("spam.example", f"{LONG.lower()}.example"):
                tx.execute(
                    sa.insert(block).values(kind="domain", value=value, note="pub", at=to_ms(now))
                )
            keep_report(
                tx,
                reporter="https://many.example/actor",
                objects=["https://many.example/notes/1"],
                comment="Hors sujet",
                now=now,
            )
            return posts.get_post(tx, ids[0]), posts.get_post(tx, ids[1])

        letter, draft = await store.write(furnish)
        await publishing.publish(shop.services, letter.id, version=letter.version)
        actor_id = await store.read(lambda tx: tx.scalar(sa.select(sa.func.min(remote_actor.c.id))))

        def answer(tx) -> None:
            for at in range(answers):
                keep_reply(
                    tx,
                    NewReply(
                        letter.id,
                        "fediverse",
                        f"https://many.example/notes/{at}",
                        f"<p>Réponse {at} : {LONG if at % 5 == 0 else 'quel beau lin !'}</p>",
                        "public" if at % 4 else "direct",
                        now - timedelta(minutes=at),
                        remote_actor_id=actor_id + at % 30,
                        author_name=f"Lectrice {at}",
                    ),
                    state=("pending", "approved", "hidden")[at % 3],
                    now=now,
                )

        await store.write(answer)
        paths = {
            "home": "/desk",
            "new": "/desk/letters/new",
            "letter": f"/desk/letters/{draft.id}",
            "versions": f"/desk/letters/{draft.id}/versions",
            "publish": f"/desk/letters/{draft.id}/publish",
            "published": f"/desk/letters/{letter.id}",
            "delivery": f"/desk/letters/{letter.id}/delivery",
            "answers": "/desk/answers",
            "answers-all": "/desk/answers?state=all",
            "answers-none": "/desk/answers?channel=email",
            "quotes": "/desk/quotes",
            "reports": "/desk/reports",
            "blocks": "/desk/blocks",
            "received": "/desk/received",
            "mail": "/desk/mail",
            "readers": "/desk/readers",
            "followers": "/desk/readers?channel=fediverse",
            "nobody": "/desk/readers?q=nobody",
            "import": "/desk/readers/import",
            "media": "/desk/media",
            "topics": "/desk/topics",
            "agenda": "/desk/agenda",
            "settings": "/desk/settings",
            "account": "/desk/account",
            "security": "/desk/security",
            "people": "/desk/people",
            "audit": "/desk/audit",
        }
        yield shop, paths
