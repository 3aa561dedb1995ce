"""The base install has no torch: nothing of serve may import it; and nothing but the page imports Gradio."""

import subprocess
import sys
from pathlib import Path

BLOCK = """
import importlib, pkgutil, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is not in the base install", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path.cwd())


def test_every_module_of_serve_imports_without_torch() -> None:
    code = BLOCK.format(
        blocked={"torch", "torchvision", "onnx", "sklearn", "matplotlib", "train", "export", "evaluate"}
    )
    code += """
import serve
names = [m.name for m in pkgutil.walk_packages(serve.__path__, "serve.")]
for name in names:
    importlib.import_module(name)
assert "torch" not in sys.modules
print(len(names))
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15


def test_the_block_works() -> None:
    done = run(BLOCK.format(blocked={"torch"}) + "import torch")
    assert "ModuleNotFoundError: torch is not in the base install" in done.stderr


def test_serving_without_the_page_imports_no_gradio() -> None:
    done = run(
        "import sys, serve.__main__, serve.http, serve.classifier, serve.page.lazy\n"
        "print({'gradio', 'fastapi', 'pandas', 'torch'} & set(sys.modules))"
    )
    assert done.stdout == "set()\n", done.stderr
