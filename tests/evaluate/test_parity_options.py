"""Threads, level, runners and samples of parity as a user chooses them, and whether certificates agree."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from altered import copy_bundle
from own_bundles import NETWORKS, samples_of
from PIL import Image
from spoilers import plant, scale_one_weight

from evaluate.agreement import earlier_certificate, sentences
from evaluate.certificate import Certificate, Check, write_certificate
from evaluate.plan import FULL, QUICK, plan_of
from evaluate.runners import all_candidates
from evaluate.torch_threads import OnThreads, torch_threads
from evaluate.ways import RUNNERS, Way, ways_of
from export.factory import load_factory
from serve.announce import read_certified
from serve.bundle import CERTIFICATE, read_bundle
from serve.devices import usable_cpus

Evaluate = Callable[..., tuple[int, str, str]]
ROOT = "RootOfSignal"


def factory(name: str) -> tuple[str, str]:
    return ("--factory", f"{NETWORKS}:{name}")


def certificate_of(bundle: Path) -> Certificate:
    return msgspec.json.decode((bundle / CERTIFICATE).read_bytes(), type=Certificate)


@pytest.fixture
def own(own_bundles: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copy a bundle of an own network, that a test may certify or spoil."""
    return lambda name: copy_bundle(own_bundles[name], tmp_path / name)


def test_ways_are_all_threads_and_one_and_both_levels() -> None:
    served, written, alone = Way(), Way(optimized=False), Way(threads=1)
    assert ways_of(FULL) == (served, written, alone)
    assert ways_of(QUICK) == (served,)
    assert ways_of(FULL, optimization="all") == (served, alone)
    assert ways_of(FULL, optimization="none") == (written, Way(optimized=False, threads=1))
    assert ways_of(QUICK, optimization="none") == (written,)


def test_torch_graphs_run_with_as_many_threads_as_they_say(own_bundles: dict[str, Path]) -> None:
    bundle = read_bundle(own_bundles["TwoOutputs"])
    before = torch.get_num_threads()
    with torch_threads(3):
        found = list(all_candidates(bundle, ways=ways_of(FULL), threads=3))
    assert torch.get_num_threads() == before
    ways = [(one.graph, one.optimized, one.threads) for one in found]
    assert ways == [
        *(("graph.onnx", *way) for way in ((True, 3), (False, 3), (True, 1))),
        *(("graph.torchscript.pt", True, threads) for threads in (3, 1)),
        *(("graph.pt2", True, threads) for threads in (3, 1)),
    ]
    seen: list[int] = []

    class Looks:
        def run(self, _: object) -> dict[str, np.ndarray]:
            seen.append(torch.get_num_threads())
            return {}

    with torch_threads(2):
        OnThreads(Looks(), 1).run({})
        assert (seen, torch.get_num_threads()) == ([1], 2)


def test_where_a_row_is_costly_one_thread_runs_few_sets(
    own: Callable[[str], Path], evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluate import judge

    monkeypatch.setattr(judge, "plan_of", lambda **options: plan_of(**{**options, "flops_per_row": 60_000_000}))
    bundle = own("TwoOutputs")
    options = ("--trust", "--threads", "2", "--runners", "onnx", "torchscript")
    assert evaluate("parity", str(bundle), *factory("TwoOutputs"), *options)[0] == 0
    sets = {
        (graph.graph, graph.optimized, graph.threads): {(c.input_set, c.batch_size) for c in graph.comparisons}
        for graph in certificate_of(bundle).graphs
    }
    few = {("held-out samples and mixtures of them", 64), ("held-out samples again", 1)}
    for graph in ("graph.onnx", "graph.torchscript.pt"):
        assert sets[graph, True, 1] == few
        assert sets[graph, True, 2] > few


def test_where_a_row_is_costly_and_one_thread_is_all_there_is_every_way_runs_every_set(
    own: Callable[[str], Path], evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluate import judge

    monkeypatch.setattr(judge, "plan_of", lambda **options: plan_of(**{**options, "flops_per_row": 60_000_000}))
    bundle = own("TwoOutputs")
    options = ("--trust", "--threads", "1", "--runners", "onnx", "torchscript")
    assert evaluate("parity", str(bundle), *factory("TwoOutputs"), *options)[0] == 0
    graphs = certificate_of(bundle).graphs
    ways = [(graph.graph, graph.optimized, graph.threads) for graph in graphs]
    assert ways == [("graph.onnx", True, 1), ("graph.onnx", False, 1), ("graph.torchscript.pt", True, 1)]
    sets = [{(c.input_set, c.batch_size) for c in graph.comparisons} for graph in graphs]
    sought = {one for one in sets[1] ^ sets[0] if "sought" in one[0]}
    assert sets[0] - sought == sets[1] - sought == sets[2] - sought
    assert len(sets[1]) > 4


@pytest.mark.parametrize("name", ["digits", "TwoInputs", "TwoOutputs", ROOT])
def test_other_threads_and_levels_agree(
    name: str, digits_bundle: Path, own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle = copy_bundle(digits_bundle if name == "digits" else own_bundles[name], tmp_path / "bundle")
    options = ("--quick", *(() if name == "digits" else (*factory(name), "--trust")))
    graphs = [graph for graph in ("graph.onnx", "graph.torchscript.pt", "graph.pt2") if (bundle / graph).exists()]
    ways = [("1", "none"), ("2", "all")]
    ways += [] if name == "digits" else [("2", "none"), ("1", "all")]
    for index, (threads, level) in enumerate(ways):
        code, _, err = evaluate(
            "parity", str(bundle), *options, "--threads", threads, "--optimization", level, "--seed", str(index)
        )
        setting = certificate_of(bundle).setting
        assert (code, setting.torch_threads, setting.onnxruntime_threads) == (0, int(threads), int(threads))
        assert f"agrees with the certificate that was here on {', '.join(graphs)}\n" in err or index == 0
        if index:
            before, now = (
                re.search(rf"^  {when} +(.*)$", err, re.MULTILINE).group(1)  # type: ignore[union-attr]
                for when in ("before", "now")
            )
            assert f"threads of torch {threads}, of ONNX Runtime {threads}, optimization {level}, seed {index}" in now
            assert f"optimization {ways[index - 1][1]}, seed {index - 1}" in before
            assert "quick" in now
            assert f"torch {torch.__version__}" in now


def test_each_graph_whose_verdict_is_another_now_is_named(
    own: Callable[[str], Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle = own("TwoInputs")
    options = ("--quick", *factory("TwoInputs"), "--runners", "onnx", "torchscript")
    plant(bundle, "graph.onnx", scale_one_weight, tmp_path, factory=load_factory(f"{NETWORKS}:TwoInputs"))
    assert evaluate("parity", str(bundle), *options)[0] == 1
    wrong = certificate_of(bundle)
    assert {graph.graph: graph.verdict for graph in wrong.graphs} == {
        "graph.onnx": "fail",
        "graph.torchscript.pt": "pass",
    }
    claimed = replace(
        wrong, graphs=tuple(replace(graph, verdict="pass", reason=None) for graph in wrong.graphs), sha256="0" * 64
    )
    write_certificate(claimed, bundle)
    code, _, err = evaluate("parity", str(bundle), *options)
    assert code == 1
    assert (
        "differs from the certificate that was here:\n  graph.onnx on CPUExecutionProvider was pass, and is fail" in err
    )
    assert "graph.torchscript.pt" not in err
    script = replace(wrong, graphs=wrong.graphs[1:])
    assert sentences(replace(wrong, graphs=wrong.graphs[:1]), script)[0].startswith("has no graph in common")
    unsound = replace(wrong, checks=(*wrong.checks[:-1], Check(name="rows", passed=False, detail="they mix")))
    assert sentences(wrong, unsound)[1] == "  the check of rows fails now: they mix"


def test_rounding_that_is_excused_and_was_not_is_named(own: Callable[[str], Path], evaluate: Evaluate) -> None:
    bundle = own("TwoInputs")
    assert evaluate("parity", str(bundle), "--quick", *factory("TwoInputs"), "--runners", "onnx")[0] == 0
    kept = certificate_of(bundle)

    def with_slack(slack: float) -> Certificate:
        (graph,) = kept.graphs
        first, *others = graph.comparisons
        return replace(kept, graphs=(replace(graph, comparisons=(replace(first, slack=slack), *others)),))

    onnx = "  graph.onnx on CPUExecutionProvider"
    assert sentences(kept, with_slack(60.0))[:2] == (
        "differs from the certificate that was here:",
        f"{onnx} kept the rule's bounds, and needed bounds 60 times as wide as the rule's now",
    )
    assert sentences(with_slack(60.0), with_slack(29.0))[1] == (
        f"{onnx} needed bounds 60 times as wide as the rule's, and needed bounds 29 times as wide as the rule's now"
    )
    assert sentences(with_slack(60.0), kept)[1].endswith("times as wide as the rule's, and kept the rule's bounds now")
    for then, now in ((1.0, 2.0), (60.0, 31.0), (31.0, 60.0), (1.0, 1.0)):
        assert sentences(with_slack(then), with_slack(now))[0].startswith("agrees with")


def test_a_certificate_of_another_bundle_or_release_is_not_compared(
    own: Callable[[str], Path], own_bundles: dict[str, Path]
) -> None:
    bundle = own("TwoInputs")
    assert earlier_certificate(read_bundle(bundle)) is None
    from serve.bundle import CertificateHead, encode_sealed

    head = CertificateHead(sha256="0" * 64, bundle_sha256=read_bundle(bundle).manifest.sha256, passed=True)
    (bundle / CERTIFICATE).write_bytes(encode_sealed(head))
    assert earlier_certificate(read_bundle(bundle)) is None


@pytest.mark.parametrize("runner", ["torchscript", "graph.torchscript.pt"])
def test_what_is_left_out_is_named_and_not_certified(
    runner: str, own: Callable[[str], Path], evaluate: Evaluate
) -> None:
    """Serving runs graph.onnx: a pass of the TorchScript file says nothing of it."""
    bundle = own("TwoInputs")
    code, out, _ = evaluate("parity", str(bundle), "--quick", "--runners", runner, *factory("TwoInputs"))
    assert code == 0
    assert "not judged: graph.onnx, graph.pt2" in out
    assert "parity holds: every graph that was judged" in out
    certificate = certificate_of(bundle)
    assert certificate.setting.not_judged == ("graph.onnx", "graph.pt2")
    assert {graph.graph for graph in certificate.graphs} == {"graph.torchscript.pt"}
    assert certificate.precisions == {"float32": "not judged"}
    assert read_certified(read_bundle(bundle)) == "not judged"


def test_only_as_it_was_written_is_not_as_it_is_served(own: Callable[[str], Path], evaluate: Evaluate) -> None:
    bundle = own("TwoOutputs")
    options = ("--quick", "--trust", *factory("TwoOutputs"), "--optimization")
    assert evaluate("parity", str(bundle), *options, "none")[0] == 0
    assert certificate_of(bundle).precisions == {"float32": "not judged"}
    assert read_certified(read_bundle(bundle)) == "not judged"
    assert evaluate("parity", str(bundle), *options, "all")[0] == 0
    assert certificate_of(bundle).precisions == {"float32": "pass"}
    assert read_certified(read_bundle(bundle)) == "passed"


def test_a_graph_that_fails_fails_whatever_is_left_out(
    own: Callable[[str], Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle = own("TwoInputs")
    plant(bundle, "graph.torchscript.pt", scale_one_weight, tmp_path, factory=load_factory(f"{NETWORKS}:TwoInputs"))
    assert evaluate("parity", str(bundle), "--quick", "--runners", "torchscript", *factory("TwoInputs"))[0] == 1
    assert certificate_of(bundle).precisions == {"float32": "fail"}
    assert read_certified(read_bundle(bundle)) == "failed"


def test_precisions_are_chosen_by_runner(reduced_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path) -> None:
    bundle = copy_bundle(reduced_bundles["TwoInputs"], tmp_path / "bundle")
    assert evaluate("parity", str(bundle), "--quick", "--runners", "onnx-fp16", *factory("TwoInputs"))[0] == 0
    assert certificate_of(bundle).precisions == {"float32": "not judged", "float16": "pass", "int8": "not judged"}
    assert evaluate("parity", str(bundle), "--quick", "--runners", "onnx", "onnx-int8", *factory("TwoInputs"))[0] == 0
    assert certificate_of(bundle).precisions == {"float32": "pass", "float16": "not judged", "int8": "pass"}


def test_a_strangers_program_needs_no_trust_where_it_is_not_judged(
    own_bundles: dict[str, Path], evaluate: Evaluate
) -> None:
    options = ("parity", str(own_bundles["TwoInputs"]), "--quick", "--no-certificate", *factory("TwoInputs"))
    assert evaluate(*options, "--runners", "onnx")[0] == 0
    for runners in (("exported-program",), ("graph.pt2", "onnx")):
        code, _, err = evaluate(*options, "--runners", *runners)
        assert (code, "is an exported program" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ("--runners", "onnx-int8"),
            "--runners names onnx-int8, but {bundle} holds graph.onnx, graph.torchscript.pt; name one of those, or one "
            f"of {', '.join(RUNNERS)} that was exported",
            id="runners",
        ),
        pytest.param(
            ("--threads", "0"),
            "--threads is 0, but at least 1 computes; leave it out for all there are",
            id="threads",
        ),
        pytest.param(
            ("--threads", "99999"),
            f"--threads is 99999, but this machine has {usable_cpus()} CPUs, and more threads only wait for each "
            f"other; give {usable_cpus()}, or leave it out for all there are",
            id="too many threads",
            marks=pytest.mark.skipif(usable_cpus() == 1, reason="then it is one CPU"),
        ),
        pytest.param(
            ("--runners",),
            "--runners is given without a name, but at least one was expected; give onnx, say, or leave it out for all",
            id="no runner",
        ),
        pytest.param(("--seed", "-1"), "--seed is -1, but seeds are 0 or greater; leave it out", id="seed"),
        pytest.param(
            ("--max-drop", "101"), "--max-drop is 101, but points of a per cent lie in 0 to 100", id="max drop"
        ),
        pytest.param(
            ("--junit", "missing/junit.xml"),
            "--junit is missing/junit.xml, but that is no place for a file; give a file in a folder that exists",
            id="junit",
        ),
        pytest.param(
            ("--data", "missing"),
            "--data missing does not exist, but a folder of images, a table or an .npz was expected",
            id="data",
        ),
    ],
)
def test_what_makes_no_sense_is_trouble(
    options: tuple[str, ...], message: str, digits_bundle: Path, evaluate: Evaluate
) -> None:
    code, out, err = evaluate("parity", str(digits_bundle), "--no-certificate", *options)
    assert (code, out, err) == (2, "", f"error: {message.format(bundle=digits_bundle)}\n")


def test_pictures_of_ones_own_are_the_samples(digits_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("0", "7"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(0, 256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{index}.png")
    path = tmp_path / "certificate.json"
    options = ("--quick", "--no-certificate", "--data", str(tmp_path / "pictures"))
    code, out, _ = evaluate("parity", str(digits_bundle), *options, "--json", str(path))
    assert code == 0
    setting = json.loads(path.read_bytes())["setting"]
    assert setting["held_out_rows"] == 20
    assert setting["held_out_source"] == f"20 samples of pictures, sha256 {setting['held_out_sha256'][:16]}"
    assert "of 20 labelled samples right" in out
    assert evaluate("parity", str(digits_bundle), *options, "--json", str(path), "--samples", "5")[0] == 0
    chosen = json.loads(path.read_bytes())["setting"]
    assert chosen["held_out_source"] == f"5 of {setting['held_out_source']}"
    assert chosen["held_out_sha256"] == setting["held_out_sha256"]


def test_arrays_of_ones_own_are_the_samples(own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path) -> None:
    samples = samples_of("TwoInputs", tmp_path, labelled=True)
    options = ("parity", str(own_bundles["TwoInputs"]), "--quick", "--no-certificate", "--runners", "onnx")
    code, out, _ = evaluate(*options, *factory("TwoInputs"), "--data", str(samples))
    assert code == 0
    assert "held-out samples: 100 samples of TwoInputs, sha256 " in out
    assert "PyTorch itself gets 100 of 100 labelled samples right" in out
    np.savez(tmp_path / "half.npz", tokens=np.zeros((3, 5), dtype=np.int64))
    code, _, err = evaluate(*options, *factory("TwoInputs"), "--data", str(tmp_path / "half.npz"))
    assert code == 2
    assert err.startswith(f"error: --data {tmp_path / 'half.npz'} has the arrays tokens, but input grid was expected; ")


def of_signal(folder: Path, size: np.ndarray) -> tuple[str, ...]:
    np.savez(folder / "size.npz", size=size.astype(np.float32))
    return ("--quick", "--no-certificate", "--runners", "onnx", *factory(ROOT), "--data", str(folder / "size.npz"))


def signals(rows: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 9, size=(rows, 2, 2))


@pytest.mark.parametrize(
    ("size", "verdict", "reason"),
    [
        pytest.param(signals(40), "pass", "", id="enough"),
        pytest.param(signals(1), "unproven", "target 1: it varies by 0 over 64 rows", id="too few samples"),
        pytest.param(np.ones((50, 2, 2)), "unproven", "target 1: it varies by 0 over 64 rows", id="all the same"),
        pytest.param(
            signals(64) * np.where(np.arange(64) < 3, -1, 1)[:, None, None],
            "unproven",
            "PyTorch itself gives no finite outputs for 3 of 64 rows",
            id="some without a reference",
        ),
        pytest.param(
            -signals(64), "unproven", "PyTorch itself gives no finite outputs for 64 of 64 rows", id="no reference"
        ),
    ],
)
def test_what_proves_nothing_is_unproven(
    size: np.ndarray, verdict: str, reason: str, own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    path = tmp_path / "certificate.json"
    code, out, _ = evaluate("parity", str(own_bundles[ROOT]), *of_signal(tmp_path, size), "--json", str(path))
    certificate = msgspec.json.decode(path.read_bytes(), type=Certificate)
    assert code == (0 if verdict == "pass" else 1)
    assert [graph.verdict for graph in certificate.graphs] == [verdict]
    assert reason in (certificate.graphs[0].reason or "")
    assert ("parity is unproven: nothing contradicts it" in out) == (verdict == "unproven")


def test_where_there_is_no_reference_for_some_a_wrong_graph_still_fails(
    own: Callable[[str], Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle = own(ROOT)
    plant(bundle, "graph.onnx", scale_one_weight, tmp_path, factory=load_factory(f"{NETWORKS}:{ROOT}"))
    size = signals(64) * np.where(np.arange(64) < 3, -1, 1)[:, None, None]
    code, out, _ = evaluate("parity", str(bundle), *of_signal(tmp_path, size))
    assert code == 1
    assert "parity fails: this bundle is not the model that was trained" in out


def test_who_loses_a_certificate_that_rested_on_more_is_told(
    digits_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle = copy_bundle(digits_bundle, tmp_path / "bundle")
    told = "it replaced one that rested on more; --no-certificate tries without writing"
    assert told not in evaluate("parity", str(bundle))[2]
    full = (bundle / CERTIFICATE).read_bytes()
    assert told not in evaluate("parity", str(bundle), "--quick", "--no-certificate")[2]
    assert (bundle / CERTIFICATE).read_bytes() == full
    assert told in evaluate("parity", str(bundle), "--quick")[2]
    assert certificate_of(bundle).setting.mode == "quick"
    assert told in evaluate("parity", str(bundle), "--quick", "--runners", "onnx")[2]
    assert told not in evaluate("parity", str(bundle), "--quick")[2]
