"""Every rule of the contract about peers names at least one test (security.md 13)."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
RULES = [
    *(f"IN-{number}" for number in range(1, 38)),
    *(f"FE-{number}" for number in range(1, 19)),
    *(f"HT-{number}" for number in range(1, 10)),
    *(f"V{number:02}" for number in range(1, 17)),
    *(f"I{number:02}" for number in range(1, 21)),
    *(f"D{number:02}" for number in range(1, 8)),
    *(f"P{number:02}" for number in range(1, 17)),
    *(f"L-{number}" for number in (1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)),
    *(f"L-{number}" for number in (*range(20, 33), *range(40, 45))),
]

# The desk, files, the site: sections 5, 6 and 8.
RULES_OF_THE_WEB = [
    *(f"WE-{number}" for number in range(1, 24)),
    *(f"ME-{number}" for number in range(1, 10)),
    *(f"PR-{number}" for number in range(1, 10)),
    *(f"L-{number}" for number in (2, 5, *range(50, 57), *range(60, 66))),
]

COMING_BACK = [  # Mail in security.md 7, and what comes back in email.md.
    *(f"EM-{number}" for number in range(1, 18)),
    *(f"UN-{number}" for number in range(1, 11)),
    *(f"BO-{number}" for number in range(1, 13)),
    *(f"TR-{number}" for number in range(1, 26) if number != 16),  # TR-16: `make bench`.
    *(f"L-{number}" for number in (70, 71, 72, 73, 74, 75, 76, 80, 81, 91, 92)),
]

# Outgoing mail and lists: reference page of email, sections 1 to 6, 8 and 10 to 13. Not here: what
# is no rule (DK-5), and what the bench measures (TR-16).
RULES_OF_MAIL = [
    *(f"ID-{number}" for number in range(1, 4)),
    *(f"HD-{number}" for number in range(1, 25)),
    *(f"SE-{number}" for number in range(2, 7)),
    *(f"MI-{number}" for number in range(1, 9)),
    *(f"HT-{number}" for number in range(1, 20)),
    *(f"TX-{number}" for number in range(1, 6)),
    *(f"OP-{number}" for number in range(1, 9)),
    *(f"DK-{number}" for number in (1, 2, 3, 4, 6)),
    "TR-26",  # The others stand above.
    *(f"DO-{number}" for number in range(1, 17)),
    *(f"IM-{number}" for number in range(1, 8)),
]

RULES_OF_RELIABILITY = [f"RE-{number}" for number in range(1, 18)]


@pytest.fixture(scope="module")
def named() -> set[str]:
    texts = (path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    # By a mark, or as the first of a row of cases that are marked by it.
    written = re.compile(r'(?:mark\.rule|^ +)\(\s*"([A-Z]+-?\d+)"(?:\)|,)', re.MULTILINE)
    return {rule for text in texts for rule in written.findall(text)}


def test_every_rule_about_peers_has_a_test_that_names_it(named):
    assert [rule for rule in RULES if rule not in named] == []


def test_every_rule_about_the_web_has_a_test_that_names_it(named):
    assert [rule for rule in RULES_OF_THE_WEB if rule not in named] == []


def test_every_rule_of_mail_and_of_what_comes_back_has_a_test_that_names_it(named):
    assert [rule for rule in COMING_BACK if rule not in named] == []


def test_every_rule_about_outgoing_mail_has_a_test_that_names_it(named):
    assert [rule for rule in RULES_OF_MAIL if rule not in named] == []


def test_every_promise_of_reliability_has_a_test_that_names_it(named):
    assert [rule for rule in RULES_OF_RELIABILITY if rule not in named] == []
