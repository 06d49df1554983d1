"""Finds every message that people can be shown: in calls, tables, templates, commands' help."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
from babel.messages.extract import extract_from_dir

from fediletter.cli import _COMMANDS, cli

ROOT = Path(__file__).parent.parent / "fediletter"
_SENTENCE = re.compile(r"[A-ZÀ-Ü{][^\n]{6,}[.?!:]")
_NOT_FOR_PEOPLE = ("demo/", "logs.py", "settings.py", "rendering/", "workers/")


def messages() -> dict[str, str]:
    """Message ids, and where each stands."""
    found: dict[str, str] = {}
    for method, pattern in (("python", "**.py"), ("jinja2", "**/templates/**.*")):
        for name, _line, message, _comments, _context in extract_from_dir(
            str(ROOT), method_map=[(pattern, method)], keywords=_KEYWORDS
        ):
            for one in message if isinstance(message, tuple) else (message,):
                found.setdefault(one, name)
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(_NOT_FOR_PEOPLE):
            continue
        for text in _sentences(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(text, name)
    settings = ast.parse((ROOT / "settings.py").read_text(encoding="utf-8"))
    for text in _of_settings(settings):
        found.setdefault(text, "settings.py")
    for name, module in _COMMANDS.items():
        command = getattr(import_module(f"fediletter.commands.{module}"), name)
        for text in _help_of(command):
            found.setdefault(text, f"--help of {name}")
    for text in (*_help_of(cli), *_OF_CLICK):
        found.setdefault(text, "--help")
    return {text: place for text, place in found.items() if text}


def _of_settings(tree: ast.Module) -> Iterator[str]:
    """What is said of a wrong value, after its name."""
    yield from ("there is no such setting", "cannot be read: {reason}")
    for node in ast.walk(tree):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name("ValueError"), args=[said, *_])):
                yield ast.literal_eval(said)


def _help_of(command: click.Command) -> Iterator[str]:
    yield inspect.cleandoc(command.help or "")
    for param in command.params:
        if isinstance(param, click.Option):
            yield param.help or ""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from _help_of(one)


_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "AppError": (2,), "UsageError": None}
_OF_CLICK = (
    "Usage:",
    "Options:",
    "Commands:",
    "[default: ",
    "COMMAND [ARGS]...",
    "Show this message and exit.",
    "{value!r} is not a valid {number_type}.",
    "{value!r} is not one of {choices}.",
    "{name} {filename!r} does not exist.",
    "{name} {filename!r} is a file.",
    "{name} {filename!r} is a directory.",
    "{name} {filename!r} is not readable.",
    "Option {name!r} does not take a value.",
    "Option {name!r} requires an argument.",
    "Got unexpected extra argument ({args})",
    "Missing command.",
    "Aborted!",
    "Repeat for confirmation",
    "Error: The two entered values do not match.",
    "Error: {message}",
)


def _sentences(tree: ast.Module) -> list[str]:
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr):
                skipped.add(id(first.value))
        elif isinstance(node, ast.keyword) and node.arg in ("help", "extra"):
            skipped |= {id(inner) for inner in ast.walk(node.value)}
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in ("UsageError", "error", "warning", "info", "exception"):
                skipped |= {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(inner) for inner in ast.walk(node)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in skipped
        and " " in node.value
        and _SENTENCE.fullmatch(node.value)
    ]
