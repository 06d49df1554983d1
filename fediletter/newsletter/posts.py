"""Rules over drafts, for the desk and for `fediletter publish FILE` alike.

Sources: federation.md R14; email.md HD-5; WE-16.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from fediletter.mail.compose import fits_a_header
from fediletter.newsletter.slugs import slug_of
from fediletter.settings import LANGUAGES
from storage import posts
from storage.errors import Conflict, NotThere
from storage.ids import FounderId, PostId, TopicId
from storage.posts import Draft
from storage.store import Tx
from storage.topics import Topic, add_topic, set_topics, topic_by_slug

AUDIENCES = ("public", "unlisted", "followers")
MOST_HASHTAGS = 10
_KEPT_EVERY = timedelta(minutes=5)  # Between former texts that autosaving keeps …
_NOTICED = 40  # … unless it takes away more characters than these.
_NO_WORDS = re.compile(r"!\[\s*\]\(")
LONGEST_TITLE, LONGEST_SUMMARY, LONGEST_BODY = 150, 500, 400_000
_LONGEST = {
    "title": (
        LONGEST_TITLE,
        "A title has at most 150 characters: it is the subject of the mail.",
    ),
    "summary": (LONGEST_SUMMARY, "The teaser has at most 500 characters."),
    "fediverse_teaser": (LONGEST_SUMMARY, "The teaser has at most 500 characters."),
    "card_title": (LONGEST_TITLE, "The card's title has at most 150 characters."),
    "card_description": (LONGEST_SUMMARY, "The card's text has at most 500 characters."),
    "body_markdown": (LONGEST_BODY, "This text is too long for one letter."),
}
FOR_FOLLOWERS = ("fediverse_teaser", "card_title", "card_description")


def check_draft(draft: Draft, *, publishing: bool) -> dict[str, str]:
    """What is wrong with a draft, as message ids by field; empty if nothing.

    Args:
        draft: As typed.
        publishing: A draft that stays one may lack title and text.
    """
    problems = {
        name: words for name, (most, words) in _LONGEST.items() if len(getattr(draft, name)) > most
    }
    if not fits_a_header(draft.title):
        problems["title"] = "The title has characters that a mail cannot carry."
    elif publishing and not draft.title.strip():
        problems["title"] = "A letter needs a title."
    if "body_markdown" in problems:
        problems["body"] = problems.pop("body_markdown")
    elif publishing and not draft.body_markdown.strip():
        problems["body"] = "A letter needs a text."
    elif publishing and _NO_WORDS.search(draft.body_markdown):
        problems["body"] = "An image in the text has no description: write it between [ and ]."
    if draft.cover_media_id is not None and not draft.cover_alt.strip():
        problems["cover_alt"] = "Describe the image in a few words, for those who cannot see it."
    if draft.language not in LANGUAGES:
        problems["language"] = "Choose the language of the letter."
    return problems


def create(
    tx: Tx,
    draft: Draft,
    topic_ids: Sequence[TopicId],
    *,
    public_id: str,
    now: datetime,
    founder_id: FounderId | None = None,
) -> PostId:
    """A new draft with its topics."""
    slug = posts.free_slug(tx, slug_of(draft.title))
    post_id = posts.create_draft(
        tx, draft, public_id=public_id, slug=slug, now=now, founder_id=founder_id
    )
    set_topics(tx, post_id, list(topic_ids))
    return post_id


def save(
    tx: Tx,
    post_id: PostId,
    draft: Draft,
    topic_ids: Sequence[TopicId],
    *,
    version: int,
    now: datetime,
    founder_id: FounderId | None = None,
) -> int:
    """Save a draft on top of the version that was seen. Raises Conflict."""
    new = posts.save_draft(tx, post_id, draft, version=version, now=now, founder_id=founder_id)
    set_topics(tx, post_id, list(topic_ids))
    return new


def autosave(
    tx: Tx,
    post_id: PostId,
    draft: Draft,
    topic_ids: Sequence[TopicId],
    *,
    version: int,
    now: datetime,
    founder_id: FounderId | None = None,
) -> int:
    """Save what is being typed; a former text is kept when it is old or lost something.

    Raises:
        Conflict: Somebody saved in between, or it is no draft any more.
    """
    before = posts.get_post(tx, post_id)
    if before.state not in ("draft", "scheduled"):
        raise Conflict(str(post_id))
    kept_at = posts.last_kept(tx, post_id)
    shrinks = len(draft.body_markdown) + _NOTICED < len(before.body_markdown)
    is_old = kept_at is None or before.saved_at - kept_at > _KEPT_EVERY
    new = posts.save_draft(
        tx,
        post_id,
        draft,
        version=version,
        now=now,
        founder_id=founder_id,
        keeps_former=shrinks or is_old,
    )
    set_topics(tx, post_id, list(topic_ids))
    return new


def figure(address: str, *, alt: str, caption: str = "", credit: str = "") -> str:
    """An image as Markdown: its title is the caption, behind © who took it."""
    plain = " ".join(alt.split()).replace("\\", "").replace("[", "(").replace("]", ")")
    below = " ".join(f"{caption} {'© ' + credit if credit else ''}".split()).replace('"', "”")
    return f'![{plain}]({address} "{below}")' if below else f"![{plain}]({address})"


def topic_named(tx: Tx, name: str, *, now: datetime) -> Topic:
    """The topic of a name, made if it is new."""
    slug = slug_of(name)
    try:
        return topic_by_slug(tx, slug)
    except NotThere:
        try:
            return add_topic(tx, slug=slug, name=name.strip(), hashtag=hashtag_of(name), now=now)
        except Conflict:
            return topic_by_slug(tx, slug)


def hashtag_of(name: str) -> str:
    """A topic's name as a hashtag, without the '#': `cuir végétal` is `CuirVégétal`."""
    parts: list[str] = re.findall(r"\w+", name)
    if len(parts) == 1:
        return parts[0].lower()
    return "".join(part[:1].upper() + part[1:] for part in parts) or "lettre"


def hashtags_from(text: str) -> str:
    """What a person typed as hashtags, as they are kept: words without '#', each once.

    >>> hashtags_from("#Lin, #cuir-végétal lin")
    'Lin cuirvégétal'
    """
    names = [re.sub(r"\W", "", part) for part in re.split(r"[\s,;]+", text)]
    found = {name.casefold(): name for name in reversed(names) if name and not name.isdigit()}
    kept = [name for name in names if found.get(name.casefold()) == name]
    return " ".join(list(dict.fromkeys(kept))[:MOST_HASHTAGS])
