"""`status` and `check`: how things are, and what to do."""

import asyncio
import dataclasses
import json

import click

from fediletter.checks.everything import run_checks
from fediletter.cli import settings_of, words_here
from fediletter.clock import SystemClock
from fediletter.installation import open_store
from fediletter.outbound.relay_watch import kind_of
from storage.progress import Counts, QueueStatus, queue_status


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """What is queued, sending, resting, parked, dormant or uncertain."""
    store = open_store(settings_of(ctx))
    try:
        found = store.submit(queue_status, now=SystemClock().now(), ended=True).result()
    finally:
        store.close()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), default=str))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: QueueStatus) -> list[str]:
    _ = words_here().gettext

    def counts(label: str, one: Counts) -> str:
        return _(
            "{label}: {waiting} waiting, {delivered} delivered, {failed} failed, "
            "{cancelled} called off, {uncertain} uncertain",
            label=label,
            **{
                name: getattr(one, name)
                for name in ("waiting", "delivered", "failed", "cancelled", "uncertain")
            },
        )

    lines = [counts(_("Mail"), found.mail), counts(_("Fediverse"), found.fediverse)]
    lines.append(_("Received, not yet applied: {count}", count=found.received_waiting))
    lines.append(_("Processes that send: {count}", count=found.workers))
    if found.stepping:
        lines.append(_("Letters whose readers are being looked up: {count}", count=found.stepping))
    if found.mail_rest is not None:
        rest = found.mail_rest
        lines.append(
            _(
                "{trouble} {count} mails wait since {moment} and leave by themselves when it is "
                "well again ({reason})",
                trouble=_(kind_of(rest.reason)),
                count=rest.waiting,
                moment=words_here().moment(rest.since),
                reason=rest.reason,
            )
        )
    lines += [
        _(
            "resting: {host}, {count} waiting, {reason}",
            host=one.key,
            count=one.waiting,
            reason=one.last_error or "",
        )
        for one in found.resting
    ]
    lines += [
        _("parked: {host}, {count} waiting", host=one.key, count=one.waiting)
        for one in found.parked
    ]
    if found.dormant:
        lines.append(_("Dormant hosts: {count}", count=found.dormant))
    lines += [
        _("uncertain: delivery {number}, {reason}", number=number, reason=reason)
        for number, reason in found.uncertain_letters
    ]
    return lines


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--probe", is_flag=True, help="Mail ourselves too; wait up to five minutes for it.")
@click.pass_context
def check(ctx: click.Context, as_json: bool, probe: bool) -> None:
    """The doctor: each red line names one thing to do."""
    findings = asyncio.run(run_checks(settings_of(ctx), probe=probe))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in findings]))
    else:
        _ = words_here().gettext
        for one in findings:
            fact = _(one.fact, **one.fields)
            remedy = (
                f" {_(one.remedy, **one.fields)}"
                if one.remedy and (one.is_amber or not one.is_good)
                else ""
            )
            mark = "✗" if not one.is_good else "!" if one.is_amber else "✓"
            click.echo(f"{mark} {fact}{remedy}")
    if not all(one.is_good for one in findings):
        ctx.exit(1)
