"""What other servers make of an Article, each in a few lines of our own.

Every function returns what a person sees: the fold (a content warning, closed at first), the open
text above it, and the text behind it. They say nothing of looks.

Where each comes from: Mastodon from federation.md 5.2 (of its source only an older version of
`status_parser.rb` was at hand); GoToSocial 0.20.0 and snac2 2.94 from the trials recorded beside
this folder and from federation.md; Pleroma from federation.md, which read a fork of 2023; Hollo
(`src/federation/post.ts`: keeps `summary` and `content`, reads no `name`) and Misskey
(`ApNoteService.ts`, `NoteEntityService.ts`) from their sources.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fediletter.newsletter.html import as_on_mastodon, plain_text


@dataclass(frozen=True)
class Seen:
    """`above` is read at once; `behind` after one press if there is a `fold`, else at once."""

    above: str
    fold: str
    behind: str


def mastodon(article: dict) -> Seen:
    parts = [f"<h2>{article['name']}</h2>", article.get("summary", ""), article["url"]]
    return Seen(plain_text(as_on_mastodon("\n\n".join(part for part in parts if part))), "", "")


def gotosocial(article: dict) -> Seen:
    fold = article.get("summary") or article.get("name", "")
    return Seen("", fold, plain_text(article["content"]))


def hollo(article: dict) -> Seen:
    return Seen("", article.get("summary", ""), plain_text(article["content"]))


def misskey(article: dict) -> Seen:
    text = plain_text(article["content"])[:8192]
    said = f"【{article['name']}】\n\n{text}\n\n{article['url']}"
    return Seen("", article.get("summary", ""), said)


def snac2(article: dict) -> Seen:
    return Seen(f"{article['name']}\n\n{plain_text(article['content'])}", "", "")


def pleroma(article: dict) -> Seen:
    return Seen("", article.get("summary", ""), plain_text(article["content"]))


READERS: dict[str, Callable[[dict], Seen]] = {
    "Mastodon": mastodon,
    "GoToSocial": gotosocial,
    "Hollo": hollo,
    "Misskey": misskey,
    "snac2": snac2,
    "Pleroma": pleroma,
}


def place_of(words: str, seen: Seen) -> str:
    """Where words can be read: `at once`, `on the fold`, `unfolded`, or `lost`."""
    if words in seen.above or (not seen.fold and words in seen.behind):
        return "at once"
    if words in seen.fold:
        return "on the fold"
    return "unfolded" if words in seen.behind else "lost"
