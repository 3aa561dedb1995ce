"""Modes that watch operators, with and without torch's compiler."""

import subprocess
import sys
from typing import Any

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
    code = [str(getattr(graph, "code", "")) for graph in graphs]
    assert not any("found" in lines for lines in code)
