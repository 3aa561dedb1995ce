"""Every command in the documentation is run, in the order in which it stands there."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import pytest

from tests.conftest import CERTIFY_DIGITS, EXPORT_DIGITS, TRAIN_DIGITS
from tests.serving import serving

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:8000"


def blocks(document: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(document.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d)], ids=lambda d: d.name)
def test_every_command_runs(document: Path, workplace: Path, digits_bundle: Path, tmp_path: Path) -> None:
    for folder in ("runs/digits", "bundles/digits"):
        shutil.copytree(workplace / folder, tmp_path / folder)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    address = ADDRESS
    with ExitStack() as stack:
        for language, text in blocks(document):
            assert language in {"sh", "python"}, f"{document.name} has a block of {language}, which nothing tests"
            commands = text.strip().splitlines() if language == "sh" else [text]
            for command in commands:
                if command.removeprefix("python -m ") in {TRAIN_DIGITS, EXPORT_DIGITS, CERTIFY_DIGITS}:
                    continue  # it made what was copied
                if command.startswith("make "):
                    subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)
                elif command.startswith("python -m serve "):
                    args = command.split()[3:]
                    served = stack.enter_context(serving(*args, cwd=tmp_path, environment=environment))
                    address = served.url.removeprefix("http://")
                else:
                    code = command.replace(ADDRESS, address)
                    argv = ["sh", "-c", code] if language == "sh" else [sys.executable, "-c", code]
                    result = subprocess.run(
                        argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                    )
                    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reasons = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
        name = re.match(r"[A-Za-z0-9._-]+", requirement).group()
        assert re.search(rf"(\| |, ){re.escape(name)}(\[| |,)", reasons), (
            f"{name} has no reason in docs/dependencies.md"
        )
        assert re.search(rf"^{re.escape(name)}==", constraints, re.MULTILINE), f"{name} is not pinned"
