"""``python -m evaluate accuracy`` as a user types it: figures, tables, pictures, and what it refuses."""

import gc
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from altered import copy_bundle
from onnx import helper, numpy_helper
from own_bundles import trained
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score, log_loss
from torch import nn

import export
from evaluate.accuracy.charts import draw_all
from evaluate.accuracy.measure import figures_of, measure_accuracy
from evaluate.accuracy.run import run_samples
from evaluate.accuracy.trouble import AccuracyError
from evaluate.resealed import replace_file
from export.factory import load_factory
from export.own_inputs import InputSettings
from export.own_model import OwnModel, draft_of_network
from export.own_outputs import OutputSettings
from export.write import write_bundle
from serve.bundle import BundleError, read_bundle
from serve.onnx_runner import OnnxRunner

Evaluate = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, nn.Module]:
    """A bundle of a regression, rows with true values, and its network."""
    torch.manual_seed(0)
    network, folder = nn.Linear(2, 1), tmp_path_factory.mktemp("prices")
    rows = np.random.default_rng(0).normal(size=(60, 3))
    lines = ["rooms,area,price", *(",".join(map(str, row)) for row in rows)]
    samples = folder / "rows.csv"
    samples.write_text("\n".join(lines), encoding="utf-8")
    export.bundle(
        network,
        folder / "prices",
        inputs="features:float32[2]",
        columns=("rooms", "area"),
        targets=("price",),
        samples=samples,
        formats=("onnx",),
    )
    return folder / "prices", samples, network


@pytest.fixture(scope="module")
def spam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, nn.Module]:
    """A bundle of a binary classification, labelled rows, and its network."""
    torch.manual_seed(0)
    network, folder = nn.Linear(3, 1), tmp_path_factory.mktemp("spam")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3)).astype(np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(rows)).numpy()[:, 0]
    words = np.where(logits + rng.normal(0, 0.5, 200) > 0, "spam", "ham")
    np.savez(folder / "mail.npz", features=rows, label=words)
    export.bundle(
        network,
        folder / "spam",
        inputs="features:float32[3]",
        labels=("ham", "spam"),
        samples=folder / "mail.npz",
        formats=("onnx",),
    )
    return folder / "spam", folder / "mail.npz", network


def test_every_figure_of_the_digits(digits_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    options = (
        "--robustness",
        "--batch-mean",
        "32",
        "--resamples",
        "200",
        "--pictures",
        str(tmp_path / "new" / "charts"),
    )
    code, out, _ = evaluate("accuracy", str(digits_bundle), *options, "--json", str(tmp_path / "a.json"))
    assert code == 0
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (found["resamples"], found["batch_size"], found["labels"][3]) == (200, 32, "3")
    eager, onnx_graph, _ = found["graphs"]
    assert eager["top_k"]["k"] == 5
    assert eager["correct"] <= eager["top_k"]["correct"] <= eager["rows"] == sum(map(sum, eager["confusion"])) == 360
    assert sum(eager["confusion"][i][i] for i in range(10)) == eager["correct"]
    assert abs(eager["batch_mean_accuracy"] - eager["top1_accuracy"]) < 0.02
    assert onnx_graph["confusion"] == eager["confusion"]
    scores = onnx_graph["probabilities"]
    for figure in ("expected_calibration_error", "brier", "log_loss"):
        low, high = scores[figure]["interval_95"]
        assert low < high
        assert scores[figure]["value"] > 0
    assert scores["roc_auc"] is None
    assert sum(one["rows"] for one in scores["bins"]) == 360
    settings = found["robustness"]["settings"]
    assert len(settings) == 3 * 17
    assert [row["top1_accuracy"] for row in settings[:3]] == [graph["top1_accuracy"] for graph in found["graphs"]]
    worst = min(settings, key=lambda row: row["top1_accuracy"])
    assert worst["drop"]["drop"] > 0.1
    assert found["robustness"]["source"] == "360 test samples of digits"
    for part in ("mean of batches", "calibration error", "top-5", "mean of classes", "spoilt by", "rotation", "of 100"):
        assert part in out
    assert "percentiles of 200 resamples with seed 0" in out
    for name in ("confusion", "reliability", "robustness"):
        with Image.open(tmp_path / "new" / "charts" / f"{name}.png") as picture:
            assert picture.format == "PNG"
            assert picture.width >= 400
    assert len(list((tmp_path / "new" / "charts").iterdir())) == 3


def test_one_graph_alone_and_json_on_stdout(digits_bundle: Path, evaluate: Evaluate) -> None:
    options = ("--graph", "graph.onnx", "--resamples", "100", "--json", "-")
    code, out, _ = evaluate("accuracy", str(digits_bundle), *options)
    assert code == 0
    assert [graph["graph"] for graph in json.loads(out)["graphs"]] == ["eager", "graph.onnx"]
    code, out, _ = evaluate("accuracy", str(digits_bundle), "--graph", "eager", "--resamples", "100", "--json", "-")
    assert [graph["graph"] for graph in json.loads(out)["graphs"]] == ["eager"]


def test_a_folder_of_images_through_every_graph(digits_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    pixels, truth = load_digits(return_X_y=True)
    for place, (image, digit) in enumerate(zip(pixels[-60:], truth[-60:], strict=True)):
        (tmp_path / str(digit)).mkdir(exist_ok=True)
        grey = np.rint(image.reshape(8, 8) * 255 / 16).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / str(digit) / f"{place}.png")
    options = ("--samples", str(tmp_path), "--resamples", "100", "--json", "-")
    code, out, _ = evaluate("accuracy", str(digits_bundle), *options)
    assert code == 0
    found = json.loads(out)
    assert found["data"] == f"60 labelled samples of {tmp_path.name}"
    assert [graph["graph"] for graph in found["graphs"]] == ["eager", "graph.onnx", "graph.torchscript.pt"]
    assert {graph["rows"] for graph in found["graphs"]} == {60}
    assert found["graphs"][0]["correct"] > 50
    assert len({graph["correct"] for graph in found["graphs"]}) == 1
    (tmp_path / "2").rename(tmp_path / "3 as well")
    code, out, _ = evaluate("accuracy", str(digits_bundle), *options)
    left = 60 - int((truth[-60:] == 2).sum())
    assert json.loads(out)["data"].startswith(f"{left} labelled samples of {tmp_path.name}, {60 - left} others without")


def test_a_table_through_every_graph(evaluate: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n\n\ndef build():\n    return torch.nn.Linear(2, 1)\n", encoding="utf-8"
    )
    where = f"{tmp_path / 'net.py'}:build"
    factory = load_factory(where)
    own = OwnModel(
        name="prices",
        inputs=InputSettings(inputs=("features:float32[2]",), columns=("rooms", "area")),
        outputs=OutputSettings(targets=("price",)),
        factory=factory.name,
        factory_sha256=factory.sha256,
    )
    draft, _ = draft_of_network(nn.Linear(2, 1), own)
    write_bundle(tmp_path / "prices", draft, formats=("onnx", "torchscript", "exported-program"))
    (tmp_path / "rows.csv").write_text("area,price,rooms\n1,12345678.9,2\n3,12345679.9,4\n", encoding="utf-8")
    options = ("--trust", "--factory", where, "--samples", str(tmp_path / "rows.csv"), "--json", "-")
    code, out, _ = evaluate("accuracy", str(tmp_path / "prices"), *options)
    assert code == 0
    found = json.loads(out)
    assert found["data"] == "2 samples of rows"
    names = ["eager", "graph.onnx", "graph.torchscript.pt", "graph.pt2"]
    assert sorted(graph["graph"] for graph in found["errors"]) == sorted(names)
    for graph in found["errors"]:
        (target,) = graph["targets"]
        assert target["mean_absolute_error"] == pytest.approx(12345679.4, abs=10), "true values are not rounded"


def test_no_two_graphs_are_held_at_once(reduced_bundles: dict[str, Path], tmp_path: Path) -> None:
    """Of a large network, that would be all of its copies."""
    held: list[int] = []

    def count(_: str) -> None:
        gc.collect()
        held.append(sum(type(thing) is OnnxRunner for thing in gc.get_objects()))

    bundle, network = read_bundle(reduced_bundles["TwoInputs"]), trained("TwoInputs")
    count("before")
    outcomes = run_samples(bundle, data_root=tmp_path, module=network, on_step=count)
    assert len(outcomes.all) == 4
    assert max(held) - held[0] == 1
    assert isinstance(outcomes.all[2].load(), OnnxRunner)


def test_figures_of_a_binary_classification(spam: tuple[Path, Path, nn.Module], tmp_path: Path) -> None:
    path, samples, network = spam
    found = measure_accuracy(read_bundle(path), data_root=tmp_path, samples=samples, module=network, resamples=100)
    with np.load(samples) as archive, torch.no_grad():
        truth = (archive["label"] == "spam").astype(int)
        logits = network(torch.from_numpy(archive["features"])).double()
    for graph in found.graphs:
        assert graph.top_k is None
        assert [one.label for one in graph.classes] == ["ham", "spam"]
        assert graph.macro.f1.value == pytest.approx(f1_score(truth, logits[:, 0] >= 0, average="macro"))
        assert graph.probabilities.log_loss.value == pytest.approx(log_loss(truth, logits[:, 0].sigmoid()), rel=1e-5)
        assert 0.8 < graph.probabilities.roc_auc.interval_95[0] < graph.probabilities.roc_auc.value < 1
        assert graph.probabilities.bins[0].rows == 0


def test_a_graph_that_gives_nan_is_wrong_there(
    spam: tuple[Path, Path, nn.Module], evaluate: Evaluate, tmp_path: Path
) -> None:
    path = copy_bundle(spam[0], tmp_path / "nan")
    model = onnx.load_from_string((path / "graph.onnx").read_bytes())
    weight = next(tensor for tensor in model.graph.initializer if 3 in tensor.dims)
    weight.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(weight), np.nan), weight.name))
    replace_file(path, "graph.onnx", model.SerializeToString())
    found = measure_accuracy(
        read_bundle(path), data_root=tmp_path, samples=spam[1], module=spam[2], resamples=100, batch_size=10
    )
    spoilt = found.graphs[1]
    assert (spoilt.correct, spoilt.not_finite, spoilt.probabilities, spoilt.batch_mean_accuracy) == (0, 200, None, 0.0)
    assert spoilt.confusion == ((0, 0), (0, 0))
    assert found.graphs[0].probabilities is not None
    from evaluate.accuracy.table import print_accuracy
    from evaluate.tables import stdout_console

    with (console := stdout_console()).capture() as captured:
        print_accuracy(found, console)
    assert "graph.onnx gives NaN or infinity for 200 samples, which count as wrong" in captured.get()
    assert list(
        dict(draw_all(found, run_samples(read_bundle(path), data_root=tmp_path, samples=spam[1], module=spam[2])))
    ) == ["confusion.png"]


def test_a_regression_has_intervals_and_a_picture(prices: tuple[Path, Path, nn.Module], tmp_path: Path) -> None:
    path, samples, network = prices
    outcomes = run_samples(read_bundle(path), data_root=tmp_path, samples=samples, module=network)
    accuracy = figures_of(outcomes, resamples=300)
    assert accuracy.graphs == ()
    for graph in accuracy.errors:
        (target,) = graph.targets
        for value, (low, high) in (
            (target.mean_absolute_error, target.mean_absolute_error_95),
            (target.root_mean_squared_error, target.root_mean_squared_error_95),
            (target.r2, target.r2_95),
        ):
            assert low < value < high
        assert target.beyond_max_upper_95 == pytest.approx(0.0487, abs=1e-4)
    ((name, content),) = draw_all(accuracy, outcomes)
    assert name == "predictions.png"
    assert struct.unpack(">I", content[16:20])[0] >= 400


def test_what_does_not_fit_the_task_is_refused(
    prices: tuple[Path, Path, nn.Module], spam: tuple[Path, Path, nn.Module], tmp_path: Path
) -> None:
    regression, table = read_bundle(prices[0]), read_bundle(spam[0])
    with pytest.raises(
        AccuracyError, match=r"--batch-mean is a mean of accuracies, but prices is a regression; leave it"
    ):
        measure_accuracy(regression, data_root=tmp_path, batch_size=32)
    with pytest.raises(
        AccuracyError,
        match="--robustness spoils images to be classified, but spam is a binary-classification of features; leave it",
    ):
        measure_accuracy(table, data_root=tmp_path, robustness=True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--graph",),
            "--graph is given without a name, but at least one was expected; give graph.onnx, say, or leave it out for "
            "all",
        ),
        (
            ("--graph", "graph.int8.onnx"),
            "--graph is graph.int8.onnx, but digits has graph.onnx, graph.torchscript.pt; give one of these, or eager",
        ),
        (("--resamples", "99"), "--resamples is 99, but an interval needs at least 100; leave it out"),
        (("--seed=-1",), "--seed is -1, but seeds are 0 or greater; leave it out"),
        (("--batch-mean", "0"), "--batch-mean is 0, but batches have at least 1 sample; give 32"),
    ],
    ids=["no graph", "graph", "resamples", "seed", "batch"],
)
def test_options_that_make_no_sense_are_trouble(
    options: tuple[str, ...], sentence: str, digits_bundle: Path, evaluate: Evaluate
) -> None:
    code, out, err = evaluate("accuracy", str(digits_bundle), *options)
    assert (code, out, err) == (2, "", f"error: {sentence}\n")


def test_a_file_in_place_of_the_folder_for_pictures_is_trouble(
    digits_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, _, err = evaluate("accuracy", str(digits_bundle), "--pictures", str(tmp_path / "file"))
    assert code == 2
    assert (
        err
        == f"error: --pictures is {tmp_path / 'file'}, but no folder can be made there (File exists); give another\n"
    )


def test_a_graph_that_cannot_be_loaded_is_trouble(wrong_bundle: Path, evaluate: Evaluate) -> None:
    replace_file(wrong_bundle, "graph.onnx", b"nothing of ONNX's")
    code, out, err = evaluate("accuracy", str(wrong_bundle))
    assert (code, out) == (2, ""), err
    assert err.startswith("error: graph.onnx cannot be run: ")
    assert err.count("\n") == 1


def test_a_graph_that_fails_on_the_samples_is_trouble(
    spam: tuple[Path, Path, nn.Module], evaluate: Evaluate, tmp_path: Path
) -> None:
    path = copy_bundle(spam[0], tmp_path / "fails")
    model = onnx.load_from_string((path / "graph.onnx").read_bytes())
    last = next(node for node in model.graph.node if "probabilities" in node.output)
    last.output[0] = "before"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 9]), "places"))
    model.graph.node.append(helper.make_node("Gather", ["before", "places"], ["more"], name="beyond", axis=1))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
    model.graph.node.append(helper.make_node("Gather", ["more", "first"], ["probabilities"], axis=1))
    replace_file(path, "graph.onnx", model.SerializeToString())
    with pytest.raises(
        BundleError, match=r"^graph\.onnx fails on CPUExecutionProvider \(.*indices.*\); see `python -m evaluate "
    ):
        measure_accuracy(read_bundle(path), data_root=tmp_path, samples=spam[1], module=spam[2])
