"""Quoted-printable as nothing on the way has a reason to change it.

Sources: RFC 2045 §6.7; email.md MI-3 to MI-7.
"""

_LONGEST_ROW, _LONGEST_SLOT_ROW = 75, 72  # Octets of a line, before its soft break.


def soft_rows(value: bytes) -> bytes:
    """A value alone on its rows, cut where no row begins with a dot (MI-5, MI-7).

    By its length and its host alone, so that all readers' links are cut at the same places. When it
    is filled, not in the template: a mailing outlives a change of our address (UN-2).
    """
    rows = []
    while len(value) > _LONGEST_SLOT_ROW:
        end = _LONGEST_SLOT_ROW
        while end > 1 and value[end : end + 1] == b".":
            end -= 1  # A row that began with a dot would lose it on the way (MI-7).
        rows.append(value[:end])
        value = value[end:]
    return b"=\r\n".join([*rows, value])


def quoted(text: str) -> bytes:
    """Quoted-printable with CRLF line ends, at most 76 octets a line (MI-4)."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return b"\r\n".join(_line(line) for line in lines)


def _line(line: str) -> bytes:
    tokens = [
        chr(octet) if (33 <= octet <= 126 and octet != 61) or octet == 32 else f"={octet:02X}"
        for octet in line.encode("utf-8")
    ]
    if tokens and tokens[-1] == " ":
        tokens[-1] = "=20"
    rows, row = [], ""
    for at, token in enumerate(tokens):
        if len(row) + len(token) > _LONGEST_ROW:
            rows.append(row + "=")
            row = ""
        row += token if row else _first_of_row(token, tokens[at + 1 : at + 5])
    rows.append(row)
    return "\r\n".join(rows).encode("ascii")


def _first_of_row(token: str, following: list[str]) -> str:
    """What begins a line: relays stuff and strip a dot, mailboxes alter `From ` (MI-4, EM-4)."""
    if token == "." or (token == "F" and following == ["r", "o", "m", " "]):  # noqa: S105
        return f"={ord(token):02X}"
    return token
