"""Posts as Markdown with front matter, as `fediletter publish` takes them, beside their media."""

import json
import shutil
from pathlib import Path

from storage import posts
from storage.posts import Post
from storage.store import Store, Tx

_STATES = ("draft", "scheduled", "published")
_MOST = 100_000


def write_letters(store: Store, directory: Path, media: Path) -> int:
    """Write `posts/SLUG.md`, and into `media/` each stored file, to which they refer.

    Returns:
        How many posts.
    """

    def look(tx: Tx) -> list[Post]:
        return [post for state in _STATES for post in posts.posts_in_state(tx, state, limit=_MOST)]

    found = store.submit(look).result()
    folder = directory / "posts"
    folder.mkdir(parents=True, exist_ok=True)
    for post in found:
        (folder / f"{post.slug}.md").write_text(_markdown(post), encoding="utf-8")
    if media.is_dir():
        shutil.copytree(media, directory / "media", dirs_exist_ok=True)
    return len(found)


def _markdown(post: Post) -> str:
    fields = {
        "title": post.title,
        "summary": post.summary,
        "topics": ", ".join(topic.name for topic in post.topics),
        "language": post.language,
    }
    if post.cover is not None:
        fields["cover"] = f"../media/{json.loads(post.cover.renditions_json)[0]['name']}"
        fields["cover_alt"] = post.cover_alt
    if post.published_at is not None:
        fields["at"] = post.published_at.isoformat()
    front = "\n".join(f"{name}: {value}" for name, value in fields.items() if value)
    body = post.body_markdown.replace("](/media/", "](../media/")
    return f"---\n{front}\n---\n{body}\n"
