"""`dkim`: keys with which we sign our mail ourselves, for who runs without a relay that signs."""

from collections.abc import Callable
from email import message_from_bytes, policy
from typing import BinaryIO

import click

from federation.keys import Ed25519PrivateKey, RsaPrivateKey
from fediletter.checks.way import noting_server, signature_findings, way_findings
from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.errors import AppError
from fediletter.installation import open_store
from fediletter.mail.dkim import dns_record
from fediletter.outbound.letters import DKIM_PURPOSE
from fediletter.sealing import load_vault
from fediletter.settings import Settings
from storage import dkim as stored
from storage.dkim import StoredKey
from storage.errors import NotThere
from storage.store import Tx

_MESSAGE_BYTES = 10 << 20


@click.group()
def dkim() -> None:
    """Keys that sign our mail, if the relay does not: new, list, use, retire."""


@dkim.command()
@click.option("--ed25519", is_flag=True, help="A second, shorter key beside the RSA key.")
@click.pass_context
def new(ctx: click.Context, ed25519: bool) -> None:
    """Make a key and print the record for DNS; it signs nothing until `dkim use`."""
    settings = settings_of(ctx)
    vault = load_vault(settings.secret_file)
    key = Ed25519PrivateKey.generate() if ed25519 else RsaPrivateKey.generate()
    now = SystemClock().now()

    def work(tx: Tx) -> str:
        taken = {one.selector for one in stored.all_keys(tx)}
        names = (f"fl-{now.year}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
        selector = next((name for name in names if name not in taken), None)
        if selector is None:
            raise AppError(409, "Too many keys were made this year.", "Use one of them.")
        stored.add_key(
            tx,
            StoredKey(
                selector,
                key.public.kind,
                dns_record(key),
                vault.seal(key.to_bytes(), DKIM_PURPOSE),
            ),
            now=now,
        )
        return selector

    store = open_store(settings)
    try:
        selector = store.submit(work).result()
    finally:
        store.close()
    _ = words_here().gettext
    click.echo(_("Publish this record in DNS:"))
    click.echo(zone_line(settings, selector, dns_record(key)))
    click.echo(_("Then run: fediletter dkim use {selector}", selector=selector))


@dkim.command(name="list")
@click.pass_context
def list_keys(ctx: click.Context) -> None:
    """Which keys there are, which sign, and their records."""
    settings = settings_of(ctx)
    store = open_store(settings)
    try:
        found = store.submit(stored.all_keys).result()
    finally:
        store.close()
    _ = words_here().gettext
    for one in found:
        if one.retired_at is not None:
            state = _("retired; keep the record for 30 days more")
        else:
            state = _("signs") if one.used_since is not None else _("not used yet")
        click.echo(f"{one.selector} {one.kind}: {state}")
        click.echo(f"  {zone_line(settings, one.selector, one.record)}")


@dkim.command()
@click.argument("selector")
@click.pass_context
def use(ctx: click.Context, selector: str) -> None:
    """Sign with this key from now on; its record must stand in DNS already."""
    settings = settings_of(ctx)
    now = SystemClock().now()

    def work(tx: Tx) -> None:
        stored.use_key(tx, selector, now=now)
        # An Ed25519 signature alone is not read by every receiver (DK-2).
        if all(one.kind == "ed25519" for one in stored.keys_in_use(tx)):
            raise AppError(
                409,
                "An Ed25519 key signs only beside an RSA key.",
                "Run `fediletter dkim new` and use that key first.",
            )

    _change(settings, work, selector)
    click.echo(words_here().gettext("Mail is signed with {selector} now.", selector=selector))


@dkim.command()
@click.argument("selector")
@click.pass_context
def retire(ctx: click.Context, selector: str) -> None:
    """Sign with it no more; its record should stay in DNS for 30 days."""
    now = SystemClock().now()
    _change(settings_of(ctx), lambda tx: stored.retire_key(tx, selector, now=now), selector)
    click.echo(
        words_here().gettext(
            "{selector} signs no more. Keep its record in DNS for 30 days.", selector=selector
        )
    )


@dkim.command()
@click.argument("file", type=click.File("rb"))
@click.pass_context
def look(ctx: click.Context, file: BinaryIO) -> None:
    """Say who signed a letter that was received, and what its way did to it.

    FILE holds its source; `-` reads it from stdin.
    """
    domain = settings_of(ctx).mail_from.rpartition("@")[2]
    message = message_from_bytes(file.read(_MESSAGE_BYTES), policy=policy.default)
    _ = words_here().gettext
    signatures = signature_findings(message, domain)
    for one in (*signatures, *way_findings(message, domain, server=noting_server(message))):
        mark = "!" if one.is_amber else "✓" if one.is_good else "✗"
        click.echo(f"{mark} " + _(one.fact, **one.fields))
    if not any(one.is_good for one in signatures):
        raise AppError(
            1,
            "No signature of this letter speaks for {domain}.",
            "Let the relay sign for it, or run `fediletter dkim new`.",
            {"domain": domain},
        )


def zone_line(settings: Settings, selector: str, record: str) -> str:
    """As it stands in a zone file: texts of at most 255 octets, which are one when read."""
    domain = settings.mail_from.rpartition("@")[2]
    parts = [record[at : at + 250] for at in range(0, len(record), 250)]
    text = " ".join(f'"{part}"' for part in parts)
    return f"{selector}._domainkey.{domain}. IN TXT ( {text} )"


def _change(settings: Settings, work: Callable[[Tx], None], selector: str) -> None:
    store = open_store(settings)
    try:
        store.submit(work).result()
    except NotThere as gone:
        raise AppError(
            404,
            "There is no key {selector} that could be used.",
            "`fediletter dkim list` shows them.",
            {"selector": selector},
        ) from gone
    finally:
        store.close()
