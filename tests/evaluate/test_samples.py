"""Accuracy of networks that are no recipe's: on labelled samples, and the errors of regressions, target by target."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from own_bundles import NETWORKS, samples_of, trained, write_own_bundle
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import nn

import export
from evaluate.accuracy.measure import measure_accuracy
from export.errors import ExportError
from serve.bundle import Bundle, read_bundle

Evaluate = Callable[..., tuple[int, str, str]]
TARGETS = ("price", "rent")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a bundle that carries 32 labelled rows of two inputs; not to be changed."""
    return write_own_bundle("TwoInputs", tmp_path_factory.mktemp("labelled"), formats=("onnx",), labelled=True)


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, nn.Module]:
    """A regression of a table with two targets, and its network."""
    torch.manual_seed(0)
    network, folder = nn.Linear(2, 2), tmp_path_factory.mktemp("houses")
    rows = np.random.default_rng(0).normal(size=(40, 2))
    export.bundle(
        network,
        folder / "bundle",
        inputs="features:float32[2]",
        columns=("rooms", "area"),
        targets=TARGETS,
        samples=write_rows(folder / "rows.csv", rows, rows),
        formats=("onnx",),
    )
    return read_bundle(folder / "bundle"), network


def write_rows(path: Path, rows: np.ndarray, truth: np.ndarray) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["rent", "area", "rooms", "note", "price"])
        writer.writerows(
            [rent, area, rooms, "", price] for (rooms, area), (price, rent) in zip(rows, truth, strict=True)
        )
    return path


def test_the_bundles_own_labels_unless_samples_are_given(labelled: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    options = ("accuracy", str(labelled), "--factory", f"{NETWORKS}:TwoInputs", "--json", str(tmp_path / "a.json"))
    code, out, _ = evaluate(*options)
    assert code == 0
    assert "accuracy of TwoInputs on the bundle's own 32 labelled samples, because it has no recipe" in out
    code, out, _ = evaluate(*options, "--samples", str(samples_of("TwoInputs", tmp_path, labelled=True)))
    assert code == 0
    assert "accuracy of TwoInputs on 100 labelled samples of TwoInputs" in out
    graphs = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["graphs"]
    assert [(graph["graph"], graph["rows"], graph["correct"]) for graph in graphs] == [
        ("eager", 100, 100),
        ("graph.onnx", 100, 100),
    ]


def test_every_row_counts_and_a_wrong_label_is_noticed(labelled: Path, tmp_path: Path) -> None:
    path = samples_of("TwoInputs", tmp_path, labelled=True)
    with np.load(path) as archive:
        arrays = {name: np.concatenate([archive[name]] * 7) for name in archive.files}
    names = np.array(["red", "green", "blue"])[arrays["label"]]
    names[0] = {"red": "green"}.get(names[0], "red")
    np.savez(path, **{**arrays, "label": names})
    found = measure_accuracy(read_bundle(labelled), data_root=tmp_path, samples=path, module=trained("TwoInputs"))
    assert [(graph.rows, graph.correct) for graph in found.graphs] == [(700, 699)] * 2


def test_images_in_sub_folders_named_like_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    for place, count in (("cat", 3), ("dog", 4), ("", 2)):
        (photos / place).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(photos / place / f"{index}.png")
    export.bundle(
        network,
        tmp_path / "b",
        inputs="image:uint8[4,4,3]",
        labels=["cat", "dog"],
        samples=photos,
        formats=("onnx",),
        name="pets",
    )
    found = measure_accuracy(read_bundle(tmp_path / "b"), data_root=tmp_path, samples=photos, module=network)
    assert found.data == "7 labelled samples of photos, 2 others without a class left out"
    assert {graph.rows for graph in found.graphs} == {7}
    assert len({graph.correct for graph in found.graphs}) == 1


def test_errors_of_each_target_are_those_of_another_implementation(
    houses: tuple[Bundle, nn.Module], tmp_path: Path
) -> None:
    bundle, network = houses
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(600, 2)).astype(np.float32)
    with torch.no_grad():
        predicted = network(torch.from_numpy(rows)).numpy()
    truth = predicted + rng.normal(size=(600, 2)) * [0.1, 3]
    found = measure_accuracy(
        bundle, data_root=tmp_path, samples=write_rows(tmp_path / "rows.csv", rows, truth), module=network
    )
    assert found.data == "600 samples of rows"
    assert [(errors.graph, errors.rows) for errors in found.errors] == [("eager", 600), ("graph.onnx", 600)]
    for errors in found.errors:
        assert tuple(target.target for target in errors.targets) == TARGETS
        for index, target in enumerate(errors.targets):
            pair = truth[:, index], predicted[:, index]
            assert target.mean_absolute_error == pytest.approx(mean_absolute_error(*pair), rel=1e-5)
            assert target.root_mean_squared_error == pytest.approx(root_mean_squared_error(*pair), rel=1e-5)
            assert target.r2 == pytest.approx(r2_score(*pair), rel=1e-5)
            assert target.max_absolute_error == pytest.approx(np.abs(pair[0] - pair[1]).max(), rel=1e-5)


def test_a_target_that_does_not_vary_has_no_r2(
    houses: tuple[Bundle, nn.Module], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from evaluate.accuracy.table import print_accuracy
    from evaluate.tables import stdout_console

    rows = np.ones((3, 2), np.float32)
    samples = write_rows(tmp_path / "rows.csv", rows, np.array([[5, 1], [5, 2], [5, 3]]))
    found = measure_accuracy(houses[0], data_root=tmp_path, samples=samples, module=houses[1])
    assert [target.r2 is None for target in found.errors[0].targets] == [True, False]
    print_accuracy(found, stdout_console())
    out = capsys.readouterr().out
    assert "rms error" in out
    cells = [line.split("│")[2].strip() for line in out.splitlines() if line.startswith("│")]
    assert [cell for cell in cells if cell in TARGETS] == [*TARGETS, *TARGETS]


def test_values_in_arrays(tmp_path: Path) -> None:
    bundle = read_bundle(write_own_bundle("RootOfSignal", tmp_path, formats=("onnx",)))
    path, network = samples_of("RootOfSignal", tmp_path), trained("RootOfSignal")
    with np.load(path) as archive:
        size = archive["size"]
    with torch.no_grad():
        y1, y2 = network(torch.from_numpy(size)).numpy().T
    np.savez(path, size=size, y1=y1, y2=y2 + 1)
    found = measure_accuracy(bundle, data_root=tmp_path, samples=path, module=network)
    assert [round(target.mean_absolute_error, 6) for target in found.errors[0].targets] == [0, 1]
    for arrays, message in (
        ({"y1": y1}, r"has no y2, but y1; a regression is measured against true values, so give a column, or an array"),
        ({"y1": y1, "y2": y2[:, None]}, "has no y2, but y1; a regression"),
        ({"y1": y1[:-1], "y2": y2}, "has 99 true values of y1, but 100 rows; give one for each"),
        ({"y1": y1[:-1], "y2": y2[:-1]}, "has 99 true values of y1, but 100 rows; give one for each"),
        (
            {"y1": y1, "y2": np.where(y2 > y2.min(), y2, np.nan)},
            r"row \d+, column 'y2' is empty, but a number was expected",
        ),
    ):
        np.savez(path, size=size, **arrays)
        with pytest.raises(ExportError, match=message):
            measure_accuracy(bundle, data_root=tmp_path, samples=path, module=network)


def test_samples_without_truth_are_trouble(
    labelled: Path, own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    samples = str(samples_of("TwoInputs", tmp_path))
    code, _, err = evaluate("accuracy", str(labelled), "--factory", f"{NETWORKS}:TwoInputs", "--samples", samples)
    assert code == 2
    assert err.startswith(
        f"error: --samples {samples} says no true class, but accuracy is measured against those; name"
    )
    options = ("--trust", "--factory", f"{NETWORKS}:TwoOutputs")
    code, _, err = evaluate("accuracy", str(own_bundles["TwoOutputs"]), *options, "--samples", samples)
    assert code == 2
    assert "TwoOutputs returns tensors, of which nobody says what is right; export it with --labels or --targets" in err


def test_a_regression_without_samples_is_trouble(houses: tuple[Bundle, nn.Module], tmp_path: Path) -> None:
    from serve.bundle import BundleError

    with pytest.raises(
        BundleError, match=r"carries no labelled samples, .* give --samples whose classes or values are"
    ):
        measure_accuracy(houses[0], data_root=tmp_path, module=houses[1])
    (tmp_path / "rows.csv").write_text("rooms,area,price,rent\n1,2,3,four\n", encoding="utf-8")
    with pytest.raises(ExportError, match="row 1, column 'rent' has 'four', but a number was expected"):
        measure_accuracy(houses[0], data_root=tmp_path, samples=tmp_path / "rows.csv", module=houses[1])
