"""The doctor looks at the machine: its clock, and whether there is an installation at all."""

import pytest

from fediletter.checks import machine
from tests.fediletter.test_check_mail import colour
from tests.fediletter.test_cli import run


@pytest.mark.parametrize(("state", "found"), [(0, "green"), (5, "amber"), (None, None), (-1, None)])
def test_a_clock_that_nobody_keeps_right_is_named(shop, monkeypatch, state, found):
    monkeypatch.setattr(machine, "clock_state", lambda: state)

    findings = {one.name: one for one in machine.machine_findings(shop.services.settings)}

    assert (colour(findings["clock"]) if "clock" in findings else None) == found
    assert colour(findings["disk"]) == "green"


def test_the_kernel_is_asked():
    assert machine.clock_state() in {None, -1, *range(6)}


@pytest.mark.parametrize("command", ["status", "export"])
def test_where_nothing_was_made_yet_the_way_is_named(tmp_path, command):
    more = [str(tmp_path / "out")] if command == "export" else []

    answer = run("--data", str(tmp_path / "none"), command, *more)

    assert answer.returncode == 1
    assert "Run `fediletter init`" in answer.stderr
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "out").exists()
