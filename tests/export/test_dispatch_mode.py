"""Modes that watch operators, with and without torch's compiler."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from export.dispatch_mode import DispatchMode

_WITHOUT = """
import sys
import torch
from torch import nn
from export.reference import to_float64
from export.work import flops_per_row
assert to_float64(nn.Linear(2, 3))(torch.zeros(1, 2)).dtype == torch.float64
assert flops_per_row(nn.Linear(2, 3), (torch.zeros(1, 2),)) == 12
print(sorted({"torch._dynamo", "sympy"} & set(sys.modules)))
"""
_WITHIN = """
import sys
import torch
from torch import nn
from export.reference import to_float64
from export.work import flops_per_row
print("torch._dynamo" in sys.modules)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)
    def forward(self, x):
        return self.last({choice})
with torch.no_grad():
    print(flops_per_row(Net(), (torch.rand(2, 4),)), to_float64(Net())(torch.rand(2, 4)).dtype == torch.float64)
    import torch._dynamo
    codes = torch._dynamo.convert_frame.output_codes.seen
    print([code for code in map(str, codes) if "/export/" in code])
"""


class _Names(DispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_what_judging_watches_with_does_not_import_the_compiler() -> None:
    ended = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_compiled_network_is_watched_and_the_mode_is_not_compiled() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    graphs: list[object] = []

    def keep(graph: Any, _examples: object) -> Any:
        graphs.append(graph)
        return graph

    compiled = torch.compile(network, backend=keep)
    inputs = torch.rand(2, 3)
    expected = network(inputs)
    with _Names() as names, torch.no_grad():
        found = compiled(inputs)
    assert torch.equal(found, expected)
    assert {"addmm", "relu"} <= set(names.found)
    assert graphs == []


@pytest.mark.parametrize(
    "choice", ["torch.cond(x.sum() > 0, torch.neg, torch.abs, (x,))", "torch.compile(torch.neg)(x)"]
)
def test_the_compiler_that_a_network_imports_while_it_runs_does_not_compile_the_mode(choice: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _WITHIN.format(choice=choice)], capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines() == ["False", "24 True", "[]"], ended.stderr
