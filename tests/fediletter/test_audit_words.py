"""Every deed that the program writes down has words for people, in both languages."""

import ast
from pathlib import Path

import pytest

import fediletter
from fediletter.web.desk.audit_words import _WORDS, words_for
from fediletter.words import words

ROOT = Path(fediletter.__file__).parent
# Written with a name that a form chose among few.
CHOSEN = {"approve", "hide", "block", "unblock"} | {
    f"mail {action}" for action in ("resume", "domain", "again", "leave", "lift")
}


def _named() -> set[str]:
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            arguments = [*node.args, *(one.value for one in node.keywords)]
            is_write = called == "audit.write" or any(
                ast.unparse(one) == "audit.write" for one in node.args[:1]
            )
            if is_write or called == "_change":
                found |= {
                    one.value
                    for argument in arguments[:2]
                    for one in ast.walk(argument)
                    if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value
                }
    return found - {"cli", "web", "clock", "mail ", "agenda: "}


@pytest.mark.rule("CL-5")
def test_every_deed_has_words():
    assert sorted((_named() | CHOSEN) - set(_WORDS)) == []
    french = words("fr").gettext
    assert [one for one in _WORDS if french(words_for(one)) == words_for(one)] == []
