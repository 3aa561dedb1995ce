"""All 10,000 test images of Fashion-MNIST, served and in batch files: each carries eager's label."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tritonclient.http import InferenceServerClient, InferInput

from evaluate.compare import decision_margin
from evaluate.runners import eager_runner
from export.deployable import rebuild, to_float64
from export.module_runner import run_batches
from serve.bundle import read_bundle
from serve.parity import numeric_parity
from tests.conftest import run_command
from tests.serving import serving
from train.data import load_dataset
from train.recipes.registry import find_recipe

Record = Callable[[str, object], None]
ROWS = 10_000
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    images: np.ndarray
    eager: np.ndarray
    reference: np.ndarray
    labels: tuple[str, ...]

    def excused(self) -> np.ndarray:
        """Return the rows whose reference margin is below twice the error that parity allows."""
        allowed = numeric_parity(self.eager, eager=self.eager, reference=self.reference).max_bound
        return decision_margin(self.reference) <= 2 * allowed


@pytest.fixture(scope="module")
def truth(fashion_bundle: Path, data_root: Path) -> Truth:
    bundle = read_bundle(fashion_bundle)
    images = load_dataset(find_recipe("fashion-tinyvgg"), data_root).test.inputs
    assert len(images) == ROWS
    module = rebuild(bundle)
    return Truth(
        images=images,
        eager=run_batches(eager_runner(module, bundle), {"image": images}, batch_size=BATCH)["logits"],
        reference=run_batches(eager_runner(to_float64(module), bundle), {"image": images}, batch_size=BATCH)["logits"],
        labels=bundle.manifest.labels,
    )


@pytest.mark.slow
def test_served_labels_are_eagers(truth: Truth, fashion_bundle: Path, record_property: Record) -> None:
    logits = np.empty((ROWS, 10), np.float32)
    with serving(str(fashion_bundle), "--no-page") as served:
        client = InferenceServerClient(served.url.removeprefix("http://"))
        for start in range(0, ROWS, BATCH):
            chunk = np.ascontiguousarray(truth.images[start : start + BATCH])
            image = InferInput("image", list(chunk.shape), "UINT8")
            image.set_data_from_numpy(chunk)
            logits[start : start + BATCH] = client.infer("fashion-tinyvgg", [image]).as_numpy("logits")
        client.close()
    differ = logits.argmax(axis=1) != truth.eager.argmax(axis=1)
    excused = truth.excused()
    record_property(
        "served", f"{differ.sum()} of {ROWS} labels unlike eager's; {excused.sum()} rows within twice the error"
    )
    assert not (differ & ~excused).any()
    assert excused.sum() < 10


@pytest.mark.slow
def test_batch_labels_are_eagers(truth: Truth, fashion_bundle: Path, tmp_path: Path, record_property: Record) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate(truth.images):
        Image.fromarray(image[:, :, 0]).save(folder / f"{index:05d}.png", compress_level=1)
    out = tmp_path / "predictions.parquet"
    run_command("serve.batch", str(fashion_bundle), str(folder), "--out", str(out), cwd=tmp_path)
    table = pq.read_table(out)
    assert [Path(path).name for path in table["path"].to_pylist()] == [f"{index:05d}.png" for index in range(ROWS)]
    assert table["error"].null_count == ROWS
    expected = [truth.labels[index] for index in truth.eager.argmax(axis=1)]
    differ = np.asarray([have != want for have, want in zip(table["label"].to_pylist(), expected, strict=True)])
    excused = truth.excused()
    record_property(
        "batch", f"{differ.sum()} of {ROWS} labels unlike eager's; {excused.sum()} rows within twice the error"
    )
    assert not (differ & ~excused).any()
    assert excused.sum() < 10
