"""`python -m tests.mutations`: does a test fail when the enforcement of a rule is taken away?

In a copy of the tree each mutation of `list.py` is applied alone and its tests are run; before
that, all of them whole. Prints a table; exits 1 when a mutation survives. Takes some minutes, so
it is no part of the tests; `tests/test_mutations.py` sees that each mutation still applies.

    python -m tests.mutations            all
    python -m tests.mutations IN-2 FE-6  some rules

Source: security.md 13, point 6.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutations.list import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
_COPIED = ("federation", "fediletter", "storage", "tests", "pyproject.toml", "FEDERATION.md")


def main(rules: list[str]) -> int:
    """Run the mutations of these rules, or all."""
    chosen = [one for one in MUTATIONS if not rules or one.rule in rules]
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        for name in _COPIED:
            _copy(ROOT / name, tree / name)
        whole = _failures(tree, sorted({test for one in chosen for test in one.tests}))
        if whole:
            print("These fail already in the whole program:", *whole, sep="\n  ")
            return 1
        print(f"{len(chosen)} mutations; every test passes in the whole program\n")
        print("| rule | not enforced any more | noticed by |\n| --- | --- | --- |")
        survivors = 0
        for one in chosen:
            noticed = _noticed(tree, one)
            survivors += not noticed
            print(f"| {one.rule} | {one.name} | {noticed or '**NOTHING**'} |", flush=True)
    print(f"\n{len(chosen) - survivors} noticed, {survivors} survived")
    return 1 if survivors else 0


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(source, target, ignore=ignored)
    else:
        shutil.copy(source, target)


def _noticed(tree: Path, mutation: Mutation) -> str:
    """The first test that failed, and how many did."""
    before = {path: (tree / path).read_text(encoding="utf-8") for path, _, _ in mutation.edits}
    for path, old, new in mutation.edits:
        text = (tree / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{mutation.name}: {path} has changed"
        (tree / path).write_text(text.replace(old, new), encoding="utf-8")
    found = _failures(tree, list(mutation.tests))
    for path, text in before.items():
        (tree / path).write_text(text, encoding="utf-8")
    if not found:
        return ""
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"`{found[0].rpartition('::')[2]}`{more}"


def _failures(tree: Path, tests: list[str]) -> list[str]:
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=900)
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) and not found:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
