"""What operators copy: every setting is known to the program, every command is one of its own."""

import re
from pathlib import Path

import click
import pytest

from fediletter import settings
from fediletter.cli import cli

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted(one for one in DEPLOY.iterdir() if one.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_that_a_file_names_is_one(path):
    named = set(re.findall(r"FEDILETTER_([A-Z_]*[A-Z])", path.read_text()))

    assert {one.lower() for one in named} <= settings._NAMES


def test_the_example_of_settings_is_taken_as_it_stands(tmp_path):
    lines = (DEPLOY / "fediletter.env.example").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]

    found = settings.load({name: value for name, _, value in pairs}, data=tmp_path)

    assert found.base_url == "https://letters.example.org"


@pytest.mark.parametrize("name", ["compose.yaml", "compose.postgres.yaml", "Dockerfile"])
def test_every_command_that_a_container_runs_is_one(name):
    text = re.sub(r'[",\[\]]+', " ", (DEPLOY / name).read_text())
    named = set(re.findall(r"(?:exec|&&|-c|command: +)\s*fediletter +([a-z]+)", text))

    assert named <= set(cli.list_commands(click.Context(cli)))
    assert named or name == "compose.yaml"
