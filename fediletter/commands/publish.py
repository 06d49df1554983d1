"""`publish FILE.md`: front matter and Markdown, through the same rules as the desk."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from fediletter.cli import settings_of, words_here
from fediletter.errors import AppError, FormError
from fediletter.media.uploads import Upload, store_image
from fediletter.newsletter import posts as rules
from fediletter.newsletter.rhythm import PromiseBroken, reason_in, too_near
from fediletter.outbound import publish as publishing
from fediletter.services import Services
from fediletter.settings import LANGUAGES
from storage import posts
from storage.ids import PostId
from storage.newsletters import get_newsletter
from storage.posts import Draft
from storage.store import Tx

_CHANNELS = ("web", "fediverse", "email")
_FIELDS = frozenset({"title", "summary", "topics", "language", "cover", "cover_alt", "at"})


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--draft", is_flag=True, help="Only save it; publish it at the desk.")
@click.option("--to", default="web,fediverse,email", show_default=True, help="Channels.")
@click.option("--reason", default="", help="Why the promised rhythm is broken; readers see it.")
@click.pass_context
def publish(ctx: click.Context, file: Path, draft: bool, to: str, reason: str) -> None:
    """Publish a Markdown file with front matter; prints its address once it is committed.

    Front matter: title, summary, topics, language, cover, cover_alt, at.
    """
    channels = [channel.strip() for channel in to.split(",")]
    if not channels or not set(channels) <= set(_CHANNELS):
        raise click.UsageError("--to takes web, fediverse and email, separated by commas")
    settings = settings_of(ctx)
    fields, body = read_front_matter(file.read_text(encoding="utf-8"))

    async def run() -> str:
        from fediletter.app import build_services  # noqa: PLC0415 (start-up time)

        services = build_services(settings)
        try:
            return await _publish(
                services,
                file.parent,
                fields,
                body,
                channels,
                only_draft=draft,
                reason=reason_in(reason),
            )
        finally:
            services.store.close()

    click.echo(asyncio.run(run()))


def read_front_matter(text: str) -> tuple[dict[str, str], str]:
    """Fields and body of a file: `name: value` lines between two lines of three dashes.

    Raises:
        AppError: The front matter is malformed or has a field that does not exist.
    """
    found = re.match(r"\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)(.*)", text, re.DOTALL)
    if not found:
        return {}, text.lstrip("\ufeff")
    fields: dict[str, str] = {}
    for line in found[1].splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or name.strip() not in _FIELDS:
            raise AppError(
                422,
                "The front matter has a line that is not known: {line}",
                "Fields are title, summary, topics, language, cover, cover_alt and at.",
                {"line": line.strip()},
            )
        fields[name.strip()] = value.strip().strip("\"'")
    return fields, found[2]


async def _publish(
    services: Services,
    folder: Path,
    fields: dict[str, str],
    body: str,
    channels: list[str],
    *,
    only_draft: bool,
    reason: str,
) -> str:
    letter = await services.store.read(get_newsletter)
    language = fields.get("language") or letter.language
    if language not in LANGUAGES:
        raise AppError(422, "Choose the language of the letter.")
    new = Draft(
        title=fields.get("title", ""),
        summary=fields.get("summary", ""),
        body_markdown=body.strip("\n"),
        language=language,
        cover_alt=fields.get("cover_alt", ""),
        to_fediverse="fediverse" in channels,
        to_email="email" in channels,
        to_web="web" in channels,
    )
    if fields.get("cover"):
        new = await _with_cover(services, folder / fields["cover"], new)
    problems = rules.check_draft(new, publishing=not only_draft)
    if problems:
        raise AppError(422, next(iter(problems.values())))
    at = _moment(fields["at"]) if fields.get("at") else None
    if not only_draft and not reason:
        # Before a draft is made of it; what counts is asked again in the transaction.
        moment = max(at or services.clock.now(), services.clock.now())
        if await services.store.read(too_near, None, moment) is not None:
            raise PromiseBroken
    post_id = await services.store.write(_create, new, _topics(fields), services)
    post = await services.store.read(posts.get_post, post_id)
    if only_draft:
        return services.links.page(f"/desk/letters/{post_id}")
    if at is not None and at > services.clock.now():
        await publishing.schedule(services, post_id, at=at, version=post.version, reason=reason)
        return services.links.letter(post.slug)
    done = await publishing.publish(services, post_id, version=post.version, reason=reason)
    if done.leaves_at > services.clock.now():
        said = words_here()
        when = said.moment(done.leaves_at)
        click.echo(said.gettext("To be seen from {moment} on.", moment=when), err=True)
    return done.url


async def _with_cover(services: Services, path: Path, draft: Draft) -> Draft:
    try:
        octets = await asyncio.to_thread(path.read_bytes)
    except OSError as wrong:
        raise AppError(422, "The cover {path} cannot be read.", "", {"path": path}) from wrong
    try:
        media_id = await store_image(
            services.store,
            services.settings.media,
            Upload(octets, path.name),
            now=services.clock.now(),
            alt=draft.cover_alt,
        )
    except FormError as wrong:
        raise AppError(422, next(iter(wrong.problems.values()))) from wrong
    return replace(draft, cover_media_id=media_id)


def _create(tx: Tx, draft: Draft, names: list[str], services: Services) -> PostId:
    now = services.clock.now()
    topic_ids = [rules.topic_named(tx, name, now=now).id for name in names]
    return rules.create(tx, draft, topic_ids, public_id=publishing.new_public_id(), now=now)


def _topics(fields: dict[str, str]) -> list[str]:
    listed = fields.get("topics", "").strip("[]")
    return [name for part in listed.split(",") if (name := part.strip().strip("\"'"))]


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise AppError(
            422, "{text} is not a time.", "Write it like 2026-12-24T09:00:00Z.", {"text": text}
        ) from wrong
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
