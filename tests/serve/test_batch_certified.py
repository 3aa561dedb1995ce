"""Batch jobs run no more rows together than the certificate proves, or they are told to and say it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from PIL import Image

from serve import batch_job, batch_progress
from serve.batch import main
from serve.onnx_runner import OnnxRunner
from tests.serve.certificates import certify, ran
from tests.serve.tiny_bundle import write_house_bundle, write_tiny_bundle

IMAGES, TABLE_ROWS = 70, 1100


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A list of 70 paths, of seven images."""
    rng = np.random.default_rng(7)
    for index in range(7):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{tmp_path / str(index % 7)}.png\n" for index in range(IMAGES)))
    return listing


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    """A table of 1,100 rows."""
    values = np.arange(TABLE_ROWS, dtype=np.float64)
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pa.table({"rooms": values, "alley": ["Pave"] * TABLE_ROWS, "area": -values}), path)
    return path


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every run of a graph."""
    found: list[int] = []
    original = OnnxRunner.run

    def watched(self: OnnxRunner, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found.append(len(next(iter(inputs.values()))))
        return original(self, inputs)

    monkeypatch.setattr(OnnxRunner, "run", watched)
    return found


def run(bundle: Path, source: Path, out: Path, *more: str) -> int:
    return main([str(bundle), str(source), "--out", str(out), "--provider", "cpu", *more])


def assert_close(actual: Path, expected: Path) -> None:
    """Rounding aside, batches of other sizes have the same results."""
    one, other = (pyarrow.parquet.read_table(path).to_pydict() for path in (actual, expected))
    assert list(one) == list(other)
    for name, values in one.items():
        if isinstance(values[0], float):
            np.testing.assert_allclose(values, other[name], rtol=1e-5, atol=1e-6)
        else:
            assert values == other[name]


def said(asked: int, certified: int) -> str:
    return (
        f"up to {asked} rows are run together, but the certificate speaks of at most {certified}; "
        f"lower --batch-size to {certified}\n"
    )


@pytest.mark.parametrize(
    ("certified", "asked", "largest", "told"),
    [
        pytest.param(None, None, (64, 1024), False, id="not certified"),
        pytest.param(32, None, (32, 32), False, id="certified"),
        pytest.param(1024, None, (64, 1024), False, id="certified for more"),
        pytest.param(4096, None, (64, 1024), False, id="certified for most"),
        pytest.param(32, 32, (32, 32), False, id="asked as certified"),
        pytest.param(32, 33, (33, 33), True, id="asked for more"),
        pytest.param(None, 70, (70, 70), False, id="asked, not certified"),
    ],
)
@pytest.mark.parametrize("kind", ["images", "table"])
def test_no_more_rows_run_together_than_certified_without_a_word(
    photos: Path,
    houses: Path,
    sizes: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    certified: int | None,
    asked: int | None,
    largest: tuple[int, int],
    told: bool,
) -> None:
    write, source, expected = (
        (write_tiny_bundle, photos, largest[0]) if kind == "images" else (write_house_bundle, houses, largest[1])
    )
    bundle, out, plain = write(tmp_path / "b"), tmp_path / "out.parquet", tmp_path / "plain.parquet"
    assert run(bundle, source, plain, "--batch-size", "5") == 0
    if certified is not None:
        certify(bundle, passed=True, graphs=(ran((certified, certified)),))
    sizes.clear()
    capsys.readouterr()
    assert run(bundle, source, out, *(() if asked is None else ("--batch-size", str(asked)))) == 0
    assert max(sizes) == expected
    assert capsys.readouterr().err == (said(asked, certified) if told and asked and certified else "")
    assert_close(out, plain)


def test_a_job_that_was_begun_before_the_certificate_goes_on(
    photos: Path, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = write_tiny_bundle(tmp_path / "b"), tmp_path / "out.parquet"
    monkeypatch.setattr(batch_job, "PART_ROWS", 20)
    advance, counted = batch_progress.Progress.advance, 0

    def interrupting(self: batch_progress.Progress, *, failed: bool = False) -> None:
        nonlocal counted
        counted += 1
        if counted == 50:
            raise KeyboardInterrupt
        advance(self, failed=failed)

    with monkeypatch.context() as patch:
        patch.setattr(batch_progress.Progress, "advance", interrupting)
        assert run(bundle, photos, out) == 130
    assert max(sizes) == 64
    certify(bundle, passed=True, graphs=(ran((8, 8)),))
    sizes.clear()
    capsys.readouterr()
    assert run(bundle, photos, out, "--json") == 0
    assert max(sizes) == 8
    assert json.loads(capsys.readouterr().out)["resumed"] == 50
    assert run(bundle, photos, tmp_path / "whole.parquet", "--batch-size", "64") == 0
    assert_close(out, tmp_path / "whole.parquet")
