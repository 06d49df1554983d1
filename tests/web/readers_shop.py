"""A shop with something on every page for readers: long words, many answers, a vote, an episode."""

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from fediletter.media.uploads import Upload, store_image, store_sound
from fediletter.newsletter import own_data
from fediletter.outbound import handles
from fediletter.outbound import publish as publishing
from fediletter.outbound.asks import mailroom_of
from fediletter.outbound.polls import publish_poll
from storage import agenda, posts, showing, subscribers
from storage.conversations import NewReply, keep_reply
from storage.newsletters import update_newsletter
from storage.schema import remote_actor
from tests.shop import Shop, running_shop
from tests.web.desk_shop import BODY, LONG, add_followers, picture, sound

LONG_TITLE = f"Pourquoi nous avons mis trois ans à trouver le bon lin, et ce que dit {LONG}"
REPLIES = 400


@contextlib.asynccontextmanager
async def readable(
    directory: Path, *, language: str = "fr"
) -> AsyncIterator[tuple[Shop, dict[str, str]]]:
    """A shop with something to read, and the pages for readers by name."""
    async with running_shop(directory, language=language) as shop:
        store, now = shop.services.store, datetime.now(UTC)
        empty = {
            "empty front": (await shop.client.get("/")).text,
            "empty agenda": (await shop.client.get("/agenda")).text,
        }
        assert all('class="empty"' in text for text in empty.values())
        await store.write(
            update_newsletter,
            description="Deux couturières écrivent sur le lin, le cuir et le fil.",
            postal_address="12 rue des Tisserands, 59250 Halluin",
        )
        cover = await store_image(
            store, shop.settings.media, Upload(picture(), "sac.jpg"), now=now, alt="Un sac"
        )
        episode = await store_sound(
            store, shop.settings.media, Upload(sound(), "episode.mp3"), now=now
        )
        letter = await shop.publish(
            "Le lin de Normandie, du champ au sac",
            re.sub(r"!\[.*\n", "", BODY),  # With its table and its footnote.
            topics=["Le lin", LONG],
            cover_media_id=cover,
            cover_alt="Un sac en lin",
            audio_media_id=episode,
        )
        await shop.publish(LONG_TITLE, f"Court. {LONG}", topics=["Cuir végétal"])
        gone = await shop.publish("Retirée", "Rien.")
        await _withdraw(shop)
        await _converse(shop, letter)
        await store.write(update_newsletter, rhythm_days=14)
        poll = await _vote(shop)
        for address in ("ana@example.org", "bo@example.org", "cy@example.org"):
            await shop.subscribe(address, language=language)
        await shop.client.post("/subscribe", data={"email": "new@example.org"})
        mail = (await shop.mail_to("new@example.org"))[0]
        links = await store.write(_links, shop)
        await shop.client.post(links["left"], headers={"Origin": shop.base_url})
        slug = letter.url.removeprefix(shop.base_url)
        yield (
            shop,
            {
                "front": "/",
                "letter": slug,
                "later answers": f"{slug}?after=60",
                "long letter": f"/letters/{await _slug(shop, LONG_TITLE)}",
                "withdrawn": gone.url.removeprefix(shop.base_url),
                "topic": "/topics/le-lin",
                "long topic": f"/topics/{LONG.lower().replace('ä', 'a')[:60]}",
                "subscribe": "/subscribe",
                "counter": "/counter",
                "topic's counter": "/topics/le-lin/counter",
                "agenda": "/agenda",
                "poll": poll,
                "privacy": "/privacy",
                "lost link": "/preferences",
                "nothing": "/nothing",
                "confirm": re.search(r"/confirm/[\w-]+", mail.text)[0],
                **links,
            },
        )


async def _slug(shop: Shop, title: str) -> str:
    page = (await shop.client.get("/")).text
    return next(
        slug for slug in re.findall(r'href="/letters/([^"]+)"', page) if "trois-ans" in slug
    )


async def _withdraw(shop: Shop) -> None:
    found = await shop.services.store.read(posts.post_by_slug, "retiree")
    await publishing.withdraw(shop.services, found.id)


async def _converse(shop: Shop, letter: publishing.Published) -> None:
    now = datetime.now(UTC)
    own = await shop.services.keyring.newsletter()

    def work(tx) -> None:
        add_followers(tx, own.id, 30, now=now)
        first = tx.scalar(sa.select(sa.func.min(remote_actor.c.id)))
        post = posts.post_by_slug(tx, letter.url.rpartition("/")[2])
        for at in range(REPLIES):
            new = NewReply(
                post.id,
                "fediverse",
                f"https://many.example/notes/{at}",
                f"<p>Réponse {at} : {LONG if at % 5 == 0 else 'quel beau lin !'}</p>",
                "public",
                now - timedelta(minutes=at),
                remote_actor_id=first + at % 30,
                author_name=f"Lectrice {at}",
            )
            keep_reply(tx, new, state="approved", now=now)

    await shop.services.store.write(work)


async def _vote(shop: Shop) -> str:
    now = datetime.now(UTC)
    titles = ["Le cuir végétal", LONG, "Teindre à la garance"]

    def add(tx) -> None:
        for at, title in enumerate(titles):
            agenda.add_subject(
                tx, title, "En quelques mots.", state="open", public_id=f"s{at}", now=now
            )

    await shop.services.store.write(add)
    post_id = await publish_poll(
        shop.services,
        "Sur quoi écrire ensuite ?",
        titles,
        multiple=False,
        ends_at=now + timedelta(days=14),
        also=lambda tx, poll_id: agenda.put_to_vote(tx, ["s0", "s1", "s2"], poll_id),
    )

    def where(tx) -> str:
        return posts.get_post(tx, post_id).public_id

    return f"/@{shop.settings.account_user}/{await shop.services.store.read(where)}"


def _links(tx, shop: Shop) -> dict[str, str]:
    """Pages that people reach by the links in their mail."""
    tokens, now = shop.services.tokens, datetime.now(UTC)
    ana, bo, cy = (
        subscribers.find_subscriber(tx, f"{name}@example.org") for name in ("ana", "bo", "cy")
    )
    choices = f"/preferences/{tokens.preferences(ana.key, ana.epoch)}"
    data = {
        purpose: f"/data/{own_data._mint(tx, bo, purpose, '', tokens, now)}"
        for purpose in own_data.PURPOSES
    }
    account = own_data._mint(tx, bo, handles.PURPOSE, "https://many.example/users/3", tokens, now)
    letter = posts.post_by_slug(tx, "le-lin-de-normandie-du-champ-au-sac")
    kept = keep_reply(
        tx,
        NewReply(
            letter.id, "email", "mid:1@example.org", f"<p>{LONG}</p>", "direct", now,
            subscriber_id=bo.id, author_name="Bo",
        ),
        state="pending",
        now=now,
    )  # fmt: skip
    key = bytes(10)
    assert showing.ask_writer(tx, kept, key, expires_at=now + timedelta(days=1), now=now)
    assert mailroom_of(tx, shop.services)
    return {
        "preferences": choices,
        "ballot": f"{choices}/agenda",
        "stay": f"/stay/{tokens.preferences(ana.key, ana.epoch)}",
        "unsubscribe": f"/unsubscribe/{tokens.unsubscribe(ana.key)}",
        "left": f"/unsubscribe/{tokens.unsubscribe(cy.key)}",
        "account": f"/account/{account}",
        "showing": f"/showing/{tokens.showing(key)}",
        **data,
    }
