"""The one door to the sanitiser: Markdown of founders and HTML of strangers become `SafeHtml`.

Founders' Markdown goes through markdown-it (raw HTML off, for every role: HT-10), typography, our
own checks of addresses, and bleach as the last step (HT-2). What strangers send goes through nh3,
bounded. Templates and documents take `SafeHtml` and nothing else, so a forgotten check is a type
error.

Sources: security.md section 4 (HT-1 to HT-10), L-20, L-27; federation.md 5.5; email.md HT-4 to
HT-6.
"""

import html as entities
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import urljoin, urlsplit

import bleach
import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin

from federation.errors import BadUrl
from federation.origins import host_of
from fediletter.limits import REMOTE_HTML_BYTES, REPLY_LINKS, REPLY_MENTIONS
from fediletter.newsletter.typography import NARROW, NBSP, french
from storage.media import Media, Rendition

Profile: TypeAlias = Literal["web", "mail", "article"]

_WEB_TAGS = frozenset(
    (
        "p br hr h2 h3 h4 h5 h6 strong em del s code pre blockquote ul ol li a img figure "
        "figcaption table thead tbody tr th td sup sub div span"
    ).split()
)
# FEP-b2b8, narrowed: federation.md 5.5. Tables are flattened, figures unwrapped before.
_ARTICLE_TAGS = frozenset(
    "p br h2 h3 h4 h5 h6 strong em del code pre blockquote ul ol li a img".split()
)
# HT-4. A span is what is struck out: mailboxes know no `s`.
_MAIL_TAGS = frozenset(
    (
        "p br hr h2 h3 strong em span code pre blockquote ul ol li a img table thead tbody tr th td"
    ).split()
)
_TAGS: dict[Profile, frozenset[str]] = {
    "web": _WEB_TAGS,
    "mail": _MAIL_TAGS,
    "article": _ARTICLE_TAGS,
}
_REMOTE_TAGS = set(
    "p br strong b em i del s u code pre blockquote ul ol li span a ruby rt rp".split()
)
_NOTE_MARKS: dict[Profile, str] = {"mail": "\u00a0({})", "article": "[{}]"}
_REMOTE_CLASSES = {"h-card", "u-url", "mention", "hashtag"}
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
_STORED = re.compile(r"/media/([0-9a-f]{20})-(\d+)\.")  # Public id and width.
MAIL_COLUMN = 600  # CSS pixels.
_SHARP = 1280  # Pixels of a file: about twice the column.
IMAGE_IN_MAIL = 200_000  # Octets (HT-13).
COLUMNS_IN_MAIL = 4
PAGE_SIZES = "(min-width: 46rem) 42rem, 100vw"  # How wide the page's column shows an image.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class SafeHtml(str):
    """HTML that has passed a sanitiser. Made in this module alone."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tells Jinja not to escape it again."""
        return self


def from_markdown(
    text: str,
    *,
    profile: Profile,
    language: str,
    base_url: str,
    page_url: str = "",
    media_prefix: str | None = None,
    images: Mapping[str, Media] | None = None,
    instead_of_wide: tuple[str, str] | None = None,
) -> SafeHtml:
    """A founder's Markdown as HTML.

    Args:
        text: At most a desk form's size (L-2).
        profile: `web` with ids and footnote links; `mail` and `article` with absolute addresses
            and notes as a plain list at the end.
        language: `fr` gets French typography.
        base_url: Relative addresses are relative to it.
        page_url: Of the text: `#…` leads there, from a mail too (email.md HT-6); empty: it has no
            page, and such links are none.
        media_prefix: Images must come from below this address; by default `base_url`/media/.
        images: By public id, those of `images_in(text)`: a browser then picks the size that it
            needs and keeps the room free until the file is there; a mail shows a light file.
        instead_of_wide: Words and address of the link that stands where a table has more than
            `COLUMNS_IN_MAIL` columns: a phone shows no more beside each other (email.md HT-5).
            For `mail` alone.
    """
    prefix = media_prefix or f"{base_url}/media/"
    parser = _parser()
    tokens = parser.parse(_CONTROL.sub("", text))
    narrow = NARROW if profile == "web" else NBSP
    if language == "fr":
        _typeset(tokens, narrow)
    _settle_addresses(tokens, base_url, page_url, prefix)
    _size_images(tokens, prefix, images or {}, profile)
    _settle_headings(tokens, profile)
    _name_columns(tokens)
    if profile == "mail":
        _strike_by_style(tokens)
    if profile != "web":
        tokens = list(_without_footnote_links(tokens, _NOTE_MARKS[profile]))
    if instead_of_wide is not None:
        tokens = list(_without_wide_tables(tokens, *instead_of_wide))
    rendered = parser.renderer.render(tokens, parser.options, {})
    # Peers keep no figures, and mailboxes indent them (email.md HT-4).
    rendered = _figures(rendered) if profile == "web" else _captions(rendered)
    if profile == "article":
        rendered = _flat_tables(re.sub("<(/?)s>", r"<\1del>", rendered))
    return _clean(rendered, profile)


def images_in(text: str) -> list[str]:
    """The public ids of the stored images that a founder's Markdown may show."""
    return list(dict.fromkeys(found[1] for found in _STORED.finditer(text)))


def addresses_in(text: str) -> list[str]:
    """The addresses of a founder's links as they were typed."""
    links = (one for one in _walk(_parser().parse(text)) if one.type == "link_open")
    return [str(one.attrs.get("href", "")) for one in links]


def file_in_mail(files: Sequence[Rendition]) -> Rendition:
    """The file of an image that a mail shows: twice the column at most, and light (HT-13).

    Args:
        files: The widest first.
    """
    fitting = (one for one in files if one.width <= _SHARP and one.bytes <= IMAGE_IN_MAIL)
    return next(fitting, files[-1])


def from_remote(markup: str) -> SafeHtml:
    """HTML of a stranger, for showing below a letter.

    What is longer than L-20 is shown as plain text; links and mentions beyond L-27 are plain text.
    Images become links, since readers load nothing from elsewhere (HT-8); a link whose words do not
    begin with its host is followed by it (HT-7).
    """
    if len(markup.encode("utf-8", "replace")) > REMOTE_HTML_BYTES:
        return paragraphs_of(_seen(plain_text(markup[:REMOTE_HTML_BYTES])))
    markup = _IMAGE.sub(_image_as_link, _HEADING.sub(_heading_as_paragraph, markup))
    # Twice: marks that nobody sees may have been written as entities, and cleaning is the last
    # step whatever was done to its first result (HT-2).
    return _clean_remote(_few_links(_seen(_clean_remote(markup))))


def _few_links(markup: str) -> str:
    left = {"mention": REPLY_MENTIONS, "link": REPLY_LINKS}

    def link(found: re.Match[str]) -> str:
        said = dict(_ATTRIBUTE.findall(found[1]))
        kind = "mention" if "mention" in said.get("class", "").split() else "link"
        left[kind] -= 1
        return _with_host(found, said.get("href", "")) if left[kind] >= 0 else found[2]

    return _LINK.sub(link, markup)


def _clean_remote(markup: str) -> SafeHtml:
    def attribute(tag: str, name: str, value: str) -> str | None:
        if name == "href":
            return value if _host_of_link(value) else None
        if name == "class":
            kept = [part for part in value.split() if part in _REMOTE_CLASSES]
            return " ".join(kept) or None
        return value

    cleaned = nh3.clean(
        markup,
        tags=_REMOTE_TAGS,
        clean_content_tags={"script", "style"},
        attributes={
            "*": {"lang", "dir"},
            "a": {"href", "class"},
            "span": {"class"},
            "ol": {"start", "reversed"},
            "li": {"value"},
        },
        attribute_filter=attribute,
        url_schemes={"http", "https"},
        link_rel="nofollow noopener noreferrer ugc",
        strip_comments=True,
    )
    return SafeHtml(cleaned)


# Each stops at the next "<": one pass over whatever comes (FE-14).
_HEADING = re.compile(r"<(/?)h[1-6]\b[^<>]*>", re.IGNORECASE)
_IMAGE = re.compile(r"<img\b([^<>]*)>", re.IGNORECASE)
_SOURCE = re.compile(r"""\b(src|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
# As nh3 writes a link: attributes between double quotes, in any order, no link within.
_LINK = re.compile(r'<a((?: [a-z]+="[^"]*")*)>(.*?)</a>', re.DOTALL)
_ATTRIBUTE = re.compile(' ([a-z]+)="([^"]*)"')
_NAME_OR_TAG = re.compile(r"[@#]\w+")


def _heading_as_paragraph(found: re.Match[str]) -> str:
    return "</strong></p>" if found[1] else "<p><strong>"


def _image_as_link(found: re.Match[str]) -> str:
    said = {one[1].lower(): one[2] or one[3] or one[4] or "" for one in _SOURCE.finditer(found[1])}
    address, words = (entities.unescape(said.get(name, "")) for name in ("src", "alt"))
    if not _host_of_link(address):
        return entities.escape(words)
    return f'<a href="{entities.escape(address)}">{entities.escape(words or address)}</a>'


def _with_host(found: re.Match[str], address: str) -> str:
    host = _host_of_link(entities.unescape(address))
    words = re.sub("<[^<>]*>", "", found[2]).strip()
    shown = re.match(r"(?:https?://)?(?:www\.)?([^/?#\s]*)", words.lower())
    if host is None or _NAME_OR_TAG.fullmatch(words, endpos=len(words.removesuffix(f"@{host}"))):
        return found[0]
    if shown is not None and shown[1] == host.removeprefix("www."):
        return found[0]
    return f"{found[0]} ({host})"


def _host_of_link(address: str) -> str | None:
    """The host that a stranger's link leads to; None if it is not plainly one (HT-4, IN-34)."""
    if not is_web_address(address):
        return None
    try:
        return host_of("{0.scheme}://{0.netloc}/".format(urlsplit(address.strip())))
    except BadUrl:
        return None


def _seen(text: str) -> str:
    """Text without marks that nobody sees or that turn its direction (HT-7)."""
    return _INVISIBLE.sub("", _CONTROL.sub("", text))


_MASTODON_TAGS = set(
    "p br span a del s pre blockquote code b strong u i em ul ol li ruby rt rp".split()
)
_MASTODON_CLASSES = re.compile(r"(h|p|u|dt|e)-.*|mention|hashtag|ellipsis|invisible|quote-inline")


def as_on_mastodon(markup: str) -> SafeHtml:
    """HTML as Mastodon's strict sanitiser leaves it: headings are bold paragraphs, no images."""
    markup = re.sub(
        r"<h[1-6][^>]*>(.*?)</h[1-6]>", r"<p><strong>\1</strong></p>", markup, flags=re.I | re.S
    )

    def attribute(_tag: str, name: str, value: str) -> str | None:
        if name != "class":
            return value
        kept = [part for part in value.split() if _MASTODON_CLASSES.fullmatch(part)]
        return " ".join(kept) or None

    cleaned = nh3.clean(
        markup,
        tags=_MASTODON_TAGS,
        clean_content_tags={"script", "style"},
        attributes={
            "a": {"href", "class", "translate"},
            "span": {"class", "translate"},
            "p": {"class"},
            "ol": {"start", "reversed"},
            "li": {"value"},
        },
        attribute_filter=attribute,
        url_schemes={"http", "https"},
        link_rel="nofollow noopener",
        strip_comments=True,
    )
    return SafeHtml(cleaned)


def paragraphs_of(text: str) -> SafeHtml:
    """Plain text as escaped paragraphs."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    return SafeHtml(
        "".join(f"<p>{entities.escape(part).replace(chr(10), '<br>')}</p>" for part in parts)
    )


def plain_text(markup: str) -> str:
    """What HTML says, without it: for summaries, notifications, search."""
    spaced = re.sub(r"</(p|div|li|h[1-6]|blockquote|tr)>|<br\s*/?>", "\n", markup, flags=re.I)
    bare = nh3.clean(spaced, tags=set(), clean_content_tags={"script", "style"})
    lines = [line.strip() for line in entities.unescape(bare).splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def without_tags(markup: str) -> str:
    """Text of HTML by one pass alone, for when the sanitiser fails; it is not safe HTML."""
    return _seen(entities.unescape(re.sub("<[^<>]*>", "\n", markup)))


def plain_name(text: str, longest: int) -> str:
    """A remote name or title: one line of plain text without invisible or directional marks."""
    return " ".join(_INVISIBLE.sub("", _CONTROL.sub(" ", text)).split())[:longest]


def is_web_address(text: str) -> bool:
    """Whether a link leads to http or https and to nowhere else (HT-4)."""
    address = re.sub(r"[\s\x00-\x1f]", "", entities.unescape(text))
    if "\\" in address or address.startswith("//"):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def is_trusted_in_mail(address: str) -> bool:
    """Whether filters take a link for what it is: by https, to a name (email.md HT-6, HT-15)."""
    parts = urlsplit(address)
    is_number = re.fullmatch(r"[\d.]+|.*:.*", parts.hostname or "") is not None
    return parts.scheme == "mailto" or (parts.scheme == "https" and not is_number)


# --- Markdown --------------------------------------------------------------------------------


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": False})
    parser.enable(["table", "strikethrough"])
    footnote_plugin(parser)
    # The plugin's `section` would want a heading.
    parser.add_render_rule("footnote_block_open", _notes_open)
    parser.add_render_rule("footnote_block_close", _notes_close)
    return parser


def _notes_open(*_of_parser: object) -> str:
    return '<hr class="footnotes-sep">\n<div class="footnotes">\n<ol>\n'


def _notes_close(*_of_parser: object) -> str:
    return "</ol>\n</div>\n"


def _walk(tokens: Iterable[Token]) -> Iterable[Token]:
    for token in tokens:
        yield token
        if token.children:
            yield from _walk(token.children)


def _typeset(tokens: Sequence[Token], narrow: str) -> None:
    for token in _walk(tokens):
        if token.type == "text":
            token.content = french(token.content, narrow=narrow)


def _settle_addresses(tokens: Sequence[Token], base_url: str, page_url: str, prefix: str) -> None:
    for token in _walk(tokens):
        if token.type == "link_open":
            typed = str(token.attrs.get("href", ""))
            base = page_url if typed.startswith("#") else f"{base_url}/"
            address = urljoin(base, typed)
            allowed = is_web_address(address) or re.match(r"mailto:[^\s<>\"]+$", address)
            if allowed:
                token.attrs["href"] = address
            else:
                del token.attrs["href"]
        elif token.type == "image":
            address = urljoin(base_url + "/", str(token.attrs.get("src", "")))
            if address.startswith(prefix) and not re.search("[?#]", address):  # email.md HT-11
                token.attrs["src"] = address
            else:  # Readers load nothing from elsewhere: the words stay.
                token.type, token.tag, token.content = "text", "", _words_of(token)
                token.children, token.attrs = None, {}


def _size_images(
    tokens: Sequence[Token], prefix: str, images: Mapping[str, Media], profile: Profile
) -> None:
    for token in _walk(tokens):
        if token.type != "image":
            continue
        found = _STORED.search("/media/" + str(token.attrs["src"]).removeprefix(prefix))
        if found is None:
            continue
        title = token.attrs.pop("title", None)
        if profile == "mail":
            token.attrs |= _in_mail(images.get(found[1]), int(found[2]), prefix)
        elif found[1] in images:
            token.attrs |= _sizes(images[found[1]], prefix)
        if title is not None:  # Last, where the caption is looked for.
            token.attrs["title"] = title


def _in_mail(image: Media | None, width: int, prefix: str) -> dict[str, str | int | float]:
    """Word obeys nothing but the attributes (HT-13)."""
    shown = min(MAIL_COLUMN, width)
    if image is None:
        return {"width": str(shown)}
    file = file_in_mail(image.renditions)
    return {
        "src": f"{prefix}{file.name}",
        "width": str(shown),
        "height": str(max(1, round(file.height * shown / file.width))),
    }


def _sizes(image: Media, prefix: str) -> dict[str, str | int | float]:
    widest = image.renditions[0]
    return {
        "srcset": ", ".join(f"{prefix}{file.name} {file.width}w" for file in image.renditions),
        "sizes": PAGE_SIZES,
        "width": str(widest.width),
        "height": str(widest.height),
        "loading": "lazy",
    }


def _words_of(token: Token) -> str:
    return "".join(child.content for child in token.children or [])


def _settle_headings(tokens: Sequence[Token], profile: Profile) -> None:
    number, before = 0, 1
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            # The letter's title is the page's only h1.
            token.tag = "h2" if token.tag == "h1" else token.tag
            if profile == "mail":  # h3 is the last, and none is left out (HT-4, HT-19).
                deepest = before if token.type == "heading_close" else before + 1
                before = min(int(token.tag[1]), deepest, 3)
                token.tag = f"h{before}"
            if token.type == "heading_open":
                number += 1
                token.attrs["id"] = f"s-{number}"


def _name_columns(tokens: Iterable[Token]) -> None:
    for token in tokens:
        if token.type == "th_open":
            token.attrs["scope"] = "col"


def _strike_by_style(tokens: Iterable[Token]) -> None:
    for token in _walk(tokens):
        if token.type in ("s_open", "s_close"):
            token.tag = "span"
        if token.type == "s_open":
            token.attrs["class"] = "struck"


def _without_footnote_links(tokens: Sequence[Token], mark: str) -> Iterable[Token]:
    for token in tokens:
        if token.type == "footnote_block_open":
            yield _html("<hr><ol>")
        elif token.type == "footnote_block_close":
            yield _html("</ol>")
        elif token.type == "footnote_open":
            yield _html("<li>")
        elif token.type == "footnote_close":
            yield _html("</li>")
        elif token.type != "footnote_anchor":
            if token.children:
                token.children = [_plain_note(child, mark) for child in token.children]
            yield token


def _without_wide_tables(tokens: Iterable[Token], words: str, address: str) -> Iterable[Token]:
    table: list[Token] = []  # The one at hand: there is none in another.
    for token in tokens:
        if token.type == "table_open" or table:
            table.append(token)
        else:
            yield token
        if token.type == "table_close":
            columns = sum(one.type == "th_open" for one in table)
            link = f'<p><a href="{entities.escape(address)}">{entities.escape(words)}</a></p>'
            yield from table if columns <= COLUMNS_IN_MAIL else [_html(link)]
            table = []


def _plain_note(token: Token, mark: str) -> Token:
    if token.type == "footnote_ref":
        return _html(mark.format(int(token.meta["id"]) + 1))
    if token.type == "footnote_anchor":
        return _html("")
    return token


def _html(content: str) -> Token:
    return Token("html_inline", "", 0, content=content)


_LONE_IMAGE = re.compile(r'<p>(<img [^>]*?)(?: title="([^"]*)")?\s*/?>\s*</p>')


def _figures(rendered: str) -> str:
    """An image alone in its paragraph, with its caption and, below, who took it."""

    def figure(found: re.Match[str]) -> str:
        caption = _caption(found[2] or "", "<br>")
        return f"<figure>{found[1]}>{caption and f'<figcaption>{caption}</figcaption>'}</figure>"

    return _LONE_IMAGE.sub(figure, rendered)


def _captions(rendered: str) -> str:
    """The same for peers and mail, which keep no figures: the caption is a paragraph."""

    def paragraphs(found: re.Match[str]) -> str:
        caption = _caption(found[2] or "", " ")
        return f"<p>{found[1]}></p>{caption and f'<p><em>{caption}</em></p>'}"

    return _LONE_IMAGE.sub(paragraphs, rendered)


def _caption(title: str, between: str) -> str:
    words, mark, credit = title.partition("©")
    parts = (words.strip(), f"© {credit.strip()}" if mark else "")
    return between.join(part for part in parts if part)


def _flat_tables(rendered: str) -> str:
    """Tables as paragraphs, a row each, cells between middle dots: few peers keep tables."""

    def flatten(found: re.Match[str]) -> str:
        rows = re.findall(r"<tr>(.*?)</tr>", found[0], re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        return "".join(f"<p>{' · '.join(cell.strip() for cell in row)}</p>" for row in cells)

    return re.sub(r"<table>.*?</table>", flatten, rendered, flags=re.DOTALL)


# --- bleach ----------------------------------------------------------------------------------


def _clean(rendered: str, profile: Profile) -> SafeHtml:
    cleaner = bleach.Cleaner(
        tags=_TAGS[profile],
        attributes=_attributes(profile),
        protocols={"http", "https", "mailto"},
        strip=True,
        strip_comments=True,
    )
    return SafeHtml(cleaner.clean(rendered))


def _attributes(profile: Profile) -> Callable[[str, str, str], bool]:
    simple: dict[str, Any] = {
        "a": {"href"} if profile == "article" else {"href", "title"},
        "img": {"src", "alt", "title", "width", "height"},
        "ol": {"start"},
        "th": {"scope"},
    }

    def allowed(tag: str, name: str, value: str) -> bool:
        if name in simple.get(tag, ()):
            return name not in ("href", "src") or "\\" not in value
        if profile == "mail":
            return (tag, name, value) == ("span", "class", "struck")
        if profile != "web":
            return False
        return _allowed_on_web(tag, name, value)

    return allowed


def _allowed_on_web(tag: str, name: str, value: str) -> bool:
    if name == "id":
        return re.fullmatch(r"s-\d+|fn(ref)?\d+(:\d+)?", value) is not None
    if name == "class":
        return re.fullmatch(r"language-[\w+-]+|footnote[a-z-]*", value) is not None
    if tag == "img":
        return name in ("srcset", "sizes", "loading")
    return tag in ("td", "th") and name == "align"
