"""HTML of a letter as text that is good to read (TX-1 to TX-5 of email.md).

Seventy-two columns, headings underlined, links as numbered notes after each section, images as
their words.
"""

import textwrap
from html.parser import HTMLParser

_WIDTH = 72
_BLOCKS = frozenset({"p", "li", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "tr", "figcaption"})

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))  # TX-5.
_MARKS = {
    "em": ("_", "_"),
    "i": ("_", "_"),
    "strong": ("*", "*"),
    "b": ("*", "*"),
    "span": ("~~", "~~"),  # What is struck out, in a mail.
}


def wrapped(text: str) -> str:
    """A paragraph in lines of at most 72 columns; no-break spaces hold."""
    return "\n".join(_wrap(text, _WIDTH, "", ""))


def paragraphs(text: str) -> str:
    """Plain text in lines of at most 72 columns; what stands alone on a line stays so."""
    return "\n".join(
        wrapped(line) if len(line) > _WIDTH and not line.startswith(">") else line
        for line in text.split("\n")
    )


def text_of(markup: str) -> str:
    """The same content in the same order, as plain text.

    Args:
        markup: Sanitised HTML.
    """
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._inline = ""
        self._lists: list[int | None] = []
        self._quotes = 0
        self._pre = False
        self._link: str | None = None
        self._link_from = 0
        self._notes: list[str] = []
        self._number = 0
        self._bare: tuple[int, str] | None = None  # A link just ended whose words are its address.
        self._heads: list[str] = []  # Of the table at hand.
        self._cells: list[tuple[str, str]] = []  # Of its row: tag and text.
        self._marker = ""

    def text(self) -> str:
        self._flush("p")
        self._put_notes()
        return "\n".join(self._out).strip("\n") + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "br":
            self._bare = None
        self._settle_bare()
        if tag in ("ul", "ol"):
            self._flush("p")
            start = values.get("start") or "1"
            number = int(start) if start.isdigit() else 1
            self._lists.append(None if tag == "ul" else number)
        elif tag == "blockquote":
            self._flush("p")
            self._quotes += 1
        elif tag == "hr":
            self._flush("p")
            self._put_notes()
            self._out += ["-" * 20, ""]
        elif tag in _BLOCKS:
            self._begin_block(tag)
        else:
            self._begin_inline(tag, values)

    def _begin_block(self, tag: str) -> None:
        if self._inline.strip():
            self._flush("p")
        if tag == "li":
            self._marker = self._next_marker()
        elif tag == "pre":
            self._pre = True
        elif tag.startswith("h"):
            self._put_notes()

    def _begin_inline(self, tag: str, values: dict[str, str | None]) -> None:
        if tag == "br":
            self._inline += "\n"
        elif tag == "img" and values.get("alt"):
            self._inline += f"[{values['alt']}]"
        elif tag == "a":
            self._link, self._link_from = values.get("href"), len(self._inline)
        elif tag in ("td", "th"):
            self._inline = ""
        else:
            self._inline += _MARKS.get(tag, ("", ""))[0]

    def handle_endtag(self, tag: str) -> None:
        if tag in _MARKS:
            self._settle_bare()
        self._bare = None
        if tag in ("ul", "ol"):
            self._flush("p")
            if self._lists:
                self._lists.pop()
            if not self._lists:
                self._out.append("")
        elif tag == "blockquote":
            self._flush("p")
            self._quotes = max(0, self._quotes - 1)
            if self._out and self._out[-1] == "> " * self._quotes + ">":
                self._out[-1] = ("> " * self._quotes).rstrip()
        elif tag in ("td", "th", "tr", "table"):
            self._end_of_table(tag)
        elif tag in _BLOCKS:
            self._flush(tag)
            self._pre = self._pre and tag != "pre"
        elif tag == "a":
            self._end_link()
        else:
            self._inline += _MARKS.get(tag, ("", ""))[1]

    def _end_of_table(self, tag: str) -> None:
        """Rows become lines of `name: value` (TX-3)."""
        if tag in ("td", "th"):
            self._cells.append((tag, " ".join(self._inline.split("\n")).strip(" ")))
            self._inline = ""
        elif tag == "table":
            self._heads = []
        elif self._cells and all(kind == "th" for kind, _ in self._cells):
            self._heads, self._cells = [text for _, text in self._cells], []
        else:
            self._end_row()

    def _end_row(self) -> None:
        names = [*self._heads, *[""] * len(self._cells)]
        rows = [
            f"{name}: {text}" if name else text
            for name, (_, text) in zip(names, self._cells, strict=False)
            if text
        ]
        self._cells = []
        if rows:
            self._put([line for row in rows for line in self._wrapped(row, "")])

    def handle_data(self, data: str) -> None:
        if data.strip(" \n"):
            self._settle_bare()
        data = data.translate(_INVISIBLE)
        if not data:
            return
        if self._pre:
            self._inline += data
        else:
            # Ordinary white space folds; no-break spaces stay.
            folded = " ".join(part for part in data.replace("\n", " ").split(" ") if part)
            lead = " " if data[:1] in " \n" and not self._inline.endswith((" ", "\n")) else ""
            trail = " " if data[-1:] in " \n" and folded else ""
            self._inline += (lead if self._inline else "") + folded + trail

    def _end_link(self) -> None:
        words = self._inline[self._link_from :].strip()
        address = self._link or ""
        if address.startswith("mailto:"):
            address = address.removeprefix("mailto:").partition("?")[0]
        if address.startswith("http") and address == words:
            self._bare = self._link_from, address
            if self._inline[: self._link_from].rpartition("\n")[2].strip():
                self._settle_bare()
        elif address and address != words:
            self._inline += " "
            self._add_note(address)
        self._link = None

    def _settle_bare(self) -> None:
        """An address that is its own words stands on a line of its own, or as a note (TX-2)."""
        if self._bare is not None:
            start, address = self._bare
            before, behind = self._inline[:start], self._inline[start:].partition(address)[2]
            self._inline, self._bare = before, None
            self._add_note(address)
            self._inline += behind

    def _add_note(self, address: str) -> None:
        self._number += 1
        self._notes.append(f"[{self._number}] {address}")
        self._inline += f"[{self._number}]"

    def _next_marker(self) -> str:
        depth = "  " * (len(self._lists) - 1)
        if not self._lists or self._lists[-1] is None:
            return f"{depth}- "
        number = self._lists[-1]
        self._lists[-1] = number + 1
        return f"{depth}{number}. "

    def _flush(self, tag: str) -> None:
        content, self._inline = self._inline, ""
        if not content.strip():
            return
        if tag == "pre":
            self._put([f"    {line}" for line in content.rstrip("\n").split("\n")])
        elif tag in ("h1", "h2", "h3"):
            lines = self._wrapped(content.strip(" \n"), "")
            self._put([*lines, ("=" if tag == "h1" else "-") * max(map(len, lines))])
        else:
            marker, self._marker = self._marker, ""
            self._put(self._wrapped(content.strip(" \n"), marker), close=not self._lists)

    def _wrapped(self, content: str, marker: str) -> list[str]:
        lines: list[str] = []
        hanging = " " * len(marker)
        for number, part in enumerate(content.split("\n")):
            first = marker if number == 0 else hanging
            lines += _wrap(part.strip(" "), _WIDTH - 2 * self._quotes, first, hanging)
        return lines

    def _put(self, lines: list[str], *, close: bool = True) -> None:
        quote = "> " * self._quotes
        self._out += [f"{quote}{line}" for line in lines]
        if close:
            self._out.append(quote.rstrip())

    def _put_notes(self) -> None:
        if self._notes:
            self._out += [*self._notes, ""]
            self._notes = []


def _wrap(text: str, width: int, first: str, following: str) -> list[str]:
    # textwrap would break at no-break spaces; they are hidden from it.
    hidden = text.replace("\u00a0", "\ue000").replace("\u202f", "\ue001")
    lines = textwrap.wrap(
        hidden,
        width,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\ue000", "\u00a0").replace("\ue001", "\u202f") for line in lines]
