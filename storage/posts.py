"""Posts: what the newsletter says in public, from draft to tombstone.

A post has two counters: `version` moves with each save of the form and refuses a save on top of an
older text; `revision` moves with each change that the public sees.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.errors import Conflict, NotThere
from storage.ids import FounderId, MediaId, PostId, ReplyId, TopicId
from storage.newsletters import touch
from storage.schema import founder, media, old_slug, post, post_topic, post_version
from storage.store import Tx
from storage.times import from_ms, to_ms
from storage.topics import Topic, topics_of_posts


@dataclass(frozen=True, slots=True)
class Cover:
    """The cover image of a post, as stored."""

    id: MediaId
    public_id: str
    mime: str
    width: int
    height: int
    renditions_json: str  # [{"name", "width", "height", "mime", "bytes"}, …], widest first.


@dataclass(frozen=True, slots=True)
class Post:
    """A post with its topics; times are aware, `summary` is the teaser."""

    id: PostId
    public_id: str
    slug: str
    kind: str
    state: str
    title: str
    summary: str
    body_markdown: str
    language: str
    cover_alt: str
    fediverse_teaser: str
    card_title: str
    card_description: str
    article_form: str
    hashtags: str
    audience: str
    to_web: bool
    to_fediverse: bool
    to_email: bool
    embeds_images: bool  # Its mail carries them.
    in_reply_to: str | None
    version: int
    revision: int
    second_thoughts_ms: int | None
    rhythm_reason: str
    founder_id: FounderId | None
    saved_at: datetime
    scheduled_at: datetime | None
    published_at: datetime | None
    updated_at: datetime | None
    withdrawn_at: datetime | None
    audio_media_id: MediaId | None
    cover: Cover | None
    topics: tuple[Topic, ...]

    @property
    def public_topics(self) -> list[Topic]:
        """Those that readers are shown; the others only choose who gets the mail."""
        return [topic for topic in self.topics if topic.public]


@dataclass(frozen=True, slots=True)
class Draft:
    """What the form holds."""

    title: str
    summary: str
    body_markdown: str
    language: str
    cover_media_id: MediaId | None = None
    cover_alt: str = ""
    fediverse_teaser: str = ""
    article_form: str = ""
    to_web: bool = True
    to_fediverse: bool = True
    to_email: bool = True
    second_thoughts_ms: int | None = None
    hashtags: str = ""  # Beside the topics; without '#', between spaces.
    audience: str = "public"  # unlisted, followers; direct: an answer to one person
    audio_media_id: MediaId | None = None
    card_title: str = ""  # Empty: the title.
    card_description: str = ""  # Empty: the summary.
    embeds_images: bool = False  # The mail carries them.


@dataclass(frozen=True, slots=True)
class Version:
    """What a post's form held before."""

    version: int
    title: str
    summary: str
    body_markdown: str
    fediverse_teaser: str
    card_title: str
    card_description: str
    founder: str  # Who wrote the text that follows it; empty if unknown.
    saved_at: datetime


_FOYER = "foyer"  # A public id that no post can be given (`new_public_id`).
_KEPT = (  # Of a former version, in the order of `Version`.
    "title",
    "summary",
    "body_markdown",
    "fediverse_teaser",
    "card_title",
    "card_description",
)
_TIMES = ("saved_at", "scheduled_at", "published_at", "updated_at", "withdrawn_at")
_PLAIN = [name for name in Post.__dataclass_fields__ if name not in (*_TIMES, "cover", "topics")]
_COVER = [media.c[name] for name in Cover.__dataclass_fields__]
_SELECT = sa.select(
    *(post.c[name] for name in _PLAIN), *(post.c[name] for name in _TIMES), *_COVER
).select_from(post.outerjoin(media, media.c.id == post.c.cover_media_id))


def _posts(tx: Tx, query: sa.Select[Any]) -> list[Post]:
    rows = tx.rows(query)
    topics = topics_of_posts(tx, [row[0] for row in rows])
    plain, times = len(_PLAIN), len(_TIMES)
    found = []
    for row in rows:
        values: dict[str, Any] = dict(zip(_PLAIN, row, strict=False))
        values |= zip(_TIMES, map(from_ms, row[plain : plain + times]), strict=True)
        cover = Cover(*row[plain + times :]) if row[plain + times] is not None else None
        found.append(Post(**values, cover=cover, topics=topics.get(row[0], ())))
    return found


def _one(tx: Tx, condition: sa.ColumnElement[bool], name: object) -> Post:
    found = _posts(tx, _SELECT.where(condition))
    if not found:
        raise NotThere(str(name))
    return found[0]


def get_post(tx: Tx, post_id: PostId) -> Post:
    """One post, in whatever state. Raises NotThere."""
    return _one(tx, post.c.id == post_id, post_id)


def post_by_public_id(tx: Tx, public_id: str) -> Post:
    """One post, in whatever state. Raises NotThere."""
    return _one(tx, post.c.public_id == public_id, public_id)


def post_by_slug(tx: Tx, slug: str) -> Post:
    """The post with this slug, or that had it before an edit. Raises NotThere."""
    former = sa.select(old_slug.c.post_id).where(old_slug.c.slug == slug).scalar_subquery()
    found = _posts(tx, _SELECT.where(sa.or_(post.c.slug == slug, post.c.id == former)))
    if not found:
        raise NotThere(slug)
    return max(found, key=lambda one: one.slug == slug)


def published_issues(
    tx: Tx,
    *,
    limit: int,
    before: tuple[datetime, PostId] | None = None,
    topic_id: TopicId | None = None,
    audiences: Iterable[str] = ("public",),
    with_audio: bool = False,
) -> list[Post]:
    """Published issues, newest first, beyond the cursor `before`."""
    query = (
        _SELECT.where(
            post.c.state == "published",
            post.c.kind == "issue",
            post.c.to_web,
            post.c.audience.in_(list(audiences)),
        )
        .order_by(post.c.published_at.desc(), post.c.id.desc())
        .limit(limit)
    )
    if with_audio:
        query = query.where(post.c.audio_media_id.is_not(None))
    if topic_id is not None:
        query = query.where(
            post.c.id.in_(sa.select(post_topic.c.post_id).where(post_topic.c.topic_id == topic_id))
        )
    if before is not None:
        moment, post_id = to_ms(before[0]), before[1]
        query = query.where(
            sa.or_(
                post.c.published_at < moment,
                sa.and_(post.c.published_at == moment, post.c.id < post_id),
            )
        )
    return _posts(tx, query)


def count_published(tx: Tx) -> tuple[int, int]:
    """How many public posts are out: letters and polls, and answers to readers."""
    query = (
        sa.select(post.c.kind, sa.func.count())
        .where(post.c.state == "published", post.c.audience == "public")
        .group_by(post.c.kind)
    )
    found = {str(kind): int(number) for kind, number in tx.rows(query)}
    answers = found.pop("note", 0)
    return sum(found.values()), answers


def titles(tx: Tx, ids: Collection[PostId]) -> dict[PostId, str]:
    """What posts are called; of notes and polls, which have no title, how they begin."""
    rows = tx.rows(
        sa.select(post.c.id, post.c.title, sa.func.substr(post.c.body_markdown, 1, 80)).where(
            post.c.id.in_(ids)
        )
    )
    return {row[0]: row[1] or " ".join(row[2].split()) for row in rows}


def posts_in_state(tx: Tx, state: str, *, limit: int, offset: int = 0) -> list[Post]:
    """Posts of one state for the desk, the last saved first."""
    query = _SELECT.where(post.c.state == state).order_by(post.c.saved_at.desc(), post.c.id.desc())
    return _posts(tx, query.limit(limit).offset(offset))


def create_draft(
    tx: Tx,
    draft: Draft,
    *,
    public_id: str,
    slug: str,
    now: datetime,
    kind: str = "issue",
    founder_id: FounderId | None = None,
    answers: tuple[str, ReplyId] | None = None,
) -> PostId:
    """A new draft; `slug` must be free (`free_slug`).

    `answers` is the object id and the row that a Note answers.
    """
    in_reply_to, reply_id = answers or (None, None)
    found = tx.execute(
        sa.insert(post)
        .values(
            public_id=public_id,
            slug=slug,
            kind=kind,
            state="draft",
            founder_id=founder_id,
            in_reply_to=in_reply_to,
            reply_id=reply_id,
            created_at=to_ms(now),
            saved_at=to_ms(now),
            **_columns_of(draft),
        )
        .returning(post.c.id)
    ).scalar_one()
    return PostId(found)


def foyer(tx: Tx, *, language: str, now: datetime) -> PostId:
    """Where mentions stand while there is no letter: a post that nobody ever sees, made once."""
    moment = to_ms(now)
    tx.execute(
        tx.insert(post)
        .values(
            public_id=_FOYER,
            slug=f"note-{_FOYER}",
            kind="note",
            state="withdrawn",
            language=language,
            audience="direct",
            to_web=False,
            to_fediverse=False,
            to_email=False,
            body_markdown="",
            created_at=moment,
            saved_at=moment,
            withdrawn_at=moment,
        )
        .on_conflict_do_nothing()
    )
    return PostId(tx.scalar(sa.select(post.c.id).where(post.c.public_id == _FOYER)))


def save_draft(
    tx: Tx,
    post_id: PostId,
    draft: Draft,
    *,
    version: int,
    now: datetime,
    founder_id: FounderId | None = None,
    keeps_former: bool = True,
) -> int:
    """Save on top of `version`; what stood there before is kept as a former version.

    An autosave that only adds keeps none (`keeps_former`): the history would be one of keystrokes.

    Returns:
        The new version.

    Raises:
        Conflict: Somebody saved in between; nothing is written.
        NotThere: There is no such post.
    """
    before = get_post(tx, post_id)
    changed = tx.execute(
        sa.update(post)
        .where(post.c.id == post_id, post.c.version == version)
        .values(version=version + 1, saved_at=to_ms(now), **_columns_of(draft))
    )
    if changed.rowcount == 0:
        raise Conflict(str(post_id))
    if keeps_former:
        keep_version(tx, before, founder_id=founder_id)
    return version + 1


def keep_version(tx: Tx, former: Post, *, founder_id: FounderId | None) -> None:
    """Keep the text of `former` among the versions of its post."""
    fields = {name: getattr(former, name) for name in _KEPT}
    tx.execute(
        sa.insert(post_version).values(
            post_id=former.id,
            version=former.version,
            fields_json=json.dumps(fields, ensure_ascii=False),
            founder_id=founder_id,
            saved_at=to_ms(former.saved_at),
        )
    )


def last_kept(tx: Tx, post_id: PostId) -> datetime | None:
    """When the newest former version was saved; None if there is none."""
    newest = sa.select(sa.func.max(post_version.c.saved_at)).where(
        post_version.c.post_id == post_id
    )
    found: datetime | None = from_ms(tx.scalar(newest))
    return found


def versions(tx: Tx, post_id: PostId, *, limit: int, before: int | None = None) -> list[Version]:
    """Former versions of a post, the newest first, below the version `before`."""
    query = (
        sa.select(
            post_version.c.version,
            post_version.c.fields_json,
            sa.func.coalesce(sa.func.nullif(founder.c.name, ""), founder.c.email, ""),
            post_version.c.saved_at,
        )
        .select_from(post_version.outerjoin(founder, founder.c.id == post_version.c.founder_id))
        .where(post_version.c.post_id == post_id)
        .order_by(post_version.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(post_version.c.version < before)
    found = []
    for number, fields, name, saved_at in tx.rows(query):
        texts = json.loads(fields)
        kept = [texts.get(one, "") for one in _KEPT]
        found.append(Version(*(number, *kept, name, from_ms(saved_at))))
    return found


def _columns_of(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in Draft.__dataclass_fields__}


def free_slug(tx: Tx, wanted: str) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` … if posts use or used it."""
    taken = set(
        tx.execute(
            sa.union(
                sa.select(post.c.slug).where(post.c.slug.startswith(wanted, autoescape=True)),
                sa.select(old_slug.c.slug).where(
                    old_slug.c.slug.startswith(wanted, autoescape=True)
                ),
            )
        ).scalars()
    )
    slug, number = wanted, 1
    while slug in taken:
        number += 1
        slug = f"{wanted}-{number}"
    return slug


def schedule(
    tx: Tx, post_id: PostId, *, at: datetime, version: int, slug: str | None = None
) -> None:
    """Let a draft be published at `at`. Raises Conflict if it is no draft of that version.

    `slug` keeps the address that was told already.
    """
    values: dict[str, Any] = {"state": "scheduled", "scheduled_at": to_ms(at)}
    if slug is not None:
        values["slug"] = slug
    _move(tx, post_id, ("draft", "scheduled"), version, **values)


def unschedule(tx: Tx, post_id: PostId) -> None:
    """Back to a draft. Raises Conflict if it went out meanwhile."""
    _move(tx, post_id, ("scheduled",), None, state="draft", scheduled_at=None)


def due_posts(tx: Tx, *, now: datetime, limit: int = 20) -> list[PostId]:
    """Scheduled posts whose time has come, the most overdue first."""
    rows = tx.rows(
        sa.select(post.c.id)
        .where(post.c.state == "scheduled", post.c.scheduled_at <= to_ms(now))
        .order_by(post.c.scheduled_at)
        .limit(limit)
    )
    return [PostId(row[0]) for row in rows]


def mark_published(
    tx: Tx, post_id: PostId, *, version: int, slug: str, published_at: datetime
) -> None:
    """The draft of this version is out. Raises Conflict if it is not one any more."""
    _move(
        tx,
        post_id,
        ("draft", "scheduled"),
        version,
        state="published",
        slug=slug,
        published_at=to_ms(published_at),
        scheduled_at=None,
        revision=1,
    )
    touch(tx)


def mark_edited(tx: Tx, post_id: PostId, *, version: int, updated_at: datetime) -> None:
    """What the public sees of a published post has changed. Raises Conflict."""
    _move(
        tx,
        post_id,
        ("published",),
        version,
        updated_at=to_ms(updated_at),
        revision=post.c.revision + 1,
    )
    touch(tx)


def mark_withdrawn(tx: Tx, post_id: PostId, *, now: datetime) -> None:
    """A published post is gone; its id is burnt. Raises Conflict if it was not published."""
    _move(
        tx,
        post_id,
        ("published",),
        None,
        state="withdrawn",
        withdrawn_at=to_ms(now),
        revision=post.c.revision + 1,
    )
    touch(tx)


def back_to_draft(tx: Tx, post_id: PostId, *, public_id: str) -> None:
    """Stopped before anything left: a draft again, under a new public id. Raises Conflict."""
    _move(
        tx,
        post_id,
        ("published",),
        None,
        state="draft",
        public_id=public_id,
        published_at=None,
        updated_at=None,
        revision=0,
    )
    touch(tx)


def delete_draft(tx: Tx, post_id: PostId) -> None:
    """Throw a draft away. Raises Conflict if it is none."""
    gone = tx.execute(sa.delete(post).where(post.c.id == post_id, post.c.state == "draft"))
    if gone.rowcount == 0:
        raise Conflict(str(post_id))


def _move(
    tx: Tx, post_id: PostId, states: tuple[str, ...], version: int | None, **values: Any
) -> None:
    condition = sa.and_(post.c.id == post_id, post.c.state.in_(states))
    if version is not None:
        condition = sa.and_(condition, post.c.version == version)
    if tx.execute(sa.update(post).where(condition).values(**values)).rowcount == 0:
        raise Conflict(str(post_id))
