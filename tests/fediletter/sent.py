"""Letters that were sent, for tests of what comes back: readers, deliveries, what became of it."""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa

from storage import subscribers
from storage.lanes import mail_lanes
from storage.posts import Draft, create_draft
from storage.schema import delivery, mailing, subscriber, throttle
from storage.subscribers import add_subscriber
from storage.times import from_ms, to_ms
from tests.shop import until

NOW = datetime.now(UTC)


async def add_readers(shop, *addresses, state="active"):
    def work(tx):
        return [
            add_subscriber(
                tx,
                key=secrets.token_bytes(10),
                email=address,
                identity=address.lower(),
                state=state,
                language="fr",
                source="import",
                now=NOW,
                confirmed_at=NOW if state == "active" else None,
            )
            for address in addresses
        ]

    return await shop.services.store.write(work)


async def sent_to(shop, *addresses, title="Du lin"):
    """A published letter, accepted for each of these: their delivery ids."""
    await add_readers(shop, *addresses)
    return await publish_to(shop, *addresses, title=title)


async def publish_to(shop, *addresses, title="Du lin"):
    already = {name: len(mails(shop, name)) for name in addresses}
    await shop.publish(title, "Bonjour")
    await until(lambda: all(len(mails(shop, one)) == already[one] + 1 for one in addresses))
    await until(lambda: _all_settled(shop))

    def ids(tx):
        rows = tx.rows(
            sa.select(delivery.c.id, delivery.c.subscriber_id)
            .where(delivery.c.mailing_id == sa.select(sa.func.max(mailing.c.id)).scalar_subquery())
            .order_by(delivery.c.id)
        )
        by_reader = {row[1]: row[0] for row in rows}
        return [by_reader[subscribers.find_subscriber(tx, address).id] for address in addresses]

    return await shop.services.store.read(ids)


async def _all_settled(shop):
    query = sa.select(sa.func.count()).where(delivery.c.state.in_(("waiting", "started")))
    return not await shop.services.store.read(lambda tx: tx.scalar(query))


def mails(shop, address):
    return [mail for mail in shop.mailbox() if mail.to == address]


def bounce_address(shop, delivery_id):
    return f"bounce+{shop.services.tokens.bounce(delivery_id)}@shop.test"


async def reader(shop, address):
    return await shop.services.store.read(subscribers.find_subscriber, address)


async def suppression(shop, address):
    hashed = shop.services.tokens.hash_address(address)
    return await shop.services.store.read(subscribers.suppression_of, hashed)


async def dropped(shop, what):
    query = sa.select(throttle.c.hits).where(throttle.c.key == f"dropped:{what}")
    return await shop.services.store.read(lambda tx: tx.scalar(query)) or 0


async def held_until(shop, address):
    query = sa.select(subscriber.c.held_until).where(subscriber.c.identity == address)
    return from_ms(await shop.services.store.read(lambda tx: tx.scalar(query)))


def deliver(tx, subscriber_id, at, *, state="delivered", mailing_id=None):
    """A letter of a mailing of its own, accepted at a time; its delivery id."""
    if mailing_id is None:
        name = secrets.token_hex(6)
        post_id = create_draft(
            tx, Draft("Du lin", "", "x", "fr"), public_id=name, slug=name, kind="issue", now=at,
            founder_id=None,
        )  # fmt: skip
        mailing_id = tx.execute(
            sa.insert(mailing)
            .values(post_id=post_id, kind="issue", created_at=to_ms(at))
            .returning(mailing.c.id)
        ).scalar_one()
    delivery_id = tx.execute(
        sa.insert(delivery)
        .values(
            lane_id=mail_lanes(tx)[0], mailing_id=mailing_id, subscriber_id=subscriber_id,
            state=state, not_before=to_ms(at), created_at=to_ms(at), started_at=to_ms(at),
            ended_at=to_ms(at), message_id=secrets.token_hex(8),
        )
        .returning(delivery.c.id)
    ).scalar_one()  # fmt: skip
    return delivery_id, mailing_id
