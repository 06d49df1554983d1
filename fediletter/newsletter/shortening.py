"""HTML cut to a length, whole: what a peer would refuse is not sent broken instead.

Source: federation.md 5.1 (`content`).
"""

import re

from fediletter.newsletter.html import SafeHtml

_ELEMENT = re.compile(r'<(/?)([a-z][a-z0-9]*)(?:"[^"]*"|[^">])*>')
_EMPTY = frozenset({"br", "hr", "img"})
_BLOCKS = frozenset("p h2 h3 h4 h5 h6 pre blockquote ul ol li".split())


def shortened(markup: SafeHtml, longest: int) -> SafeHtml:
    """The beginning of sanitised HTML, every element closed.

    It ends after a block; between two words where that would throw away more than a half.

    Args:
        markup: As a sanitiser made it.
        longest: Characters, closing tags among them.
    """
    opened: list[str] = []
    block = word = (0, "")
    read = 0
    for tag in _ELEMENT.finditer(markup):
        closers = _closing(opened)
        space = _last_space(markup, read, min(tag.start(), longest - len(closers)))
        word = (space, closers) if space > read else word
        read = tag.end()
        if read > longest:
            break
        if not tag[1] and tag[2] not in _EMPTY:
            opened.append(tag[2])
        elif tag[1] and opened:
            opened.pop()
            closers = _closing(opened)
            if tag[2] in _BLOCKS and read + len(closers) <= longest:
                block = (read, closers)
    end, closers = block if block[0] >= longest // 2 else max(block, word)
    return SafeHtml(markup[:end] + closers)


def _closing(opened: list[str]) -> str:
    return "".join(f"</{name}>" for name in reversed(opened))


def _last_space(text: str, start: int, end: int) -> int:
    return max(text.rfind(" ", start, end), text.rfind("\n", start, end))
