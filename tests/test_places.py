"""The maps in docs/ lead to what exists: every file, every name in it, every test, every command."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "docs" / name for name in ("source-notes.md", "pitfalls.md", "traps.md")]
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"((?:train|export|serve|evaluate|tests)/[\w/]+\.py)(?:::?(\w+))?")
COMMANDS = {
    "train": {"list", "run", "compare", "show", "study", "reproduce"},
    "evaluate": {"parity", "accuracy", "bench"},
    "export": set(),
    "export.sign": set(),
    "serve": set(),
    "serve.batch": set(),
}


@cache
def names_in(path: Path) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return frozenset(found)


def faults_of(text: str) -> list[str]:
    """Say of each thing in backticks that is a place or a command, and does not exist, what it is."""
    faults = []
    for code in CODE.findall(text):
        place = FILE.fullmatch(code)
        if place:
            path, name = ROOT / place[1], place[2]
            if not path.is_file():
                faults.append(f"{code}: no such file")
            elif name and name not in names_in(path):
                faults.append(f"{code}: no such name")
        elif code.startswith("python -m "):
            module, *rest = shlex.split(code.removeprefix("python -m "))
            if module not in COMMANDS or (COMMANDS[module] and (not rest or rest[0] not in COMMANDS[module])):
                faults.append(f"{code}: no such command")
    return faults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_place_exists(page: Path) -> None:
    assert faults_of(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("name", "least"), [("pitfall", 60), ("trap", 25)])
def test_every_pitfall_and_trap_names_its_test(name: str, least: int) -> None:
    text = (ROOT / "docs" / f"{name}s.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith((f"| {name}", "|--"))]
    assert len(rows) >= least
    unproven = [row for row in rows if not re.search(r"`tests/[\w/]+\.py::test_\w+`", row)]
    assert unproven == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("`train/loop.py:no_such_thing`", "no such name"),
        ("`train/no_such_file.py`", "no such file"),
        ("`tests/test_places.py::test_nothing`", "no such name"),
        ("`python -m train dance`", "no such command"),
        ("`python -m evaluate`", "no such command"),
    ],
)
def test_a_place_that_does_not_exist_is_found(text: str, fault: str) -> None:
    assert [found.endswith(fault) for found in faults_of(text)] == [True]


def test_places_that_exist_are_no_fault() -> None:
    assert (
        faults_of("`train/loop.py:evaluate` `tests/test_places.py::test_every_place_exists` `python -m serve B`") == []
    )
