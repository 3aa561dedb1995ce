"""``python -m evaluate bench``: what it reports, and every argument that it refuses."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from own_bundles import NETWORKS, trained

from evaluate.bench.result import BenchError
from evaluate.bench.run import Measurement
from evaluate.bench.settings import Settings
from serve.bundle import read_bundle
from serve.devices import usable_cpus

Evaluate = Callable[..., tuple[int, str, str]]
FACTORY = f"{NETWORKS}:TwoInputs"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is taken and free")


def test_every_runner_is_timed_at_every_batch_size(digits_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    figures, chart = tmp_path / "bench.json", tmp_path / "bench.png"
    options = ("--quick", "--rounds", "6", "--batch-sizes", "8", "1", "8")
    code, out, err = evaluate("bench", str(digits_bundle), *options, "--json", str(figures), "--chart", str(chart))
    assert (code, err) == (0, "")
    assert "rows/s" in out
    assert chart.read_bytes().startswith(b"\x89PNG")
    bench = json.loads(figures.read_text(encoding="utf-8"))
    assert [(row["batch_size"], row["runner"]) for row in bench["rows"]] == [
        (size, runner) for size in (1, 8) for runner in ("eager", "graph.onnx", "graph.torchscript.pt")
    ]
    for row in bench["rows"]:
        assert row["quartile_ms"][0] <= row["median_ms"] <= row["quartile_ms"][1]
        assert row["rows_per_s"] == pytest.approx(1000 * row["batch_size"] / row["median_ms"])
        if row["runner"] == "eager":
            assert row["speed_over_eager"] == 1
            assert row["speed_interval_95"] is None
        else:
            low, high = row["speed_interval_95"]
            assert 0 < low <= high
    assert bench["flops_per_row"] > 0
    assert (bench["trials"], bench["peaks"], bench["scenarios"], bench["left_out"]) == ([], [], [], [])


def test_json_alone_goes_to_stdout(digits_bundle: Path, evaluate: Evaluate) -> None:
    options = ("--quick", "--rounds", "1", "--batch-sizes", "2", "--threads", "1", "--json", "-")
    code, out, _ = evaluate("bench", str(digits_bundle), *options)
    assert code == 0
    bench = json.loads(out)
    assert (bench["torch_threads"], bench["onnxruntime_threads"]) == (1, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rounds", "0"), "--rounds is 0, but each runner needs at least 1 turn; give 1 or more"),
        (("--batch-sizes", "8", "0"), "--batch-sizes is 8 0, but numbers of rows from 1 on were expected"),
        (
            ("--threads", "0"),
            f"--threads is 0, but 1 to {usable_cpus()} were expected, as many as this machine has CPUs",
        ),
        (("--threads", "99999"), f"--threads is 99999, but 1 to {usable_cpus()} were expected, as many as"),
        (("--seconds", "0"), "--seconds is 0, but a number above 0 was expected; give one"),
        (("--seconds", "nan"), "--seconds is nan, but a number above 0 was expected; give one"),
        (("--loadgen", "-1"), "--loadgen is -1, but a number above 0 was expected; give one"),
        (("--latency-ms", "0"), "--latency-ms is 0, but a number above 0 was expected; give one"),
        (("--target-qps", "9"), "--target-qps is of --loadgen's scenario Server, but --loadgen is not given; add it"),
        (
            ("--chart", "bench.jpg"),
            "--chart is bench.jpg, but the chart is a PNG; give the name of a file that ends in",
        ),
        (
            ("--chart", "no/such/bench.png"),
            "--chart is no/such/bench.png, but that is no place for a file; give a file",
        ),
        (
            ("--json", "no/such/bench.json"),
            "--json is no/such/bench.json, but that is no place for a file; give a file",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    options: tuple[str, ...], words: str, evaluate: Evaluate, tmp_path: Path
) -> None:
    code, out, err = evaluate("bench", str(tmp_path / "not looked at"), *options)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {words}")
    assert err.count("\n") == 1


def test_without_the_load_generator_it_is_asked_for(
    evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    code, _, err = evaluate("bench", str(tmp_path), "--loadgen", "1")
    assert code == 2
    assert err == (
        "error: --loadgen needs MLPerf's load generator, which is not installed; pip install 'facsimile[loadgen]'\n"
    )


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom evaluate.__main__ import main\n"
        "try:\n    main(['bench', '--help'])\n"
        "except SystemExit as error:\n    print(error.code, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0 False"
    words = " ".join(result.stdout.replace("│", " ").split())
    assert "how many times eager's speed with its 95 % interval" in words


@ON_LINUX
def test_where_nothing_fits_it_says_what_would_be_needed(digits_bundle: Path) -> None:
    with pytest.raises(
        BenchError, match=r"^batch 64 is left out: 0\.\d\d GiB or more would be needed at 64, but only "
    ):
        Measurement(read_bundle(digits_bundle), Settings(quick=True, batch_sizes=(64,)), free=1).run()


def test_a_module_at_hand_needs_no_factory(own_bundles: dict[str, Path]) -> None:
    bundle = read_bundle(own_bundles["TwoInputs"])
    shares: list[float] = []
    bench = Measurement(
        bundle,
        Settings(quick=True, batch_sizes=(2,), rounds=1),
        module=trained("TwoInputs"),
        on_step=lambda _, share: shares.append(share),
    ).run()
    assert bench.rows[0].runner == "eager"
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


@pytest.mark.slow
def test_costs_threads_peak_and_compiling(own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    options = ("--batch-sizes", "1", "8", "--rounds", "3", "--seconds", "0.2", "--json", str(path))
    code, out, _ = evaluate("bench", str(own_bundles["TwoInputs"]), "--trust", "--factory", FACTORY, *options)
    assert code == 0
    bench = json.loads(path.read_text(encoding="utf-8"))
    names = [cost["runner"] for cost in bench["runners"]]
    if any("no C++ compiler" in sentence for sentence in bench["left_out"]):
        assert "torch.compile" not in names
    else:
        assert bench["left_out"] == []
        assert names[:2] == ["eager", "torch.compile"]
        assert bench["runners"][1]["compile_s"] > 0
        assert "compiling" in out
    assert {row["runner"] for row in bench["rows"]} == {*names}
    for cost in bench["runners"]:
        assert cost["start_s"] > 0
        assert cost["peak_batch_size"] == 8
        assert cost["peak_bytes"] is None or cost["peak_bytes"] > 2**20
    assert {trial["runner"] for trial in bench["trials"]} == {"eager", "graph.onnx"}
    assert bench["peaks"][0]["device"] == "cpu"
    assert all(row["share_of_bytes"] > 0 for row in bench["rows"])
    assert "is fastest with" in out
