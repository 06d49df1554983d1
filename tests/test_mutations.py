"""Each mutation still applies, and the rules of security.md 13.6 all have one."""

from pathlib import Path

import pytest

from tests.mutations.list import MUTATIONS

ROOT = Path(__file__).parents[1]
RULES = {
    *("IN-2", "IN-3", "IN-10", "IN-11", "IN-13", "IN-20", "IN-21", "IN-27"),
    *("FE-1", "FE-3", "FE-6", "FE-10"),
}


def test_every_rule_that_the_contract_names_has_a_mutation():
    assert {one.rule for one in MUTATIONS} >= RULES


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: f"{one.rule} {one.name}")
def test_a_mutation_applies_and_its_tests_are_there(mutation):
    for path, old, new in mutation.edits:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, path
        compile(text.replace(old, new), path, "exec")
    for test in mutation.tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), test
