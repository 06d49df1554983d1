"""What a spam filter thinks of each kind of our mail: its local rules alone, no network."""

import asyncio
import re
from datetime import UTC, datetime

import pytest

from fediletter.mail.maildir import caught_mail
from fediletter.newsletter.mailroom import Mailroom
from fediletter.outbound.digest import digest_due
from fediletter.outbound.mailing import send_test
from storage import founders
from storage.newsletters import get_newsletter
from tests.fediletter.test_digest import Calendar, reader
from tests.needs import need
from tests.shop import EMAIL, running_shop, until

BODY = """Bonjour à toutes et à tous,

Ce mois-ci nous avons reçu **douze mètres de lin** de Normandie, teint à
[l'atelier Rousseau](https://rousseau.example/). C'est le moment d'en parler.

## Le lin

Il garde la fraîcheur en été et la chaleur en hiver ; il se lave à soixante degrés et vieillit
avec grâce. Nous en ferons des sacs, des trousses et un étui pour les lunettes de Jeanne.

- un sac à dos, sur commande
- deux trousses, déjà prêtes

À bientôt à l'atelier, entre deux marées."""


async def score(raw: bytes) -> tuple[float, str]:
    program = need("SpamAssassin", "spamassassin")
    stamp = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    received = (
        "Received: from shop.example (shop.example [51.15.20.30])\r\n"
        "\tby mx.readers.example (Postfix) with ESMTPS id 4AAAAA0AAA\r\n"
        f"\tfor <ana@readers.example>; {stamp}\r\n"
    )
    process = await asyncio.create_subprocess_exec(
        program, "-L", "-t", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, _ = await process.communicate(received.encode() + raw)
    text = out.decode("utf-8", "replace")
    found = re.search(r"score=(-?[\d.]+).*?tests=([\w,\s=.-]*?)autolearn", text, re.DOTALL)
    assert found is not None, text[:500]
    return float(found[1]), " ".join(found[2].split())


@pytest.mark.slow
@pytest.mark.rule("HD-15")
@pytest.mark.rule("DO-15")
async def test_no_kind_of_mail_looks_like_spam(tmp_path):
    need("SpamAssassin", "spamassassin")
    folder = tmp_path / "mail"
    async with running_shop(
        tmp_path / "shop",
        clock=Calendar(),
        smtp_url=f"maildir:{folder}",
        mail_from="news@shop.example",
        base_url="https://shop.example",
    ) as shop:
        letter = await shop.services.store.read(get_newsletter)
        confirmation = Mailroom(letter, shop.services.links, "news@shop.example").confirmation(
            "clo@readers.example", "A" * 22, ("Lin",), language="fr", now=datetime.now(UTC)
        )
        await reader(shop, "ana@readers.example", rhythm="every")
        await reader(shop, "bo@readers.example")
        post = await shop.draft("Le lin est arrivé", BODY, summary="Douze mètres de lin.")
        founder = await shop.services.store.read(founders.founder_by_email, EMAIL)
        await send_test(shop.services, post.id, founder)
        await shop.publish(
            "Le lin est arrivé à l’atelier", BODY, summary="Douze mètres de lin de Normandie."
        )
        await until(lambda: len(caught_mail(folder)) == 2)
        shop.services.clock.move_to_next_month()
        await digest_due(shop.services)
        await until(lambda: len(caught_mail(folder)) == 3)

    kinds = {"confirmation": await score(confirmation.body)}
    for file in (folder / "new").glob("*"):
        raw = file.read_bytes()
        if b"Auto-Submitted" in raw and b"List-ID" in raw:
            # The test's clock is weeks ahead; a receiver's is not.
            raw = re.sub(
                rb"\nDate: [^\r\n]+",
                b"\nDate: " + datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").encode(),
                raw,
                count=1,
            )
            kinds["digest"] = await score(raw)
        elif b"[Test]" in raw:
            kinds["test"] = await score(raw)
        else:
            kinds["issue"] = await score(raw)

    assert set(kinds) == {"digest", "test", "issue", "confirmation"}
    assert {kind: found for kind, found in kinds.items() if found[0] >= 1.0} == {}
    assert kinds["issue"][0] <= 0.0, kinds["issue"]
    assert kinds["confirmation"][0] <= 0.0, kinds["confirmation"]
