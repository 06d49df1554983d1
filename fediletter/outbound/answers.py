"""The founders answer their readers, each over the channel on which the reader wrote.

On the fediverse an answer is a Note, as public as what it answers and never more: it mentions its
reader, keeps the conversation's name and goes to their inbox; a public one to the followers too.

Sources: issue 3.5; federation.md 9.5, 13.6; FEP-7888; IN-32.
"""

import secrets
from datetime import datetime

from fediletter.errors import AppError
from fediletter.keyring import OwnActor
from fediletter.mail.compose import Sender, compose_plain
from fediletter.newsletter.conversations import around
from fediletter.outbound.publish import changed_meanwhile, new_public_id
from fediletter.outbound.say import keep, later_than, say, tell
from fediletter.rendering import activities
from fediletter.rendering.activities import Outgoing
from fediletter.rendering.documents import document_of
from fediletter.services import Services
from storage import audit, conversations, posts
from storage.activities import unlist
from storage.conversations import Reply
from storage.correspondence import correspondent
from storage.errors import Conflict, NotThere
from storage.ids import FounderId, PostId, ReplyId
from storage.newsletters import get_newsletter
from storage.notices import send_notice
from storage.peers import KeptActor, find_actor
from storage.posts import Draft, Post
from storage.store import Tx

LONGEST_ANSWER = 5000


async def answer(
    services: Services, reply_id: ReplyId, text: str, *, founder_id: FounderId | None
) -> None:
    """Answer a reader over the channel on which they wrote.

    Args:
        services: The toolbox.
        reply_id: What they wrote.
        text: Markdown.
        founder_id: Who answers.

    Raises:
        AppError: It is empty or too long, or the reader cannot be reached any more.
    """
    _check(text)
    try:
        reply = await services.store.read(conversations.get_reply, reply_id)
    except NotThere as gone:
        raise AppError(404, "There is no such answer.") from gone
    if reply.channel == "fediverse":
        await _by_note(services, reply, text, founder_id=founder_id)
        return
    if reply.channel == "email":
        await _by_mail(services, reply, text, founder_id=founder_id)
        return
    raise AppError(409, "This can only be answered where it was written.")


async def revise_answer(
    services: Services, post_id: PostId, text: str, *, version: int, founder_id: FounderId | None
) -> None:
    """Say it better: peers get the new text. Raises AppError."""
    _check(text)
    own = await services.keyring.newsletter()
    now = services.clock.now()

    def work(tx: Tx) -> None:
        before = _note(tx, post_id)
        draft = Draft(
            "", "", text, before.language, to_web=False, to_email=False, audience=before.audience
        )
        posts.save_draft(tx, post_id, draft, version=version, now=now, founder_id=founder_id)
        posts.mark_edited(tx, post_id, version=version + 1, updated_at=later_than(before, now))
        post = posts.get_post(tx, post_id)
        document = document_of(post, services.links, around(tx, post))
        outgoing = activities.update(document, services.links, token=secrets.token_urlsafe(16))
        _send(tx, outgoing, own, post, _reader(tx, post), audience="holders", now=now)
        audit.write(tx, "answer edited", subject=str(post_id), founder_id=founder_id, now=now)

    try:
        await services.store.write(work)
    except Conflict as late:
        raise changed_meanwhile() from late


async def withdraw_answer(
    services: Services, post_id: PostId, *, founder_id: FounderId | None
) -> None:
    """Take an answer back. Raises AppError."""
    own = await services.keyring.newsletter()
    now = services.clock.now()

    def work(tx: Tx) -> None:
        post = _note(tx, post_id)
        document = document_of(post, services.links, around(tx, post))
        posts.mark_withdrawn(tx, post_id, now=now)
        token = secrets.token_urlsafe(16)
        outgoing = activities.delete(post, document, services.links, token=token, now=now)
        unlist(tx, outgoing.object_uri)
        _send(tx, outgoing, own, post, _reader(tx, post), audience="holders", now=now)
        audit.write(tx, "answer withdrawn", subject=str(post_id), founder_id=founder_id, now=now)

    try:
        await services.store.write(work)
    except Conflict as late:
        raise changed_meanwhile() from late


def _check(text: str) -> None:
    if not text.strip():
        raise AppError(422, "An answer needs a text.")
    if len(text) > LONGEST_ANSWER:
        raise AppError(422, "An answer has at most 5000 characters.")


async def _by_note(
    services: Services, reply: Reply, text: str, *, founder_id: FounderId | None
) -> None:
    own = await services.keyring.newsletter()
    now = services.clock.now()
    public_id = new_public_id()
    audience = reply.visibility if reply.visibility in conversations.SHOWN else "direct"

    def work(tx: Tx) -> None:
        reader = find_actor(tx, reply.actor_uri or "")
        if reader is None or reader.deleted_at is not None:
            raise AppError(409, "The account that wrote this is gone.")
        draft = Draft(
            "",
            "",
            text,
            get_newsletter(tx).language,
            to_web=False,
            to_email=False,
            audience=audience,
        )
        post = _publish(tx, draft, public_id, reply, now=now, founder_id=founder_id)
        outgoing = activities.create(document_of(post, services.links, around(tx, post)))
        _send(tx, outgoing, own, post, reader, audience="followers", now=now)
        audit.write(tx, "answer", subject=str(reply.id), founder_id=founder_id, now=now)

    await services.store.write(work)


async def _by_mail(
    services: Services, reply: Reply, text: str, *, founder_id: FounderId | None
) -> None:
    """A mail from the newsletter's address, in the thread of what the reader wrote.

    It is kept as a direct Note that no server hears of. Its Message-ID is made of the Note's id, so
    that a next reply finds its place (`storage.correspondence.place_of`).
    """
    now = services.clock.now()
    public_id = new_public_id()
    mail_from = services.settings.mail_from

    def work(tx: Tx) -> None:
        person = correspondent(tx, reply.id)
        if person is None or person.address is None:
            raise AppError(409, "The account that wrote this is gone.")
        newsletter = get_newsletter(tx)
        draft = Draft(
            "",
            "",
            text,
            newsletter.language,
            to_web=False,
            to_fediverse=False,
            to_email=False,
            audience="direct",
        )
        _publish(tx, draft, public_id, reply, now=now, founder_id=founder_id)
        message_id = f"{public_id}@{mail_from.rpartition('@')[2]}"
        body = compose_plain(
            sender=Sender(newsletter.sender_name or newsletter.title, mail_from),
            to=person.address,
            subject=f"Re: {person.post_title}",
            text=text,
            language=person.language,
            message_id=message_id,
            now=now,
            automatic="",
            answers=person.message_id,
        )
        send_notice(
            tx,
            kind="service",
            recipient=person.address,
            message_id=message_id,
            body=body,
            now=now,
        )
        audit.write(tx, "answer", subject=str(reply.id), founder_id=founder_id, now=now)

    await services.store.write(work)


def _publish(
    tx: Tx,
    draft: Draft,
    public_id: str,
    reply: Reply,
    *,
    now: datetime,
    founder_id: FounderId | None,
) -> Post:
    """Our Note below what it answers."""
    slug = f"note-{public_id}"
    post_id = posts.create_draft(
        tx,
        draft,
        public_id=public_id,
        slug=slug,
        kind="note",
        now=now,
        founder_id=founder_id,
        answers=(reply.uri, reply.id),
    )
    moment = now.replace(microsecond=0)
    posts.mark_published(tx, post_id, version=1, slug=slug, published_at=moment)
    return posts.get_post(tx, post_id)


def _send(
    tx: Tx,
    outgoing: Outgoing,
    own: OwnActor,
    post: Post,
    reader: KeptActor | None,
    *,
    audience: str,
    now: datetime,
) -> None:
    """To the reader; what is public also to an audience."""
    readers = [] if reader is None or reader.deleted_at is not None else [reader]
    if post.audience == "direct":
        activity_id = keep(tx, outgoing, own, post, now=now)
    else:
        activity_id = say(tx, outgoing, own, post, audience=audience, start_at=now, now=now)
    tell(tx, activity_id, outgoing, readers, in_person=post.audience == "direct", now=now)


def _reader(tx: Tx, post: Post) -> KeptActor | None:
    return find_actor(tx, conversations.answered_reply(tx, post.id).actor_uri or "")


def _note(tx: Tx, post_id: PostId) -> Post:
    try:
        post = posts.get_post(tx, post_id)
    except NotThere as gone:
        raise AppError(404, "There is no such answer.") from gone
    if post.kind != "note" or post.state != "published":
        raise AppError(404, "There is no such answer.")
    if not post.to_fediverse:
        raise AppError(409, "A mail that was sent cannot be changed or taken back.")
    return post
