"""Data sets: what is read, and what is said when it cannot be."""

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torchvision.datasets import FashionMNIST

from tests.train.archive_server import serve_archives
from train import fashion_mnist
from train.data import load_dataset, majority_share, read_digits
from train.dataset import DataError, Split
from train.fashion_mnist import FILES, read_fashion_mnist
from train.recipes.registry import RECIPES


def write_idx_files(raw: Path, *, rows: int = 2) -> None:
    """Write the four files of Fashion-MNIST in the right format, but with a few made-up rows."""
    raw.mkdir(parents=True)
    for name in FILES:
        if "images" in name:
            content = struct.pack(">iiii", 2051, rows, 28, 28) + bytes(rows * 28 * 28)
        else:
            content = struct.pack(">ii", 2049, rows) + bytes(rows)
        (raw / name).write_bytes(content)


def test_digits_are_all_of_them_in_a_stratified_split() -> None:
    dataset = read_digits(Path("unused"))
    assert (len(dataset.train), len(dataset.test)) == (1437, 360)
    images = np.concatenate([dataset.train.inputs, dataset.test.inputs])
    expected = np.minimum(load_digits().images * 16, 255).astype(np.uint8)
    assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in expected)
    for split in (dataset.train, dataset.test):
        counts = np.bincount(split.targets)
        assert counts.max() - counts.min() <= len(split) * 0.01 + 1
    train = {image.tobytes() for image in dataset.train.inputs}
    assert sum(image.tobytes() in train for image in dataset.test.inputs) == 0


def test_digits_are_the_same_every_time() -> None:
    first, second = read_digits(Path("unused")), read_digits(Path("elsewhere"))
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.test.inputs, second.test.inputs)


def test_majority_share() -> None:
    split = Split(inputs=np.zeros((4, 1, 1, 1), np.uint8), targets=np.array([2, 0, 2, 2]))
    assert majority_share(split) == 0.75


def test_split_refuses_what_does_not_fit() -> None:
    with pytest.raises(DataError, match=r"inputs are float64 \[2, 3\], but uint8"):
        Split(inputs=np.zeros((2, 3)), targets=np.zeros(2, np.int64))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="there are 2 inputs, but 3 targets"):
        Split(inputs=np.zeros((2, 3, 3, 1), np.uint8), targets=np.zeros(3, np.int64))


def test_recipe_with_unknown_data_or_too_few_labels(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"recipe digits has data 'digit', but one of digits, fashion-mnist.* was expected"
    ):
        load_dataset(replace(RECIPES["digits"], data="digit"), tmp_path)
    with pytest.raises(DataError, match="data digits has 10 classes, but recipe digits has 2 labels"):
        load_dataset(replace(RECIPES["digits"], labels=("a", "b")), tmp_path)


def test_fashion_mnist(data_root: Path) -> None:
    dataset = load_dataset(RECIPES["fashion-tinyvgg"], data_root)
    assert dataset.train.inputs.shape == (60_000, 28, 28, 1)
    assert dataset.test.inputs.shape == (10_000, 28, 28, 1)
    assert dataset.train.targets[0] == 9
    np.testing.assert_array_equal(np.bincount(dataset.test.targets), np.full(10, 1000))
    pixels = dataset.train.inputs / np.float32(255)
    assert float(pixels.mean()) == pytest.approx(0.2860, abs=5e-5)
    assert float(pixels.std()) == pytest.approx(0.3530, abs=5e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            "shorter", r"t10k-labels-idx1-ubyte has 10,007 bytes, but 10,008 were expected; delete it", id="short"
        ),
        pytest.param(
            "altered", r"t10k-labels-idx1-ubyte has sha256 \w{12}…, but 0402a96d92fd… was expected", id="altered"
        ),
    ],
)
def test_damaged_fashion_mnist_is_named(data_root: Path, tmp_path: Path, change: str, message: str) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name).symlink_to(data_root / "FashionMNIST" / "raw" / name)
    victim = raw / "t10k-labels-idx1-ubyte"
    content = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(content[:-1] if change == "shorter" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=message):
        read_fashion_mnist(tmp_path)


def test_other_data_in_the_right_format_is_refused(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "FashionMNIST" / "raw")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte has 1,584 bytes, but 47,040,016 were expected"):
        read_fashion_mnist(tmp_path)


def test_data_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(DataError, match=r"is not in .* and cannot be downloaded \(.*(Not a directory|File exists).*\)"):
        read_fashion_mnist(tmp_path / "file")


@pytest.mark.slow
def test_the_real_files_are_downloaded_in_full(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve_archives() as server:
        for name in FILES:
            content = gzip.compress((data_root / "FashionMNIST" / "raw" / name).read_bytes(), compresslevel=1)
            server.files[f"/{name}.gz"] = content
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            monkeypatch.setitem(fashion_mnist.ARCHIVE_MD5, name, digest)
        monkeypatch.setattr(fashion_mnist, "MIRRORS", (server.url,))
        server.breaks = [1_000_000]
        dataset = read_fashion_mnist(tmp_path / "data")
    assert dataset.sha256 == read_fashion_mnist(data_root).sha256
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == set(FILES)


def test_rows_are_those_that_torchvision_reads(data_root: Path) -> None:
    ours = read_fashion_mnist(data_root)
    for split, train in ((ours.train, True), (ours.test, False)):
        theirs = FashionMNIST(data_root, train=train)
        assert np.array_equal(split.inputs[..., 0], theirs.data.numpy())
        assert np.array_equal(split.targets, theirs.targets.numpy())
    archives = {f"{name}.gz": md5 for name, md5 in fashion_mnist.ARCHIVE_MD5.items()}
    assert archives == dict(FashionMNIST.resources)
