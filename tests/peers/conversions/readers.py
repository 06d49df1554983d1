"""What other servers make of an Article, each in a few lines of our own.

Every function returns what a person sees: the fold (a content warning, closed at first), the open
text above it, and the text behind it. They say nothing of looks.

Sources, read for their rules in 2026: Mastodon `app/lib/activitypub/parser/status_parser.rb` and
`lib/sanitize_ext/sanitize_config.rb`; GoToSocial `internal/ap/extract.go` and
`internal/typeutils/astointernal.go`; Hollo `src/federation/post.ts` (keeps `summary` and
`content`, reads no `name`); Misskey `ApNoteService.ts` and `NoteEntityService.ts`; a fork of
Pleroma, `article_note_page_validator.ex`. snac2 2.94 and Hollo 0.6.12 were also seen running.
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
