"""What is looked at before times are taken: runners that fail, batches that take long, and what is asked in vain."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluate.bench.costs import Costs
from evaluate.bench.entrants import Entrant
from evaluate.bench.loadgen import Load, run_scenario
from evaluate.bench.progress import Progress
from evaluate.bench.result import BenchError
from evaluate.bench.run import Measurement
from evaluate.bench.settings import Settings
from evaluate.resealed import change_manifest, replace_file
from serve.bundle import BundleError, read_bundle

Evaluate = Callable[..., tuple[int, str, str]]
INPUTS = {"x": np.zeros((3, 2), np.float32)}


class Fails:
    """Fails from so many rows on."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if len(inputs["x"]) >= self.rows:
            raise RuntimeError("the first line\nno room for so many")
        return {"y": inputs["x"]}


def entrant(name: str, fails_at: int = 10**6) -> Entrant:
    return Entrant(name=name, provider="torch CPU", precision="float32", size_bytes=1, runner=Fails(fails_at))


def costs(bundle: Path, settings: Settings) -> Costs:
    return Costs(
        read_bundle(bundle),
        settings,
        INPUTS,
        factory=None,
        given=False,
        free=None,
        progress=Progress(lambda _, __: None),
    )


def test_who_fails_on_greater_batches_takes_part_in_smaller_ones(digits_bundle: Path) -> None:
    found = costs(digits_bundle, Settings(quick=True, batch_sizes=(1, 4, 16)))
    both = [entrant("eager"), entrant("graph.onnx", fails_at=5)]
    assert found.sizes(both, 1) == (1, 4, 16)
    assert found.left_out == ["graph.onnx is left out above batch 4: it fails there (no room for so many)"]
    assert [[one.name for one in found.at(both, size)] for size in (1, 4, 16)] == [
        ["eager", "graph.onnx"],
        ["eager", "graph.onnx"],
        ["eager"],
    ]


def test_who_cannot_run_one_row_cannot_be_measured(digits_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"^graph\.onnx cannot be run: no room for so many$"):
        costs(digits_bundle, Settings(quick=True)).sizes([entrant("eager"), entrant("graph.onnx", fails_at=1)], 1)


def test_batches_that_take_long_are_left_out_unless_asked_for(digits_bundle: Path) -> None:
    unasked = costs(digits_bundle, Settings(quick=True, seconds=1e-9))
    assert unasked.sizes([entrant("eager")], 1) == (1,)
    (sentence,) = unasked.left_out
    assert sentence.startswith("batch 8, 64, 256 is left out: one run of eager would take ")
    assert sentence.endswith(" s at 8; ask for it with --batch-sizes")
    asked = costs(digits_bundle, Settings(quick=True, seconds=1e-9, batch_sizes=(1, 256)))
    assert asked.sizes([entrant("eager")], 1) == (1, 256)
    assert asked.left_out == []
    assert costs(digits_bundle, Settings(quick=True)).sizes([entrant("eager")], 1) == (1, 8, 64, 256)


def test_the_share_that_is_done_never_exceeds_all() -> None:
    told: list[tuple[str, float]] = []
    progress = Progress(lambda doing, share: told.append((doing, share)))
    progress.steps = 4
    progress.say("first", 0.5)
    progress.advance(5)
    progress.say("last")
    assert told == [("first", 0.125), ("last", 1.0)]


def test_a_graph_that_cannot_be_loaded_is_trouble(wrong_bundle: Path, evaluate: Evaluate) -> None:
    replace_file(wrong_bundle, "graph.onnx", b"nothing of ONNX's")
    code, out, err = evaluate("bench", str(wrong_bundle), "--quick")
    assert (code, out) == (2, "")
    assert err.startswith("error: graph.onnx cannot be run: ")
    assert err.count("\n") == 1


def test_the_load_generator_needs_a_float32_onnx_graph_and_says_so_first(wrong_bundle: Path) -> None:
    change_manifest(
        wrong_bundle,
        lambda manifest: replace(manifest, files=tuple(f for f in manifest.files if f.format != "onnx")),
    )
    steps: list[str] = []
    measurement = Measurement(
        read_bundle(wrong_bundle), Settings(quick=True, loadgen_s=1), on_step=lambda doing, _: steps.append(doing)
    )
    with pytest.raises(
        BenchError,
        match=r"^--loadgen questions a float32 ONNX graph, but .* holds none; export it with ",
    ):
        measurement.run()
    assert steps == ["building the eager module"]


def test_a_graph_that_fails_under_load_is_trouble() -> None:
    pytest.importorskip("mlperf_loadgen", reason="the extra loadgen is not installed")
    load = Load(
        graph="graph.onnx",
        runner=Fails(1),
        inputs=INPUTS,
        largest=4,
        rows_per_s=(100.0, 100.0),
        seconds=0.1,
        target_qps=None,
        latency_ms=10.0,
    )
    with pytest.raises(
        BenchError,
        match=r"^graph\.onnx fails under --loadgen \(no room for so many\); prove it with `python -m evaluate ",
    ):
        run_scenario("Offline", load)
