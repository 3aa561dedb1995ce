"""``python -m evaluate blame``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from evaluate.commands.shared_options import FactoryName, JsonFile, Key, Trust
from evaluate.commands.targets import check_file, check_png
from evaluate.commands.written import report

_SHARE = 0.95  # of the planted operators that are to be found


@dataclass(frozen=True, slots=True, kw_only=True)
class BlameGraph:
    """Name the first operator of a graph that is further from the truth than PyTorch's own, its module and source line.

    Of a graph in float16 or int8, which no rule holds to float32, it says what single operators cost instead.

    Exit code 0: every output keeps the rule. 1: one does not. 2: trouble.
    """

    bundle: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="BUNDLE")] = None
    """Directory that `python -m export` wrote."""
    graph: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """File of the graph in the bundle. Default: the ONNX graph in float32, else the TorchScript one."""
    json: JsonFile = None
    chart: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also draw the error along the graph, as a PNG."""
    factory: FactoryName = None
    trust: Trust = False
    require_signature: Key = None
    study: bool = False
    """Instead of judging a bundle, plant faults into small networks and print how many of them are found."""


def run_blame(command: BlameGraph) -> int:
    """Find the culprit and print it."""
    from rich.status import Status

    from evaluate.tables import stderr_console
    from evaluate.trust import read_trusted
    from serve.bundle import BundleError

    if command.study:
        return _study()
    if command.bundle is None:
        raise BundleError(
            "no BUNDLE was given, but a directory that `python -m export` wrote is expected; or give --study"
        )
    check_file("--json", command.json)
    check_png("--chart", command.chart)
    bundle = read_trusted(command.bundle, trust=command.trust, public_key=command.require_signature)
    with Status("loading torch", console=stderr_console()) as status:
        from evaluate.blame.blame import blame_graph
        from evaluate.blame.table import print_blame
        from export.factory import load_factory

        blame = blame_graph(
            bundle,
            graph=command.graph,
            factory=load_factory(command.factory) if command.factory is not None else None,
            on_step=status.update,
        )
        if command.chart is not None:
            from evaluate.blame.chart import draw_blame
            from train.pictures.layout import render
            from train.whole_file import write_whole

            status.update("drawing")
            write_whole(command.chart, render(draw_blame(blame), "").png)
    report(blame, print_blame, command.json)
    return 0 if blame.passed else 1


def _study() -> int:
    from rich.status import Status

    from evaluate.blame.study import run_study
    from evaluate.tables import stderr_console

    console = stderr_console()
    with Status("planting faults", console=console) as status:
        results = run_study(on_step=status.update)
    for result in results:
        verdict = "hidden" if not result.visible else "found" if result.found else "MISSED"
        print(f"{verdict:<7} {result.network:<12} {result.graph:<12} {result.fault:<56} {result.named}")
    visible = [result for result in results if result.visible]
    found = sum(result.found for result in visible)
    print(f"{found} of {len(visible)} planted operators found; {len(results) - len(visible)} more change no output")
    return 0 if found >= _SHARE * len(visible) else 1
